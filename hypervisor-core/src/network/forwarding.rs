//! Forwarding: whether the host passes on what is not for itself.
//!
//! Linux can say so for each interface that something comes in by (IPv4, and IPv6 since 6.17), and so do we;
//! the switch for all of the host is never touched. An interface that did not forward is borrowed: it is
//! noted here first, then the rules see to it that what it passes on goes to our networks alone, and only
//! then it is switched. When our last network that needs it is gone, it is switched back. Where the host
//! forwards anyhow, there is nothing to do, and nothing of ours in the way.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{Mode, NetworkError, Wanted, ip::Link};

/// Where is noted what was borrowed.
const NOTE: &str = "forwarding.json";
/// What IPv6 needs said to a person.
const SIX: &str = "IPv6 does not leave it: this kernel forwards IPv6 for the whole host or not at all, and \
                   the host does not. If it is to: sysctl -w net.ipv6.conf.all.forwarding=1 (an uplink that \
                   has its address from a router also needs accept_ra=2)";

/// What was borrowed, since this start of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Borrowed {
    boot: String,
    /// By IPv4.
    pub(super) four: Vec<String>,
    /// By IPv6.
    pub(super) six: Vec<String>,
}

/// What is to be switched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    before: Borrowed,
    pub(super) after: Borrowed,
    bridges: Vec<String>,
    /// What a person has to do.
    pub(super) notes: Vec<String>,
}

/// The families, the folder of each, and the switch of one interface.
const FOUR: (&str, &str) = ("ipv4", "forwarding");
const FORCED: (&str, &str) = ("ipv6", "force_forwarding");

/// What is to be switched so that the wanted networks reach out. `links` are the host's interfaces.
pub(super) fn plan(wanted: &Wanted, links: &[Link], folder: &Path) -> Result<Plan, NetworkError> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    let noted: Option<Borrowed> = match fs::read(folder.join(NOTE)) {
        Ok(text) => serde_json::from_slice(&text).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(NetworkError::system("reading what is noted of forwarding", error)),
    };
    // The switches are off again after a start of the host.
    let before = noted.filter(|noted| noted.boot == boot).unwrap_or(Borrowed { boot, ..Borrowed::default() });
    let mut plan = Plan { after: before.clone(), before, ..Plan::default() };
    let reaching = |mode: Mode| matches!(mode, Mode::Nat | Mode::Routed);
    let networks = wanted.networks.iter().filter(|network| reaching(network.definition.mode));
    let (mut four, mut six) = (false, false);
    for network in networks {
        four |= network.definition.subnet.is_some();
        six |= network.definition.subnet6.is_some();
        plan.bridges.push(network.bridge());
    }
    let is_ours = |name: &str| wanted.networks.iter().any(|network| network.bridge() == name);
    let others: Vec<&Link> = links
        .iter()
        .filter(|link| !link.is_loopback() && !is_ours(&link.name) && !link.name.starts_with("sk"))
        .collect();
    let with_address = |is_four: bool| {
        let usable = move |link: &&&Link| {
            link.addr_info
                .iter()
                .any(|has| has.scope != "link" && has.local.is_some_and(|ip| ip.is_ipv4() == is_four))
        };
        others.iter().filter(usable).map(|link| link.name.clone()).collect::<Vec<_>>()
    };
    plan.after.four = borrow(four, FOUR, &plan.before.four, with_address(true));
    if six && !Path::new("/proc/sys/net/ipv6/conf/all/force_forwarding").exists() {
        if !is_on("ipv6", "all", "forwarding") {
            plan.notes.push(SIX.into());
        }
        plan.after.six = Vec::new();
    } else {
        plan.after.six = borrow(six, FORCED, &plan.before.six, with_address(false));
    }
    Ok(plan)
}

/// What is to be borrowed: what is now, and what has to be and is not on.
fn borrow(needed: bool, (family, switch): (&str, &str), now: &[String], all: Vec<String>) -> Vec<String> {
    if !needed || is_on(family, "all", "forwarding") {
        return Vec::new();
    }
    all.into_iter().filter(|name| now.contains(name) || !is_on(family, name, switch)).collect()
}

impl Plan {
    /// The interfaces that are to lead to our networks alone.
    pub(super) fn borrowed(&self) -> Vec<String> {
        let mut all: Vec<String> = self.after.four.iter().chain(&self.after.six).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Notes it, before anything is switched.
    pub(super) fn note(&self, folder: &Path) -> Result<(), NetworkError> {
        // Both, until what is given back is switched back.
        let mut both = self.after.clone();
        both.four.extend(self.before.four.iter().filter(|name| !self.after.four.contains(name)).cloned());
        both.six.extend(self.before.six.iter().filter(|name| !self.after.six.contains(name)).cloned());
        if both == self.before { Ok(()) } else { write(folder, &both) }
    }

    /// Switches, and then notes what is left of it.
    pub(super) fn switch(&self, folder: &Path) -> Result<(), NetworkError> {
        for bridge in &self.bridges {
            set("ipv4", bridge, "forwarding", true)?;
            set("ipv6", bridge, "force_forwarding", true)?;
        }
        let families =
            [(FOUR, &self.before.four, &self.after.four), (FORCED, &self.before.six, &self.after.six)];
        for ((family, switch), before, after) in families {
            for name in after {
                set(family, name, switch, true)?;
            }
            // Where the whole host forwards by now, it was somebody else's wish that it does.
            if !is_on(family, "all", "forwarding") {
                for name in before.iter().filter(|name| !after.contains(name)) {
                    set(family, name, switch, false)?;
                }
            }
        }
        if self.before == self.after { Ok(()) } else { write(folder, &self.after) }
    }
}

fn write(folder: &Path, borrowed: &Borrowed) -> Result<(), NetworkError> {
    let written = serde_json::to_vec(borrowed).map_err(io::Error::from).and_then(|text| {
        let beside = folder.join("forwarding.json.new");
        fs::write(&beside, text)?;
        fs::rename(&beside, folder.join(NOTE))
    });
    written.map_err(|source| NetworkError::system("noting what forwards", source))
}

fn is_on(family: &str, interface: &str, switch: &str) -> bool {
    let path = format!("/proc/sys/net/{family}/conf/{interface}/{switch}");
    fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
}

/// The host is nobody on a VLAN that it only leads its guests to: it takes no address there, and no word of a
/// router.
pub(super) fn speak_no_ipv6(interface: &str) -> Result<(), NetworkError> {
    set("ipv6", interface, "disable_ipv6", true)
}

/// Fine if the interface is gone, or knows no such switch.
fn set(family: &str, interface: &str, switch: &str, on: bool) -> Result<(), NetworkError> {
    let path = format!("/proc/sys/net/{family}/conf/{interface}/{switch}");
    if is_on(family, interface, switch) == on {
        return Ok(());
    }
    match fs::write(&path, if on { "1" } else { "0" }) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::system(format!("switching {path}"), error))
        }
        _ => Ok(()),
    }
}
