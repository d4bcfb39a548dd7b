//! Waits until a machine has got where it was sent. The host answers a command when it is done, or
//! after a while with "under way"; from there on its events tell, so nothing is asked again and again.

use std::time::Duration;

use serde_json::Value;
use skerry_stanzas::{
    command::{Declaration, machine::Status},
    payload::Event,
};
use tokio::sync::{broadcast, mpsc};
use xmpp_parsers::jid::BareJid;

use crate::{
    call::{Call, Consent, Reply},
    failure::{Failure, Kind, Outcome},
    plan::Planned,
    progress::Progress,
    pubsub,
    session::{Inbound, Session},
};

/// How long is waited for a machine after the host said that it is under way.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Events held for a slow waiter.
const EVENTS_MAX: usize = 1024;

static STATUS: Declaration = Declaration::of::<Status>();

/// Hears the events of hosts, for whoever waits.
pub struct Watch {
    events: broadcast::Sender<(BareJid, Event)>,
    listener: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Listens to what comes in.
    pub fn new(mut inbound: mpsc::Receiver<Inbound>) -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let sender = events.clone();
        let listener = tokio::spawn(async move {
            while let Some(inbound) = inbound.recv().await {
                let Inbound::Stanza(stanza) = inbound else { continue };
                for (host, event) in pubsub::told(&stanza)
                    .into_iter()
                    .flat_map(|(host, events)| events.into_iter().map(move |event| (host.clone(), event)))
                {
                    // Nobody waits just now.
                    sender.send((host, event)).ok();
                }
            }
        });
        Self { events, listener }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Whether a state is one on the way to another.
pub fn on_the_way(state: &str) -> bool {
    matches!(state, "starting" | "stopping") || state.starts_with("migrating")
}

fn state(reply: &Reply) -> Option<&str> {
    reply.json.get("state")?.as_str()
}

/// Waits until the machine is where it was sent, and gives the answer as it is then.
///
/// # Errors
/// It failed on the way, or did not get there in time.
pub async fn until_settled(
    planned: &Planned,
    reply: Reply,
    session: &Session,
    watch: &Watch,
    progress: &Progress,
) -> Outcome<Reply> {
    let Some(machine) = planned.machine.as_ref() else { return Ok(reply) };
    if !state(&reply).is_some_and(on_the_way) {
        return Ok(reply);
    }
    progress.tell(planned, &reply.text, None);
    let mut events = watch.events.subscribe();
    if let Err(failure) = pubsub::subscribe(session, &planned.host).await {
        eprintln!("skerry: {} is under way; not waited for ({failure})", planned.who);
        return Ok(reply);
    }
    let settled =
        tokio::time::timeout(WAIT_MAX, settled(planned, &machine.name, session, &mut events, progress));
    let settled = settled.await.unwrap_or_else(|_| {
        let minutes = WAIT_MAX.as_secs() / 60;
        Err(Failure::new(
            Kind::Refused,
            format!("{} did not get there within {minutes} minutes", planned.who),
        ))
    });
    // The subscription is for this session only, and ends with it at the latest.
    pubsub::unsubscribe(session, &planned.host).await.ok();
    settled.and_then(|(state, sentence)| ended(reply, &state, sentence))
}

/// The state it comes to rest in, and the sentence about it.
async fn settled(
    planned: &Planned,
    name: &str,
    session: &Session,
    events: &mut broadcast::Receiver<(BareJid, Event)>,
    progress: &Progress,
) -> Outcome<(String, String)> {
    // It may have got there between the answer and the subscription.
    if let Some(now) = now(planned, session).await? {
        return Ok(now);
    }
    loop {
        match events.recv().await {
            Ok((host, event)) => {
                if host != planned.host.jid.to_bare() || event.machine.as_deref() != Some(name) {
                    continue;
                }
                progress.tell(planned, &event.sentence, None);
                if let Some(state) = event.state.filter(|state| !on_the_way(state)) {
                    return Ok((state, event.sentence));
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {
                if let Some(now) = now(planned, session).await? {
                    return Ok(now);
                }
            }
            Err(broadcast::error::RecvError::Closed) => {
                return Err(Failure::unreachable("the connection ended while waiting")
                    .hint("What was asked for goes on; see its status."));
            }
        }
    }
}

/// Its state now, when it is at rest.
async fn now(planned: &Planned, session: &Session) -> Outcome<Option<(String, String)>> {
    let Some(machine) = planned.machine.as_ref() else { return Ok(None) };
    let call = Call {
        to: machine.jid.clone(),
        node: machine.command_node(STATUS.verb),
        declaration: &STATUS,
        argv: Vec::new(),
    };
    let reply = call.run(session, Consent::Ask).await?;
    let text = |key: &str| reply.json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let state = text("state");
    Ok((!state.is_empty() && !on_the_way(&state)).then(|| (state, text("sentence"))))
}

/// The first answer, brought up to date.
fn ended(mut reply: Reply, state: &str, sentence: String) -> Outcome<Reply> {
    if state == "failed" {
        return Err(Failure::new(Kind::Refused, sentence));
    }
    if let Some(object) = reply.json.as_object_mut() {
        object.insert("state".into(), state.into());
        object.insert("sentence".into(), sentence.clone().into());
    }
    reply.text = sentence;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn reply() -> Reply {
        Reply { text: "web1 is starting.".into(), json: json!({"name": "web1", "state": "starting"}) }
    }

    #[test]
    fn only_states_on_the_way_are_waited_for() {
        assert!(on_the_way("starting") && on_the_way("stopping") && on_the_way("migrating"));
        assert!(!["running", "stopped", "paused", "failed", "saved"].iter().any(|state| on_the_way(state)));
        assert_eq!(state(&reply()), Some("starting"));
    }

    #[test]
    fn the_answer_is_brought_up_to_date() {
        let reply = ended(reply(), "running", "web1 is running.".into()).unwrap();
        assert_eq!(reply.text, "web1 is running.");
        assert_eq!(reply.json["state"], "running");
    }

    #[test]
    fn failing_on_the_way_is_a_failure() {
        let failure = ended(reply(), "failed", "The kernel is not there.".into()).unwrap_err();
        assert_eq!(failure, Failure::new(Kind::Refused, "The kernel is not there."));
    }
}
