//! `skerry events --follow` while the server and the agent are killed and come back: no event is lost, none
//! is shown twice.

use std::process::Stdio;

use serde_json::Value;
use skerry_tests::lab::{Lab, Wanted, program};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout},
};

/// A `skerry events --follow`, and the number of the last event it showed.
struct Follower {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    last: u64,
}

impl Follower {
    fn begin(lab: &Lab, arguments: &[&str]) -> Self {
        let mut child = tokio::process::Command::new(program("skerry"))
            .args(["--config", &lab.user("admin").config.display().to_string(), "-o", "json"])
            .args(["events", "--follow"])
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines, last: 0 }
    }

    /// Reads on to an event; all on the way are the next ones of the count.
    async fn comes_to(&mut self, what: &str) {
        loop {
            let line = self.lines.next_line().await.unwrap().unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(event["sequence"], self.last + 1, "{event}");
            self.last += 1;
            if event["what"] == what {
                return;
            }
        }
    }
}

/// Asks until it is done: after a crash an agent comes back by itself, after a while.
async fn done(lab: &Lab, arguments: &[&str]) {
    while !lab.skerry("admin", arguments).await.unwrap().status.success() {}
}

async fn nothing_is_lost(server: &'static str, link: &'static str) {
    let mut lab = Wanted::new(server, link).machines(1).up().await.unwrap();
    let mut follower = Follower::begin(&lab, &["--since", "0"]);
    follower.comes_to("machine.created").await;
    done(&lab, &["start", "web1"]).await;
    follower.comes_to("machine.started").await;

    lab.crash("server").await.unwrap();
    lab.start("server").await.unwrap();
    done(&lab, &["pause", "web1"]).await;
    follower.comes_to("machine.paused").await;

    lab.crash("kvm1").await.unwrap();
    lab.start("kvm1").await.unwrap();
    done(&lab, &["resume", "web1"]).await;
    follower.comes_to("machine.resumed").await;

    // Who begins in the middle gets the rest, once.
    let mut late = Follower { last: follower.last - 1, ..Follower::begin(&lab, &["--last", "1"]) };
    late.comes_to("machine.resumed").await;
    done(&lab, &["kill", "web1", "--yes"]).await;
    follower.comes_to("machine.killed").await;
    late.comes_to("machine.killed").await;
    assert_eq!(late.last, follower.last);
}

#[tokio::test]
async fn prosody_component() {
    nothing_is_lost("prosody", "component").await;
}

#[tokio::test]
async fn prosody_single() {
    nothing_is_lost("prosody", "single").await;
}

#[tokio::test]
async fn ejabberd_component() {
    nothing_is_lost("ejabberd", "component").await;
}

#[tokio::test]
async fn ejabberd_single() {
    nothing_is_lost("ejabberd", "single").await;
}
