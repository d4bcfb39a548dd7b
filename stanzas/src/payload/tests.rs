#![allow(clippy::unwrap_used, clippy::panic)]

use chrono::{DateTime, Utc};
use minidom::Element;
use proptest::prelude::*;

use super::*;
use crate::ns;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

#[track_caller]
fn assert_there_and_back<T>(payload: T)
where
    T: Clone + PartialEq + std::fmt::Debug + TryFrom<Element>,
    Element: From<T>,
    <T as TryFrom<Element>>::Error: std::fmt::Debug,
{
    let xml = String::from(&Element::from(payload.clone()));
    let back = T::try_from(xml.parse::<Element>().unwrap()).unwrap();
    assert_eq!(back, payload, "{xml}");
}

fn machine() -> Machine {
    Machine {
        id: "0197".into(),
        name: "web1".into(),
        state: "running".into(),
        generation: 7,
        wanted: "running".into(),
        host: "kvm1.example.org".into(),
        driver: "qemu".into(),
    }
}

fn event() -> Event {
    Event {
        sequence: 42,
        at: at(1_700_000_000),
        what: "machine.started".into(),
        machine: Some("web1".into()),
        state: Some("running".into()),
        generation: Some(7),
        by: None,
        sentence: "web1 <is> running & well.".into(),
    }
}

fn metrics(machines: usize) -> Metrics {
    let machine = MachineMetrics {
        name: "web1".into(),
        cpu_seconds: 12.5,
        resident_bytes: 1 << 27,
        vcpus: 2,
        memory_mib: 256,
        cpu_percent: Some(37.5),
        steal_percent: Some(0.0),
        disk_read: Some(1 << 20),
        ..MachineMetrics::default()
    };
    Metrics {
        at: at(0),
        left_out: 5,
        host: HostMetrics {
            cpus: 8,
            load: 0.42,
            memory_mib: 16384,
            memory_free_mib: 512,
            disk_free_mib: 9,
            cpu_percent: Some(12.5),
            net_sent: Some(7),
            ..HostMetrics::default()
        },
        machines: vec![machine; machines],
    }
}

#[test]
fn payloads_go_there_and_back() {
    assert_there_and_back(machine());
    assert_there_and_back(Host { name: "kvm1".into(), machines: 3, running: 2, version: "0.1.0".into() });
    assert_there_and_back(event());
    assert_there_and_back(Event {
        machine: None,
        state: None,
        generation: None,
        by: Some("a@b".into()),
        ..event()
    });
    assert_there_and_back(metrics(0));
    assert_there_and_back(metrics(3));
    assert_there_and_back(Response::new("yes"));
    assert_there_and_back(Response::new("yes").label("Yes, do it"));
}

#[test]
fn a_sentence_holds_nothing_xml_cannot() {
    let quoting = Event { sentence: "qemu said: \u{1b}[1m\u{0}no\u{ffff}".into(), ..event() };
    let xml = String::from(&Element::from(quoting));
    assert_eq!(Event::try_from(xml.parse::<Element>().unwrap()).unwrap().sentence, "qemu said: [1mno");
    let long = Event { sentence: "é".repeat(TEXT_BYTES_MAX), ..event() };
    assert_eq!(Event::try_from(Element::from(long)).unwrap().sentence.len(), TEXT_BYTES_MAX - 1);
}

#[test]
fn what_is_too_much_is_refused() {
    let long = "a".repeat(TEXT_BYTES_MAX + 1);
    let refused = |element: Element| Machine::try_from(element).is_err();
    assert!(refused(Machine { name: long.clone(), ..machine() }.into()));
    assert!(Event::try_from(Element::from(Event { by: Some(long.clone()), ..event() })).is_err());
    assert!(Response::try_from(Element::from(Response::new(long))).is_err());
    assert!(Metrics::try_from(Element::from(metrics(MACHINES_MAX + 1))).is_err());
    let mut infinite = metrics(1);
    infinite.machines[0].cpu_seconds = f64::INFINITY;
    assert!(Metrics::try_from(Element::from(infinite)).is_err());
    let mut not_a_number = metrics(0);
    not_a_number.host.cpu_percent = Some(f64::NAN);
    assert!(Metrics::try_from(Element::from(not_a_number)).is_err());
}

#[test]
fn what_cannot_be_is_refused_and_what_is_new_is_passed_over() {
    let machine = |more: &str, inner: &str| {
        let xml = format!(
            "<machine xmlns='{}' id='1' name='a' state='running' wanted='running' host='h' driver='d' {more}>\
             {inner}</machine>",
            ns::STATE
        );
        Machine::try_from(xml.parse::<Element>().unwrap())
    };
    assert!(machine("generation='7'", "").is_ok());
    assert!(machine("generation='7' later='1'", "<later xmlns='urn:later'/>").is_ok());
    assert!(machine("", "").is_err());
    for generation in ["-1", "seven", "18446744073709551616", ""] {
        assert!(machine(&format!("generation='{generation}'"), "").is_err(), "{generation}");
    }
    let event = format!("<event xmlns='{}' sequence='1' at='yesterday' what='x'/>", ns::EVENTS);
    assert!(Event::try_from(event.parse::<Element>().unwrap()).is_err());
}

#[test]
fn the_elements_of_other_xeps_are_as_they_say() {
    assert_eq!(String::from(&hint(Hint::NoStore)), "<no-store xmlns='urn:xmpp:hints'/>");
    assert_eq!(String::from(&hint(Hint::NoPermanentStore)), "<no-permanent-store xmlns='urn:xmpp:hints'/>");
    assert_eq!(String::from(&hint(Hint::NoCopy)), "<no-copy xmlns='urn:xmpp:hints'/>");
    assert_eq!(String::from(&replace("a1")), "<replace xmlns='urn:xmpp:message-correct:0' id='a1'/>");
    let mut message = Element::bare("message", ns::CLIENT);
    assert_eq!((replaced(&message), responses(&message).len()), (None, 0));
    message.append_child(replace("a1"));
    for _ in 0..20 {
        message.append_child(Response::new("yes").into());
    }
    assert_eq!((replaced(&message), responses(&message).len()), (Some("a1"), 10));
}

proptest! {
    /// Whatever the attributes hold, reading ends with a payload or an error, and a payload that was
    /// read is written and read again as the same.
    #[test]
    fn hostile_attributes_do_no_harm(
        values in proptest::collection::vec("[ -~äé☃]{0,40}|[0-9]{0,25}|-?[0-9.eE]{0,9}|NaN|inf", 5),
    ) {
        let mut element = Element::from(event());
        for (name, value) in ["sequence", "at", "what", "generation", "state"].into_iter().zip(&values) {
            crate::element::set(&mut element, name, Some(value));
        }
        if let Ok(read) = Event::try_from(element) {
            let again = Event::try_from(Element::from(read.clone()));
            prop_assert_eq!(again.unwrap().what, read.what);
        }
    }
}
