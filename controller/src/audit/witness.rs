//! `skerry audit witness`: keeps the heads that hosts tell, and shouts when one of them contradicts what it
//! told before. Best under an account at another server, on another computer, in other hands.
//!
//! Heads come as messages, where the host has this account as a witness, and from the host's pubsub node,
//! where this account may look at it. Only a host's own are taken. What is kept is a file of lines of JSON to
//! which lines are only added ([`super::book`]); each is on the disk before the next is looked at. Where this
//! account may look at the trail, the entries between heads are kept as well ([`super::fetching`]).

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use minidom::Element;
use serde_json::json;
use skerry_stanzas::{
    audit::{Head, Heads},
    ns,
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use xmpp_parsers::jid::{BareJid, Jid};

use super::{
    book::{Book, Taken},
    entries,
    fetching::{Came, Fetching, Request},
};
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

/// One that is at it.
struct Witness<'a> {
    session: &'a Session,
    book: Book,
    fetching: Option<Fetching>,
    tell: Vec<Jid>,
    alarms: u64,
}

/// Witnesses until it is interrupted.
///
/// # Errors
/// The file cannot be used, no host is known, or, at the end, some host contradicted itself.
pub async fn run(args: &WitnessArgs, config: &Config) -> Outcome<()> {
    let book = Book::open(&args.file)?;
    let tell: Vec<Jid> = args.tell.iter().map(|text| person(text)).collect::<Outcome<_>>()?;
    let mut session = Session::open(config, true).await?;
    let mut inbound = session.inbound();
    let hosts = hosts(args, config, &session).await?;
    let fetching = if args.heads_only { None } else { Some(fetching(args, &hosts)?) };
    let mut witness = Witness { session: &session, book, fetching, tell, alarms: 0 };
    let watched = witness.watch(&hosts, &mut inbound).await;
    let alarms = witness.alarms;
    session.close().await;
    watched?;
    match alarms {
        0 => Ok(()),
        some => Err(Failure::new(Kind::Refused, format!("hosts contradicted themselves {some} times"))
            .hint(format!("{} says how.", args.file.display()))),
    }
}

fn fetching(args: &WitnessArgs, hosts: &[Host]) -> Outcome<Fetching> {
    let folder = entries::folder(&args.file);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))?;
    Ok(Fetching::of(hosts, args.file.clone(), args.entries_max << 20))
}

impl Witness<'_> {
    async fn watch(
        &mut self,
        hosts: &[Host],
        inbound: &mut tokio::sync::mpsc::Receiver<Inbound>,
    ) -> Outcome<()> {
        let session = self.session;
        appear(session, hosts).await?;
        let mut renew = interval_at(Instant::now() + RENEWED_EVERY, RENEWED_EVERY);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        let mut asked = FuturesUnordered::new();
        let mut to_ask = self.left_to_fetch(hosts).await?;
        loop {
            for request in to_ask.drain(..) {
                let call = self.fetching.as_ref().and_then(|fetching| fetching.call(&request));
                let Some(call) = call else { continue };
                asked.push(async move { (request, call.look(session).await.map(|reply| reply.json)) });
            }
            tokio::select! {
                _ = &mut interrupted => return Ok(()),
                _ = renew.tick() => {
                    subscribe(session, hosts).await;
                    let due = self.fetching.as_mut().map(Fetching::due).unwrap_or_default();
                    for came in due {
                        to_ask.extend(self.follow("", came).await?);
                    }
                }
                Some((request, page)) = asked.next() => {
                    let Some(fetching) = &mut self.fetching else { continue };
                    let none = Heads::default();
                    let heads = self.book.heads(&request.host).unwrap_or(&none);
                    let came = fetching.came(&request, page, heads);
                    to_ask.extend(self.follow(&request.host, came).await?);
                }
                came = inbound.recv() => match came {
                    Some(Inbound::Stanza(stanza)) => {
                        for head in told(&stanza, hosts) {
                            to_ask.extend(self.head(&head).await?);
                        }
                    }
                    Some(Inbound::Up { fresh: true }) => {
                        appear(session, hosts).await.ok();
                    }
                    Some(Inbound::Up { .. } | Inbound::Down(_)) => {}
                    None => return Ok(()),
                },
            }
        }
    }

    /// What was not fetched when it ended.
    async fn left_to_fetch(&mut self, hosts: &[Host]) -> Outcome<Vec<Request>> {
        let mut requests = Vec::new();
        for host in hosts {
            let host = host.jid.to_bare().to_string();
            let newest = self.book.heads(&host).and_then(Heads::newest).map(|head| head.sequence);
            if let (Some(newest), Some(fetching)) = (newest, &mut self.fetching) {
                let came = fetching.head(&host, newest);
                requests.extend(self.follow(&host, came).await?);
            }
        }
        Ok(requests)
    }

    async fn head(&mut self, head: &Head) -> Outcome<Option<Request>> {
        match self.book.note(head)? {
            Taken::Nothing => Ok(None),
            Taken::Alarm(alarm) => {
                self.shout(&alarm).await;
                Ok(None)
            }
            Taken::New => match &mut self.fetching {
                Some(fetching) => {
                    let came = fetching.head(&head.host, head.sequence);
                    self.follow(&head.host, came).await
                }
                None => Ok(None),
            },
        }
    }

    /// Says what is to be said, and gives what is to be asked.
    async fn follow(&mut self, host: &str, came: Came) -> Outcome<Option<Request>> {
        if let Some(word) = came.word {
            eprintln!("skerry: {word}");
        }
        if let Some(alarm) = came.alarm
            && let Taken::Alarm(alarm) = self.book.contradicts(host, &alarm, &json!(null))?
        {
            self.shout(&alarm).await;
        }
        Ok(came.next)
    }

    async fn shout(&mut self, alarm: &str) {
        self.alarms += 1;
        eprintln!("skerry: ALARM: {alarm}");
        for person in &self.tell {
            self.session.send(words(person, alarm)).await.ok();
        }
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
