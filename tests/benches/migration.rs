//! How long a guest stands still when it moves, beside the same guest moved between two bare QEMUs.
//!
//! `cargo bench -p skerry-tests --bench migration`, after `cargo build --workspace --release --bins`. The bare ones
//! are started with the very words of the host's own, without TLS, and go on by themselves; what counts there is
//! what QEMU itself calls the downtime. Ours is that and all that follows until the guest runs again: the words of
//! the hand-over through the server, and what is synced to both journals.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use skerry_stanzas::reply::UNDER_WAY;
use skerry_tests::lab::{Lab, Wanted};
use tokio::time::sleep;

/// Moves of each kind.
const MOVES: usize = 25;
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the bare one that receives listens.
const PORT: u16 = 19_099;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let lab = Wanted::new("prosody", "component").hosts(2).machines(1).real_guests().up().await?;
    let words = running(&lab).await?;
    // One after the other, so that what else this machine does falls on both.
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for number in 0..MOVES {
        bare.push(bare_move(&words).await?);
        ours.push(our_move(&lab, number).await?);
    }
    lab.down().await?;
    let [bare, ours] = [("bare QEMU", bare), ("ours", ours)].map(|(name, all)| spread(name, all));
    println!("ours / bare at the median: {:.2}", ours as f64 / bare.max(1) as f64);
    Ok(())
}

/// Shows how they are spread, and gives the median.
fn spread(name: &str, mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    let at = |percent: usize| all[(all.len() - 1) * percent / 100];
    println!("{name}: {} ms (a quarter under {}, a quarter over {})", at(50), at(25), at(75));
    at(50)
}

/// Starts the guest, waits until it is up, and gives the words its QEMU was started with.
async fn running(lab: &Lab) -> Result<Vec<String>> {
    let client = lab.client("admin").await?;
    let jid = &lab.record.machines[0].jid;
    client.done(jid, "start", &[]).await?;
    let begun = Instant::now();
    while !client.done(jid, "console", &["--lines=500"]).await?.to_string().contains("skerry guest ready") {
        if begun.elapsed() > PATIENCE {
            bail!("the guest does not come up");
        }
        client.command(jid, "send", &["--line="]).await?;
    }
    for pid in lab.processes() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        if words[0].contains("qemu-system") {
            return Ok(words[1..words.len() - 1].to_vec());
        }
    }
    bail!("no QEMU runs")
}

/// Moves it to the host where it is not; what it is said to have cost.
async fn our_move(lab: &Lab, number: usize) -> Result<u64> {
    let client = lab.client("admin").await?;
    let (from, to) = (number % 2, lab.record.hosts[(number + 1) % 2].name.clone());
    let (id, argv) = (format!("move-{number}"), [format!("--to={to}")]);
    loop {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let host = &lab.record.hosts[from].jid;
        let answer = client.command_as(&id, host, "machine/web1/migrate", &argv).await?;
        let reply = answer.json.context("an answer without JSON")?;
        if reply[UNDER_WAY] != true {
            return reply["downtime_ms"].as_u64().with_context(|| format!("{:?}", answer.note));
        }
    }
}

/// A bare QEMU in a folder of its own.
struct Bare {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bare {
    fn start(words: &[String], incoming: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("qemu-system-x86_64");
        command.args(words.iter().filter(|word| *word != "-S"));
        if let Some(uri) = incoming {
            command.args(["-incoming", uri]);
        }
        let child = command.current_dir(folder.path()).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { child, folder })
    }

    fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("console.log"));
        String::from_utf8_lossy(&log.unwrap_or_default()).into_owned()
    }

    async fn control(&self) -> Result<Control> {
        Control::connect(&self.folder.path().join("qmp.sock")).await
    }
}

/// Its control socket.
struct Control(BufReader<UnixStream>);

impl Control {
    async fn connect(path: &Path) -> Result<Self> {
        let begun = Instant::now();
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        let mut control = Self(BufReader::new(stream));
        control.line()?;
        control.ask("qmp_capabilities", json!({}))?;
        Ok(control)
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn ask(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut order = json!({"execute": command, "arguments": arguments}).to_string();
        order.push('\n');
        self.0.get_mut().write_all(order.as_bytes())?;
        loop {
            let line = self.line()?;
            if let Some(answer) = line.get("return") {
                return Ok(answer.clone());
            }
            if let Some(error) = line.get("error") {
                bail!("{command}: {error}");
            }
        }
    }
}

/// Moves the same guest between two bare ones; the downtime, as QEMU counts it.
async fn bare_move(words: &[String]) -> Result<u64> {
    let uri = format!("tcp:127.0.0.1:{PORT}");
    let source = Bare::start(words, None)?;
    let begun = Instant::now();
    while !source.log().contains("skerry guest ready") {
        if begun.elapsed() > PATIENCE {
            bail!("the bare guest does not come up");
        }
        sleep(Duration::from_millis(100)).await;
    }
    let destination = Bare::start(words, Some(&uri))?;
    let mut there = destination.control().await?;
    let mut here = source.control().await?;
    here.ask("migrate-set-parameters", json!({"max-bandwidth": 0}))?;
    here.ask("migrate", json!({"uri": uri}))?;
    loop {
        let migration = here.ask("query-migrate", json!({}))?;
        match migration["status"].as_str() {
            Some("completed") => {
                while there.ask("query-status", json!({}))?["running"] != true {}
                return migration["downtime"].as_u64().context("no downtime");
            }
            Some("failed") => bail!("{migration}"),
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
}
