//! Real Linux guests under QEMU: booted, talked to, found again by an agent that was killed.

use skerry_tests::{
    client::Client,
    lab::{Lab, Wanted},
};

/// What the guest says on its console at every boot.
const BOOTED: &str = "skerry guest ready";

async fn status(client: &Client, machine: &str) -> serde_json::Value {
    client.command(machine, "status", &[]).await.unwrap().json.unwrap()
}

/// Reads the console until the guest has said that its shell can be used. In between an empty line is
/// typed, which the host answers when the guest has been quiet for a moment.
async fn booted(client: &Client, machine: &str) {
    for _ in 0..600 {
        let console = client.command(machine, "console", &["--lines=500"]).await.unwrap();
        if console.note.unwrap().text.contains(BOOTED) {
            return;
        }
        client.command(machine, "send", &["--line="]).await.unwrap();
    }
    panic!("the guest did not boot");
}

/// A number the guest's kernel throws at every boot.
async fn boot_id(client: &Client, machine: &str) -> String {
    let command = "--line=cat /proc/sys/kernel/random/boot_id";
    let answer = client.command(machine, "send", &[command]).await.unwrap();
    let said = answer.note.unwrap().text;
    let id = said.lines().find(|line| line.len() == 36 && line.matches('-').count() == 4);
    id.unwrap_or_else(|| panic!("no boot id: {said}")).to_owned()
}

async fn running_guest() -> (Lab, Client, String) {
    let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let operator = lab.client("operator").await.unwrap();
    let machine = lab.record.machines[0].jid.clone();
    operator.command(&machine, "start", &[]).await.unwrap();
    booted(&operator, &machine).await;
    (lab, operator, machine)
}

#[tokio::test]
async fn a_real_guest_boots_answers_and_shuts_down() {
    let (lab, operator, machine) = running_guest().await;
    let answer = operator.command(&machine, "send", &["--line=uname -a"]).await.unwrap();
    assert!(answer.note.unwrap().text.contains("Linux guest"));
    operator.command(&machine, "shutdown", &[]).await.unwrap();
    assert_eq!(status(&operator, &machine).await["state"], "stopped");
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_shutdown_before_the_guest_listens_is_heard_when_it_does() {
    let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let operator = lab.client("operator").await.unwrap();
    let machine = lab.record.machines[0].jid.clone();
    operator.command(&machine, "start", &[]).await.unwrap();
    operator.command(&machine, "shutdown", &[]).await.unwrap();
    assert_eq!(status(&operator, &machine).await["state"], "stopped");
    lab.down().await.unwrap();
}

#[tokio::test]
async fn a_killed_agent_finds_its_guest_again() {
    let (mut lab, operator, machine) = running_guest().await;
    let before = boot_id(&operator, &machine).await;
    let processes = lab.processes();
    let agent = lab.host().pid;

    lab.crash("kvm1").await.unwrap();
    lab.start("kvm1").await.unwrap();

    assert_eq!(status(&operator, &machine).await["state"], "running");
    assert_eq!(boot_id(&operator, &machine).await, before);
    let gone: Vec<_> = processes.iter().filter(|pid| !lab.processes().contains(pid)).collect();
    assert_eq!(gone, [&agent], "all that ended is the agent");
    // A lab that is taken down takes its guests along.
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}
