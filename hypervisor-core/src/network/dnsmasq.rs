//! What dnsmasq is told of one network, and the processes that carry it out.
//!
//! Everything is in one file, whose name has the hash of its content: a process of ours is known by its
//! command line, and by it whether it is up to date. Nothing is noted anywhere else, so nothing can be wrong
//! after a crash. What changes is served by a new process: it reads all as whoever started it, and gives up
//! its rights after; told by a signal it would have to read as nobody.

mod process;

use std::{fmt::Write as _, path::Path};

use sha2::{Digest, Sha256};

pub(super) use self::process::{end, path, running, start};
use super::{Mode, Network, Plug};

/// For how long an address is lent.
const LEASE: &str = "1h";

/// What a network's dnsmasq is told: nothing for one that needs none.
pub fn configuration(network: &Network, plugs: &[&Plug], folder: &Path) -> Option<String> {
    let definition = &network.definition;
    let (subnet, gateway) = definition.subnet.zip(definition.gateway())?;
    if definition.mode == Mode::Bridge || !(definition.dhcp || definition.dns) {
        return None;
    }
    let domain = definition.domain(&network.name);
    let mut text =
        format!("# Written by Skerry for the network {}, and written anew with each change.\n", network.name);
    let mut say = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    // Nobody but its guests: of all interfaces of the host this one, also when it is made anew.
    say(&format!("interface={}", network.bridge()));
    say("except-interface=lo");
    say("bind-dynamic");
    // Its usual one is one for all of the host: another of ours, or the host's own, may be writing it.
    say("pid-file=");
    // The host's names are the host's.
    say("no-hosts");
    if definition.dns {
        say(&format!("domain={domain}"));
        say(&format!("local=/{domain}/"));
        say("domain-needed");
        say("bogus-priv");
        if definition.mode == Mode::Isolated {
            say("no-resolv");
        }
    } else {
        say("port=0");
    }
    if definition.dhcp {
        say("dhcp-authoritative");
        // Names are given by the host, not by guests; so are addresses.
        say("dhcp-ignore-names");
        say("dhcp-ignore=tag:!known");
        say("no-ping");
        say("quiet-dhcp");
        say(&format!("dhcp-leasefile={}", folder.join("leases").display()));
        say(&format!("dhcp-range={},static,{},{LEASE}", subnet.network(), subnet.netmask()));
        match definition.mode {
            Mode::Isolated => say("dhcp-option=option:router"),
            _ => say(&format!("dhcp-option=option:router,{gateway}")),
        }
        if !definition.dns {
            say("dhcp-option=option:dns-server");
        }
        if let Some(subnet) = definition.subnet6 {
            say(&format!("dhcp-range={},static,64,{LEASE}", subnet.network()));
            say("enable-ra");
            say("quiet-dhcp6");
            say("quiet-ra");
            if definition.mode == Mode::Isolated {
                // Nothing is to be reached by it: no default route.
                say(&format!("ra-param={},0,0", network.bridge()));
            }
        }
    }
    if definition.dns {
        let six = definition.gateway6().map(|address| format!(",{address}")).unwrap_or_default();
        say(&format!("host-record=gateway.{domain},{gateway}{six}"));
    }
    for plug in plugs {
        guest(network, plug, &domain, &mut say);
    }
    Some(text)
}

/// One guest: its address by its MAC, and its name.
fn guest(network: &Network, plug: &Plug, domain: &str, say: &mut impl FnMut(&str)) {
    let definition = &network.definition;
    let Some(address) = plug.address else { return };
    let six = definition.address6(plug.mac);
    if definition.dhcp {
        let mut line = format!("dhcp-host={},{address}", plug.mac);
        if let Some(six) = six {
            let _ = write!(line, ",[{six}]");
        }
        if let Some(label) = &plug.label {
            let _ = write!(line, ",{label}");
        }
        say(&line);
    }
    if let Some(label) = plug.label.as_ref().filter(|_| definition.dns) {
        let six = six.map(|six| format!(",{six}")).unwrap_or_default();
        say(&format!("host-record={label},{label}.{domain},{address}{six}"));
    }
}

/// The name of the file that holds a configuration.
pub(super) fn file_name(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("dnsmasq-{short}.conf")
}
