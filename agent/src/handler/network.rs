//! Networks: what there is, who is on them, and their coming and going.

use std::net::{IpAddr, Ipv4Addr};

use chrono::Utc;
use hypervisor_core::{
    lifecycle::State,
    network::{Made, Mode, NetworkDefinition, NetworkDefinitionError, NetworkError, NetworkName},
};
use ipnet::Ipv4Net;
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{NetworkChanged, NetworkDetails, NetworkGuest, NetworkLine, NetworkList},
    words::nearest,
};

use super::Handle;
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    networks::{MakeError, of_machine},
    reference,
    store::{
        StoreError,
        networks::{self as rows, Stored},
    },
};

impl Handle<host::NetworkList> for Agent {
    async fn handle(&self, _job: &Job, _command: host::NetworkList) -> Result<NetworkList, Refusal> {
        let (_, made) = self.inner.networks.last();
        let lines = self.inner.networks.all().await?.into_iter().map(|stored| {
            let Stored { name, definition, .. } = stored;
            NetworkLine {
                mode: definition.mode.word().into(),
                subnet: definition.subnet.map(|net| net.to_string()),
                subnet6: definition.subnet6.map(|net| net.to_string()),
                bridge: definition.bridge(&name),
                vlan: definition.vlan,
                nics: u32::try_from(self.inner.networks.users(&name).len()).unwrap_or(u32::MAX),
                failed: failed(&made, &name),
                about: definition.about,
                name: name.to_string(),
            }
        });
        Ok(NetworkList { networks: lines.collect() })
    }
}

impl Handle<host::NetworkShow> for Agent {
    async fn handle(&self, _job: &Job, command: host::NetworkShow) -> Result<NetworkDetails, Refusal> {
        let Stored { name, definition, made_at, made_by } = self.network(&command.name).await?;
        let (wanted, made) = self.inner.networks.last();
        let host = self.inner.networks.look().await;
        let guests = self.inner.networks.users(&name).into_iter().map(|(machine, id, nic)| {
            let interface = nic.interface(id);
            let plug = wanted.plugs.iter().find(|plug| plug.interface.as_str() == interface);
            let addresses = plug.map(|plug| plug.addresses(&definition)).unwrap_or_default();
            let seen = of_machine(&host, id, std::slice::from_ref(&nic));
            NetworkGuest {
                machine,
                mac: nic.address(id).to_string(),
                nic: nic.name,
                addresses: addresses.iter().map(ToString::to_string).collect(),
                seen: seen.into_iter().map(|(address, _, from)| format!("{address} ({from})")).collect(),
            }
        });
        let guests = guests.collect();
        let ours = definition.gateway().map(IpAddr::from).into_iter();
        let ours = ours.chain(definition.gateway6().map(IpAddr::from));
        Ok(NetworkDetails {
            mode: definition.mode.word().into(),
            subnet: definition.subnet.map(|net| net.to_string()),
            subnet6: definition.subnet6.map(|net| net.to_string()),
            host: ours.map(|address| address.to_string()).collect(),
            bridge: definition.bridge(&name),
            dhcp: definition.dhcp,
            dns: definition.dns,
            domain: definition.dns.then(|| definition.domain(&name)),
            failed: failed(&made, &name),
            notes: made.notes,
            guests,
            made_at,
            made_by,
            uplink: definition.uplink,
            vlan: definition.vlan,
            about: definition.about,
            name: name.to_string(),
        })
    }
}

impl Handle<host::NetworkCreate> for Agent {
    async fn handle(&self, job: &Job, command: host::NetworkCreate) -> Result<NetworkChanged, Refusal> {
        let name = network_name(&command.name)?;
        let there = self.inner.networks.all().await?;
        if there.iter().any(|network| network.name == name) {
            return Err(taken(&name));
        }
        let definition = self.new_network(&command, &there)?;
        let shown = described(&name, &definition);
        let stored = Stored { name: name.clone(), definition, made_at: Utc::now(), made_by: job.by() };
        match self.inner.store.run(move |connection| rows::insert(connection, &stored)).await {
            Err(StoreError::Taken) => return Err(taken(&name)),
            done => done?,
        }
        crash::point("network-stored");
        let notes = match self.made(&name).await {
            Ok(notes) => notes,
            Err(refusal) => {
                // It could not be, so it is not.
                let gone = name.clone();
                self.inner.store.run(move |connection| rows::remove(connection, &gone)).await?;
                self.made(&name).await.ok();
                return Err(refusal);
            }
        };
        let sentence = format!("The network {shown} is there.");
        self.note(job, "network.created", &sentence).await?;
        Ok(NetworkChanged { name: name.to_string(), sentence, notes })
    }
}

impl Handle<host::NetworkDefine> for Agent {
    async fn handle(&self, job: &Job, command: host::NetworkDefine) -> Result<NetworkChanged, Refusal> {
        let Stored { name, definition: old, .. } = self.network(&command.name).await?;
        let definition = redefined(&old, &command)?;
        let moved = old.subnet != definition.subnet || old.subnet6 != definition.subnet6;
        if moved {
            self.nobody_runs(&name)?;
            self.nobody_is_fixed(&name, &definition)?;
        }
        if definition == old {
            let sentence = format!("The network {} is so already.", described(&name, &old));
            return Ok(NetworkChanged { name: name.to_string(), sentence, notes: vec![] });
        }
        self.apart(&name, &definition, &self.inner.networks.all().await?)?;
        let shown = described(&name, &definition);
        self.store_network(&name, &definition).await?;
        crash::point("network-stored");
        let notes = match self.made(&name).await {
            Ok(notes) => notes,
            Err(refusal) => {
                self.store_network(&name, &old).await?;
                self.made(&name).await.ok();
                return Err(refusal);
            }
        };
        let sentence = format!("The network is {shown} now.");
        self.note(job, "network.defined", &sentence).await?;
        Ok(NetworkChanged { name: name.to_string(), sentence, notes })
    }
}

impl Handle<host::NetworkDelete> for Agent {
    async fn obstacle(&self, _job: &Job, command: &host::NetworkDelete) -> Result<(), Refusal> {
        let network = self.network(&command.name).await?;
        self.unused_network(&network.name).await
    }

    async fn handle(&self, job: &Job, command: host::NetworkDelete) -> Result<NetworkChanged, Refusal> {
        let Stored { name, .. } = self.network(&command.name).await?;
        self.unused_network(&name).await?;
        let gone = name.clone();
        self.inner.store.run(move |connection| rows::remove(connection, &gone)).await?;
        crash::point("network-row-gone");
        let notes = self.made(&name).await?;
        let sentence = format!("The network {name} was taken away.");
        self.note(job, "network.deleted", &sentence).await?;
        Ok(NetworkChanged { name: name.to_string(), sentence, notes })
    }

    fn warning(&self, _job: &Job, command: &host::NetworkDelete) -> String {
        format!("This takes the network {} away: its bridge, its addresses and its rules.", command.name)
    }
}

impl Agent {
    /// The network of this name.
    async fn network(&self, name: &str) -> Result<Stored, Refusal> {
        let there = self.inner.networks.all().await?;
        let found = there.iter().find(|network| network.name.as_str() == name.trim());
        found.cloned().ok_or_else(|| no_network(name, "name", &names(&there)))
    }

    /// The names of all networks.
    pub(crate) async fn network_names(&self) -> Vec<String> {
        self.inner.networks.all().await.map(|all| names(&all)).unwrap_or_default()
    }

    /// Makes all networks, of which this one has to be among those that could be.
    async fn made(&self, name: &NetworkName) -> Result<Vec<String>, Refusal> {
        let unfit = |why: &str| {
            Refusal::new(Reason::Conflict, format!("The network {name} could not be made: {why}."))
                .hint("\"network info NAME\" says what is in the way of one.")
        };
        let made = self.inner.networks.make().await.map_err(|error| match error {
            MakeError::Network(NetworkError::Unfit(why)) => unfit(&why),
            MakeError::Network(NetworkError::Wanted(why)) => unfit(&why.to_string()),
            MakeError::Network(error) => {
                reference::internal(&format!("The network {name} could not be made"), &error)
            }
            MakeError::Store(error) => error.into(),
        })?;
        match failed(&made, name) {
            Some(why) => Err(unfit(&why)),
            None => Ok(made.notes),
        }
    }

    fn new_network(
        &self,
        command: &host::NetworkCreate,
        there: &[Stored],
    ) -> Result<NetworkDefinition, Refusal> {
        let mode = mode(&command.mode)?;
        let mut definition = NetworkDefinition {
            bridge: command.bridge.clone(),
            uplink: command.uplink.clone(),
            // What is too large for one is refused as any that is none.
            vlan: command.vlan.map(|vlan| vlan.try_into().unwrap_or(u16::MAX)),
            domain: command.domain.clone(),
            about: command.about.clone().unwrap_or_default(),
            ..NetworkDefinition::new(mode)
        };
        definition.subnet = match &command.subnet {
            Some(subnet) => Some(net(subnet, "subnet", "10.20.0.0/24")?),
            None if mode == Mode::Bridge => None,
            None => Some(free_subnet(there)?),
        };
        definition.subnet6 =
            command.subnet6.as_ref().map(|text| net(text, "subnet6", "fd00:20::/64")).transpose()?;
        set(&mut definition.dhcp, command.dhcp.as_deref());
        set(&mut definition.dns, command.dns.as_deref());
        definition.check().map_err(|error| wrong(&error))?;
        let name = network_name(&command.name)?;
        self.apart(&name, &definition, there)?;
        Ok(definition)
    }

    /// Refuses what another network has.
    fn apart(
        &self,
        name: &NetworkName,
        definition: &NetworkDefinition,
        there: &[Stored],
    ) -> Result<(), Refusal> {
        let mut wanted = hypervisor_core::network::Wanted::default();
        let network = |name: &NetworkName, definition: &NetworkDefinition| {
            hypervisor_core::network::Network { name: name.clone(), definition: definition.clone() }
        };
        let others = there.iter().filter(|other| other.name != *name);
        wanted.networks.extend(others.map(|other| network(&other.name, &other.definition)));
        wanted.networks.push(network(name, definition));
        let refused = |error| Refusal::new(Reason::Conflict, format!("That cannot be: {error}."));
        wanted.check().map_err(refused)
    }

    async fn store_network(&self, name: &NetworkName, definition: &NetworkDefinition) -> Result<(), Refusal> {
        let (name, definition) = (name.clone(), definition.clone());
        self.inner.store.run(move |connection| rows::define(connection, &name, &definition)).await?;
        Ok(())
    }

    /// Addresses do not change under a guest that uses them.
    fn nobody_runs(&self, name: &NetworkName) -> Result<(), Refusal> {
        let users = self.inner.networks.users(name);
        let runs = |id: &_| {
            let machine = self.inner.machines.get(*id);
            machine.is_some_and(|machine| {
                !matches!(machine.record().state, State::Stopped(_) | State::Failed(_))
            })
        };
        let running: Vec<&str> =
            users.iter().filter(|(_, id, _)| runs(id)).map(|(name, ..)| name.as_str()).collect();
        if running.is_empty() {
            return Ok(());
        }
        let text = format!("Machines with addresses of {name} run: {}.", running.join(", "));
        Err(Refusal::new(Reason::Conflict, text).field("subnet").hint("Shut them down first."))
    }

    /// Nor do those that definitions name.
    fn nobody_is_fixed(&self, name: &NetworkName, definition: &NetworkDefinition) -> Result<(), Refusal> {
        for (machine, _, nic) in self.inner.networks.users(name) {
            if let hypervisor_core::definition::Network::Named { address: Some(address), .. } = nic.network {
                self.inner.networks.usable(definition, address).map_err(|why| {
                    Refusal::new(
                        Reason::Conflict,
                        format!("{machine} is to have the address {address}: {why}."),
                    )
                    .field("subnet")
                    .hint(format!("{machine} define nic={},address=auto", nic.name))
                })?;
            }
        }
        Ok(())
    }

    async fn unused_network(&self, name: &NetworkName) -> Result<(), Refusal> {
        let mut users: Vec<String> =
            self.inner.networks.users(name).into_iter().map(|(machine, ..)| machine).collect();
        users.extend(self.inner.networks.users_in_trash(name).await?);
        users.dedup();
        if users.is_empty() {
            return Ok(());
        }
        let text = format!("The network {name} is used by {}.", users.join(", "));
        Err(Refusal::new(Reason::Conflict, text)
            .field("name")
            .hint("Put their NICs elsewhere first, such as: web1 define nic=net1,user. What is in the trash counts."))
    }
}

/// What is different about it from now on.
fn redefined(old: &NetworkDefinition, command: &host::NetworkDefine) -> Result<NetworkDefinition, Refusal> {
    let host::NetworkDefine { name: _, mode: new_mode, subnet, subnet6, dhcp, dns, domain, about } = command;
    let mut new = old.clone();
    if let Some(word) = new_mode {
        if old.mode == Mode::Bridge {
            let text = "It is a bridge of the host, which is no network of ours.";
            return Err(Refusal::new(Reason::Conflict, text).field("mode"));
        }
        new.mode = mode(word)?;
    }
    if let Some(text) = subnet {
        new.subnet = Some(net(text, "subnet", "10.20.0.0/24")?);
    }
    match subnet6.as_deref() {
        Some("none") => new.subnet6 = None,
        Some(text) => new.subnet6 = Some(net(text, "subnet6", "fd00:20::/64")?),
        None => {}
    }
    set(&mut new.dhcp, dhcp.as_deref());
    set(&mut new.dns, dns.as_deref());
    if let Some(domain) = domain {
        new.domain = Some(domain.clone());
    }
    if let Some(about) = about {
        new.about.clone_from(about);
    }
    new.check().map_err(|error| wrong(&error))?;
    Ok(new)
}

/// Whether asking for it again would change nothing.
pub(crate) fn is_so(now: &NetworkDefinition, args: &serde_json::Value) -> bool {
    let text = |key: &str| args.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let asked = host::NetworkDefine {
        name: text("name").unwrap_or_default(),
        mode: text("mode"),
        subnet: text("subnet"),
        subnet6: text("subnet6"),
        dhcp: text("dhcp"),
        dns: text("dns"),
        domain: text("domain"),
        about: text("about"),
    };
    redefined(now, &asked).is_ok_and(|definition| definition == *now)
}

/// The first usual subnet that neither the host nor another network has.
fn free_subnet(there: &[Stored]) -> Result<Ipv4Net, Refusal> {
    let mut taken: Vec<Ipv4Net> = there.iter().filter_map(|network| network.definition.subnet).collect();
    let addresses = nix::ifaddrs::getifaddrs().into_iter().flatten();
    taken.extend(addresses.filter_map(|one| {
        let address = *one.address?.as_sockaddr_in()?;
        let mask =
            one.netmask.and_then(|mask| Some(mask.as_sockaddr_in()?.ip())).unwrap_or(Ipv4Addr::BROADCAST);
        Ipv4Net::with_netmask(address.ip(), mask).ok()
    }));
    let free = (0..=255_u8).filter_map(|n| Ipv4Net::new(Ipv4Addr::new(10, 20, n, 0), 24).ok());
    free.into_iter()
        .find(|free| !taken.iter().any(|taken| taken.contains(free) || free.contains(taken)))
        .ok_or_else(|| {
            Refusal::new(Reason::Conflict, "No subnet of 10.20.0.0/16 is free.")
                .field("subnet")
                .hint("Give one, such as subnet=192.168.77.0/24")
        })
}

fn failed(made: &Made, name: &NetworkName) -> Option<String> {
    made.failed.iter().find(|(failed, _)| failed == name).map(|(_, why)| why.clone())
}

fn names(all: &[Stored]) -> Vec<String> {
    all.iter().map(|network| network.name.to_string()).collect()
}

fn described(name: &NetworkName, definition: &NetworkDefinition) -> String {
    let place = definition.subnet.map_or_else(|| definition.bridge(name), |net| net.to_string());
    format!("{name} ({}, {place})", definition.mode.word())
}

fn network_name(text: &str) -> Result<NetworkName, Refusal> {
    text.trim().parse().map_err(|error: hypervisor_core::network::NetworkNameError| {
        Refusal::new(Reason::BadRequest, format!("{error}.")).field("name")
    })
}

fn mode(word: &str) -> Result<Mode, Refusal> {
    let found = Mode::ALL.into_iter().find(|mode| mode.word() == word);
    found.ok_or_else(|| {
        Refusal::new(Reason::BadRequest, "A mode is nat, routed, isolated or bridge.").field("mode")
    })
}

fn net<T: std::str::FromStr>(text: &str, field: &'static str, such_as: &str) -> Result<T, Refusal> {
    text.trim().parse().map_err(|_| {
        let shown = skerry_stanzas::safe::safe_line(text, 80);
        Refusal::new(Reason::BadRequest, format!("{shown:?} is not a subnet: write one as {such_as}."))
            .field(field)
    })
}

fn set(to: &mut bool, word: Option<&str>) {
    if let Some(word) = word {
        *to = word == "on";
    }
}

fn wrong(error: &NetworkDefinitionError) -> Refusal {
    let field = match error {
        NetworkDefinitionError::NoSubnet(_) | NetworkDefinitionError::Subnet(..) => "subnet",
        NetworkDefinitionError::NoBridge | NetworkDefinitionError::Interface(_) => "bridge",
        NetworkDefinitionError::Vlan(_) | NetworkDefinitionError::VlanAlone => "vlan",
        NetworkDefinitionError::Domain(_) => "domain",
        NetworkDefinitionError::About => "about",
        _ => "mode",
    };
    Refusal::new(Reason::BadRequest, format!("That cannot be: {error}.")).field(field)
}

fn taken(name: &NetworkName) -> Refusal {
    Refusal::new(Reason::Conflict, format!("There is a network {name} already."))
        .field("name")
        .hint("Choose another name.")
}

/// There is none of this name.
pub(super) fn no_network(name: &str, field: &str, names: &[String]) -> Refusal {
    let shown = skerry_stanzas::safe::safe_line(name, 80);
    let refusal =
        Refusal::new(Reason::NotFound, format!("There is no network {shown:?} on this host.")).field(field);
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => refusal.hint(format!("Did you mean {near}?")),
        None if names.is_empty() => refusal.hint("It has none: make one with network create lan"),
        None => refusal.hint(format!("There is: {}.", names.join(", "))),
    }
}
