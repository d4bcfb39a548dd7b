//! A wrong secret or password: whoever can mend it is told in plain words, and it is tried again, slowly.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use skerry_tests::{client::PATIENCE, lab::Wanted};
use tokio::{net::UnixDatagram, process::Command, time::timeout};

/// What the agent tells systemd.
struct Told(UnixDatagram);

impl Told {
    fn in_folder(folder: &Path) -> (Self, PathBuf) {
        let path = folder.join("told");
        (Self(UnixDatagram::bind(&path).unwrap()), path)
    }

    /// Waits until it says so.
    async fn says(&self, part: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let read = timeout(PATIENCE, self.0.recv(&mut buffer)).await.expect(part).unwrap();
            let said = String::from_utf8_lossy(&buffer[..read]).into_owned();
            if said.contains(part) {
                return said;
            }
        }
    }
}

async fn an_agent_is_not_let_in(server: &'static str, link: &'static str) {
    let mut lab = Wanted::new(server, link).up().await.unwrap();
    lab.crash("kvm1").await.unwrap();
    let secret = lab.host().config.with_file_name("secret");
    let right = std::fs::read_to_string(&secret).unwrap();
    std::fs::write(&secret, "nothing like it\n").unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (told, socket) = Told::in_folder(folder.path());
    let agent = skerry_tests::lab::program("skerry-agent");
    let mut agent = Command::new(agent)
        .args(["run", "--config", &lab.host().config.display().to_string()])
        .env("NOTIFY_SOCKET", socket)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    told.says("the server does not let us in").await;
    let first = Instant::now();
    told.says("the server does not let us in").await;
    // Half of the first bound at the least; a server must not be hammered with a wrong password.
    assert!(first.elapsed() >= Duration::from_secs(2), "again after {:?}", first.elapsed());
    agent.start_kill().unwrap();
    let log = String::from_utf8(agent.wait_with_output().await.unwrap().stderr).unwrap();
    assert!(log.contains("ERROR") && log.contains("does not let us in"), "{log}");
    assert!(!log.contains(right.trim()) && !log.contains("nothing like it"), "a secret in the log: {log}");

    std::fs::write(&secret, right).unwrap();
    lab.start("kvm1").await.unwrap();
    lab.client("admin").await.unwrap().reach(&lab.host().jid).await.unwrap();
}

#[tokio::test]
async fn prosody_component() {
    an_agent_is_not_let_in("prosody", "component").await;
}

#[tokio::test]
async fn prosody_single() {
    an_agent_is_not_let_in("prosody", "single").await;
}

#[tokio::test]
async fn ejabberd_component() {
    an_agent_is_not_let_in("ejabberd", "component").await;
}

#[tokio::test]
async fn ejabberd_single() {
    an_agent_is_not_let_in("ejabberd", "single").await;
}

/// `skerry` with a wrong password: a sentence, and the exit code of "not allowed".
#[tokio::test]
async fn a_person_is_told() {
    let lab = Wanted::new("prosody", "component").hosts(0).up().await.unwrap();
    let password = lab.user("viewer").config.with_file_name("viewer.password");
    assert!(password.exists());
    std::fs::write(&password, "nothing like it\n").unwrap();
    let answer = lab.skerry("viewer", &["list"]).await.unwrap();
    let words = String::from_utf8_lossy(&answer.stderr);
    assert_eq!(answer.status.code(), Some(3), "{words}");
    assert!(words.contains("cannot log in") && words.contains("password"), "{words}");
}
