//! Real Linux guests under QEMU: booted, talked to, found again by an agent that was killed.

use skerry_stanzas::adhoc::AdhocCommand;
use skerry_tests::{
    client::Client,
    lab::{Lab, Wanted},
};

/// What the guest says on its console at every boot.
const BOOTED: &str = "skerry guest ready";

/// The machine web1 of a lab, and who asks it.
pub struct Guest {
    pub client: Client,
    pub jid: String,
    /// Before the verb in a node.
    pub node: &'static str,
}

impl Guest {
    pub async fn of(lab: &Lab, role: &str) -> Self {
        let machine = &lab.record.machines[0];
        let node = if machine.jid == machine.host { "machine/web1/" } else { "" };
        Self { client: lab.client(role).await.unwrap(), jid: machine.jid.clone(), node }
    }

    pub async fn ask(&self, verb: &str, argv: &[&str]) -> AdhocCommand {
        self.client.command(&self.jid, &format!("{}{verb}", self.node), argv).await.unwrap()
    }

    /// What the note of the answer says.
    pub async fn says(&self, verb: &str, argv: &[&str]) -> String {
        self.ask(verb, argv).await.note.unwrap().text
    }

    pub async fn state(&self) -> String {
        self.ask("status", &[]).await.json.unwrap()["state"].as_str().unwrap().to_owned()
    }

    /// Waits until it is in a state: an answer comes after a while also when the guest takes longer.
    pub async fn becomes(&self, state: &str) {
        let deadline = tokio::time::Instant::now() + skerry_tests::client::PATIENCE;
        while self.state().await != state {
            assert!(tokio::time::Instant::now() < deadline, "it does not become {state}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Reads the console until the guest has said that its shell can be used. In between an empty line
    /// is typed, which the host answers when the guest has been quiet for a moment.
    pub async fn booted(&self) {
        for _ in 0..600 {
            if self.says("console", &["--lines=500"]).await.contains(BOOTED) {
                return;
            }
            self.ask("send", &["--line="]).await;
        }
        panic!("the guest did not boot");
    }

    /// A number the guest's kernel throws at every boot.
    pub async fn boot_id(&self) -> String {
        let said = self.says("send", &["--line=cat /proc/sys/kernel/random/boot_id"]).await;
        let id = said.lines().find(|line| line.len() == 36 && line.matches('-').count() == 4);
        id.unwrap_or_else(|| panic!("no boot id: {said}")).to_owned()
    }
}

async fn running_guest() -> (Lab, Guest) {
    let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "operator").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    (lab, guest)
}

#[tokio::test]
async fn a_real_guest_boots_answers_and_shuts_down() {
    let (lab, guest) = running_guest().await;
    assert!(guest.says("send", &["--line=uname -a"]).await.contains("Linux guest"));
    guest.ask("shutdown", &[]).await;
    guest.becomes("stopped").await;
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_shutdown_before_the_guest_listens_is_heard_when_it_does() {
    let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "operator").await;
    guest.ask("start", &[]).await;
    guest.ask("shutdown", &[]).await;
    guest.becomes("stopped").await;
    lab.down().await.unwrap();
}

/// The other server and the other link: from the first start into the trash and out of it again.
#[tokio::test]
async fn a_real_guest_lives_under_an_account_on_ejabberd() {
    let lab = Wanted::new("ejabberd", "single").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "admin").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    assert!(guest.says("send", &["--line=uname -a"]).await.contains("Linux guest"));
    guest.ask("shutdown", &[]).await;
    guest.becomes("stopped").await;
    guest.ask("start", &[]).await;
    assert_eq!(guest.says("kill", &[]).await, "web1 is stopped: its power was cut.");
    assert!(guest.says("delete", &[]).await.starts_with("web1 is in the trash"));
    let back = guest.client.command(&guest.jid, "undelete", &["--name=web1"]).await.unwrap();
    assert_eq!(back.note.unwrap().text, "web1 is back; it is stopped.");
    assert_eq!(guest.state().await, "stopped");
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_killed_agent_finds_its_guest_again() {
    let (mut lab, guest) = running_guest().await;
    let before = guest.boot_id().await;
    // Who bounds the guest's log has a successor as well: see console_log.rs.
    let told_apart = |pid: &i32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        !name.starts_with("skerry-trimmer")
    };
    let processes: Vec<i32> = lab.processes().into_iter().filter(told_apart).collect();
    let agent = lab.host().pid;

    lab.crash("kvm1").await.unwrap();
    lab.start("kvm1").await.unwrap();

    assert_eq!(guest.state().await, "running");
    assert_eq!(guest.boot_id().await, before);
    let gone: Vec<_> = processes.iter().filter(|pid| !lab.processes().contains(pid)).collect();
    assert_eq!(gone, [&agent], "all that ended is the agent");
    // A lab that is taken down takes its guests along.
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}
