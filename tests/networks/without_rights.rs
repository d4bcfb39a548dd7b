//! `skerry-net`: as nobody with three rights it does what root does, for whom it should.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use hypervisor_core::network::{Mode, Wanted, service::Client};

use super::{
    network, plug,
    space::{Space, inside, ip, run},
    wanted,
};

/// Its user, and the one it lets ask.
const ITS: u32 = 12345;
const ASKS: u32 = 12346;

struct Service(Child);

impl Service {
    fn start(folder: &Path) -> Self {
        let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("skerry-net");
        let rights = "+net_admin,+net_raw,+net_bind_service";
        // As udev makes it: anybody may open it. A machine of tests need not have udev.
        let device = folder.join("tun");
        run(&format!("[ -e {0} ] || {{ mknod {0} c 10 200 && chmod 666 {0}; }}", device.display())).unwrap();
        let bind = format!("mount --bind {} /dev/net/tun && exec setpriv \"$@\"", device.display());
        let mut helper = Command::new("unshare");
        helper.args(["--mount", "sh", "-c", &bind, "setpriv"]);
        helper.args([format!("--reuid={ITS}"), format!("--regid={ITS}"), "--clear-groups".into()]);
        helper.args([format!("--inh-caps=-all,{rights}"), format!("--ambient-caps=-all,{rights}")]);
        helper.args([format!("--bounding-set=-all,{rights}"), "--no-new-privs".into()]).arg(program);
        helper.arg("--socket").arg(folder.join("socket")).arg("--folder").arg(folder.join("networks"));
        helper.args(["--user", &ASKS.to_string()]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut helper = helper.spawn().unwrap();
        let mut said = BufReader::new(helper.stderr.take().unwrap()).lines();
        let first = said.next().unwrap().unwrap();
        assert!(first.contains("skerry-net listens"), "{first}");
        std::thread::spawn(move || {
            said.map_while(Result::ok).for_each(|line| eprintln!("skerry-net: {line}"))
        });
        Self(helper)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nobody_with_three_rights_makes_networks_for_whom_it_should() {
    inside(async {
        let folder = tempfile::tempdir().unwrap();
        run(&format!("chown {ITS} {0}; chmod 755 {0}", folder.path().display())).unwrap();
        let service = Service::start(folder.path());
        let client = Client::new(&folder.path().join("socket"));
        let lan = network("lan", Mode::Nat, 0);
        let (two, three) = (plug(&lan, 2), plug(&lan, 3));
        let web2 = Space::at(&two);
        let all = wanted(&[&lan], &[&two, &three]);
        assert_eq!(client.make(all.clone()).await.unwrap().failed, []);
        assert!(web2.asks_for_an_address().contains("ip=10.20.0.2"));
        assert_eq!(client.look().await.unwrap().addresses[0].mac, two.mac);
        // An interface is there as long as whoever asked for it holds it.
        let tap = client.tap(&three.interface).await.unwrap();
        assert!(ip("link show sk00000003").contains("master sk-lan"));
        drop(tap);
        assert!(run("ip link show sk00000003").is_err());
        let odd = client.tap(&"sk000000ff".parse().unwrap()).await.unwrap_err();
        assert_eq!(odd.to_string(), "sk000000ff is on no network");
        // It is killed: what it made is there, and the next one knows it.
        drop(service);
        assert!(client.look().await.unwrap_err().to_string().contains("systemctl start skerry-net"));
        assert!(web2.reaches("10.20.0.1"));
        let _service = Service::start(folder.path());
        assert_eq!(client.make(all).await.unwrap().failed, []);
        // Others are not answered, nor is what is no question.
        let asks = |user: u32, text: &str| {
            let line = format!(
                "import socket; s=socket.socket(socket.AF_UNIX); s.connect(\"{}\"); s.send(b\"{text}\\n\"); \
                 print(s.makefile().read())",
                folder.path().join("socket").display()
            );
            run(&format!("setpriv --reuid={user} --clear-groups /usr/bin/python3 -c '{line}'"))
                .unwrap_or_else(|said| said)
        };
        assert!(asks(ASKS, "\\\"look\\\"").contains("seen"), "{}", asks(ASKS, "\\\"look\\\""));
        let refused = asks(ASKS + 1, "\\\"look\\\"");
        assert!(!refused.contains("seen"), "{refused}");
        assert!(asks(ASKS, "rm -rf /").contains("that is no question"));
        assert_eq!(client.make(Wanted::default()).await.unwrap().failed, []);
        assert_eq!(run("nft list ruleset").unwrap(), "");
        assert!(!ip("-brief link").contains("sk-lan"));
    });
}
