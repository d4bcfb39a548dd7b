//! Where a reader of events is with each host: what is shown, in order, once; what is missing is fetched.

use std::io::Write;

use futures::{StreamExt as _, stream};
use minidom::Element;
use skerry_stanzas::{ns, payload::Event};
use xmpp_parsers::jid::BareJid;

use super::{
    line::Line,
    order::{Next, Order},
};
use crate::{
    cli::Output,
    failure::{Kind, Outcome},
    fleet::Host,
    pubsub::{self, Wanted},
    session::Session,
    wire,
};

/// How many hosts are asked at a time.
const HOSTS_AT_ONCE: usize = 16;

/// Reads the events of some hosts.
pub(super) struct Reader<'a, W> {
    session: &'a Session,
    places: Vec<(Host, Order)>,
    wanted: Wanted,
    output: Output,
    out: W,
}

impl<'a, W: Write> Reader<'a, W> {
    /// Nothing was read yet; `wanted` is what [`Reader::replay`] will show.
    pub(super) fn new(
        session: &'a Session,
        hosts: Vec<Host>,
        wanted: Wanted,
        output: Output,
        out: W,
    ) -> Self {
        let order = match wanted {
            Wanted::Since(since) => Order::after(since),
            Wanted::Last(_) => Order::anywhere(),
        };
        let places = hosts.into_iter().map(|host| (host, order.clone())).collect();
        Self { session, places, wanted, output, out }
    }

    /// Asks every host to tell us its events from now on.
    ///
    /// # Errors
    /// None of them will. If only some will not, that is told on stderr.
    pub(super) async fn subscribe(&self) -> Outcome<()> {
        let answers =
            self.of_each(async |host, _| pubsub::subscribe(self.session, host, ns::EVENTS).await).await;
        let mut last = None;
        let mut heard = false;
        for ((host, _), answer) in self.places.iter().zip(answers) {
            match answer {
                Ok(()) => heard = true,
                Err(failure) => {
                    eprintln!("skerry: {} does not tell us its events: {failure}", host.name);
                    last = Some(failure);
                }
            }
        }
        last.filter(|_| !heard).map_or(Ok(()), Err)
    }

    /// Wants to be told no more.
    pub(super) async fn unsubscribe(&self) {
        self.of_each(async |host, _| pubsub::unsubscribe(self.session, host, ns::EVENTS).await.ok()).await;
    }

    /// Shows what is kept, merged by time.
    ///
    /// # Errors
    /// The only host there is does not give it; or nobody reads what is shown.
    pub(super) async fn replay(&mut self) -> Outcome<()> {
        let asked = match self.wanted {
            // At least one, so that the count is known and a later gap is seen.
            Wanted::Last(last) => Wanted::Last(last.max(1)),
            since => since,
        };
        let kept = self.of_each(async |host, _| pubsub::events(self.session, host, asked).await).await;
        let only = self.places.len() == 1;
        let mut lines = Vec::new();
        for ((host, order), kept) in self.places.iter_mut().zip(kept) {
            match kept {
                Ok(events) => lines.extend(new_lines(host, order, events)),
                Err(failure) if only => return Err(failure),
                Err(failure) => eprintln!("skerry: {}: {failure}", host.name),
            }
        }
        if self.wanted == Wanted::Last(0) {
            return Ok(());
        }
        lines.sort_by_key(|line| line.at);
        self.show(lines)
    }

    /// Subscribes again and shows what was missed: a subscription of one session ends with the agent,
    /// and with a break of ours. Whether all hosts answered; one that is away is asked again the next
    /// time.
    ///
    /// # Errors
    /// Nobody reads what is shown.
    pub(super) async fn catch_up(&mut self) -> Outcome<bool> {
        let ask = async |host: &Host, order: &Order| {
            pubsub::subscribe(self.session, host, ns::EVENTS).await?;
            let wanted = order.last().map_or(Wanted::Last(1), Wanted::Since);
            pubsub::events(self.session, host, wanted).await
        };
        let missed = self.of_each(ask).await;
        let mut all = true;
        let mut lines = Vec::new();
        for ((host, order), missed) in self.places.iter_mut().zip(missed) {
            match missed {
                Ok(events) => lines.extend(new_lines(host, order, events)),
                Err(_) => all = false,
            }
        }
        self.show(lines)?;
        Ok(all)
    }

    /// Shows what a host has told, and before it what it has not. Anybody can send such a message; only
    /// a host's own counts. False when something before it cannot be had now: then nothing is shown, as
    /// it will all come in order with [`Reader::catch_up`].
    ///
    /// # Errors
    /// Nobody reads what is shown.
    pub(super) async fn tell(&mut self, from: &BareJid, mut events: Vec<Event>) -> Outcome<bool> {
        let Some((host, order)) = self.places.iter_mut().find(|(host, _)| host.jid.to_bare() == *from) else {
            return Ok(true);
        };
        if let Some(since) = events.first().and_then(|event| order.missing_before(event)) {
            match pubsub::events(self.session, host, Wanted::Since(since)).await {
                Ok(missed) => events.extend(missed),
                Err(failure) if failure.kind == Kind::Unreachable => return Ok(false),
                // It never will: the gap is shown.
                Err(_) => {}
            }
            events.sort_by_key(|event| event.sequence);
        }
        let lines = new_lines(host, order, events);
        self.show(lines)?;
        Ok(true)
    }

    /// Whether this is the presence of one of the hosts, and it is there.
    pub(super) fn is_presence_of_host(&self, stanza: &Element) -> bool {
        let is_available = stanza.name() == "presence" && stanza.attr("type").is_none();
        let from = wire::from(stanza).filter(|_| is_available).map(|from| from.to_bare());
        from.is_some_and(|from| self.places.iter().any(|(host, _)| host.jid.to_bare() == from))
    }

    /// Asks every host, many at a time; the answers are in the order of the places.
    async fn of_each<T>(&self, ask: impl AsyncFn(&Host, &Order) -> T) -> Vec<T> {
        let ask = &ask;
        let asking = self.places.iter().map(|(host, order)| async move { ask(host, order).await });
        stream::iter(asking).buffered(HOSTS_AT_ONCE).collect().await
    }

    fn show(&mut self, lines: Vec<Line>) -> Outcome<()> {
        lines.iter().try_for_each(|line| line.show(&mut self.out, self.output))
    }
}

/// Lines for what was not seen yet of all that a host gave, in its order, with the gaps in it.
fn new_lines(host: &Host, order: &mut Order, events: Vec<Event>) -> Vec<Line> {
    if events.is_empty() {
        order.nothing_yet();
    }
    let mut lines = Vec::new();
    for event in events {
        match order.take(&event) {
            Next::Seen => continue,
            Next::Gap { from, to } => lines.push(Line::gap(host, from, to, event.at)),
            Next::InOrder => {}
        }
        lines.push(Line::event(host, event));
    }
    lines
}
