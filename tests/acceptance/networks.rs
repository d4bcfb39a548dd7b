//! Two real guests on a network of their host: addresses, names, each other, and nobody else's address.

use skerry_tests::{lab::Wanted, namespace::inside};

use crate::real_guests::Guest;

/// As often as the guest is asked until it answers: each time the host waits until it is quiet.
const TRIES: usize = 300;

/// Has the guest's shell run a line until what it says has the word in it.
pub async fn shows(guest: &Guest, line: &str, word: &str) {
    let mut said = String::new();
    for _ in 0..TRIES {
        said = guest.says("send", &[&format!("--line={line}")]).await;
        if said.contains(word) {
            return;
        }
    }
    panic!("{line}: never {word:?}, but {said}");
}

/// What DHCP tells the guest, and what the guest makes of it.
pub const TAKES: &str = "printf '#!/bin/sh\\n[ \"$1\" = bound ] || exit 0\\nifconfig $interface $ip netmask $subnet\\n\
    route add default gw $router\\necho nameserver $dns >/etc/resolv.conf\\n\
    echo search $domain >>/etc/resolv.conf\\n' >/root/takes; chmod 755 /root/takes; echo writ''ten";

#[test]
fn two_real_guests_are_given_addresses_and_find_each_other_by_name() {
    inside(async {
        let lab = Wanted::new("prosody", "component").machines(2).real_guests().up().await.unwrap();
        let admin = lab.client("admin").await.unwrap();
        let host = &lab.record.hosts[0].jid;
        let made = admin.command(host, "network-create", &["--name=lan"]).await.unwrap();
        assert_eq!(made.note.unwrap().text, "The network lan (nat, 10.20.0.0/24) is there.");
        let mut guests = Vec::new();
        for machine in &lab.record.machines {
            let client = lab.client("admin").await.unwrap();
            guests.push(Guest { client, jid: machine.jid.clone(), node: "" });
        }
        for guest in &guests {
            let said = guest.says("define", &["--nic=network=lan"]).await;
            assert!(said.contains("network lan"), "{said}");
            guest.ask("start", &[]).await;
        }
        for guest in &guests {
            guest.booted().await;
            shows(guest, TAKES, "written").await;
            shows(
                guest,
                "ifconfig eth0 up; udhcpc -i eth0 -n -q -s /root/takes; ifconfig eth0",
                "inet addr:10.20.0.",
            )
            .await;
        }
        shows(&guests[0], "ping -c 1 web2", "1 packets received").await;
        shows(&guests[1], "ping -c 1 web1.lan.internal", "1 packets received").await;
        // An address that is not its own is dropped, and its own goes on.
        shows(
            &guests[0],
            "ifconfig eth0:1 10.20.0.99; ping -c 1 -W 1 -I 10.20.0.99 10.20.0.1",
            " 0 packets received",
        )
        .await;
        shows(&guests[0], "ping -c 1 10.20.0.1", "1 packets received").await;
        let status = guests[0].ask("status", &[]).await.json.unwrap();
        assert_eq!(status["addresses"][0]["address"], "10.20.0.2", "{status}");
        assert_eq!(status["addresses"][0]["from"], "lease");
        // Its end is the end of its interface; the network stays.
        for guest in &guests {
            guest.ask("kill", &["--confirm=1"]).await;
        }
        let links = std::process::Command::new("ip").args(["-brief", "link"]).output().unwrap();
        let links = String::from_utf8(links.stdout).unwrap();
        assert!(links.contains("sk-lan") && links.matches("sk").count() == 1, "{links}");
    });
}

/// What a guest's port says to the host, if anything.
fn heard(address: &str, port: u16) -> Option<String> {
    use std::{io::Read as _, net::TcpStream, time::Duration};
    let address = format!("{address}:{port}").parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said.trim().to_owned())
}

#[test]
fn a_firewall_changes_at_once_while_its_guest_runs() {
    inside(async {
        let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
        let admin = lab.client("admin").await.unwrap();
        let host = &lab.record.hosts[0].jid;
        let made = admin.command(host, "network-create", &["--name=lan"]).await.unwrap();
        assert_eq!(made.note.unwrap().text, "The network lan (nat, 10.20.0.0/24) is there.");
        let guest = Guest { client: admin, jid: lab.record.machines[0].jid.clone(), node: "" };
        let said = guest.says("define", &["--nic=network=lan"]).await;
        assert!(said.contains("network lan"), "{said}");
        guest.ask("start", &[]).await;
        guest.booted().await;
        shows(&guest, TAKES, "written").await;
        shows(&guest, "ifconfig eth0 up; udhcpc -i eth0 -n -q -s /root/takes; ifconfig eth0", "10.20.0.2")
            .await;
        for port in [80, 81] {
            // Once, however often the line is typed.
            let line = format!(
                "mkdir /ro''ot/{port} && {{ (while :; do echo port-{port} | nc -l -p {port}; done) & }}; \
                 ls -d /ro''ot/{port}"
            );
            shows(&guest, &line, &format!("/root/{port}")).await;
        }
        let boot = guest.boot_id().await;
        let opens = |port| heard("10.20.0.2", port) == Some(format!("port-{port}"));
        // The shell of the guest begins to listen when it does.
        while !(opens(80) && opens(81)) {
            guest.says("send", &["--line="]).await;
        }
        guest
            .says("firewall-allow", &["--rule=tcp", "--rule=80", "--rule=from", "--rule=10.20.0.0/24"])
            .await;
        let said = guest.says("firewall-deny", &["--rule=in"]).await;
        let rules = "In effect now.\n1. allow in tcp 80 from 10.20.0.0/24\n2. deny in\n";
        assert!(said.contains(rules), "{said}");
        assert!(opens(80), "it is let in");
        assert_eq!(heard("10.20.0.2", 81), None, "it is not");
        // The same by the program for a terminal.
        let done = lab.skerry("admin", &["firewall", "allow", "web1", "tcp", "81"]).await.unwrap();
        assert!(
            String::from_utf8_lossy(&done.stdout).contains("\"allow in tcp 81\" is rule 2 of 3"),
            "{done:?}"
        );
        assert!(opens(81));
        let done =
            lab.skerry("admin", &["firewall", "remove", "web1", "allow", "in", "tcp", "81"]).await.unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(heard("10.20.0.2", 81), None);
        guest.says("firewall-remove", &["--rule=all"]).await;
        assert!(opens(81), "everything passes");
        assert_eq!(guest.boot_id().await, boot, "it ran all the time");
        guest.ask("kill", &["--confirm=1"]).await;
        lab.down().await.unwrap();
    });
}
