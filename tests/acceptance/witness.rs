//! A witness of another organisation, at another server: `skerry audit witness` under an account of theirs.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use skerry_tests::{
    client::{Client, PATIENCE},
    federation::Pair,
    requests::until,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr},
};

use crate::federation::{bare, stage};

/// What it has in its files.
struct Kept {
    heads: PathBuf,
}

impl Kept {
    /// The number of the newest head; none without one.
    fn newest(&self) -> Option<u64> {
        let text = std::fs::read_to_string(&self.heads).unwrap_or_default();
        let mut lines = text.lines().rev();
        lines.find_map(|line| serde_json::from_str::<Value>(line).ok()?["sequence"].as_u64())
    }

    /// The number of the last entry of a host.
    fn last_entry(&self, host: &str) -> Option<u64> {
        let folder = PathBuf::from(format!("{}.entries", self.heads.display()));
        let text = std::fs::read_to_string(folder.join(format!("{host}.jsonl"))).unwrap_or_default();
        serde_json::from_str::<Value>(text.lines().last()?).ok()?["seq"].as_u64()
    }
}

/// Starts `skerry audit witness` as somebody of the other organisation, who says this of it in the end.
async fn witness(pair: &Pair, kept: &Kept, host: &str) -> (Child, Lines<BufReader<ChildStderr>>) {
    let file = kept.heads.display().to_string();
    let mut command = pair.away.skerry_command("viewer", &["audit", "witness", host, "--file", &file]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines();
    (child, said)
}

async fn says(said: &mut Lines<BufReader<ChildStderr>>, part: &str) {
    let heard = async {
        while let Some(line) = said.next_line().await.unwrap() {
            if line.contains(part) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, heard).await.unwrap_or_default(), "it did not say: {part}");
}

/// The newest entry, as the host says it.
async fn newest(admin: &Client, host: &str) -> u64 {
    admin.done(host, "audit-verify", &[]).await.unwrap()["last"].as_u64().unwrap()
}

/// Heads go to a witness of another organisation, also those of while it was away, and the entries between them
/// once it may see those; and a host that lost the end of its trail since is found, with what it lost at hand.
async fn a_witness(home: (&'static str, &'static str), away: &'static str) {
    let (mut pair, admin) = stage(home, away).await;
    let (host, place) = (pair.home.host().jid.clone(), pair.home.host().name.clone());
    let own = bare(&host);
    let kept = Kept { heads: pair.away.dir().join("heads.jsonl") };
    let who = pair.person("viewer");
    let (mut child, mut said) = witness(&pair, &kept, &own).await;
    admin.done(&host, "witness-add", &[&format!("--jid={who}")]).await.unwrap();
    admin.done(&host, "machine/web1/start", &[]).await.unwrap();
    // The first it hears of may come before it was there; the next do not.
    says(&mut said, "this account may not see its entries").await;
    until("the newest head is kept", async || kept.newest() == Some(newest(&admin, &host).await)).await;
    assert_eq!(kept.last_entry(&own), None, "heads alone");
    child.kill().await.unwrap();

    // While it is away its server keeps them for it.
    admin.done(&host, "grant", &["--what=auditor", &format!("--to={who}")]).await.unwrap();
    for verb in ["shutdown", "start", "pause", "resume"] {
        admin.done(&host, &format!("machine/web1/{verb}"), &[]).await.unwrap();
    }
    let (mut child, said) = witness(&pair, &kept, &own).await;
    until("the newest head is kept", async || kept.newest() == Some(newest(&admin, &host).await)).await;
    admin.done(&host, "machine/web1/pause", &[]).await.unwrap();
    until("its entries are kept", async || kept.last_entry(&own) == Some(newest(&admin, &host).await)).await;
    drop(said);

    pair.introduce("viewer").unwrap();
    let file = kept.heads.display().to_string();
    let verify = ["-o", "json", "audit", "verify", "--host", &own, "--against", &file];
    let whole = pair.away.skerry("viewer", &verify).await.unwrap();
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap_or_else(|_| panic!("{whole:?}"));
    assert!(whole["kept"].as_u64() > Some(1) && whole["held"].as_u64() > Some(1), "{whole}");

    // It has its store from a moment before, as after a disk that was put back; what it does is another story then.
    let state = pair.home.dir().join("hosts").join(&place).join("state");
    let before = pair.home.dir().join("before");
    pair.home.crash(&place).await.unwrap();
    copy(&state, &before);
    pair.home.start(&place).await.unwrap();
    admin.reach(&host).await.unwrap();
    admin.done(&host, "machine/web1/resume", &["--because=before it was lost"]).await.unwrap();
    until("its entries are kept", async || kept.last_entry(&own) == Some(newest(&admin, &host).await)).await;
    pair.home.crash(&place).await.unwrap();
    std::fs::remove_dir_all(&state).unwrap();
    copy(&before, &state);
    pair.home.start(&place).await.unwrap();
    admin.reach(&host).await.unwrap();
    let no = pair.away.skerry("viewer", &verify).await.unwrap();
    let no = String::from_utf8(no.stderr).unwrap();
    assert!(no.contains("which its witness has") && no.contains("before it was lost"), "{no}");
    child.kill().await.unwrap();
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").args([from, to]).status();
    assert!(done.unwrap().success());
}

#[tokio::test]
async fn a_witness_of_a_component_on_ejabberd() {
    a_witness(("ejabberd", "component"), "prosody").await;
}

#[tokio::test]
async fn a_witness_of_an_account_on_ejabberd() {
    a_witness(("ejabberd", "single"), "prosody").await;
}

#[tokio::test]
async fn a_witness_of_an_account_on_prosody() {
    a_witness(("prosody", "single"), "ejabberd").await;
}
