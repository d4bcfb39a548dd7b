//! `skerry audit witness`: keeps the heads that hosts tell, and shouts when one of them contradicts what it
//! told before. Best under an account at another server, on another computer, in other hands.
//!
//! Heads come as messages, where the host has this account as a witness, and from the host's pubsub node,
//! where this account may look at it. Only a host's own are taken. What is kept is a file of lines of JSON to
//! which lines are only added; each is on the disk before the next is looked at.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::Path,
    time::Duration,
};

use minidom::Element;
use serde_json::json;
use skerry_stanzas::{
    audit::{Head, Heads, Noted},
    ns,
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{
    cli::WitnessArgs,
    commands::address,
    config::Config,
    failure::{Failure, Kind, Outcome},
    fleet::{Fleet, Host},
    pubsub,
    session::{Inbound, Session},
    wire,
};

/// How often subscriptions are renewed: an agent that was started again knows nothing of them.
const RENEWED_EVERY: Duration = Duration::from_secs(60);
/// Heads of a host that are held in memory; the file has all.
const HELD_MAX: usize = 50_000;

/// What a witness has: a file, and what of it new heads are held against.
struct Book {
    file: File,
    heads: BTreeMap<String, Heads>,
}

impl Book {
    /// Opens it, and reads what is there.
    fn open(path: &Path) -> Outcome<Self> {
        let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| wrong(error.to_string()))?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
        if !text.is_empty() && !text.ends_with('\n') {
            // It ended while it wrote: what is whole stays.
            file.write_all(b"\n")?;
        }
        let mut heads: BTreeMap<String, Heads> = BTreeMap::new();
        for head in text.lines().filter_map(|line| serde_json::from_str::<Head>(line).ok()) {
            let known = heads.entry(head.host.clone()).or_default();
            if let Noted::Contradicts(why) = known.note(&head) {
                return Err(Failure::new(Kind::Refused, format!("{}: {why}", path.display())));
            }
            known.keep_newest(HELD_MAX);
        }
        Ok(Self { file, heads })
    }

    fn write(&mut self, line: &serde_json::Value) -> Outcome<()> {
        writeln!(self.file, "{line}")?;
        Ok(self.file.sync_data()?)
    }

    /// Takes a head in; the alarm, when it contradicts what is there. It is written down then, too.
    fn note(&mut self, head: &Head) -> Outcome<Option<String>> {
        let seen = chrono::Utc::now().to_rfc3339();
        let known = self.heads.entry(head.host.clone()).or_default();
        let noted = known.note(head);
        known.keep_newest(HELD_MAX);
        match noted {
            Noted::Known => Ok(None),
            Noted::Newer => {
                let Head { host, sequence, hash, at } = head;
                self.write(
                    &json!({ "seen": seen, "host": host, "sequence": sequence, "hash": hash, "at": at }),
                )?;
                Ok(None)
            }
            Noted::Contradicts(why) => {
                let alarm = why.to_string();
                self.write(&json!({ "seen": seen, "alarm": alarm, "offered": head }))?;
                Ok(Some(alarm))
            }
        }
    }
}

/// Witnesses until it is interrupted.
///
/// # Errors
/// The file cannot be used, no host is known, or, at the end, some host contradicted itself.
pub async fn run(args: &WitnessArgs, config: &Config) -> Outcome<()> {
    let mut book = Book::open(&args.file)?;
    let tell: Vec<Jid> = args.tell.iter().map(|text| person(text)).collect::<Outcome<_>>()?;
    let mut session = Session::open(config, true).await?;
    let mut inbound = session.inbound();
    let hosts = hosts(args, config, &session).await?;
    appear(&session, &hosts).await?;
    let mut renew = interval_at(Instant::now() + RENEWED_EVERY, RENEWED_EVERY);
    renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alarms: u64 = 0;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let stanza = tokio::select! {
            _ = &mut interrupted => break,
            _ = renew.tick() => {
                subscribe(&session, &hosts).await;
                continue;
            }
            came = inbound.recv() => match came {
                Some(Inbound::Stanza(stanza)) => stanza,
                Some(Inbound::Up { fresh: true }) => {
                    appear(&session, &hosts).await.ok();
                    continue;
                }
                Some(Inbound::Up { .. } | Inbound::Down(_)) => continue,
                None => break,
            },
        };
        for head in told(&stanza, &hosts) {
            if let Some(alarm) = book.note(&head)? {
                alarms += 1;
                eprintln!("skerry: ALARM: {alarm}");
                for person in &tell {
                    session.send(words(person, &alarm)).await.ok();
                }
            }
        }
    }
    session.close().await;
    match alarms {
        0 => Ok(()),
        some => Err(Failure::new(Kind::Refused, format!("hosts contradicted themselves {some} times"))
            .hint(format!("{} says how.", args.file.display()))),
    }
}

fn person(text: &str) -> Outcome<Jid> {
    Jid::new(text).map_err(|_| Failure::usage(format!("{text:?} is no address")))
}

/// Those that are named, by address or by name; all that are found, when none is.
async fn hosts(args: &WitnessArgs, config: &Config, session: &Session) -> Outcome<Vec<Host>> {
    let addresses = args.hosts.iter().map(|word| address(word)).collect::<Option<Vec<Jid>>>();
    if let Some(named) = addresses.filter(|named| !named.is_empty()) {
        // Who is only told heads need not be able to ask anything there.
        return Ok(named.into_iter().map(|jid| Host { name: jid.to_string(), jid }).collect());
    }
    Fleet::hosts_named(session, config, &args.hosts).await
}

/// Is there for messages, which a presence of low priority would not be, and subscribes.
async fn appear(session: &Session, hosts: &[Host]) -> Outcome<()> {
    session.send(Element::bare("presence", ns::CLIENT)).await?;
    subscribe(session, hosts).await;
    Ok(())
}

/// Where this account may not look at the node, heads come as messages or not at all.
async fn subscribe(session: &Session, hosts: &[Host]) {
    for host in hosts {
        if let Err(error) = pubsub::subscribe(session, host, ns::AUDIT).await {
            tracing::debug!(host = host.name, %error, "its node is not to be seen");
        }
    }
}

/// The heads a message tells: a host's own, said by itself.
pub(crate) fn told(message: &Element, hosts: &[Host]) -> Vec<Head> {
    let from: Option<BareJid> = wire::from(message).map(|from| from.to_bare());
    let Some(from) = from.filter(|from| hosts.iter().any(|host| host.jid.to_bare() == *from)) else {
        return Vec::new();
    };
    if message.name() != "message" || message.attr("type") == Some("error") {
        return Vec::new();
    }
    let items = message.get_child("event", wire::PUBSUB_EVENT);
    let items = items.and_then(|event| event.get_child("items", wire::PUBSUB_EVENT));
    let items = items.filter(|items| items.attr("node") == Some(ns::AUDIT));
    let published = items.into_iter().flat_map(Element::children).flat_map(Element::children);
    let heads = message.children().chain(published).filter_map(Head::read);
    heads.filter(|head| head.host == from.to_string()).collect()
}

fn words(to: &Jid, alarm: &str) -> Element {
    let to = to.to_string();
    let mut message = wire::element("message", ns::CLIENT, &[("type", "chat"), ("to", &to)]);
    message.append_child(wire::text_element("body", ns::CLIENT, &format!("Alarm: {alarm}.")));
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn head(sequence: u64, fill: &str) -> Head {
        Head {
            host: "kvm1.example.org".into(),
            sequence,
            hash: fill.repeat(32),
            at: "2026-11-23T17:00:00+00:00".into(),
        }
    }

    #[test]
    fn what_goes_back_or_forks_is_shouted_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads.jsonl");
        let mut book = Book::open(&path).unwrap();
        assert_eq!(book.note(&head(3, "aa")).unwrap(), None);
        assert_eq!(book.note(&head(3, "aa")).unwrap(), None, "told twice");
        assert_eq!(book.note(&head(9, "bb")).unwrap(), None);
        let mut book = Book::open(&path).unwrap();
        let forked = book.note(&head(9, "cc")).unwrap().unwrap();
        assert!(forked.contains("forked"), "{forked}");
        let back = book.note(&head(5, "dd")).unwrap().unwrap();
        assert!(back.contains("went back from entry 9 to 5"), "{back}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4, "two heads and two alarms: {text}");
        // What a trail is held against is what was seen first.
        let heads = Heads::of_lines(&text, None).unwrap();
        assert_eq!((heads.len(), heads.newest().unwrap().hash.as_str()), (2, "bb".repeat(32).as_str()));
        assert!(Book::open(&path).is_ok());
    }

    #[test]
    fn only_a_host_speaks_for_itself() {
        let host = |jid: &str| Host { jid: Jid::new(jid).unwrap(), name: "kvm1".into() };
        let hosts = [host("kvm1.example.org")];
        let message = |from: &str, of: &Head| {
            let mut message = wire::element("message", ns::CLIENT, &[("from", from)]);
            message.append_child(Element::from(of));
            message
        };
        let mine = head(1, "aa");
        assert_eq!(told(&message("kvm1.example.org", &mine), &hosts).first(), Some(&mine));
        assert!(told(&message("eve.example", &mine), &hosts).is_empty());
        let other = Head { host: "kvm2.example.org".into(), ..mine.clone() };
        assert!(told(&message("kvm1.example.org", &other), &hosts).is_empty());
        let event: Element = format!(
            "<message xmlns='jabber:client' from='kvm1.example.org'>\
             <event xmlns='http://jabber.org/protocol/pubsub#event'><items node='{}'><item id='1'>{}</item>\
             </items></event></message>",
            ns::AUDIT,
            String::from(&Element::from(&mine))
        )
        .parse()
        .unwrap();
        assert_eq!(told(&event, &hosts), [mine]);
        let wrong = Head { hash: "zz".repeat(32), ..head(1, "aa") };
        assert!(told(&message("kvm1.example.org", &wrong), &hosts).is_empty());
    }
}
