//! Networks as they are made: addresses, names, ways out, and what is left when they go.

use std::path::Path;

use hypervisor_core::network::{From, Made, Maker, Mode, Network, NetworkDefinition, NetworkError, Wanted};

use super::{
    network, plug,
    space::{Space, inside, ip, run},
    wanted,
};

/// Makes networks in a folder that goes with it, and their processes.
pub struct Making {
    pub maker: Maker,
    folder: tempfile::TempDir,
}

impl Making {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { maker: maker(folder.path()), folder }
    }

    /// Another process of the same agent, later: it knows nothing but what is there.
    pub fn again(&mut self) {
        self.maker = maker(self.folder.path());
    }

    pub async fn makes(&self, wanted: &Wanted) -> Made {
        let made = self.maker.make(wanted.clone()).await.unwrap();
        assert_eq!(made.failed, []);
        made
    }

    /// The processes that serve.
    pub fn serving(&self) -> Vec<String> {
        let all = run(&format!("pgrep -af '^dnsmasq --conf-file={}'", self.folder.path().display()));
        all.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Nothing of it is on the host.
    pub async fn leaves_nothing(&self) {
        self.makes(&Wanted::default()).await;
        assert_eq!(self.serving(), [""; 0]);
        assert_eq!(run("nft list ruleset").unwrap(), "");
        assert!(!ip("-brief link").contains("sk-"), "{}", ip("-brief link"));
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        for line in self.serving() {
            let pid = line.split(' ').next().unwrap();
            let _ = run(&format!("kill {pid}; while kill -0 {pid} 2>/dev/null; do :; done"));
        }
    }
}

fn maker(folder: &Path) -> Maker {
    Maker::new(folder.join("networks"), |_| {})
}

/// The world beyond the host: 192.0.2.2, which knows no way back into any network.
pub fn world() -> Space {
    let world = Space::new();
    ip(&format!("link add up0 type veth peer name up1 netns {}", world.holder()));
    ip("address add 192.0.2.1/24 dev up0");
    ip("link set up0 up");
    world.does("ip address add 192.0.2.2/24 dev up1; ip link set up1 up");
    world
}

fn switch(interface: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
    run(&format!("cat {path}")).unwrap().trim().to_owned()
}

#[test]
fn guests_of_a_nat_network_have_addresses_names_and_a_way_out_and_nobody_has_a_way_in() {
    inside(async {
        let world = world();
        let making = Making::new();
        let lan = network("lan", Mode::Nat, 0);
        let (two, three) = (plug(&lan, 2), plug(&lan, 3));
        let (web2, web3) = (Space::at(&two), Space::at(&three));
        making.makes(&wanted(&[&lan], &[&two, &three])).await;
        let told = web2.asks_for_an_address();
        assert!(told.contains("ip=10.20.0.2 router=10.20.0.1 dns=10.20.0.1 domain=lan.internal"), "{told}");
        web3.asks_for_an_address();
        assert!(web2.reaches("10.20.0.3") && web2.reaches("192.0.2.2"));
        let name = web2.does("busybox nslookup web3.lan.internal 10.20.0.1");
        assert!(name.contains("Address: 10.20.0.3") || name.contains("Address 1: 10.20.0.3"), "{name}");
        world.does("ip route add 10.20.0.0/24 via 192.0.2.1");
        assert!(!world.reaches("10.20.0.2"), "it came in");
        // It forwards for our networks, and for nobody else.
        assert_eq!((switch("up0").as_str(), switch("all").as_str()), ("1", "0"));
        let seen = making.maker.look().await.unwrap();
        let of = |n: usize| {
            let mac = [&two, &three][n].mac;
            seen.addresses.iter().find(|one| one.mac == mac).map(|one| (one.address.to_string(), one.from))
        };
        assert_eq!(of(0), Some(("10.20.0.2".into(), From::Lease)));
        assert_eq!(of(1), Some(("10.20.0.3".into(), From::Lease)));
        making.leaves_nothing().await;
        assert_eq!(switch("up0"), "0", "it was borrowed");
    });
}

#[test]
fn it_is_made_once_and_again_after_whatever_happened() {
    inside(async {
        let mut making = Making::new();
        let lan = network("lan", Mode::Nat, 0);
        let two = plug(&lan, 2);
        let web2 = Space::at(&two);
        let all = wanted(&[&lan], &[&two]);
        making.makes(&all).await;
        // Its number is another when it is made again.
        let number = || ip("link show sk-lan").split(':').next().unwrap().to_owned();
        let (before, bridge) = (making.serving(), number());
        assert_eq!(before.len(), 1);
        // By another process as well: what is right is left alone.
        making.again();
        making.makes(&all).await;
        assert_eq!((making.serving(), number()), (before.clone(), bridge));
        web2.asks_for_an_address();

        for harm in ["ip link delete sk-lan", "nft flush ruleset", "ip address flush dev sk-lan"] {
            run(harm).unwrap();
            making.makes(&all).await;
            assert!(web2.reaches("10.20.0.1"), "after {harm}");
            let rules = run("nft list ruleset").unwrap();
            assert!(rules.contains("masquerade") && rules.contains("from-sk00000002"), "after {harm}");
        }
        let pid = before[0].split(' ').next().unwrap();
        run(&format!("kill -9 {pid}; while kill -0 {pid} 2>/dev/null; do :; done")).unwrap();
        making.makes(&all).await;
        assert_eq!(making.serving().len(), 1);
        web2.asks_for_an_address();
        making.leaves_nothing().await;
    });
}

#[test]
fn it_dies_at_any_step_and_the_next_one_ends_what_it_began() {
    let steps = [
        "net-noted",
        "net-ruled",
        "net-bridged",
        "net-joined",
        "net-configured",
        "net-silent",
        "net-served",
        "net-switched",
    ];
    inside(async move {
        let _world = world();
        let lan = network("lan", Mode::Nat, 0);
        let isolated = Network {
            definition: NetworkDefinition { mode: Mode::Isolated, ..lan.definition.clone() },
            ..lan.clone()
        };
        let two = plug(&lan, 2);
        let web2 = Space::at(&two);
        let (nat, isolated) = (wanted(&[&lan], &[&two]), wanted(&[&isolated], &[&two]));
        let mut making = Making::new();
        for step in steps {
            // From nothing, from one to another, and back to nothing.
            for (from, to) in [(&Wanted::default(), &nat), (&isolated, &nat), (&nat, &Wanted::default())] {
                making.makes(from).await;
                making.again();
                dies(&making, to, step).await;
                making.makes(to).await;
                if to.networks.is_empty() {
                    making.leaves_nothing().await;
                    assert_eq!(switch("up0"), "0", "at {step}");
                    continue;
                }
                assert_eq!(making.serving().len(), 1, "at {step}");
                web2.asks_for_an_address();
                assert!(web2.reaches("192.0.2.2"), "at {step}");
                assert_eq!(switch("up0"), "1", "at {step}");
            }
        }
    });
}

/// Makes it so until a step, and no further. What it holds is let go, as by a process that dies.
async fn dies(making: &Making, wanted: &Wanted, step: &'static str) {
    use std::sync::OnceLock;
    thread_local!(static AT: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") });
    static QUIET: OnceLock<()> = OnceLock::new();
    QUIET.get_or_init(|| {
        let shout = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.to_string().contains("it dies here") {
                shout(panic);
            }
        }));
    });
    AT.set(step);
    let dying = Maker::new(making.folder.path().join("networks"), |step| {
        assert!(AT.get() != step, "it dies here");
    });
    let died =
        futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(dying.make(wanted.clone()))).await;
    // A step that this does not pass kills nobody.
    assert!(died.is_err() || matches!(died, Ok(Ok(_))), "{step}: {:?}", died.map(|made| made.is_ok()));
}

#[test]
fn a_network_that_cannot_be_keeps_no_other_from_being() {
    inside(async {
        let making = Making::new();
        let lan = network("lan", Mode::Nat, 0);
        let office = NetworkDefinition { bridge: Some("br0".into()), ..NetworkDefinition::new(Mode::Bridge) };
        let office = Network { name: "office".parse().unwrap(), definition: office };
        let taken = network("taken", Mode::Nat, 7);
        ip("link add other type veth peer name rehto");
        ip("address add 10.20.7.9/24 dev other");
        let made = making.maker.make(wanted(&[&lan, &office, &taken], &[])).await.unwrap();
        let why: Vec<(&str, &str)> =
            made.failed.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        let expected = [
            ("office", "there is no bridge br0 on this host"),
            ("taken", "the addresses 10.20.7.9/24 are in use already, by other"),
        ];
        assert_eq!(why, expected);
        assert_eq!(making.serving().len(), 1);
        ip("link add br0 type bridge");
        ip("address flush dev other");
        making.makes(&wanted(&[&lan, &office, &taken], &[])).await;
        making.makes(&Wanted::default()).await;
        assert!(ip("-brief link").contains("br0"), "it is the host's");
    });
}

#[test]
fn the_host_is_nobody_on_a_vlan_that_it_leads_its_guests_to() {
    inside(async {
        let _world = world();
        let making = Making::new();
        let definition = NetworkDefinition {
            uplink: Some("up0".into()),
            vlan: Some(20),
            ..NetworkDefinition::new(Mode::Bridge)
        };
        let office = Network { name: "office".parse().unwrap(), definition };
        let made = making.maker.make(wanted(&[&office], &[])).await.unwrap();
        // Where the kernel knows none, the bridge is there all the same.
        let why = made.failed.first().map_or("", |(_, why)| why.as_str());
        assert!(why.is_empty() || why.contains("has no VLANs"), "{why}");
        let bridge = ip("-details address show dev sk-office");
        assert!(bridge.contains(",UP") && !bridge.contains("inet"), "{bridge}");
        assert_eq!(run("cat /proc/sys/net/ipv6/conf/sk-office/disable_ipv6").unwrap().trim(), "1");
        making.leaves_nothing().await;
    });
}

#[test]
fn only_one_makes_networks_and_others_are_told_so() {
    inside(async {
        let (one, other) = (Making::new(), Making::new());
        let lan = wanted(&[&network("lan", Mode::Nat, 0)], &[]);
        one.makes(&lan).await;
        let refused = other.maker.make(lan.clone()).await;
        let Err(NetworkError::Unfit(why)) = refused else { panic!("{refused:?}") };
        assert_eq!(why, "the networks of this host are kept by another agent, or by skerry-net");
        drop(one);
        other.makes(&lan).await;
    });
}
