//! Protocol transcripts, after the idea of Prosody's scansion files: what people send to the agent's
//! faces, and exactly what each of them gets back. The agent is whole, its machines are the fake
//! driver's; only the server is played.
//!
//! A transcript is a text file under tests/transcripts/:
//!
//! ```text
//! # A line of comment.
//! Link: component                              or: single
//! Person: ann ann@example.org/phone admin      a name, a full address, and a role or "none"
//! Machine: web1 running                        made by the first admin; "running" starts it
//! Disk: debian.raw                             a disk that can be imported
//! Foreign: oldbox                              a machine that somebody else started
//! Peer: kvm2 kvm2.example.org                  a host that machines may move to: one of the people plays it
//! Clock: runs                                  left out: it stands still
//! ---
//! ann sends:
//!     <iq type='get' id='1' to='kvm1.example.org'><ping xmlns='urn:xmpp:ping'/></iq>
//!
//! ann receives:
//!     <iq type='result' id='1' from='kvm1.example.org'/>
//!
//! ann receives nothing
//! later: 600s
//! driver takes: 30s
//! roles: ann none
//! link: down
//! link: up
//! link: resumed
//! ```
//!
//! * A stanza is written without its namespace when that is `jabber:client`. What is sent gets `from`,
//!   unless it says one itself (a forged one, say); `from=''` leaves it out.
//! * `receives` takes the next stanza that came for this person, in order. It matches when everything
//!   written is there: name, namespace, attributes, children in this order, text. More may be there.
//!   `{any}` in an attribute or a text stands for anything, `{none}` for no such attribute. `{x}` is
//!   remembered the first time, and must be the same afterwards; it can be sent as well. An element
//!   `<never xmlns='urn:skerry:test'>…</never>` holds children that must not be there.
//! * `receives in any order:` takes as many stanzas as it writes, one below the other, whichever comes first.
//! * `server` is who gets what has no receiver: an account's own server.
//! * Time stands still but for `later`, so that a slow machine changes nothing; with `Clock: runs` it goes on
//!   by itself as well.
//! * `receives nothing` holds when all that was sent before was answered without a stanza for this person.
//! * `later` moves the clock. `driver takes` makes the driver take so long for whatever it is asked. `roles` writes the configuration anew and reads it again.

mod asked;
mod matching;
mod script;
mod world;

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::{Context, bail};
use minidom::Element;

pub use self::asked::asked;
use self::{
    matching::Bound,
    script::{Line, Script},
    world::World,
};

/// How long something expected may take on a very slow machine. Nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// While it is held, time passes only where the transcript says so: tokio's clock is not just paused, which
/// would let it jump to the next deadline whenever all wait for the store's thread, but held by a task that
/// blocks. After [`PATIENCE`] it lets go, and all deadlines are over: what hangs fails.
struct Still {
    _until_dropped: std::sync::mpsc::Sender<()>,
}

impl Still {
    fn begin() -> Self {
        let (until_dropped, dropped) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || dropped.recv_timeout(PATIENCE));
        tokio::time::pause();
        Self { _until_dropped: until_dropped }
    }
}

/// Plays a transcript.
///
/// # Errors
/// The first line that did not happen as written.
pub async fn play(path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let script = Script::parse(&text).with_context(|| path.display().to_string())?;
    let still = (!script.clock_runs).then(Still::begin);
    let mut world = World::open(&script).await?;
    let mut bound: Bound = HashMap::new();
    for (number, line) in &script.lines {
        let at = || format!("{}:{number}", path.display());
        step(&mut world, line, &mut bound, still.is_some()).await.with_context(at)?;
    }
    // Saying goodbye may wait for a deadline.
    drop(still);
    world.close().await;
    Ok(())
}

async fn step(world: &mut World, line: &Line, bound: &mut Bound, still: bool) -> anyhow::Result<()> {
    match line {
        Line::Sends(person, xml) => {
            let stanza = world.stamp(person, parse(&matching::filled(xml, bound)?)?)?;
            world.send(stanza).await
        }
        Line::Receives(person, xml) => {
            let expected = parse(xml)?;
            let received = next(world, person, xml).await?;
            matching::matches(&expected, &received, bound)
                .with_context(|| format!("{person} received\n  {}", String::from(&received)))
        }
        Line::ReceivesInAnyOrder(person, xml) => {
            let mut expected: Vec<Element> =
                parse(&format!("<all>{xml}</all>"))?.children().cloned().collect();
            while !expected.is_empty() {
                let received = next(world, person, xml).await?;
                let fits = |one: &Element| {
                    let mut tried = bound.clone();
                    matching::matches(one, &received, &mut tried).ok().map(|()| tried)
                };
                let found = expected.iter().enumerate().find_map(|(at, one)| Some((at, fits(one)?)));
                let Some((at, tried)) = found else {
                    bail!("{person} received\n  {}, which is none of these", String::from(&received));
                };
                *bound = tried;
                expected.remove(at);
            }
            Ok(())
        }
        Line::ReceivesNothing(person) => match world.quiet(person).await? {
            None => Ok(()),
            Some(stanza) => bail!("{person} received {}", String::from(&stanza)),
        },
        Line::Later(time) if still => {
            tokio::time::advance(*time).await;
            Ok(())
        }
        Line::Later(time) => {
            tokio::time::pause();
            tokio::time::advance(*time).await;
            tokio::time::resume();
            Ok(())
        }
        Line::DriverTakes(time) => {
            world.driver_takes(*time);
            Ok(())
        }
        Line::Roles(person, role) => world.set_role(person, role).await,
        Line::Link(what) => world.link(what).await,
    }
}

async fn next(world: &mut World, person: &str, expected: &str) -> anyhow::Result<Element> {
    match tokio::time::timeout(PATIENCE, world.next_for(person)).await {
        Ok(received) => received,
        Err(_) => bail!("{person} received nothing, but was to receive {expected}"),
    }
}

/// An element, in `jabber:client` when it says no other.
fn parse(xml: &str) -> anyhow::Result<Element> {
    let xml = xml.trim();
    let name = xml.find([' ', '/', '>']).context("that is no element")?;
    let has_namespace = xml[..xml.find('>').unwrap_or(name)].contains("xmlns=");
    let whole = match has_namespace {
        true => xml.to_owned(),
        false => format!("{} xmlns='jabber:client'{}", &xml[..name], &xml[name..]),
    };
    whole.parse().with_context(|| format!("cannot read {xml}"))
}
