//! The servers of other labs that a lab's server talks to (RFC 6120, server to server): for trying what
//! people of other organisations may do. There is no DNS for domains that are nobody's; each server is told
//! where the others are, with the default port at an address of the loopback network. They prove who they are
//! by dialback (XEP-0220).

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    str::FromStr,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::site::write;

/// The server of another lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Neighbour {
    /// Of its accounts; its hosts are below it.
    pub(super) domain: String,
    /// Where it listens, at port 5269.
    pub(super) address: Ipv4Addr,
}

impl FromStr for Neighbour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (domain, address) = text.split_once('=').ok_or("write DOMAIN=ADDRESS")?;
        Ok(Self { domain: domain_of_a_lab(domain)?, address: loopback(address)? })
    }
}

/// A domain that a lab may have: it goes into the configurations of servers.
pub(super) fn domain_of_a_lab(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(fits)
    };
    match text.len() <= 100 && text.contains('.') && text.split('.').all(label) {
        true => Ok(text.to_owned()),
        false => Err("a lab's domain is small letters, digits, - and dots, such as other.test".to_owned()),
    }
}

/// An address nobody else on the network can reach.
pub(super) fn loopback(text: &str) -> Result<Ipv4Addr, String> {
    match text.parse() {
        Ok(IpAddr::V4(address)) if address.is_loopback() => Ok(address),
        _ => Err("labs talk to each other at addresses such as 127.0.5.1".to_owned()),
    }
}

/// What Prosody is told of them; the rest is in the module of [`write_module`].
pub(super) fn in_lua(neighbours: &[Neighbour]) -> String {
    neighbours.iter().fold(String::new(), |mut table, one| {
        let _ = write!(table, "[\"{}\"] = \"{}\"; ", one.domain, one.address);
        table
    })
}

/// Writes the module by which Prosody finds them; its folder is to be in `plugin_paths`.
pub(super) fn write_module(folder: &Path) -> Result<()> {
    write(&folder.join("mod_lab_neighbours.lua"), include_str!("mod_lab_neighbours.lua"))
}

/// Run inside ejabberd, for it to find them: reads what [`in_erlang`] writes.
pub(super) const RESOLVER: &str = include_str!("neighbours.erl");

/// The file `neighbours` of ejabberd.
pub(super) fn in_erlang(neighbours: &[Neighbour]) -> String {
    neighbours.iter().fold(String::new(), |mut terms, one| {
        let _ = writeln!(terms, "{{\"{}\", \"{}\"}}.", one.domain, one.address);
        terms
    })
}

#[cfg(test)]
mod tests {
    use super::{Neighbour, in_erlang};

    #[test]
    fn what_goes_into_a_configuration_is_a_domain_and_an_address_of_loopback() {
        let here = "other.test=127.3.2.1".parse::<Neighbour>();
        assert!(here.is_ok_and(|one| in_erlang(&[one]) == "{\"other.test\", \"127.3.2.1\"}.\n"));
        for no in
            ["other.test", "other.test=10.0.0.1", "other=127.0.0.1", "o\"x.test=127.0.0.1", "o..t=127.0.0.1"]
        {
            assert!(no.parse::<Neighbour>().is_err(), "{no}");
        }
    }
}
