//! Who gets what, and why not.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::device::Usb;

const WEB1: MachineId = MachineId(uuid::Uuid::from_u128(1));
const WEB2: MachineId = MachineId(uuid::Uuid::from_u128(2));

fn function(address: &str, id: &str, driver: Option<&str>, group: Option<u32>) -> Pci {
    let driver = driver.map(str::to_owned);
    Pci { address: address.parse().unwrap(), id: id.parse().unwrap(), driver, group }
}

fn plugged(port: &str, id: &str, serial: Option<&str>) -> Usb {
    let serial = serial.map(str::to_owned);
    Usb { port: port.parse().unwrap(), id: id.parse().unwrap(), serial, name: None, number: 3 }
}

fn host() -> Seen {
    Seen {
        pci: vec![
            function("01:00.0", "10de:2204", Some("nouveau"), Some(14)),
            function("01:00.1", "10de:1aef", Some("snd_hda_intel"), Some(14)),
            function("02:00.0", "8086:1521", None, Some(15)),
            function("02:00.1", "8086:1521", Some("vfio-pci"), Some(15)),
            function("03:00.0", "1af4:1041", None, None),
        ],
        usb: vec![
            plugged("1-2", "1050:0407", Some("12")),
            plugged("1-3", "1050:0407", Some("13")),
            plugged("1-4", "0403:6001", None),
        ],
    }
}

fn pci(name: &str, address: &str, id: &str) -> (String, Mapping) {
    (name.into(), Mapping::Pci { address: address.parse().unwrap(), id: id.parse().unwrap() })
}

fn usb(name: &str, id: &str, serial: Option<&str>, port: Option<&str>) -> (String, Mapping) {
    let (serial, port) = (serial.map(str::to_owned), port.map(|port| port.parse().unwrap()));
    (name.into(), Mapping::Usb { id: id.parse().unwrap(), serial, port })
}

fn start(wanted: &[(String, Mapping)], loans: &[Loan]) -> Result<Vec<Loan>, Obstacle> {
    choose(wanted, &host(), loans, WEB1, false)
}

fn why(wanted: &[(String, Mapping)], loans: &[Loan]) -> String {
    start(wanted, loans).unwrap_err().to_string()
}

#[test]
fn a_whole_group_is_handed_over_or_nothing_of_it() {
    let (gpu, sound) = (pci("gpu", "01:00.0", "10de:2204"), pci("sound", "01:00.1", "10de:1aef"));
    assert_eq!(
        why(std::slice::from_ref(&gpu), &[]),
        "the device gpu (0000:01:00.0) is in one IOMMU group (14) with 0000:01:00.1, which the host uses by \
         snd_hda_intel: map those and give them to the machine as well, or take their drivers off them"
    );
    let both = start(&[gpu, sound], &[]).unwrap();
    let drivers: Vec<_> = both.iter().map(|loan| (loan.lent.to_string(), loan.driver.as_deref())).collect();
    let expected = [
        ("pci 0000:01:00.0".to_owned(), Some("nouveau")),
        ("pci 0000:01:00.1".to_owned(), Some("snd_hda_intel")),
    ];
    assert_eq!(drivers, expected);
    // What no driver of the host uses is in nobody's way, unless another machine has it.
    let port = [pci("port", "02:00.0", "8086:1521")];
    assert_eq!(start(&port, &[]).unwrap().len(), 1);
    let lent = Lent::Pci { address: "02:00.1".parse().unwrap() };
    let others = Loan { name: "other".into(), machine: WEB2, lent, driver: None };
    assert_eq!(
        start(&port, &[others]),
        Err(Obstacle::Beside { name: "port".into(), other: "02:00.1".parse().unwrap(), by: WEB2 })
    );
    assert!(why(&[pci("old", "03:00.0", "1af4:1041")], &[]).contains("no IOMMU switched on"));
}

#[test]
fn nothing_else_that_came_to_be_there_is_handed_over() {
    assert_eq!(
        why(&[pci("gpu", "01:00.0", "10de:2206")], &[]),
        "the device gpu: at 0000:01:00.0 there is 10de:2204 now, not 10de:2206: map it again if that is meant"
    );
    assert_eq!(
        why(&[pci("nic", "04:00.0", "8086:1521")], &[]),
        "the device nic: pci 0000:04:00.0 (8086:1521) is not there"
    );
    assert_eq!(
        why(&[usb("key", "1050:0407", None, None)], &[]),
        "the device key: usb 1050:0407 is there more than once (1-2, 1-3): map it by its port, or with its serial"
    );
    assert_eq!(
        why(&[usb("key", "1050:0407", Some("12"), Some("1-3"))], &[]),
        "the device key: at 1-3 there is 1050:0407, serial 13 now, not 1050:0407, serial 12: map it again if that \
         is meant"
    );
    assert!(why(&[usb("key", "1050:0407", Some("99"), None)], &[]).ends_with("is not there"));
    let port = |loans: Vec<Loan>| loans[0].lent.to_string();
    assert_eq!(port(start(&[usb("key", "1050:0407", Some("13"), None)], &[]).unwrap()), "usb 1-3");
    assert_eq!(port(start(&[usb("key", "1050:0407", None, Some("1-2"))], &[]).unwrap()), "usb 1-2");
}

#[test]
fn a_device_is_one_machines() {
    let serial = usb("serial", "0403:6001", None, None);
    let lent = Lent::Usb { port: "1-4".parse().unwrap(), id: "0403:6001".parse().unwrap() };
    let loan = |machine| Loan { name: "serial".into(), machine, lent: lent.clone(), driver: None };
    let wanted = std::slice::from_ref(&serial);
    assert_eq!(start(wanted, &[loan(WEB2)]), Err(Obstacle::Taken { name: "serial".into(), by: WEB2 }));
    assert_eq!(start(wanted, &[loan(WEB1)]), Ok(vec![loan(WEB1)]), "its own, of an earlier run");
    let twice = [serial.clone(), usb("other", "0403:6001", None, Some("1-4"))];
    assert_eq!(start(&twice, &[]), Err(Obstacle::Twice { name: "other".into(), other: "serial".into() }));
    // While it runs, only what it has not yet and can be plugged in.
    let wanted = [serial, pci("port", "02:00.0", "8086:1521")];
    assert_eq!(choose(&wanted, &host(), &[], WEB1, true), Ok(vec![loan(WEB1)]));
    assert_eq!(choose(&wanted, &host(), &[loan(WEB1)], WEB1, true), Ok(vec![]));
}

#[test]
fn what_had_a_function_before_an_earlier_run_is_not_forgotten() {
    let mut seen = host();
    let lent = Lent::Pci { address: "02:00.0".parse().unwrap() };
    seen.pci[2].driver = Some("vfio-pci".into());
    let before = Loan { name: "port".into(), machine: WEB1, lent, driver: Some("igb".into()) };
    let chosen =
        choose(&[pci("port", "02:00.0", "8086:1521")], &seen, std::slice::from_ref(&before), WEB1, false);
    assert_eq!(chosen, Ok(vec![before]));
}
