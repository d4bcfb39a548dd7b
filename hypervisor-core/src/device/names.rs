//! What people call devices on PCI, where the host has the list of their names (`pci.ids`).

use std::{collections::BTreeMap, fs};

use super::{Id, Seen};

/// Where the list may be.
const LISTS: [&str; 3] =
    ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/var/lib/pciutils/pci.ids"];
/// Many times what it has.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// Names of some devices.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<Id, String>);

impl Names {
    /// Those of what is seen, as far as the host knows them.
    pub fn of(seen: &Seen) -> Self {
        let small = |path: &&&str| fs::metadata(path).is_ok_and(|found| found.len() <= LIST_BYTES_MAX);
        let list = LISTS.iter().filter(small).find_map(|path| fs::read(path).ok()).unwrap_or_default();
        Self::read(&String::from_utf8_lossy(&list), seen)
    }

    /// A vendor begins its line; its products follow, each behind a tab.
    fn read(list: &str, seen: &Seen) -> Self {
        let mut found = BTreeMap::new();
        let mut vendor = None;
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let (is_product, rest) = match line.strip_prefix('\t') {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            let entry = rest.split_once("  ").and_then(|(number, name)| Some((half(number)?, name)));
            match (is_product, entry, vendor) {
                (false, entry, _) => vendor = entry,
                (true, Some((product, name)), Some((vendor, made_by))) => {
                    let id = Id { vendor, product };
                    if seen.pci.iter().any(|pci| pci.id == id) {
                        found.insert(id, format!("{made_by} {name}"));
                    }
                }
                (true, ..) => {}
            }
        }
        Self(found)
    }

    /// What it is called.
    pub fn name(&self, id: Id) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }
}

fn half(text: &str) -> Option<u16> {
    let fine = text.len() == 4 && text.bytes().all(|c| c.is_ascii_hexdigit());
    fine.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::Pci;

    #[test]
    fn a_name_is_the_vendors_and_the_products() {
        let list = "# a comment\n8086  Intel Corporation\n\t10d3  82574L Gigabit\n\t\t8086 0001  A card\n\
            1af4  Red Hat, Inc.\n\t10d3  Another\nC 02  Network controller\n\t10d3  Wrong\n";
        let id: Id = "8086:10d3".parse().unwrap();
        let pci = Pci { address: "01:00.0".parse().unwrap(), id, driver: None, group: None };
        let names = Names::read(list, &Seen { pci: vec![pci], usb: vec![] });
        assert_eq!(names.name(id), Some("Intel Corporation 82574L Gigabit"));
        assert_eq!(names.name("1af4:10d3".parse().unwrap()), None, "it is not there");
    }
}
