//! Two hosts that are apart: each with a network of its own, and between them and the server nothing but a bridge.
//! No port and no address of one is the other's, as it is between real hosts.

use skerry_tests::{
    lab::{Lab, Wanted},
    namespace::{Space, inside, ip},
};

use crate::{
    migration::{Scene, is_moved},
    networks::{TAKES, shows},
    real_guests::Guest,
};

/// The server, as the hosts see it.
const SERVER: &str = "10.77.0.1";

/// Puts the hosts of a lab, which is in the test's own network, in one of their own each.
async fn apart(lab: &mut Lab) -> Vec<Space> {
    for line in ["link add hub type bridge", "address add 10.77.0.1/24 dev hub", "link set hub up"] {
        ip(line);
    }
    let hosts = lab.record.hosts.clone();
    for part in hosts.iter().map(|host| host.name.as_str()).chain(["server"]) {
        lab.crash(part).await.unwrap();
    }
    let server = lab.dir().join("server/prosody.cfg.lua");
    let text = std::fs::read_to_string(&server).unwrap();
    let (before, after) = (
        "component_interfaces = { \"127.0.0.1\" }",
        "component_interfaces = { \"127.0.0.1\", \"10.77.0.1\" }",
    );
    assert!(text.contains(before));
    std::fs::write(&server, text.replace(before, after)).unwrap();
    lab.start("server").await.unwrap();
    let mut spaces = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let (space, own) = (Space::new(), format!("10.77.0.{}", 11 + number));
        space.linked(&format!("host{number}"), "");
        ip(&format!("link set host{number} master hub up"));
        space.does(&format!("ip address add {own}/24 dev eth0 && ip link set eth0 up"));
        let mut text = std::fs::read_to_string(&host.config).unwrap();
        let loopback = format!("127.0.0.{}", 1 + number);
        let told = [
            ("server = \"127.0.0.1:".to_owned(), format!("server = \"{SERVER}:")),
            (format!("listen = \"{loopback}\""), format!("listen = \"{own}\"")),
        ];
        for (before, after) in told {
            assert!(text.contains(&before), "{before}: {text}");
            text = text.replace(&before, &after);
        }
        std::fs::write(&host.config, text).unwrap();
        lab.start_within(&host.name, &space).await.unwrap();
        spaces.push(space);
    }
    spaces
}

#[test]
fn a_guest_on_a_network_counts_on_at_a_host_that_is_apart() {
    inside(async {
        let mut lab =
            Wanted::new("prosody", "component").hosts(2).machines(1).real_guests().up().await.unwrap();
        let spaces = apart(&mut lab).await;
        // Neither sees what the other listens at on its loopback, nor any port of it but by the bridge.
        assert!(spaces[0].does("ip -brief address").contains("10.77.0.11/24"));
        assert!(!spaces[0].does("ip -brief address").contains("10.77.0.12"));
        let guest = Guest::of(&lab, "admin").await;
        let hosts: Vec<String> = lab.record.hosts.iter().map(|host| host.jid.clone()).collect();
        let create = ["--name=lan"];
        guest.client.command(&hosts[0], "network-create", &create).await.unwrap();
        guest.ask("define", &["--nic=network=lan"]).await;
        guest.ask("disk-create", &["--name=data", "--size=16M"]).await;
        guest.ask("start", &[]).await;
        guest.booted().await;
        shows(&guest, TAKES, "written").await;
        let address = "inet addr:10.20.0.2 ";
        shows(&guest, "ifconfig eth0 up; udhcpc -i eth0 -n -q -s /root/takes; ifconfig eth0", address).await;
        let mut scene = Scene::of(lab, guest).await;
        for argv in [&["--to=kvm2", "--dry-run"][..], &["--to=kvm2"]] {
            let missing = scene.says(0, "migrate", argv).await;
            assert!(missing.contains("it has no network lan"), "{missing}");
        }
        scene.client.command(&hosts[1], "network-create", &create).await.unwrap();
        is_moved(&scene.moves(&[]).await);
        scene.counts_on().await;
        // Its address is its own on the other host's network as well, which nothing has told it.
        scene.says(1, "send", &["--line=kill $!"]).await;
        let guest = Guest { client: scene.lab.client("admin").await.unwrap(), jid: scene.jid(1), node: "" };
        shows(&guest, "ping -c 1 10.20.0.1; ifconfig eth0", address).await;
        shows(&guest, "ping -c 1 10.20.0.1", "1 packets received").await;
        let links = |space: &Space| space.does("ip -brief link").matches("sk").count();
        assert_eq!((links(&spaces[0]), links(&spaces[1])), (1, 2), "the networks, and its NIC");
        scene.lab.down().await.unwrap();
        assert_eq!(scene.lab.processes(), Vec::<i32>::new());
    });
}
