//! What a command costs, beside a bare ping of the same server in the same run.
//!
//! `cargo bench -p skerry-tests [-- ejabberd]`, after `cargo build --workspace --release --bins`.
//!
//! Three figures, each a promise of docs/specification.md:
//! - the way of a command (client → server → agent → client) against the same question at a bare component
//!   that answers with the same bytes at once, the two in turn, so that a busy machine weighs on both alike;
//!   beside them a ping that the server itself answers, and the same command with its result form;
//! - a change of state until a subscriber has it, beyond the server's own time for a message from one
//!   client to another;
//! - the agent's memory with no machine, and with 1,000 fake ones that run.

mod echo;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use minidom::Element;
use skerry_stanzas::{
    adhoc::{AdhocCommand, Status},
    ns,
};
use skerry_tests::{
    client::Client,
    lab::{Lab, Wanted},
};

/// What is asked, as places in a list.
const PING: usize = 0;
const COMMAND: usize = 1;
const ECHO: usize = 2;
const FORM: usize = 3;
/// In which order, again and again: each comes once after each of the others.
const ROUND: [usize; 12] = [PING, COMMAND, PING, ECHO, PING, FORM, COMMAND, ECHO, COMMAND, FORM, ECHO, FORM];
/// Of each question.
const ROUNDS: usize = 2_000;
/// Changes of state.
const CHANGES: usize = 200;
/// Machines for the memory figure.
const MACHINES: u32 = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let server = match std::env::args().any(|argument| argument == "ejabberd") {
        true => "ejabberd",
        false => "prosody",
    };
    println!("server: {server}; link: component; driver: fake");
    let lab = Wanted::new(server, "component").hosts(2).machines(2).up().await?;
    let mut client = lab.client("admin").await?;
    way_of_a_command(&lab, &client).await?;
    change_of_state(&lab, &mut client).await?;
    let empty = Memory::of(lab.host().pid)?;
    lab.down().await?;
    let full = Wanted::new(server, "component").machines(MACHINES).up().await?;
    memory(empty, Memory::of(full.host().pid)?);
    full.down().await
}

/// A ping of the server, a status of a machine, and the same from the echo, in turn.
async fn way_of_a_command(lab: &Lab, client: &Client) -> Result<()> {
    let machine = &lab.record.machines.first().context("a lab with a machine")?.jid;
    let for_people = AdhocCommand::request("status", None);
    let request = for_people.clone().json_only();
    let answer = client.ask("set", Some(machine), request.to_element()).await?;
    let payload = String::from(answer.children().next().context("an answer with nothing in it")?);
    println!("the answer has {} bytes", payload.len());
    let echo = format!("web1@{}", put_echo(lab, payload)?);
    let mut times: [Vec<Duration>; 4] = Default::default();
    let rounds = ROUNDS / 3;
    for round in 0..rounds + rounds / 10 {
        // Which was asked before makes a difference to the server.
        for kind in ROUND {
            let begun = Instant::now();
            match kind {
                PING => ping(client, &lab.record.server.domain).await?,
                COMMAND => asked(client, machine, &request).await?,
                ECHO => asked(client, &echo, &request).await?,
                _ => asked(client, machine, &for_people).await?,
            }
            // The first rounds warm up.
            if round >= rounds / 10 {
                times[kind].push(begun.elapsed());
            }
        }
    }
    let [ping, command, echo, form] = times.map(Spread::of);
    println!("ping     {ping}\necho     {echo}\ncommand  {command}\nas form  {form}");
    for (name, other) in [("echo", echo), ("ping", ping)] {
        println!(
            "command / {name} at p50: {:.2}; beyond it at p99: {:.2} ms",
            command.p50.as_secs_f64() / other.p50.as_secs_f64(),
            ms(command.p99) - ms(other.p99),
        );
    }
    Ok(())
}

async fn ping(client: &Client, server: &str) -> Result<()> {
    client.ask("get", Some(server), Element::bare("ping", "urn:xmpp:ping")).await.map(drop)
}

async fn asked(client: &Client, to: &str, request: &AdhocCommand) -> Result<()> {
    let answer = client.stage(to, request).await?;
    ensure!(answer.status == Some(Status::Completed), "status was not answered");
    Ok(())
}

/// Puts the echo in the place of the last host, and gives its domain.
fn put_echo(lab: &Lab, payload: String) -> Result<String> {
    let host = lab.record.hosts.last().context("a lab with two hosts")?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(host.pid), nix::sys::signal::Signal::SIGKILL)?;
    let config: toml::Table = toml::from_str(&std::fs::read_to_string(&host.config)?)?;
    let of_link = |key: &str| config["link"][key].as_str().context("a link without it");
    let secret = std::fs::read_to_string(of_link("secret_file")?)?;
    let domain = of_link("jid")?.to_owned();
    let begun = Instant::now();
    // The server may need a moment to see that the host has left.
    while let Err(error) = echo::start(of_link("server")?, &domain, secret.trim(), payload.clone()) {
        ensure!(begun.elapsed() < Duration::from_secs(30), "the echo is not let in: {error:#}");
    }
    Ok(domain)
}

/// A pause or a resume until its item is with a subscriber, and a message to oneself.
async fn change_of_state(lab: &Lab, client: &mut Client) -> Result<()> {
    let machine = lab.record.machines.first().context("a lab with a machine")?.jid.clone();
    let own = client.jid.to_string();
    let subscribe = Element::builder("pubsub", xmpp_parsers::ns::PUBSUB).append(
        Element::builder("subscribe", xmpp_parsers::ns::PUBSUB)
            .attr("node".try_into()?, ns::STATE)
            .attr("jid".try_into()?, client.jid.to_bare().to_string()),
    );
    client.ask("set", Some(&machine), subscribe.build()).await?;
    client.command(&machine, "start", &[]).await?;
    let (mut messages, mut changes) = (Vec::new(), Vec::new());
    for round in 0..CHANGES {
        let begun = Instant::now();
        let word = format!("round {round}");
        client.say(&own, &word).await?;
        client.hear(&own, &word).await?;
        messages.push(begun.elapsed());
        let (verb, state) = [("pause", "paused"), ("resume", "running")][round % 2];
        let begun = Instant::now();
        let asking = client.handle.clone();
        let request = AdhocCommand::request(verb, None).to_element();
        let iq = Element::builder("iq", ns::CLIENT)
            .attr("type".try_into()?, "set")
            .attr("to".try_into()?, machine.as_str())
            .append(request)
            .build();
        let asked = tokio::spawn(async move { asking.ask(iq, skerry_tests::client::PATIENCE).await });
        client
            .expect("the item of a change", |stanza| {
                let text = String::from(stanza);
                stanza.name() == "message" && text.contains(ns::STATE) && text.contains(&format!("'{state}'"))
            })
            .await?;
        changes.push(begun.elapsed());
        asked.await??;
    }
    let (message, change) = (Spread::of(messages), Spread::of(changes));
    println!("message  {message}");
    println!("change   {change}");
    println!("change beyond message at p99: {:.2} ms", ms(change.p99) - ms(message.p99));
    Ok(())
}

fn memory(empty: Memory, full: Memory) {
    let each = full.own_kib.saturating_sub(empty.own_kib) as f64 * 1024.0 / f64::from(MACHINES) / 1000.0;
    for (machines, memory) in [(1, empty), (MACHINES, full)] {
        println!(
            "agent with {machines}: {:.1} MiB of its own, {:.1} MiB resident",
            memory.own_kib as f64 / 1024.0,
            memory.resident_kib as f64 / 1024.0,
        );
    }
    println!("{each:.1} kB a machine");
}

/// What a process has in memory, in KiB (proc(5)).
#[derive(Clone, Copy)]
struct Memory {
    /// What is written by it: nothing else could be in its place.
    own_kib: u64,
    /// The same, and the pages of its program and libraries, which the kernel shares and drops as it likes.
    resident_kib: u64,
}

impl Memory {
    fn of(pid: i32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Self { own_kib: line("RssAnon:")?, resident_kib: line("VmRSS:")? })
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How times are spread.
#[derive(Clone, Copy)]
struct Spread {
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p99, max } = self;
        write!(f, "p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", ms(*p50), ms(*p99), ms(*max))
    }
}
