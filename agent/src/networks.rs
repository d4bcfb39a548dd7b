//! The networks of this host, from the agent's side: what is wanted, out of the store and out of what the
//! machines are made of; and that it is made so, when something changes and now and then.
//!
//! A host without networks is not touched at all, nor are any rights asked for.

mod coming;
mod hand;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use hypervisor_core::{
    definition::{self, Mac, Nic},
    driver::{Connect, DriverError, Networks as Connected},
    machine::MachineId,
    network::{
        Host, Interface, Made, Mode, Network, NetworkDefinition, NetworkError, NetworkName, Plug, Wanted,
    },
};
use tokio::sync::{Notify, broadcast::error::RecvError};

pub(crate) use self::coming::Expected;
use self::{coming::Comings, hand::Hand};
use crate::{
    agent::Announcement,
    config::Config,
    machine::publisher::Publisher,
    machines::Machines,
    store::{
        Store, StoreError, machines,
        networks::{self as rows, Stored, Wish},
        schema,
    },
};

/// How often it is looked whether all is still as it was made.
const AGAIN: Duration = Duration::from_secs(60);
/// Under which name is remembered that something of ours may be on the host.
const MADE: &str = "networks-made";

/// The networks of this host.
#[derive(Clone)]
pub(crate) struct Networks(Arc<Inner>);

struct Inner {
    store: Store,
    machines: Arc<Machines>,
    coming: Comings,
    /// Something else may be wanted than was made.
    changed: Notify,
    hand: Hand,
    /// One at a time, so that an earlier wish never comes after a later one.
    turn: tokio::sync::Mutex<()>,
    /// Rules of machines are changed one after the other: each change begins with what the one before left.
    ruling: tokio::sync::Mutex<()>,
    /// What was wanted last, and what came of it.
    last: Mutex<(Wanted, Made)>,
}

/// Why networks could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Networks {
    /// Those that the store knows.
    pub(crate) fn new(store: Store, machines: Arc<Machines>, config: &Config) -> Self {
        let hand = Hand::of(config);
        Self(Arc::new(Inner {
            store,
            machines,
            coming: Comings::default(),
            changed: Notify::new(),
            hand,
            turn: tokio::sync::Mutex::default(),
            ruling: tokio::sync::Mutex::default(),
            last: Mutex::default(),
        }))
    }

    /// All of them, by name.
    pub(crate) async fn all(&self) -> Result<Vec<Stored>, StoreError> {
        self.0.store.run(rows::all).await
    }

    /// The turn of who changes a machine's rules, as long as it is held.
    pub(crate) async fn ruling(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.ruling.lock().await
    }

    /// What was wanted last, and what came of it.
    pub(crate) fn last(&self) -> (Wanted, Made) {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes everything as it is wanted now.
    ///
    /// # Errors
    /// When it could not be made. Single networks that could not are in the answer.
    pub(crate) async fn make(&self) -> Result<Made, MakeError> {
        let _turn = self.0.turn.lock().await;
        let wanted = self.wanted().await?;
        let store = &self.0.store;
        let touched =
            store.run(|connection| schema::fact(connection, MADE)).await?.is_some_and(|made| made == "yes");
        if wanted.networks.is_empty() && !touched {
            return Ok(Made::default());
        }
        if !touched {
            store.run(|connection| schema::set_fact(connection, MADE, "yes")).await?;
        }
        let made = self.0.hand.make(wanted.clone()).await?;
        if wanted.networks.is_empty() {
            store.run(|connection| schema::set_fact(connection, MADE, "no")).await?;
        }
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = (wanted, made.clone());
        Ok(made)
    }

    /// The addresses that are in use, by the MAC of who uses them.
    pub(crate) async fn look(&self) -> Host {
        if self.last().0.networks.is_empty() {
            return Host::default();
        }
        self.0.hand.look().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the networks could not be looked at");
            Host::default()
        })
    }

    /// The NICs that are on a network, with the machines they belong to; also of machines on their way here.
    pub(crate) fn users(&self, network: &NetworkName) -> Vec<(String, MachineId, Nic)> {
        let mut found = self.0.coming.nics(|id| self.0.machines.get(id).is_some());
        for machine in self.0.machines.all() {
            let record = machine.record();
            found.extend(
                record.definition.nics.iter().map(|nic| (record.name.to_string(), record.id, nic.clone())),
            );
        }
        found.retain(|(.., nic)| is_on(nic, network));
        // As they came to be: whoever was here first keeps its name.
        found.sort_by(|one, other| (one.1, &one.2.name).cmp(&(other.1, &other.2.name)));
        found
    }

    /// The same among machines in the trash, by their names.
    pub(crate) async fn users_in_trash(&self, network: &NetworkName) -> Result<Vec<String>, StoreError> {
        let trash = self.0.store.run(machines::trash).await?;
        let on_it =
            |one: &machines::Trashed| one.stored.record.definition.nics.iter().any(|nic| is_on(nic, network));
        let users = trash.into_iter().filter(on_it);
        Ok(users.map(|one| format!("{} (in the trash)", one.stored.record.name)).collect())
    }

    /// Whether a guest can have this address on such a network; or why not.
    pub(crate) fn usable(
        &self,
        network: &NetworkDefinition,
        address: std::net::Ipv4Addr,
    ) -> Result<(), &'static str> {
        let Some(subnet) = network.subnet else { return Ok(()) };
        match address {
            _ if !subnet.contains(&address) => Err("it is not of that network"),
            _ if Some(address) == network.gateway() => Err("it is the host's"),
            _ if address == subnet.network() || address == subnet.broadcast() => Err("it is nobody's"),
            _ => Ok(()),
        }
    }

    /// Everything that is wanted, with an address for each NIC.
    async fn wanted(&self) -> Result<Wanted, MakeError> {
        let mut wanted = Wanted::default();
        for stored in self.all().await? {
            let network = Network { name: stored.name.clone(), definition: stored.definition.clone() };
            let users = self.users(&stored.name);
            let wishes = users.iter().map(|(_, machine, nic)| Wish {
                machine: *machine,
                nic: nic.name.clone(),
                fixed: fixed(nic),
                had: self.0.coming.had(*machine, &nic.name, &stored.name),
            });
            let wishes: Vec<Wish> = wishes.collect();
            let lent = match stored.definition.mode {
                Mode::Bridge => wishes.iter().map(|wish| wish.fixed).collect(),
                _ => self.0.store.run(move |connection| rows::lend(connection, &stored, &wishes)).await?,
            };
            let mut labels = BTreeMap::new();
            for ((machine, id, nic), address) in users.into_iter().zip(lent) {
                if address.is_none() && network.definition.mode != Mode::Bridge {
                    tracing::error!(machine, nic = nic.name, network = %network.name, "no address is left for it");
                    continue;
                }
                let Ok(interface) = nic.interface(id).parse::<Interface>() else { continue };
                let label = label(&machine, id, &nic.name, &mut labels);
                wanted.plugs.push(Plug {
                    interface,
                    network: network.name.clone(),
                    label,
                    mac: nic.address(id),
                    address,
                    guard: nic.guard,
                    rate: nic.rate,
                    rules: self.rules(id),
                });
            }
            wanted.networks.push(network);
        }
        Ok(wanted)
    }

    fn rules(&self, id: MachineId) -> Vec<definition::Rule> {
        self.0
            .machines
            .get(id)
            .map(|machine| machine.record().definition.firewall.clone())
            .unwrap_or_else(|| self.0.coming.rules(id))
    }
}

fn is_on(nic: &Nic, network: &NetworkName) -> bool {
    matches!(&nic.network, definition::Network::Named { name, .. } if name == network)
}

/// The address a NIC's definition gives it.
fn fixed(nic: &Nic) -> Option<std::net::Ipv4Addr> {
    match &nic.network {
        definition::Network::Named { address, .. } => *address,
        definition::Network::User { .. } | definition::Network::Bridge { .. } => None,
    }
}

/// What a machine is called on a network: its name, as far as the DNS can say it. The second NIC of a machine
/// there has its own name behind it; who comes second to a name has none.
fn label(machine: &str, id: MachineId, nic: &str, taken: &mut BTreeMap<String, MachineId>) -> Option<String> {
    let plain: String = machine.chars().map(|c| if " _.".contains(c) { '-' } else { c }).collect();
    let fits =
        |label: &str| label.len() <= 63 && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let of_second = format!("{plain}-{nic}");
    let label = match taken.get(&plain) {
        None => plain,
        Some(first) if *first == id && !taken.contains_key(&of_second) => of_second,
        Some(_) => return None,
    };
    // The host's own name there.
    if !fits(&label) || label == "gateway" {
        return None;
    }
    taken.insert(label.clone(), id);
    Some(label)
}

#[async_trait]
impl Connect for Networks {
    async fn tap(&self, id: MachineId, nic: &Nic) -> Result<OwnedFd, DriverError> {
        let interface = self.ready(id, nic).await?;
        self.0.hand.tap(&interface).await.map_err(said)
    }

    async fn join(&self, id: MachineId, nic: &Nic) -> Result<(), DriverError> {
        let interface = self.ready(id, nic).await?;
        self.0.hand.plug(&interface).await.map_err(said)
    }
}

impl Networks {
    /// The network is there, and its rules know the NIC, before the NIC is.
    async fn ready(&self, id: MachineId, nic: &Nic) -> Result<Interface, DriverError> {
        let definition::Network::Named { name, .. } = &nic.network else {
            return Err(DriverError::Unfit(format!("the NIC {} is on no network", nic.name)));
        };
        let unfit = |why: String| DriverError::Unfit(format!("the network {name}: {why}"));
        let made = self.make().await.map_err(|error| match error {
            MakeError::Network(NetworkError::Unfit(why)) => unfit(why),
            error => DriverError::system(format!("the network {name} could not be made"), error),
        })?;
        if let Some((_, why)) = made.failed.iter().find(|(failed, _)| failed == name) {
            return Err(unfit(why.clone()));
        }
        let interface: Interface =
            nic.interface(id).parse().map_err(|error| DriverError::system("naming an interface", error))?;
        let (wanted, _) = self.last();
        if wanted.network(name).is_none() {
            return Err(unfit("it is not there (see: network list)".into()));
        }
        if !wanted.plugs.iter().any(|plug| plug.interface == interface) {
            return Err(unfit("no address is left in it".into()));
        }
        Ok(interface)
    }
}

fn said(error: NetworkError) -> DriverError {
    match error {
        NetworkError::Unfit(why) => DriverError::Unfit(why),
        error => DriverError::system("connecting a NIC", error),
    }
}

impl From<Networks> for Connected {
    fn from(networks: Networks) -> Self {
        Self::new(Arc::new(networks))
    }
}

/// Addresses of a machine's NICs that are seen in use: address, NIC, and who says so.
pub(crate) fn of_machine(host: &Host, id: MachineId, nics: &[Nic]) -> Vec<(IpAddr, String, &'static str)> {
    let mut found = Vec::new();
    for nic in nics {
        let mac: Mac = nic.address(id);
        let its = host.addresses.iter().filter(|address| address.mac == mac);
        found.extend(its.map(|address| (address.address, nic.name.clone(), address.from.word())));
    }
    found
}

/// Makes the networks again whenever a machine changed, and now and then, until the agent ends.
pub(crate) async fn keep(networks: Networks, publisher: Weak<Publisher>) {
    let Some(mut told) = publisher.upgrade().map(|publisher| publisher.listen()) else { return };
    let mut again = tokio::time::interval(AGAIN);
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let is_due = tokio::select! {
            _ = again.tick() => true,
            () = networks.0.changed.notified() => networks.has_changed().await,
            told = told.recv() => match told {
                Ok(Announcement::Machine { .. } | Announcement::Gone { .. }) | Err(RecvError::Lagged(_)) => {
                    networks.has_changed().await
                }
                Ok(Announcement::Event(_) | Announcement::Rights) => false,
                Err(RecvError::Closed) => return,
            },
        };
        if is_due && let Err(error) = networks.make().await {
            tracing::error!(%error, "the networks of this host could not be made");
        }
    }
}

impl Networks {
    /// Whether something else is wanted than was made last.
    async fn has_changed(&self) -> bool {
        match self.wanted().await {
            Ok(wanted) => wanted != self.last().0,
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_a_network_are_unlike_each_other() {
        let mut taken = BTreeMap::new();
        let (one, two) = (MachineId(uuid::Uuid::from_u128(1)), MachineId(uuid::Uuid::from_u128(2)));
        let mut name = |machine: &str, id, nic: &str| label(machine, id, nic, &mut taken);
        assert_eq!(name("web 1", one, "net1").as_deref(), Some("web-1"));
        assert_eq!(name("web 1", one, "net2").as_deref(), Some("web-1-net2"));
        assert_eq!(name("web.1", two, "net1"), None, "it is the other's");
        assert_eq!(name("größe", two, "net1"), None, "the DNS cannot say it");
        assert_eq!(name("gateway", two, "net1"), None, "that is the host");
    }
}
