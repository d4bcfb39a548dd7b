//! `skerry-agent trim-logs`, the process that bounds the logs of machines: there is one, it outlives who
//! started it, and it ends with the last machine.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::timeout;

/// How long anything may take on a very slow machine. Nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(120);

fn trimmer(folder: &Path) -> tokio::process::Child {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_skerry-agent"));
    command.args(["trim-logs", "--folder"]).arg(folder).stdin(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

/// Stands for a machine.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// What an agent says of a process and its log.
fn line(pid: u32, log: &Path) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let started: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let process = serde_json::json!({"pid": pid, "started_ticks": started, "boot": boot.trim()});
    format!("{}\n", serde_json::json!({"process": process, "logs": [log]}))
}

async fn bounded(log: &Path) {
    let shrinks = async {
        while fs::metadata(log).unwrap().blocks() * 512 > 1 << 20 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, shrinks).await.expect("the log is cut");
}

async fn tell(trimmer: &mut tokio::process::Child, line: &str) {
    tokio::io::AsyncWriteExt::write_all(trimmer.stdin.as_mut().unwrap(), line.as_bytes()).await.unwrap();
}

async fn ended(mut trimmer: tokio::process::Child) -> std::process::ExitStatus {
    timeout(PATIENCE, trimmer.wait()).await.expect("the trimmer ends").unwrap()
}

#[tokio::test]
async fn the_next_one_takes_over_and_ends_with_the_last_machine() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("console.log");
    let mut grown = fs::File::options().append(true).create(true).open(&log).unwrap();
    let machine = Machine(Command::new("sleep").arg("1000").spawn().unwrap());
    let line = line(machine.0.id(), &log);

    let mut first = trimmer(folder.path());
    tell(&mut first, &line).await;
    grown.write_all(&[b'x'; 4 << 20]).unwrap();
    bounded(&log).await;
    // Its agent was killed: it goes on.
    drop(first.stdin.take());
    grown.write_all(&[b'x'; 4 << 20]).unwrap();
    bounded(&log).await;

    // That of the next agent takes its place.
    let mut second = trimmer(folder.path());
    assert!(!ended(first).await.success());
    tell(&mut second, &line).await;
    grown.write_all(&[b'x'; 4 << 20]).unwrap();
    bounded(&log).await;
    drop(second.stdin.take());
    drop(machine);
    assert!(ended(second).await.success());
}
