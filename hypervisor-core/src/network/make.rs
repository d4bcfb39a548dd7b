//! Making it so: what is wanted and what is found, and the steps between them.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::fs::DirBuilderExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::Mutex;

use super::{
    Host, Interface, Mode, Network, NetworkError, NetworkName, Plug, Wanted, dnsmasq, forwarding, found,
    ip::{self, Link, ip},
    nft,
    ours::{self, is_our_bridge, is_our_vlan, mac_of_vlan},
    tap,
};

/// Held by whoever makes networks: it is the network namespace's own, and gone with the process.
const KEEPER: &str = "skerry-networks";
/// `CAP_NET_ADMIN` of linux/capability.h.
const NET_ADMIN: u32 = 12;

/// How often it is tried to take hold of them, and how long is waited in between.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(50);

/// Makes networks.
pub struct Maker {
    folder: PathBuf,
    /// Called at each step, for the tests that die there.
    step: fn(&'static str),
    kept: Mutex<Kept>,
}

/// What is remembered between two times; found anew after a restart.
#[derive(Default)]
struct Kept {
    keeper: Option<UnixListener>,
    wanted: Wanted,
    /// What nftables was told last.
    told: Option<String>,
}

/// Networks that could not be made, and why.
type Failed = Vec<(NetworkName, String)>;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Made {
    /// What a person should know: of rules of others that are in the way, say.
    pub notes: Vec<String>,
    /// Networks that could not be made, each with why; the others were.
    pub failed: Vec<(NetworkName, String)>,
}

impl Maker {
    /// One that keeps what it has to in `folder`. `step` is called at each step.
    pub fn new(folder: PathBuf, step: fn(&'static str)) -> Self {
        Self { folder, step, kept: Mutex::default() }
    }

    /// Whether this process may make networks at all.
    pub fn may() -> bool {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        effective.is_some_and(|mask| mask >> NET_ADMIN & 1 == 1)
    }

    /// Makes it so. What is so already is left alone; after an error the next time goes on from there.
    ///
    /// # Errors
    /// The first thing that could not be done.
    pub async fn make(&self, wanted: Wanted) -> Result<Made, NetworkError> {
        wanted.check()?;
        let mut kept = self.kept.lock().await;
        if kept.keeper.is_none() {
            kept.keeper = Some(keep().await?);
        }
        let prepared = fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.folder);
        prepared
            .map_err(|source| NetworkError::system(format!("making {}", self.folder.display()), source))?;
        let links = ip::links().await?;
        let plan = forwarding::plan(&wanted, &links, &self.folder)?;
        plan.note(&self.folder)?;
        (self.step)("net-noted");
        // Rules before interfaces: nothing passes unruled, not even for a moment.
        rule(&wanted, &plan.borrowed(), &mut kept.told).await?;
        (self.step)("net-ruled");
        let mut failed = self.join(&wanted, &links).await?;
        (self.step)("net-joined");
        failed.extend(self.serve(&wanted, &failed).await?);
        (self.step)("net-served");
        plan.switch(&self.folder)?;
        (self.step)("net-switched");
        let mut notes = plan.notes;
        notes.extend(found::in_the_way(&wanted).await);
        kept.wanted = wanted;
        Ok(Made { notes, failed })
    }

    /// Makes the host's end of a NIC that is wanted, joined to its network. It lives as long as the
    /// descriptor.
    ///
    /// # Errors
    /// When it is not wanted, or could not be made.
    pub async fn tap(&self, interface: &Interface) -> Result<OwnedFd, NetworkError> {
        let kept = self.kept.lock().await;
        let network = plugged(&kept.wanted, interface)?;
        let device = tap::open(interface)?;
        connect(interface, network).await?;
        Ok(device)
    }

    /// Joins the host's end of a NIC, that its QEMU has made itself, to its network.
    ///
    /// # Errors
    /// When it is not wanted, or not there.
    pub async fn plug(&self, interface: &Interface) -> Result<(), NetworkError> {
        let kept = self.kept.lock().await;
        connect(interface, plugged(&kept.wanted, interface)?).await
    }

    /// What is seen on the networks.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub async fn look(&self) -> Result<Host, NetworkError> {
        let wanted = self.kept.lock().await.wanted.clone();
        found::look(&wanted, &self.folder).await
    }

    /// Bridges and who is on them.
    async fn join(&self, wanted: &Wanted, links: &[Link]) -> Result<Failed, NetworkError> {
        let mut failed = Failed::new();
        for network in &wanted.networks {
            match bridge(network, links).await {
                Ok(()) => (self.step)("net-bridged"),
                Err(error) => failed.push((network.name.clone(), error.to_string())),
            }
        }
        // A bridge that somebody took away and that is new now has lost its guests.
        for plug in &wanted.plugs {
            let Some(link) = links.iter().find(|link| link.name == plug.interface.as_str()) else { continue };
            let Some(network) = wanted.network(&plug.network) else { continue };
            if !is_in(&failed, &network.name)
                && (link.master.as_ref() != Some(&network.bridge()) || !link.is_up())
            {
                connect(&plug.interface, network).await?;
            }
        }
        for gone in ours::unwanted(wanted, links) {
            delete(gone).await?;
        }
        Ok(failed)
    }

    /// The processes that give out addresses and names.
    async fn serve(&self, wanted: &Wanted, without: &Failed) -> Result<Failed, NetworkError> {
        let failed = |source| NetworkError::system("looking for dnsmasq", source);
        let mut running = dnsmasq::running(&self.folder).map_err(failed)?;
        let (mut folders, mut failed) = (BTreeSet::new(), Failed::new());
        for network in wanted.networks.iter().filter(|network| !is_in(without, &network.name)) {
            let folder = self.folder.join(network.name.as_str());
            let plugs: Vec<&Plug> = wanted.plugs.iter().filter(|plug| plug.network == network.name).collect();
            let Some(text) = dnsmasq::configuration(network, &plugs, &folder) else { continue };
            let file = folder.join(dnsmasq::file_name(&text));
            folders.insert(folder.clone());
            let up_to_date = running.iter().any(|one| one.file == file);
            if !up_to_date {
                written(&folder, &file, &text)?;
                (self.step)("net-configured");
            }
            let (same, others): (Vec<_>, Vec<_>) =
                running.into_iter().partition(|one| one.file == file || !one.file.starts_with(&folder));
            running = same;
            for old in &others {
                dnsmasq::end(old).await?;
            }
            if !up_to_date {
                (self.step)("net-silent");
                if let Err(error) = dnsmasq::start(&file).await {
                    failed.push((network.name.clone(), error.to_string()));
                }
            }
            tidy(&folder, &file);
        }
        for gone in running.iter().filter(|one| !folders.iter().any(|folder| one.file.starts_with(folder))) {
            dnsmasq::end(gone).await?;
        }
        let named: BTreeSet<PathBuf> =
            wanted.networks.iter().map(|network| self.folder.join(network.name.as_str())).collect();
        sweep(&self.folder, &named);
        Ok(failed)
    }
}

fn is_in(failed: &Failed, name: &NetworkName) -> bool {
    failed.iter().any(|(failed, _)| failed == name)
}

/// Holds what only one process may.
async fn keep() -> Result<UnixListener, NetworkError> {
    if !Maker::may() {
        return Err(NetworkError::Unfit(
            "making networks takes rights this agent has not: run skerry-net beside it (see the unit \
             skerry-net.service), or the agent as root"
                .into(),
        ));
    }
    let bind = || SocketAddr::from_abstract_name(KEEPER).and_then(|name| UnixListener::bind_addr(&name));
    let mut bound = bind();
    // One that was killed may have left a child that has not yet become another program: nothing tells when.
    for _ in 0..TRIES {
        if !bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
        tokio::time::sleep(BETWEEN).await;
        bound = bind();
    }
    bound.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => NetworkError::Unfit(
            "the networks of this host are kept by another agent, or by skerry-net".into(),
        ),
        _ => NetworkError::system("taking hold of the networks", source),
    })
}

fn plugged<'a>(wanted: &'a Wanted, interface: &Interface) -> Result<&'a Network, NetworkError> {
    let plug = wanted.plugs.iter().find(|plug| plug.interface == *interface);
    plug.and_then(|plug| wanted.network(&plug.network))
        .ok_or_else(|| NetworkError::Unfit(format!("{interface} is on no network")))
}

/// Tells nftables, where what it was told last is something else, or is gone.
async fn rule(wanted: &Wanted, borrowed: &[String], told: &mut Option<String>) -> Result<(), NetworkError> {
    let wish = nft::transaction(wanted, borrowed, &nft::Present::default());
    let present = present().await?;
    if told.as_ref() == Some(&wish) && present.is_some() {
        return Ok(());
    }
    let nothing = wanted.plugs.is_empty() && wanted.networks.is_empty() && borrowed.is_empty();
    if nothing && present.is_none() {
        return Ok(());
    }
    let text = nft::transaction(wanted, borrowed, &present.unwrap_or_default());
    *told = None;
    ip::run("nft", &["-f", "-"], &text).await?;
    *told = Some(wish);
    Ok(())
}

/// What there is of our tables: `None` for none at all.
async fn present() -> Result<Option<nft::Present>, NetworkError> {
    let said = ip::run("nft", &["-j", "list", "tables"], "").await?;
    let unread = |error: serde_json::Error| NetworkError::system("reading what nft says", error.into());
    let tables: serde_json::Value = serde_json::from_str(&said).map_err(unread)?;
    let ours = |family: &str| {
        tables["nftables"].as_array().is_some_and(|all| {
            all.iter().any(|one| one["table"]["name"] == nft::TABLE && one["table"]["family"] == family)
        })
    };
    if !ours("bridge") {
        return Ok(ours("inet").then(nft::Present::default));
    }
    let said = ip::run("nft", &["-j", "-t", "list", "table", "bridge", nft::TABLE], "").await?;
    let table: serde_json::Value = serde_json::from_str(&said).map_err(unread)?;
    let named = |what: &str| {
        let all = table["nftables"].as_array().into_iter().flatten();
        all.filter_map(|one| one[what]["name"].as_str().map(str::to_owned)).collect()
    };
    Ok(Some(nft::Present { chains: named("chain"), sets: named("set") }))
}

/// The bridge of a network, with the host's addresses; one of the host's is only looked for.
async fn bridge(network: &Network, links: &[Link]) -> Result<(), NetworkError> {
    let name = network.bridge();
    let found = links.iter().find(|link| link.name == name);
    if !network.makes_bridge() {
        return match found {
            Some(link) if link.is("bridge") => filters(network, link),
            _ => Err(NetworkError::Unfit(format!("there is no bridge {name} on this host"))),
        };
    }
    match found {
        Some(link) if is_our_bridge(link) => {}
        Some(_) => return Err(NetworkError::Unfit(format!("there is an interface {name} that is not ours"))),
        None => {
            elsewhere(network, links)?;
            let mac = network.mac().to_string();
            ip(&["link", "add", "name", &name, "address", &mac, "type", "bridge", "forward_delay", "0"])
                .await?;
        }
    }
    let definition = &network.definition;
    let mut wanted: Vec<(std::net::IpAddr, u8)> = Vec::new();
    wanted.extend(definition.gateway().zip(definition.subnet).map(|(ip, net)| (ip.into(), net.prefix_len())));
    wanted
        .extend(definition.gateway6().zip(definition.subnet6).map(|(ip, net)| (ip.into(), net.prefix_len())));
    let stale = found.into_iter().flat_map(|link| &link.addr_info).filter(|has| has.scope != "link");
    for has in stale {
        if let Some(address) = has.local.filter(|address| !wanted.contains(&(*address, has.prefixlen))) {
            ip(&["address", "delete", &format!("{address}/{}", has.prefixlen), "dev", &name]).await?;
        }
    }
    for (address, prefix) in wanted {
        if !found.is_some_and(|link| link.has(address, prefix)) {
            let nodad: &[&str] = if address.is_ipv6() { &["nodad"] } else { &[] };
            let address = format!("{address}/{prefix}");
            ip(&[&["address", "replace", &address, "dev", &name], nodad].concat()).await?;
        }
    }
    if definition.mode == Mode::Bridge {
        forwarding::speak_no_ipv6(&name)?;
    }
    if !found.is_some_and(Link::is_up) {
        ip(&["link", "set", "dev", &name, "up"]).await?;
    }
    match network.vlan_device() {
        Some((device, uplink, vlan)) => vlan_device(&name, &device, uplink, vlan, links).await,
        None => Ok(()),
    }
}

/// Refuses addresses that the host has elsewhere: one of the two would no longer be reached.
fn elsewhere(network: &Network, links: &[Link]) -> Result<(), NetworkError> {
    let definition = &network.definition;
    for link in links {
        for has in &link.addr_info {
            let Some(address) = has.local else { continue };
            let net = ipnet::IpNet::new_assert(
                address,
                has.prefixlen.min(if address.is_ipv4() { 32 } else { 128 }),
            );
            let ours =
                [definition.subnet.map(ipnet::IpNet::from), definition.subnet6.map(ipnet::IpNet::from)];
            if ours.into_iter().flatten().any(|ours| ours.contains(&net) || net.contains(&ours)) {
                let why = format!("the addresses {net} are in use already, by {}", link.name);
                return Err(NetworkError::Unfit(why));
            }
        }
    }
    Ok(())
}

/// The way from a bridge of ours to a VLAN.
async fn vlan_device(
    bridge: &str,
    device: &str,
    uplink: &str,
    vlan: u16,
    links: &[Link],
) -> Result<(), NetworkError> {
    let found = links.iter().find(|link| link.name == device);
    let right = |link: &&Link| {
        is_our_vlan(link) && link.link.as_deref() == Some(uplink) && link.linkinfo.about.id == Some(vlan)
    };
    if let Some(other) = found.filter(|link| !right(link)) {
        if !is_our_vlan(other) {
            return Err(NetworkError::Unfit(format!("there is an interface {device} that is not ours")));
        }
        delete(device).await?;
    }
    if found.filter(right).is_none() {
        let number = vlan.to_string();
        let mac = mac_of_vlan(device).to_string();
        let words =
            ["link", "add", "link", uplink, "name", device, "address", &mac, "type", "vlan", "id", &number];
        let made = ip(&words).await;
        made.map_err(|error| match error {
            NetworkError::Unfit(why) if ip::is_missing(&why) => {
                NetworkError::Unfit(format!("there is no interface {uplink} on this host"))
            }
            NetworkError::Unfit(why)
                if why.contains("Unknown device type") || why.contains("not supported") =>
            {
                NetworkError::Unfit("this host's kernel has no VLANs (module 8021q)".into())
            }
            error => error,
        })?;
    }
    if !found.filter(right).is_some_and(|link| link.master.as_deref() == Some(bridge) && link.is_up()) {
        forwarding::speak_no_ipv6(device)?;
        ip(&["link", "set", "dev", device, "addrgenmode", "none", "master", bridge]).await?;
        ip(&["link", "set", "dev", device, "up"]).await?;
    }
    Ok(())
}

/// Whether a bridge of the host's keeps VLANs apart, where that is wanted.
fn filters(network: &Network, link: &Link) -> Result<(), NetworkError> {
    if network.definition.vlan.is_none() || link.linkinfo.about.vlan_filtering == Some(1) {
        return Ok(());
    }
    Err(NetworkError::Unfit(format!(
        "the bridge {0} does not keep VLANs apart: ip link set {0} type bridge vlan_filtering 1",
        link.name
    )))
}

/// Joins an interface to the bridge of a network, within its VLAN.
async fn connect(interface: &Interface, network: &Network) -> Result<(), NetworkError> {
    let (name, bridge) = (interface.as_str(), network.bridge());
    let joined = ip(&["link", "set", "dev", name, "addrgenmode", "none", "master", &bridge]).await;
    joined.map_err(|error| match error {
        NetworkError::Unfit(why) if ip::is_missing(&why) => {
            NetworkError::Unfit(format!("there is no bridge {bridge} on this host"))
        }
        error => error,
    })?;
    if let Some(vlan) = network.definition.vlan.filter(|_| !network.makes_bridge()) {
        let vlan = vlan.to_string();
        // Whatever the bridge gives a new port by itself is not its.
        ip::run("bridge", &["vlan", "delete", "dev", name, "vid", "1-4094"], "").await.ok();
        ip::run("bridge", &["vlan", "add", "dev", name, "vid", &vlan, "pvid", "untagged"], "").await?;
    }
    ip(&["link", "set", "dev", name, "up"]).await
}

/// Takes an interface away; fine if it is gone.
async fn delete(name: &str) -> Result<(), NetworkError> {
    match ip(&["link", "delete", "dev", name]).await {
        Err(NetworkError::Unfit(why)) if ip::is_missing(&why) => Ok(()),
        done => done,
    }
}

fn written(folder: &Path, file: &Path, text: &str) -> Result<(), NetworkError> {
    let beside = folder.join("dnsmasq.new");
    let done = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&beside, text))
        .and_then(|()| fs::rename(&beside, file));
    done.map_err(|source| NetworkError::system(format!("writing to {}", folder.display()), source))
}

/// What an earlier dnsmasq was told is of no use any more. The leases are.
fn tidy(folder: &Path, keep: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let old = entry.file_name().to_str().is_some_and(|name| name.starts_with("dnsmasq"));
        if old && path != keep {
            let _ = fs::remove_file(path);
        }
    }
}

/// Folders of networks that are no more.
fn sweep(above: &Path, keep: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir()
            && !keep.contains(&path)
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::warn!(folder = %path.display(), %error, "a network's folder could not be removed");
        }
    }
}
