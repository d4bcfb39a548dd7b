//! Logs in and tells what happens; with a peer, pings it and says how long that took.
//!
//! ```text
//! SECRET=… cargo run -p skerry-link --example ping -- KIND JID SERVER [PEER [COUNT [IN_FLIGHT]]]
//! SECRET=s cargo run -p skerry-link --example ping -- component kvm1.example.org 127.0.0.1:5347
//! SECRET=… cargo run -p skerry-link --example ping -- account ann@example.org - kvm1.example.org
//! ```
//! `-` for the server means DNS. `CA=file.pem` names the authority to trust, `TLS=direct` the way to it,
//! `SILENCE=seconds` how long a silence may be. Answers pings itself. Ends with its standard input.

use std::{
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use minidom::{
    Element,
    rxml::{Namespace, NcName},
};
use skerry_link::{Link, LinkConfig, LinkEvent, LinkHandle, Login, ServerAddress, Tls};
use tokio::io::AsyncReadExt;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [kind, who, server, rest @ ..] = words.as_slice() else {
        return Err("see the top of the source".into());
    };
    let secret = env::var("SECRET")?.into();
    let mut config = LinkConfig::new(match kind.as_str() {
        "component" => Login::Component { domain: who.parse()?, secret },
        _ => Login::Account { jid: who.parse()?, password: secret },
    });
    if let Some((host, port)) = server.rsplit_once(':') {
        config.server = ServerAddress::At(host.to_owned(), port.parse()?);
    }
    config.ca = env::var_os("CA").map(Into::into);
    if env::var("TLS").is_ok_and(|tls| tls == "direct") {
        config.tls = Tls::Direct;
    }
    if let Ok(seconds) = env::var("SILENCE") {
        config.silence_max = Duration::from_secs(seconds.parse()?);
    }
    let mut link = Link::open(config);
    let (peer, count, in_flight) = (rest.first().cloned(), number(rest.get(1), 10), number(rest.get(2), 1));
    let mut input = tokio::io::stdin();
    let mut ignored = [0; 64];
    let began = Instant::now();
    loop {
        tokio::select! {
            event = link.events.recv() => match event {
                Some(event) => {
                    if let LinkEvent::Stanza(stanza) = &event {
                        answer(&link.handle, stanza).await?;
                        continue;
                    }
                    println!("{:.3} {event:?}", began.elapsed().as_secs_f64());
                    if let (LinkEvent::Up { .. }, Some(peer)) = (&event, &peer) {
                        tokio::spawn(ping(link.handle.clone(), peer.clone(), count, in_flight));
                    }
                }
                None => break,
            },
            read = input.read(&mut ignored) => if read? == 0 {
                break;
            },
        }
    }
    link.handle.close().await;
    println!("{:.3} closed", began.elapsed().as_secs_f64());
    Ok(())
}

fn number(word: Option<&String>, default: usize) -> usize {
    word.and_then(|word| word.parse().ok()).unwrap_or(default)
}

fn attribute(element: &mut Element, name: &str, value: &str) {
    if let Ok(name) = NcName::try_from(name) {
        element.set_attr(Namespace::NONE, name, value);
    }
}

/// Answers each get and set: pings and all else alike.
async fn answer(handle: &LinkHandle, stanza: &Element) -> Result<(), Failure> {
    if stanza.name() != "iq" || !matches!(stanza.attr("type"), Some("get" | "set")) {
        return Ok(());
    }
    let mut result = Element::bare("iq", "jabber:client");
    attribute(&mut result, "type", "result");
    for (theirs, ours) in [("from", "to"), ("to", "from"), ("id", "id")] {
        if let Some(value) = stanza.attr(theirs) {
            attribute(&mut result, ours, value);
        }
    }
    let _ = handle.send(result).await;
    Ok(())
}

async fn ping(handle: LinkHandle, peer: String, count: usize, in_flight: usize) {
    let handle = Arc::new(handle);
    let began = Instant::now();
    let mut times: Vec<Duration> = stream::iter(0..count)
        .map(|_| {
            let (handle, mut iq) = (handle.clone(), Element::bare("iq", "jabber:client"));
            attribute(&mut iq, "type", "get");
            attribute(&mut iq, "to", &peer);
            iq.append_child(Element::bare("ping", "urn:xmpp:ping"));
            async move {
                let sent = Instant::now();
                let answer = handle.ask(iq, Duration::from_secs(30)).await;
                if let Err(error) = &answer {
                    println!("{error} ({error:?})");
                }
                answer.map(|_| sent.elapsed()).ok()
            }
        })
        .buffer_unordered(in_flight)
        .filter_map(|time| async move { time })
        .collect()
        .await;
    times.sort();
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    println!(
        "{} of {count} answered, {rate:.0}/s, p50 {:?}, p99 {:?}",
        times.len(),
        times.get(times.len() / 2),
        times.get(times.len() * 99 / 100)
    );
}
