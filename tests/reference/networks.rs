//! Examples of what the commands about networks answer.

use skerry_stanzas::reply::{
    FirewallChanged, FirewallList, NetworkChanged, NetworkDetails, NetworkGuest, NetworkLine, NetworkList,
    NicLine, NicList,
};

use crate::examples::{Example, example};

pub fn of_firewalls() -> Vec<Example> {
    vec![
        example(FirewallList {
            name: "web1".into(),
            rules: vec!["allow in tcp 443 from 10.0.0.0/8".into(), "deny in".into()],
            otherwise: "passes".into(),
            outside: vec![],
        }),
        example(FirewallChanged {
            name: "web1".into(),
            sentence: "web1: \"allow in tcp 443 from 10.0.0.0/8\" is rule 1 of 2 now. In effect now.".into(),
            rules: vec!["allow in tcp 443 from 10.0.0.0/8".into(), "deny in".into()],
            notes: vec![],
        }),
    ]
}

pub fn of_networks() -> Vec<Example> {
    vec![
        example(NetworkList {
            networks: vec![NetworkLine {
                name: "lan".into(),
                mode: "nat".into(),
                subnet: Some("10.20.0.0/24".into()),
                subnet6: None,
                bridge: "sk-lan".into(),
                vlan: None,
                nics: 1,
                failed: None,
                about: String::new(),
            }],
        }),
        example(NicList {
            name: "web1".into(),
            nics: vec![NicLine {
                name: "net1".into(),
                link: "up".into(),
                network: "network=lan".into(),
                model: "virtio".into(),
                mac: "52:54:00:12:34:56".into(),
                rate: Some("100Mbit".into()),
                addresses: vec!["10.7.0.9".into()],
            }],
        }),
        example(NetworkDetails {
            name: "lan".into(),
            mode: "nat".into(),
            subnet: Some("10.20.0.0/24".into()),
            subnet6: None,
            host: vec!["10.20.0.1".into()],
            bridge: "sk-lan".into(),
            uplink: None,
            vlan: None,
            dhcp: true,
            dns: true,
            domain: Some("lan.internal".into()),
            failed: None,
            notes: vec![],
            guests: vec![NetworkGuest {
                machine: "web1".into(),
                nic: "net1".into(),
                mac: "52:54:2e:da:ef:29".into(),
                addresses: vec!["10.20.0.2".into()],
                seen: vec!["10.20.0.2 (lease)".into()],
            }],
            made_at: "2026-11-22T20:31:00Z".parse().unwrap(),
            made_by: "ann@example.org".into(),
            about: String::new(),
        }),
        example(NetworkChanged {
            name: "lan".into(),
            sentence: "The network lan (nat, 10.20.0.0/24) is there.".into(),
            notes: vec![],
        }),
    ]
}
