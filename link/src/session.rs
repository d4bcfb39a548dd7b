//! A session on a stream that is up: stanzas in, stanzas out, acknowledgements, signs of life.
//!
//! One task owns the stream and never waits for one thing only. While it cannot write it reads, and while
//! its events are not read it writes: nobody can make it stand still by standing still.

use std::{
    sync::{Arc, atomic::Ordering::Release},
    time::Duration,
};

use minidom::Element;
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{
    Ask, LinkConfig, LinkEvent, Login, SendError, address,
    handle::{Order, Shared},
    iq::Asks,
    outlet::Outlet,
    pulse::Pulse,
    reply::{self, Condition},
    shown,
    sieve::{self, Flaw},
    sm::{self, Sm},
    turn::{Outgoing, Turn},
    wire::{CLIENT, Setback, Wire, heard},
};

/// How many stanzas wait to be written; further orders wait in their queue.
const OUTBOX: usize = 256;
/// How long after a stanza the server is asked to acknowledge it, when nothing else follows.
const IDLE: Duration = Duration::from_secs(1);
/// How often IQs whose askers have left are swept out.
const SWEEP: Duration = Duration::from_secs(1);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(4);

/// A stream that is logged in.
pub(crate) struct LoggedIn {
    pub(crate) wire: Wire,
    pub(crate) jid: Jid,
    /// A new session with stream management.
    pub(crate) sm: Option<Sm>,
    /// The old session goes on; how much of it the server had handled.
    pub(crate) resumed: Option<u32>,
    /// The old session is lost; how much of it the server had handled, if it said so.
    pub(crate) handled: Option<u32>,
    /// What came before the session was complete.
    pub(crate) early: Vec<Element>,
}

impl LoggedIn {
    pub(crate) fn component(wire: Wire, domain: BareJid) -> Self {
        Self { wire, jid: domain.into(), sm: None, resumed: None, handled: None, early: Vec::new() }
    }

    pub(crate) fn resumed(wire: Wire, jid: Jid, handled: u32) -> Self {
        Self { wire, jid, sm: None, resumed: Some(handled), handled: None, early: Vec::new() }
    }
}

/// Why a session, or the wait for one, is over.
#[derive(Debug)]
pub(crate) enum End {
    Setback(Setback),
    /// Somebody wants the link closed, and to know when it is.
    Closed(oneshot::Sender<()>),
    /// Nobody reads the events any more.
    Unheard,
}

/// What outlives a connection.
pub(crate) struct Session {
    pub(crate) config: Arc<LinkConfig>,
    pub(crate) outlet: Outlet,
    shared: Arc<Shared>,
    asks: Asks,
    out: Outgoing,
    /// The account; none on a component link.
    own: Option<BareJid>,
}

impl Session {
    pub(crate) fn new(config: Arc<LinkConfig>, told: mpsc::Sender<LinkEvent>, shared: Arc<Shared>) -> Self {
        let own = match &config.login {
            Login::Component { .. } => None,
            Login::Account { jid, .. } => Some(jid.to_bare()),
        };
        let outlet = Outlet::new(told);
        Self { config, outlet, shared, asks: Asks::default(), out: Outgoing::default(), own }
    }

    /// Goes on with the old session or begins a new one, and keeps it up until it ends.
    pub(crate) async fn run(&mut self, login: LoggedIn, orders: &mut mpsc::Receiver<Order>) -> End {
        let LoggedIn { mut wire, jid, sm, resumed, handled, early } = login;
        if let Err(setback) = self.begin(sm, resumed, handled) {
            return End::Setback(setback);
        }
        self.shared.taking.store(true, Release);
        self.outlet.tell(LinkEvent::Up { jid: jid.clone(), resumed: resumed.is_some() }, 0);
        for element in early {
            if let Err(setback) = self.take_in(element, 0) {
                return End::Setback(setback);
            }
        }
        let end = self.keep_up(&mut wire, orders, Pulse::new(&self.config, &self.shared, &jid)).await;
        if !matches!(end, End::Setback(_)) {
            // A stream that is not closed is one that the server keeps for us to come back.
            let _ = time::timeout(GOODBYE, self.out.say_goodbye(&mut wire)).await;
        }
        end
    }

    fn begin(&mut self, sm: Option<Sm>, resumed: Option<u32>, handled: Option<u32>) -> Result<(), Setback> {
        self.out.begin();
        if let Some(h) = resumed {
            let again = self.out.sm.as_mut().and_then(|sm| sm.resumed(h));
            let again = again.ok_or_else(|| Setback::Broken(format!("it cannot have handled {h} stanzas")));
            if again.is_err() {
                self.out.sm = None;
                self.forget();
            }
            self.out.put_first(again?);
        } else {
            if let Some(old) = self.out.sm.take() {
                let mut lost = old.lost(handled);
                lost.retain(sm::worth_repeating);
                self.asks.fail_all();
                self.out.stanzas.retain(|stanza| match stanza.name() {
                    "iq" => matches!(stanza.attr("type"), Some("result" | "error")),
                    name => name == "message",
                });
                self.out.put_first(lost);
            }
            self.out.sm = sm;
        }
        Ok(())
    }

    /// The connection is gone. What can be taken until there is another one?
    pub(crate) fn interrupted(&mut self) {
        if !self.can_resume() {
            self.shared.taking.store(false, Release);
            if self.out.sm.is_none() {
                self.forget();
            }
        }
    }

    /// No session goes on: nothing is waited for any more.
    pub(crate) fn forget(&mut self) {
        self.shared.taking.store(false, Release);
        self.asks.fail_all();
        self.out.stanzas.clear();
    }

    fn can_resume(&self) -> bool {
        self.ticket().is_some()
    }

    /// The ticket of the old session.
    pub(crate) fn ticket(&self) -> Option<sm::Ticket> {
        self.out.sm.as_ref().and_then(Sm::ticket)
    }

    /// Whether orders can be taken without a connection: there is room, or they are refused anyway.
    pub(crate) fn has_room(&self) -> bool {
        self.out.stanzas.len() < OUTBOX || !self.can_resume()
    }

    /// An order that came without a connection.
    pub(crate) fn take_order_down(&mut self, order: Order) -> Option<End> {
        match order {
            Order::Ask(_, asked) if !self.can_resume() => {
                let _ = asked.answer.send(Err(Ask::NotSent(SendError::Down)));
                None
            }
            Order::Send(_) if !self.can_resume() => None,
            order => self.take_order(order),
        }
    }

    fn take_order(&mut self, order: Order) -> Option<End> {
        if let Order::Send(stanza) | Order::Ask(stanza, _) = &order {
            shown::tell("→", stanza);
        }
        match order {
            Order::Send(stanza) => self.out.stanzas.push_back(stanza),
            Order::Ask(iq, asked) => {
                // Its asker may have left while it was in the queue.
                if !asked.answer.is_closed() && self.asks.add(&iq, self.own.as_ref(), asked) {
                    self.out.stanzas.push_back(iq);
                }
            }
            Order::Close(done) => return Some(End::Closed(done)),
        }
        None
    }

    async fn keep_up(
        &mut self,
        wire: &mut Wire,
        orders: &mut mpsc::Receiver<Order>,
        mut pulse: Pulse,
    ) -> End {
        let mut sweep = Instant::now() + SWEEP;
        let mut acked_by = None;
        let unheard = self.outlet.unheard();
        tokio::pin!(unheard);
        let mut orderable = true;
        loop {
            while self.out.stanzas.len() < OUTBOX {
                let Ok(order) = orders.try_recv() else { break };
                if let Some(end) = self.take_order(order) {
                    return end;
                }
            }
            let reading = self.outlet.has_room();
            let bytes = pulse.feel(wire.get_stream().bytes_in(), reading);
            let idle = self.out.sm.as_ref().is_some_and(|sm| sm.wants_ack(true));
            acked_by = idle.then(|| acked_by.unwrap_or_else(|| Instant::now() + IDLE));
            let due = [Some(pulse.due()), acked_by, (!self.asks.is_empty()).then_some(sweep)];
            let due = due.into_iter().flatten().min().unwrap_or(sweep);
            let Self { out, outlet, .. } = self;
            tokio::select! {
                turn = out.turn(wire, reading) => match turn {
                    Turn::Wrote => {}
                    Turn::Broken(error) => return End::Setback(error.into()),
                    Turn::Read(item) => {
                        let bytes = bytes + pulse.feel(wire.get_stream().bytes_in(), reading);
                        if let Err(setback) = heard(item).and_then(|element| self.take_in(element, bytes)) {
                            return End::Setback(setback);
                        }
                    }
                },
                order = orders.recv(), if orderable && out.stanzas.len() < OUTBOX => match order {
                    Some(order) => if let Some(end) = self.take_order(order) {
                        return end;
                    },
                    // The last handle is gone; the events may still be of use.
                    None => orderable = false,
                },
                () = outlet.drain() => {}
                () = &mut unheard => return End::Unheard,
                () = time::sleep_until(due) => {
                    let now = Instant::now();
                    if acked_by.is_some_and(|due| due <= now) {
                        self.out.ask_for_acks();
                    }
                    if sweep <= now {
                        self.asks.sweep();
                        sweep = now + SWEEP;
                    }
                    if let Err(setback) = pulse.beat(now, &mut self.out) {
                        return End::Setback(setback);
                    }
                }
            }
        }
    }

    /// One element of the server's, which took about so many bytes.
    fn take_in(&mut self, element: Element, bytes: usize) -> Result<(), Setback> {
        let is_stanza = element.has_ns(CLIENT) && matches!(element.name(), "iq" | "message" | "presence");
        if !is_stanza {
            return self.take_in_nonza(&element);
        }
        shown::tell("←", &element);
        if let Some(sm) = &mut self.out.sm {
            sm.count_in();
        }
        let stanza = match sieve::flaw_of(&element).or_else(|| flaw_of_sender(&element)) {
            Some(flaw) => match self.refuse(element, flaw) {
                Some(answer) => answer,
                None => return Ok(()),
            },
            None => element,
        };
        let kind = stanza.attr("type").unwrap_or_default();
        if stanza.name() == "iq" && self.shared.is_sign_of_life(&stanza) {
            return Ok(());
        }
        let other = match (stanza.name(), kind) {
            ("iq", "result" | "error") => self.asks.answer(stanza, self.own.as_ref()),
            _ => Some(stanza),
        };
        if let Some(stanza) = other {
            self.outlet.tell(LinkEvent::Stanza(stanza), bytes);
        }
        Ok(())
    }

    fn take_in_nonza(&mut self, nonza: &Element) -> Result<(), Setback> {
        let Some(sm) = self.out.sm.as_mut().filter(|_| nonza.has_ns(sm::NS)) else {
            tracing::debug!(name = nonza.name(), "the server sent an element that is none of ours");
            return Ok(());
        };
        match nonza.name() {
            "r" => self.out.owes_ack = true,
            "a" => {
                let true = sm::counter(nonza).is_some_and(|h| sm.acknowledge(h)) else {
                    self.out.sm = None;
                    return Err(Setback::Broken("it acknowledged stanzas that we did not send".to_owned()));
                };
            }
            _ => {}
        }
        Ok(())
    }

    /// A stanza that is not taken in: a question is answered with an error; an answer to a question of
    /// ours becomes one, and is returned; anything else is dropped (RFC 6120 §8.3.1 answers no errors, and
    /// a presence or message needs no answer).
    fn refuse(&mut self, stand_in: Element, flaw: Flaw) -> Option<Element> {
        let from = stand_in.attr("from").unwrap_or("the server");
        tracing::warn!(from, kind = stand_in.name(), flaw = flaw.word(), "a stanza was refused");
        if stand_in.name() != "iq" {
            return None;
        }
        let (condition, text) = match flaw {
            Flaw::TooLarge => (Condition::PolicyViolation, "This stanza is too large."),
            Flaw::TooDeep => (Condition::PolicyViolation, "This stanza is nested too deeply."),
            Flaw::TooManyElements => (Condition::PolicyViolation, "This stanza has too many elements."),
            Flaw::Unreadable => (Condition::BadRequest, "A name or value in this stanza is too long."),
            Flaw::Sender => (Condition::JidMalformed, "Your address would be read as another one here."),
        };
        match stand_in.attr("type") {
            Some("get" | "set") => {
                if let Some(error) = reply::error(&stand_in, condition, text) {
                    // Nobody may fill the queue by this: their own answers are what would be lost.
                    if self.out.stanzas.len() < 2 * OUTBOX {
                        self.out.stanzas.push_back(error);
                    }
                }
                None
            }
            // Nobody of that address was asked.
            Some("result" | "error") if flaw == Flaw::Sender => None,
            Some("result" | "error") => Some(reply::as_error(stand_in, condition, text)),
            _ => None,
        }
    }
}

/// Nobody is believed under an address that would be read as somebody else's. An account's own server may
/// leave out who sent it.
fn flaw_of_sender(stanza: &Element) -> Option<Flaw> {
    let from = stanza.attr("from")?;
    address::given(from).is_none().then_some(Flaw::Sender)
}

/// Orders that nobody will carry out any more.
pub(crate) fn decline(order: Order) {
    match order {
        Order::Ask(_, asked) => {
            let _ = asked.answer.send(Err(Ask::NotSent(SendError::Closed)));
        }
        Order::Close(done) => {
            let _ = done.send(());
        }
        Order::Send(_) => {}
    }
}
