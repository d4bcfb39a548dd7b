//! Devices of a real kernel in a real guest: a disk on PCI behind an IOMMU, and a USB stick. Run by
//! `scripts/passthrough`, within a machine that has both, as root; nothing else has what it takes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use hypervisor_core::driver::{
    Driver,
    qemu::{Acceleration, Config as QemuConfig, Keeper, Qemu},
};
use skerry_agent::{agent::Agent, asked::Answer, config::Config};
use stage::{ANN, asked};

/// Guests are interpreted in here, twice perhaps.
const PATIENCE: Duration = Duration::from_secs(600);

struct Host {
    agent: Agent,
}

impl Host {
    async fn open(folder: &Path) -> Self {
        let kernel = std::env::var("SKERRY_LAB_KERNEL").unwrap();
        let initrd = std::env::var("SKERRY_LAB_INITRD").unwrap();
        fs::write(folder.join("secret"), "hush\n").unwrap();
        let text = format!(
            "name = \"lab\"\nstate = {:?}\n\
             [link]\nkind = \"component\"\njid = \"lab.example.org\"\nserver = \"127.0.0.1:5347\"\n\
             secret_file = {:?}\n[roles]\nadmin = [\"ann@example.org\"]\n[drivers]\nenabled = [\"qemu\"]\n\
             [images.linux]\nkernel = {kernel:?}\ninitrd = {initrd:?}\n\
             cmdline = \"console=ttyS0 quiet panic=1\"\n",
            folder.join("state").display().to_string(),
            folder.join("secret").display().to_string(),
        );
        let config = Config::parse(&text, &folder.join("agent.toml")).unwrap();
        // It works in here, and takes longer than a trial may.
        let kvm = Path::new("/dev/kvm").exists();
        let acceleration = if kvm { Acceleration::Kvm } else { Acceleration::Tcg };
        let qemu = Qemu::new(QemuConfig { acceleration, keeper: Keeper::Nobody, ..QemuConfig::default() });
        eprintln!("lab: {}", qemu.probe().why);
        let agent = Agent::open(config, vec![Arc::new(qemu)]).await.unwrap();
        Self { agent }
    }

    async fn ask(&self, line: &str) -> Answer {
        let (hears, _) = tokio::sync::mpsc::channel(1);
        self.agent.ask(asked(ANN, line), Some(hears)).await
    }

    async fn say(&self, line: &str) -> String {
        let answer = match self.ask(line).await {
            Answer::Confirm(question) => {
                let target = asked(ANN, line).target;
                let door = skerry_agent::asked::Door::Chat;
                self.agent.confirm(&stage::jid(ANN), &target, Some(&question.code), door, None, None).await
            }
            answer => answer,
        };
        let text = stage::done(answer);
        eprintln!("lab: {line} -> {text}");
        text
    }

    /// Waits until the guest of web1 has said this, so many times in all.
    async fn hears(&self, wanted: &str, times: usize) {
        let said = async {
            loop {
                let Answer::Done { text, .. } = self.ask("web1: console --lines 400").await else { continue };
                if text.matches(wanted).count() >= times {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, said).await.is_err() {
            panic!("{wanted} is not said: {}", self.say("web1: console --lines 100").await);
        }
    }

    /// Types a line on the console of web1.
    async fn types(&self, line: &str) {
        self.ask(&format!("web1: send {line}")).await;
    }
}

/// The driver that the kernel has for what is there.
fn driver(bus: &str, device: &str) -> Option<String> {
    let link = fs::read_link(format!("/sys/bus/{bus}/devices/{device}/driver")).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

async fn has_driver(bus: &str, device: &str, wanted: &str) {
    let has = async {
        while driver(bus, device).as_deref() != Some(wanted) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(60), has).await;
    assert!(found.is_ok(), "{device} has {:?}, not {wanted}", driver(bus, device));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by scripts/passthrough, in a machine of its own"]
async fn a_disk_on_pci_and_a_usb_stick_are_a_guests_and_the_hosts_again() {
    let at = std::env::var("SKERRY_LAB_PCI").unwrap();
    let port = std::env::var("SKERRY_LAB_USB").unwrap();
    let interface = format!("{port}:1.0");
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path()).await;
    host.say("device list").await;
    host.say(&format!("device map disk {at}")).await;
    host.say(&format!("device map stick {port}")).await;
    host.say("create web1 linux").await;
    host.say("web1: device attach disk").await;
    host.say("web1: device attach stick").await;
    assert_eq!(driver("pci", &at).as_deref(), Some("virtio-pci"));
    has_driver("usb", &interface, "usb-storage").await;

    host.say("web1: start").await;
    assert_eq!(driver("pci", &at).as_deref(), Some("vfio-pci"));
    host.hears("skerry guest ready", 1).await;
    // By DMA through the IOMMU, and by the bulk pipe of the stick.
    host.types("head -c 20 /dev/vda; echo").await;
    host.hears("this disk is on PCI\n", 1).await;
    host.types("until [ -e /dev/sda ]; do usleep 100000; done; head -c 20 /dev/sda; echo").await;
    host.hears("this stick is on USB\n", 1).await;
    assert_eq!(driver("usb", &interface).as_deref(), Some("usbfs"));
    host.say("create web2 linux").await;
    host.say("web2: device attach disk").await;
    let Answer::Refused(refusal) = host.ask("web2: start").await else { panic!("two have it") };
    eprintln!("lab: web2: start -> {refusal}");
    assert!(refusal.text.contains("is web1's while that runs"), "{refusal}");
    host.say("device list").await;

    host.say("web1: device detach stick").await;
    host.types("while [ -e /dev/sda ]; do usleep 100000; done; echo gone $((6*7))").await;
    host.hears("gone 42", 1).await;
    has_driver("usb", &interface, "usb-storage").await;
    host.say("web1: device attach stick").await;
    host.types("until [ -e /dev/sda ]; do usleep 100000; done; echo back $((6*8))").await;
    host.hears("back 48", 1).await;

    host.say("web1: kill").await;
    host.say("device list").await;
    assert_eq!(driver("pci", &at).as_deref(), Some("virtio-pci"));
    has_driver("usb", &interface, "usb-storage").await;

    // Its process is killed while no agent runs: nobody is there to give anything back.
    host.say("web1: start").await;
    host.hears("skerry guest ready", 2).await;
    host.agent.close().await;
    drop(host);
    let killed = Command::new("/bin/busybox").args(["killall", "-9", "qemu-system-x86_64"]).status().unwrap();
    assert!(killed.success());
    let host = Host::open(folder.path()).await;
    assert_eq!(driver("pci", &at).as_deref(), Some("virtio-pci"));
    has_driver("usb", &interface, "usb-storage").await;
    host.say("device list").await;
    eprintln!("lab: all of it was seen");
}
