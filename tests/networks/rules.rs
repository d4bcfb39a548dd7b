//! What passes at a NIC and what does not: addresses of others, a firewall's rules, a rate.

use hypervisor_core::network::{Mode, Network, NetworkDefinition, Plug};

use super::{
    making::{Making, world},
    network, plug,
    space::{Space, inside, ip, run},
    wanted,
};

/// Two guests with the addresses they are to have, without asking for them.
fn pair(one: &Plug, other: &Plug) -> (Space, Space) {
    let spaces = (Space::at(one), Space::at(other));
    for (space, plug) in [(&spaces.0, one), (&spaces.1, other)] {
        space.does(&format!("ip address add {}/24 dev eth0", plug.address.unwrap()));
    }
    spaces
}

fn ruled(plug: Plug, rules: &[&str]) -> Plug {
    Plug { rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(), ..plug }
}

/// Says hello to whoever comes, and counts what they say until they are silent for a second.
const LISTENS: &str = "
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((\"\", int(sys.argv[1]))); s.listen(); print(\"on\", flush=True)
while True:
    c, _ = s.accept(); c.settimeout(1); n = 0
    try:
        c.sendall(b\"hello\")
        while d := c.recv(65536): n += len(d)
    except OSError: pass
    print(n, flush=True)
";

/// Sends 4 MiB, for as long as two seconds allow.
const SENDS: &str = "
import socket, sys, time
s = socket.create_connection((sys.argv[1], 99), 2); s.settimeout(0.2); end = time.time() + 2; left = 4 << 20
while left > 0 and time.time() < end:
    try: left -= s.send(bytes(min(left, 65536)))
    except TimeoutError: pass
";

/// Reads what a listener says first.
const ASKS: &str = "
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2); s.settimeout(2)
assert s.recv(5) == b\"hello\"
";

/// Whether a TCP connection to this port there is answered.
fn connects(from: &Space, address: &str, port: u16) -> bool {
    from.tries(&format!("python3 -c '{ASKS}' {address} {port}")).is_ok()
}

/// Something that says hello on a TCP port until it is dropped.
struct Listening(std::process::Child);

impl Listening {
    fn on(space: &Space, port: u16) -> Self {
        Self::saying(LISTENS, space, port)
    }

    fn saying(script: &str, space: &Space, port: u16) -> Self {
        Self::at(&format!("nsenter --net=/proc/{}/ns/net ", space.holder()), script, port)
    }

    /// In the test's own namespace.
    fn here(port: u16) -> Self {
        Self::at("", LISTENS, port)
    }

    fn at(within: &str, script: &str, port: u16) -> Self {
        let line = format!("exec {within}python3 -c '{script}' {port}");
        let mut child = std::process::Command::new("sh");
        child.args(["-c", &line]).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        // Its word that it listens.
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 3]).unwrap();
        Self(child)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn addresses_of_others_are_not_believed() {
    inside(async {
        let making = Making::new();
        let lan = network("lan", Mode::Nat, 0);
        let (two, three) = (plug(&lan, 2), plug(&lan, 3));
        let (web2, web3) = pair(&two, &three);
        making.makes(&wanted(&[&lan], &[&two, &three])).await;
        assert!(web2.reaches("10.20.0.3"));
        // Another IP address.
        web2.does("ip address add 10.20.0.9/24 dev eth0");
        assert!(web2.tries("busybox ping -c 1 -W 1 -I 10.20.0.9 10.20.0.3").is_err());
        // A claim to be another, before everybody. Who had heard of the other has not changed its mind.
        web3.does("busybox ping -c 1 10.20.0.1");
        web2.tries("busybox arping -A -c 2 -I eth0 -s 10.20.0.1 10.20.0.1").ok();
        let gateway = web3.does("ip neighbour show 10.20.0.1");
        assert!(gateway.contains(&lan.mac().to_string()), "{gateway}");
        // Another MAC.
        web2.does("ip link set eth0 address 52:54:00:00:00:03; ip neighbour flush dev eth0");
        assert!(!web2.reaches("10.20.0.3") && !web2.reaches("10.20.0.1"));
        web2.does("ip link set eth0 address 52:54:00:00:00:02");
        assert!(web2.reaches("10.20.0.3"));
        // A guest that gives out addresses is not heard, and one that is not known here is given none.
        let stranger = Plug { guard: true, label: None, address: "10.20.0.4".parse().ok(), ..plug(&lan, 4) };
        let alone = Space::at(&stranger);
        ip("link set sk00000004 master sk-lan up");
        assert!(alone.tries_for_an_address().is_err());
        // Who is not guarded may be whoever it likes.
        let free = Plug { guard: false, ..two.clone() };
        making.makes(&wanted(&[&lan], &[&free, &three])).await;
        assert!(web2.tries("busybox ping -c 1 -W 2 -I 10.20.0.9 10.20.0.3").is_ok());
        making.leaves_nothing().await;
    });
}

#[test]
fn a_firewall_lets_in_what_it_says_and_answers_to_what_went_out() {
    inside(async {
        let making = Making::new();
        let lan = network("lan", Mode::Nat, 0);
        let (two, three) = (plug(&lan, 2), plug(&lan, 3));
        let (web2, web3) = pair(&two, &three);
        let two = ruled(two, &["allow in tcp 80 from 10.20.0.0/24", "deny in"]);
        making.makes(&wanted(&[&lan], &[&two, &three])).await;
        let _listening = [Listening::on(&web2, 80), Listening::on(&web2, 81), Listening::on(&web3, 90)];
        assert!(connects(&web3, "10.20.0.2", 80), "it is let in");
        assert!(!connects(&web3, "10.20.0.2", 81) && !web3.reaches("10.20.0.2"), "it is not");
        assert!(connects(&web2, "10.20.0.3", 90) && web2.reaches("10.20.0.3"), "these are answers");
        assert!(
            web2.does("busybox udhcpc -i eth0 -n -q -f -t 4 -T 1 -s /bin/true 2>&1").contains("10.20.0.2")
        );
        // Its rules change; who it spoke with is not forgotten.
        let flows = || run("nft list set bridge skerry flows4-in-sk00000002").unwrap().matches("tcp").count();
        let before = flows();
        assert!(before > 0);
        let two = ruled(two, &["deny out tcp 90", "deny in icmp"]);
        making.makes(&wanted(&[&lan], &[&two, &three])).await;
        assert_eq!(flows(), before);
        assert!(connects(&web3, "10.20.0.2", 81) && !connects(&web2, "10.20.0.3", 90));
        assert!(!web3.reaches("10.20.0.2"), "pings are denied");
        let two = ruled(two, &["allow out udp 53", "deny out"]);
        making.makes(&wanted(&[&lan], &[&two, &three])).await;
        assert!(connects(&web3, "10.20.0.2", 81), "it answers");
        assert!(!connects(&web2, "10.20.0.3", 90) && !web2.reaches("10.20.0.1"));
        assert!(web2.does("busybox nslookup web3.lan.internal 10.20.0.1").contains("10.20.0.3"));
        making.leaves_nothing().await;
    });
}

/// Answers whatever it is sent, for as long as somebody speaks.
const ECHOES: &str = "
import socket, sys, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((\"\", int(sys.argv[1]))); s.listen(); print(\"on\", flush=True)
def echo(c):
    while d := c.recv(9): c.sendall(d)
while True: threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()
";

/// Opens a connection, and asks by it as often as it is told to: whether an answer came.
const KEEPS: &str = "
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2); s.settimeout(1)
for _ in sys.stdin:
    try: s.sendall(b\"?\"); s.recv(9); print(\"heard\", flush=True)
    except TimeoutError: print(\"silent\", flush=True)
";

/// A connection that is open.
struct Open(std::process::Child);

impl Open {
    fn from(space: &Space, address: &str, port: u16) -> Self {
        let holder = space.holder();
        let line = format!("exec nsenter --net=/proc/{holder}/ns/net python3 -c '{KEEPS}' {address} {port}");
        let piped = std::process::Stdio::piped;
        let mut child = std::process::Command::new("sh");
        let mut open = Self(child.args(["-c", &line]).stdin(piped()).stdout(piped()).spawn().unwrap());
        assert!(open.speaks());
        open
    }

    fn speaks(&mut self) -> bool {
        let mut said = [0; 7];
        std::io::Write::write_all(self.0.stdin.as_mut().unwrap(), b"\n").unwrap();
        let stdout = self.0.stdout.as_mut().unwrap();
        std::io::Read::read_exact(stdout, &mut said[..6]).unwrap();
        if &said[..6] == b"heard\n" {
            return true;
        }
        std::io::Read::read_exact(stdout, &mut said[6..]).unwrap();
        assert_eq!(&said, b"silent\n");
        false
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_denied_ends_though_it_is_open_and_nothing_else_does() {
    inside(async {
        let making = Making::new();
        let lan = network("lan", Mode::Nat, 0);
        let (two, three) = (plug(&lan, 2), plug(&lan, 3));
        let (web2, web3) = pair(&two, &three);
        let rules = async |rules: &[&str]| {
            making.makes(&wanted(&[&lan], &[&ruled(two.clone(), rules), &three])).await;
        };
        rules(&[]).await;
        let _echoes = [Listening::saying(ECHOES, &web2, 80), Listening::saying(ECHOES, &web3, 90)];
        let opened = || (Open::from(&web3, "10.20.0.2", 80), Open::from(&web2, "10.20.0.3", 90));
        let (mut came, mut went) = opened();
        // With its first rule nobody is known; who may still begin goes on.
        rules(&["deny in"]).await;
        assert!(went.speaks() && !came.speaks());
        rules(&["deny out tcp 91"]).await;
        let (mut came, mut went) = opened();
        rules(&["deny in tcp 80"]).await;
        assert!(went.speaks() && !came.speaks());
        rules(&["deny out tcp 90"]).await;
        let mut came = Open::from(&web3, "10.20.0.2", 80);
        assert!(came.speaks() && !went.speaks());
        // What is no rule's matter goes on, however they change.
        rules(&["deny out"]).await;
        assert!(came.speaks() && !went.speaks());
        making.leaves_nothing().await;
    });
}

/// How many of 4 MiB get through to a listener within two seconds.
fn carried(from: &Space, to: &Space, address: &str) -> usize {
    let mut listening = Listening::on(to, 99);
    from.does(&format!("python3 -c '{SENDS}' {address}"));
    let mut said = String::new();
    let stdout = listening.0.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut said).unwrap();
    said.trim().parse().unwrap()
}

#[test]
fn a_rate_bounds_what_goes_either_way() {
    inside(async {
        let making = Making::new();
        let lan = network("lan", Mode::Nat, 0);
        let (two, three) = (plug(&lan, 2), plug(&lan, 3));
        let (web2, web3) = pair(&two, &three);
        making.makes(&wanted(&[&lan], &[&two, &three])).await;
        let all = 4 << 20;
        assert_eq!(carried(&web2, &web3, "10.20.0.3"), all);
        let slow = Plug { rate: "4Mbit".parse().ok(), ..two };
        making.makes(&wanted(&[&lan], &[&slow, &three])).await;
        // Two seconds of half a MiB each, and a burst: far from all of it, whichever way it goes.
        for (from, to, address) in [(&web2, &web3, "10.20.0.3"), (&web3, &web2, "10.20.0.2")] {
            let carried = carried(from, to, address);
            assert!(carried < all / 2, "{carried} of {all}");
        }
        making.leaves_nothing().await;
    });
}

#[test]
fn an_isolated_network_leads_nowhere_and_a_routed_one_both_ways() {
    inside(async {
        let world = world();
        world.does("ip route add 10.20.0.0/16 via 192.0.2.1");
        let making = Making::new();
        let (lab, dmz) = (network("lab", Mode::Isolated, 0), network("dmz", Mode::Routed, 1));
        let (two, three) = (plug(&lab, 2), plug(&lab, 3));
        let four = plug(&dmz, 4);
        let (web2, _web3) = pair(&two, &three);
        let web4 = Space::at(&four);
        making.makes(&wanted(&[&lab, &dmz], &[&two, &three, &four])).await;
        let told = web2.asks_for_an_address();
        assert!(told.contains("ip=10.20.0.2 router= dns=10.20.0.1"), "{told}");
        web2.does("ip route add default via 10.20.0.1");
        web4.asks_for_an_address();
        assert!(web2.reaches("10.20.0.3"), "its own kind");
        assert!(!web2.reaches("192.0.2.2") && !web2.reaches("10.20.1.4") && !world.reaches("10.20.0.2"));
        let host = Listening::here(22);
        assert!(!connects(&web2, "10.20.0.1", 22), "the host gives it addresses and names alone");
        assert!(connects(&web4, "10.20.1.1", 22));
        drop(host);
        assert!(world.reaches("10.20.1.4"), "its own address is its way back");
        assert!(web4.reaches("192.0.2.2"));
        assert!(!web4.reaches("10.20.0.2"));
        making.leaves_nothing().await;
    });
}

#[test]
fn a_bridge_of_the_hosts_is_used_and_left_as_it_was() {
    inside(async {
        ip("link add br0 type bridge forward_delay 0");
        ip("link set br0 up");
        let making = Making::new();
        let office = NetworkDefinition { bridge: Some("br0".into()), ..NetworkDefinition::new(Mode::Bridge) };
        let office = Network { name: "office".parse().unwrap(), definition: office };
        let (two, three) = (plug(&office, 2), Plug { address: "10.9.0.3".parse().ok(), ..plug(&office, 3) });
        let (web2, web3) = (Space::at(&two), Space::at(&three));
        web2.does("ip address add 10.9.0.2/24 dev eth0");
        web3.does("ip address add 10.9.0.3/24 dev eth0; ip address add 10.9.0.4/24 dev eth0");
        making.makes(&wanted(&[&office], &[&two, &three])).await;
        assert!(web2.reaches("10.9.0.3"));
        // Who has a fixed address is held to it; who has not may have any that others give it.
        assert!(web3.tries("busybox ping -c 1 -W 1 -I 10.9.0.4 10.9.0.2").is_err());
        web2.does("ip address add 10.9.0.5/24 dev eth0");
        assert!(web2.tries("busybox ping -c 1 -W 2 -I 10.9.0.5 10.9.0.3").is_ok());
        web2.does("ip link set eth0 address 52:54:00:00:00:77");
        assert!(!web2.reaches("10.9.0.3"));
        assert_eq!(making.serving(), [""; 0]);
        making.leaves_nothing().await;
        assert!(ip("link show br0").contains(",UP"), "it is there");
        assert_eq!(run("ip -brief address show scope global br0").unwrap(), "", "it got no address");
    });
}

#[test]
fn guests_of_one_vlan_reach_each_other_and_its_world_and_those_of_another_do_not() {
    inside(async {
        if run("ip link add probe0 type bridge && ip link add link probe0 name probe0.7 type vlan id 7")
            .is_err()
        {
            eprintln!("skipped: the kernel has no VLANs");
            return;
        }
        run("ip link delete probe0").unwrap();
        // The switch at the other end of the host's NIC: what it says on two VLANs.
        let world = world();
        // On each it answers for what it is there, not for all that it is.
        world.does("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore");
        for (vlan, address) in [(20, "10.9.0.20"), (30, "10.9.0.30")] {
            world.does(&format!(
                "ip link add link up1 name up1.{vlan} type vlan id {vlan}; ip link set up1.{vlan} up; \
                 ip address add {address}/32 dev up1.{vlan}; ip route add 10.9.0.{} dev up1.{vlan}",
                vlan / 10
            ));
        }
        let making = Making::new();
        let of = |name: &str, vlan: u16| {
            let uplink = Some("up0".into());
            let definition =
                NetworkDefinition { uplink, vlan: Some(vlan), ..NetworkDefinition::new(Mode::Bridge) };
            Network { name: name.parse().unwrap(), definition }
        };
        let (office, lab) = (of("office", 20), of("lab", 30));
        let (two, four, three) = (plug(&office, 2), plug(&office, 4), plug(&lab, 3));
        let spaces = [&two, &four, &three].map(Space::at);
        for (space, n) in spaces.iter().zip([2, 4, 3]) {
            space.does(&format!("ip address add 10.9.0.{n}/24 dev eth0"));
        }
        let [web2, web4, web3] = &spaces;
        making.makes(&wanted(&[&office, &lab], &[&two, &four, &three])).await;
        assert!(web2.reaches("10.9.0.4") && web4.reaches("10.9.0.2"), "they are of one VLAN");
        assert!(web2.reaches("10.9.0.20") && web3.reaches("10.9.0.30"), "so is the world at the other end");
        for (space, others) in [(web2, ["10.9.0.3", "10.9.0.30"]), (web3, ["10.9.0.2", "10.9.0.20"])] {
            assert!(!others.iter().any(|other| space.reaches(other)), "of another");
        }
        // A tag of its own making leads nowhere.
        web2.does(
            "ip link add link eth0 name eth0.30 type vlan id 30; ip link set eth0.30 up; \
             ip address flush dev eth0; ip address add 10.9.0.2/24 dev eth0.30",
        );
        assert!(!web2.reaches("10.9.0.3") && !web2.reaches("10.9.0.30"));
        making.leaves_nothing().await;
    });
}

#[test]
fn ipv6_addresses_are_given_kept_to_and_led_out() {
    inside(async {
        let world = world();
        ip("address add 2001:db8::1/64 dev up0 nodad");
        world.does("ip address add 2001:db8::2/64 dev up1 nodad");
        let making = Making::new();
        let lan = network("lan", Mode::Nat, 0);
        let definition = NetworkDefinition { subnet6: "fd00:20::/64".parse().ok(), ..lan.definition };
        let lan = Network { definition, ..lan };
        let (two, three) = (plug(&lan, 2), plug(&lan, 3));
        let (web2, web3) = (Space::at(&two), Space::at(&three));
        let made = making.makes(&wanted(&[&lan], &[&two, &three])).await;
        for (space, n) in [(&web2, 2), (&web3, 3)] {
            space.does(&format!(
                "ip address add fd00:20::5054:ff:fe00:{n}/64 dev eth0 nodad; ip route add default via fd00:20::1"
            ));
        }
        assert!(web2.reaches("fd00:20::1"));
        assert!(web2.reaches("fd00:20::5054:ff:fe00:3"));
        let name = web2
            .tries("busybox nslookup -type=aaaa web3.lan.internal fd00:20::1")
            .unwrap_or_else(|said| said);
        assert!(name.contains("fd00:20::5054:ff:fe00:3"), "{name}");
        // Before Linux 6.17 a host forwards IPv6 as a whole or not at all: then a person is told.
        match std::path::Path::new("/proc/sys/net/ipv6/conf/all/force_forwarding").exists() {
            true => assert!(web2.reaches("2001:db8::2"), "{made:?}"),
            false => assert!(made.notes.iter().any(|note| note.contains("IPv6")), "{made:?}"),
        }
        web2.does("ip address add fd00:20::99/64 dev eth0 nodad");
        assert!(web2.tries("busybox ping -c 1 -W 1 -I fd00:20::99 fd00:20::1").is_err());
        // It says that it is the host, whose link-local address everybody's way out is.
        let gateway = lan.link_local();
        web2.does(&format!("ip address add {gateway}/64 dev eth0 nodad"));
        web3.does("ip neighbour flush dev eth0");
        assert!(web3.tries(&format!("busybox ping -c 1 -W 2 {gateway}%eth0")).is_ok());
        let neighbour = web3.does(&format!("ip neighbour show {gateway}"));
        assert!(neighbour.contains(&lan.mac().to_string()), "{neighbour}");
        making.leaves_nothing().await;
    });
}
