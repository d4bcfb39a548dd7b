//! NICs as a person says them in one word: `lan,network=lan`, `forward=8080:80`, `net2,off`.

use std::net::Ipv4Addr;

use super::{Forward, Link, Mac, Network, Nic, NicModel};
use crate::{definition::Rate, network::NetworkName};

/// Why a word does not say what to do with a NIC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NicWordError {
    /// A part that means nothing.
    #[error(
        "{0:?} means nothing for a NIC: there are user, off, network=, address=, \
         bridge=, forward=, rate=, guard=, link=, mac=, model= and boot="
    )]
    Part(String),
    /// A value that cannot be one.
    #[error("{0}")]
    Value(String),
    /// It could be any of several.
    #[error("there are several NICs: begin with the name of the one that is meant: {0}")]
    Which(String),
    /// There is none of that name to take away.
    #[error("there is no NIC {0:?} to take away")]
    Missing(String),
}

/// What one word asks for; what is not said stays as it is.
#[derive(Default)]
struct Wish {
    name: Option<String>,
    off: bool,
    user: bool,
    bridge: Option<String>,
    network: Option<NetworkName>,
    address: Option<Option<Ipv4Addr>>,
    rate: Option<Option<Rate>>,
    guard: Option<bool>,
    link: Option<Link>,
    /// All of them: those of before are no more.
    forwards: Option<Vec<Forward>>,
    mac: Option<Option<Mac>>,
    model: Option<NicModel>,
    boot_order: Option<Option<u32>>,
}

/// Changes the NIC the word names, or adds one. Without a name it is the only one there is, or the first.
///
/// # Errors
/// What cannot be read in it. Whether the result can be is for [`super::super::Definition::check`] to say.
pub fn say(nics: &mut Vec<Nic>, word: &str) -> Result<(), NicWordError> {
    let wish = read(word)?;
    let at = match (&wish.name, nics.len()) {
        (Some(name), _) => nics.iter().position(|nic| nic.name == *name),
        (None, 0) => None,
        (None, 1) => Some(0),
        (None, _) => {
            let names: Vec<&str> = nics.iter().map(|nic| nic.name.as_str()).collect();
            return Err(NicWordError::Which(names.join(", ")));
        }
    };
    if wish.off {
        let at = at.ok_or_else(|| NicWordError::Missing(wish.name.unwrap_or_default()))?;
        nics.remove(at);
        return Ok(());
    }
    let at = at.unwrap_or_else(|| {
        nics.push(Nic { name: wish.name.clone().unwrap_or_default(), ..Nic::new(Network::default()) });
        nics.len() - 1
    });
    wish.change(&mut nics[at])?;
    super::name(nics);
    Ok(())
}

impl Wish {
    fn change(mut self, nic: &mut Nic) -> Result<(), NicWordError> {
        self.connect(nic)?;
        nic.mac = self.mac.unwrap_or(nic.mac);
        nic.model = self.model.unwrap_or(nic.model);
        nic.boot_order = self.boot_order.unwrap_or(nic.boot_order);
        nic.rate = self.rate.unwrap_or(nic.rate);
        nic.guard = self.guard.unwrap_or(nic.guard);
        nic.link = self.link.unwrap_or(nic.link);
        Ok(())
    }

    fn connect(&mut self, nic: &mut Nic) -> Result<(), NicWordError> {
        let wanted = [self.user || self.forwards.is_some(), self.bridge.is_some(), self.network.is_some()];
        if wanted.iter().filter(|wanted| **wanted).count() > 1 {
            let one = "a NIC is on a network, on a bridge, or in user mode with forwarded ports: one of them";
            return Err(NicWordError::Value(one.into()));
        }
        let present = std::mem::take(&mut nic.network);
        nic.network = match (self.bridge.take(), self.network.take(), self.forwards.take(), present) {
            (Some(name), ..) => Network::Bridge { name },
            (_, Some(name), _, Network::Named { name: was, address }) if was == name => {
                Network::Named { name, address }
            }
            (_, Some(name), ..) => Network::Named { name, address: None },
            (_, _, Some(forwards), _) => Network::User { forwards },
            (_, _, _, Network::Bridge { .. } | Network::Named { .. }) if self.user => Network::default(),
            (_, _, _, present) => present,
        };
        match (&mut nic.network, self.address) {
            (Network::Named { address, .. }, Some(wanted)) => *address = wanted,
            (_, Some(Some(_))) => {
                return Err(NicWordError::Value("a NIC has an address on a network only".into()));
            }
            _ => {}
        }
        Ok(())
    }
}

fn read(word: &str) -> Result<Wish, NicWordError> {
    let mut wish = Wish::default();
    for (nth, part) in word.split(',').map(str::trim).enumerate() {
        let wrong = |error: &dyn std::fmt::Display| NicWordError::Value(error.to_string());
        match part.split_once('=') {
            None if part == "user" => wish.user = true,
            None if part == "off" => wish.off = true,
            None if nth == 0 && !part.is_empty() => wish.name = Some(part.to_owned()),
            Some(("name", name)) => wish.name = Some(name.to_owned()),
            Some(("bridge", name)) => wish.bridge = Some(name.to_owned()),
            Some(("network", name)) => wish.network = Some(name.parse().map_err(|error| wrong(&error))?),
            Some(("address", "auto")) => wish.address = Some(None),
            Some(("address", address)) => {
                let address =
                    address.parse().map_err(|_| wrong(&"address= takes an IPv4 address, or auto"))?;
                wish.address = Some(Some(address));
            }
            Some(("rate", "none")) => wish.rate = Some(None),
            Some(("rate", rate)) => wish.rate = Some(Some(rate.parse().map_err(|error| wrong(&error))?)),
            Some(("guard", "on")) => wish.guard = Some(true),
            Some(("guard", "off")) => wish.guard = Some(false),
            Some(("link", "up")) => wish.link = Some(Link::Up),
            Some(("link", "down")) => wish.link = Some(Link::Down),
            Some(("forward" | "forwards", "none")) => wish.forwards = Some(Vec::new()),
            Some(("forward" | "forwards", forward)) => {
                let forward = forward.parse().map_err(|error| wrong(&error))?;
                wish.forwards.get_or_insert_default().push(forward);
            }
            Some(("mac", "auto")) => wish.mac = Some(None),
            Some(("mac", mac)) => wish.mac = Some(Some(mac.parse().map_err(|error| wrong(&error))?)),
            Some(("model", model)) => wish.model = Some(self::model(model)?),
            Some(("boot", "none")) => wish.boot_order = Some(None),
            Some(("boot", order)) => {
                let order = order.parse().map_err(|_| wrong(&"boot= takes a number, or none"))?;
                wish.boot_order = Some(Some(order));
            }
            _ => return Err(NicWordError::Part(part.chars().take(40).collect())),
        }
    }
    Ok(wish)
}

fn model(word: &str) -> Result<NicModel, NicWordError> {
    let all = [NicModel::Virtio, NicModel::E1000e, NicModel::Rtl8139];
    all.into_iter().find(|model| model.word() == word).ok_or_else(|| {
        let words = all.map(NicModel::word).join(", ");
        NicWordError::Value(format!("there is no NIC model {word:?}: there are {words}"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn said(words: &[&str]) -> Result<Vec<Nic>, NicWordError> {
        let mut nics = vec![Nic { name: "net1".into(), ..Nic::new(Network::default()) }];
        words.iter().try_for_each(|word| say(&mut nics, word)).map(|()| nics)
    }

    fn forwards(nic: &Nic) -> String {
        let Network::User { forwards } = &nic.network else { return "none".into() };
        forwards.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_word_changes_the_only_one_or_the_one_it_names() {
        let nics = said(&["forward=8080:80,forward=2222:22"]).unwrap();
        assert_eq!((nics.len(), forwards(&nics[0]).as_str()), (1, "8080:80 2222:22"));
        let nics = said(&["forward=8080:80", "forward=2222:22"]).unwrap();
        assert_eq!(forwards(&nics[0]), "2222:22", "those that are said are all of them");
        let nics = said(&["lan,bridge=br0,model=e1000e,boot=1"]).unwrap();
        assert_eq!((nics[1].name.as_str(), nics[1].boot_order), ("lan", Some(1)));
        assert_eq!(nics[1].network, Network::Bridge { name: "br0".into() });
        let nics = said(&["lan,bridge=br0", "net1,off", "user,mac=52:54:00:00:00:01"]).unwrap();
        assert_eq!((nics.len(), nics[0].network.clone()), (1, Network::default()));
        assert!(said(&["mac=52:54:00:00:00:01", "mac=auto"]).unwrap()[0].mac.is_none());
        assert_eq!(said(&["link=down"]).unwrap()[0].link, Link::Down);
        assert_eq!(said(&["link=down", "forward=1:2", "link=up"]).unwrap()[0].link, Link::Up);
        assert_eq!(said(&["off", "user"]).unwrap()[0].name, "net1");
    }

    #[test]
    fn a_word_that_was_carried_out_changes_nothing_when_it_is_said_again() {
        for word in ["forward=8080:80", "lan,bridge=br0", "net1,model=rtl8139,boot=none", "link=down", "user"]
        {
            assert_eq!(said(&[word]), said(&[word, if word == "user" { "net1,user" } else { word }]));
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let refused = |words: &[&str]| said(words).unwrap_err().to_string();
        assert!(refused(&["lan,brigde=br0"]).starts_with("\"brigde=br0\" means nothing"));
        assert!(refused(&["lan,bridge=br0", "user"]).ends_with("is meant: net1, lan"));
        assert!(refused(&["forward=80"]).contains("write host:guest"));
        assert!(refused(&["bridge=br0,forward=1:2"]).contains("one of them"));
        assert!(refused(&["network=lan,user"]).contains("one of them"));
        assert!(refused(&["address=10.0.0.2"]).contains("on a network only"));
        assert!(refused(&["network=lan,rate=fast"]).contains("write one as 100Mbit"));
        assert!(refused(&["model=ne2k"]).contains("virtio, e1000e, rtl8139"));
        assert_eq!(refused(&["lan,off"]), "there is no NIC \"lan\" to take away");
        assert!(refused(&[""]).starts_with("\"\" means nothing"));
    }
}
