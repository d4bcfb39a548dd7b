//! What the numbers of a thousand machines cost an agent: with nobody who listens, and with one.
//!
//! `cargo bench -p skerry-tests --bench numbers`, after `cargo build --workspace --release --bins`.
//!
//! The machines are the fake driver's, so that it is the agent's own work that is measured: looking at all of
//! them, making the item of it, sending it. What a real hypervisor takes to be looked at comes on top of it. The
//! processor time is that of the agent's process, by the system's own count.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use minidom::Element;
use skerry_stanzas::ns;
use skerry_tests::{client::Client, lab::Wanted};

const MACHINES: u32 = 1_000;
/// How many items each is watched for.
const ITEMS: u32 = 6;
/// The pace that a host has when nobody says another.
const EVERY: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let lab = Wanted::new("prosody", "component").machines(MACHINES).up().await?;
    let mut client = lab.client("admin").await?;
    let host = lab.host().jid.clone();
    client.reach(&host).await?;
    for machine in &lab.record.machines {
        client.done(&machine.jid, "start", &[]).await?;
        // Each machine says how it is, and so does the host each time: more than waits for a reader.
        client.forget();
    }
    // What their starts left to do is done by then.
    tokio::time::sleep(3 * EVERY).await;
    let agent = lab.host().pid;
    println!("{MACHINES} fake machines that run, a look every {} s, {ITEMS} times", EVERY.as_secs());
    let nobody = Spent::begin(agent)?;
    tokio::time::sleep(EVERY * ITEMS).await;
    let nobody = nobody.per_minute()?;
    println!("nobody listens: {nobody:.0} ms of processor time a minute");
    subscribe(&client, &host).await?;
    let mut bytes = item(&mut client).await?;
    let one = Spent::begin(agent)?;
    for _ in 0..ITEMS {
        bytes = item(&mut client).await?;
    }
    let one = one.per_minute()?;
    let items_a_minute = 60.0 / EVERY.as_secs_f64();
    println!("one listens: {one:.0} ms a minute; an item has {bytes} bytes");
    println!("one / nobody: {:.1}; {:.1} ms an item", one / nobody, (one - nobody) / items_a_minute);
    lab.down().await
}

async fn subscribe(client: &Client, host: &str) -> Result<()> {
    let subscribe = Element::builder("pubsub", xmpp_parsers::ns::PUBSUB).append(
        Element::builder("subscribe", xmpp_parsers::ns::PUBSUB)
            .attr("node".try_into()?, ns::METRICS)
            .attr("jid".try_into()?, client.jid.to_bare().to_string()),
    );
    client.ask("set", Some(host), subscribe.build()).await.map(drop)
}

/// The next item: how large it is.
async fn item(client: &mut Client) -> Result<usize> {
    let of_numbers =
        |stanza: &Element| stanza.name() == "message" && String::from(stanza).contains(ns::METRICS);
    Ok(String::from(&client.expect("an item of numbers", of_numbers).await?).len())
}

/// Processor time of a process since a moment.
struct Spent {
    pid: i32,
    begun: Instant,
    before: Duration,
}

impl Spent {
    fn begin(pid: i32) -> Result<Self> {
        Ok(Self { pid, begun: Instant::now(), before: used(pid)? })
    }

    /// In milliseconds.
    fn per_minute(&self) -> Result<f64> {
        let used = used(self.pid)?.saturating_sub(self.before);
        Ok(used.as_secs_f64() * 1000.0 * 60.0 / self.begun.elapsed().as_secs_f64())
    }
}

/// What a process used so far, in user and kernel (proc(5): in hundredths of a second).
fn used(pid: i32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").context("no stat")?.1;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(10 * ticks.sum::<Result<u64, _>>()?))
}
