//! A real Debian, from an image that was imported: it boots from a disk of its own, cloud-init gives it an
//! identity, and its guest agent answers. `scripts/debian` makes it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use skerry_stanzas::adhoc::AdhocCommand;
use skerry_tests::{
    client::Client,
    lab::{Lab, Wanted},
};

/// As often as is asked for what takes its time: each answer takes a moment as well.
const TRIES: usize = 900;

/// A host with the image `debian-12`.
pub struct Debian {
    pub lab: Lab,
    pub client: Client,
    host: String,
}

/// The disk that `scripts/debian` made.
pub fn disk() -> PathBuf {
    let named = std::env::var_os("SKERRY_DEBIAN").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/debian"));
    let disk = folder.join("disk.qcow2");
    assert!(disk.exists(), "there is no Debian in {} (scripts/debian makes one)", folder.display());
    disk
}

/// A guest of it.
pub struct Guest<'a> {
    debian: &'a Debian,
    name: String,
}

impl Debian {
    pub async fn imported() -> Self {
        let lab = Wanted::new("prosody", "component").real_guests().up().await.unwrap();
        let imports = lab.host().config.with_file_name("state").join("import");
        std::fs::create_dir_all(&imports).unwrap();
        let disk = disk();
        if std::fs::hard_link(&disk, imports.join("debian.qcow2")).is_err() {
            std::fs::copy(&disk, imports.join("debian.qcow2")).unwrap();
        }
        let (client, host) = (lab.client("admin").await.unwrap(), lab.host().jid.clone());
        let debian = Self { lab, client, host };
        debian.ask("image-import", &["--source=debian.qcow2", "--name=debian-12"]).await;
        debian.until("image-list", |list| list["images"].to_string().contains("debian-12")).await;
        debian
    }

    pub async fn ask(&self, verb: &str, argv: &[&str]) -> AdhocCommand {
        self.client.command(&self.host, verb, argv).await.unwrap()
    }

    /// Asks until the answer is as it should be.
    pub async fn until(&self, verb: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..TRIES {
            last = self.ask(verb, &[]).await.json.unwrap_or_default();
            if is(&last) {
                return last;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{verb}: never as it should be, but {last}");
    }

    /// A machine from the image, which cloud-init gives this much.
    pub async fn machine(&self, name: &str, cloud_init: &str) -> Guest<'_> {
        self.ask("create", &[&format!("--name={name}"), "--image=debian-12"]).await;
        let guest = self.guest(name);
        let defined = guest.ask("define", &[]).await.json.unwrap();
        let toml = format!("{}\n[cloud_init]\n{cloud_init}\n", defined["toml"].as_str().unwrap());
        let said = guest.says("define", &[&format!("--toml={toml}")]).await;
        assert!(said.contains("cloud"), "{said}");
        guest
    }

    pub fn guest(&self, name: &str) -> Guest<'_> {
        Guest { debian: self, name: name.into() }
    }
}

impl Guest<'_> {
    pub async fn ask(&self, verb: &str, argv: &[&str]) -> AdhocCommand {
        self.debian.ask(&format!("machine/{}/{verb}", self.name), argv).await
    }

    /// What the note of the answer says.
    pub async fn says(&self, verb: &str, argv: &[&str]) -> String {
        self.ask(verb, argv).await.note.unwrap().text
    }

    /// Starts it, and waits until cloud-init is through and the guest agent listens.
    pub async fn boot(&self) {
        self.ask("start", &[]).await;
        for _ in 0..TRIES {
            if self.says("console", &["--lines=500"]).await.contains("skerry guest ready") {
                return;
            }
            self.ask("send", &["--line="]).await;
        }
        panic!("{} did not boot: {}", self.name, self.says("console", &["--lines=100"]).await);
    }

    /// What a command in the guest writes, by its guest agent.
    pub async fn exec(&self, command: &[&str]) -> String {
        let words: Vec<String> = command.iter().map(|word| format!("--command={word}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = self.ask("exec", &words).await;
        let json = answer.json.unwrap_or_default();
        let lines = json["output"].as_array().unwrap_or_else(|| panic!("{command:?}: {json}"));
        lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Where the disk of a machine is, once it is there.
async fn moved(guest: &Guest<'_>, to: &Path) {
    let path = to.display().to_string();
    guest.ask("disk-move", &["--name=disk1", &format!("--to={path}")]).await;
    for _ in 0..TRIES {
        let jobs = guest.debian.ask("job-list", &[]).await.json.unwrap_or_default();
        let list = guest.ask("disk-list", &[]).await.json.unwrap_or_default();
        if list["disks"][0]["path"] == path.as_str() && jobs["jobs"].as_array().is_none_or(Vec::is_empty) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the disk did not move to {path}");
}

/// Lets the agent's commands name files in this folder: written down, and another agent started, which finds
/// the guest again.
async fn allowed(lab: &mut Lab) -> PathBuf {
    let files = lab.dir().join("fast");
    std::fs::create_dir(&files).unwrap();
    let config = lab.host().config.clone();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[files]\nallow = [{:?}]\n", files.display().to_string()))
        .unwrap();
    lab.crash("kvm1").await.unwrap();
    lab.start("kvm1").await.unwrap();
    files
}

#[tokio::test]
async fn a_debian_is_imported_boots_and_knows_who_it_is() {
    let mut debian = Debian::imported().await;
    let files = allowed(&mut debian.lab).await;
    let guest =
        debian.machine("web1", "user_data = \"#cloud-config\\nruncmd: [touch /root/was-here]\"").await;
    guest.boot().await;
    assert_eq!(guest.exec(&["hostname"]).await, "web1");
    let id = guest.exec(&["cat", "/var/lib/cloud/data/instance-id"]).await;
    assert_eq!(id.len(), 36, "the machine's own number: {id}");
    let key = guest.exec(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).await;
    assert!(key.ends_with("root@web1"), "{key}");
    assert_eq!(guest.exec(&["ls", "/root/was-here"]).await, "/root/was-here");
    assert_eq!(guest.exec(&["findmnt", "-no", "SOURCE", "/"]).await, "/dev/vda1");

    // Copied while it runs, moved while it runs; it writes on, and the copy does not have that.
    guest.exec(&["sh", "-c", "echo before >/root/mark; sync"]).await;
    guest.ask("clone", &["--name=web2", "--full"]).await;
    debian.until("list", |list| list["machines"].to_string().contains("\"web2\"")).await;
    guest.exec(&["sh", "-c", "echo after >/root/mark; sync"]).await;
    moved(&guest, &files.join("web1.qcow2")).await;
    guest.exec(&["sh", "-c", "echo later >>/root/mark; sync; echo 3 >/proc/sys/vm/drop_caches"]).await;
    assert_eq!(guest.exec(&["cat", "/root/mark"]).await, "after\nlater");
    guest.ask("shutdown", &[]).await;
    debian.until("machine/web1/status", |it| it["state"] == "stopped").await;

    let copy = debian.guest("web2");
    copy.boot().await;
    assert_eq!(copy.exec(&["cat", "/root/mark"]).await, "before");
    assert_eq!(copy.exec(&["hostname"]).await, "web2", "cloud-init told it");
    assert_ne!(copy.exec(&["cat", "/var/lib/cloud/data/instance-id"]).await, id);
    assert_ne!(copy.exec(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).await, key);
    debian.lab.down().await.unwrap();
    assert_eq!(debian.lab.processes(), Vec::<i32>::new());
}
