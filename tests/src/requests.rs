//! What a person's client asks of hosts and machines, in one call each.

use anyhow::{Context, Result, bail};
use minidom::Element;
use serde_json::Value;
use skerry_link::Ask;
use skerry_stanzas::{
    adhoc::{AdhocCommand, NoteKind},
    form, ns,
};
use tokio::time::{Duration, Instant, sleep, timeout};
use xmpp_parsers::{jid::Jid, ns as xep};

use crate::client::{Client, PATIENCE, shown};

/// How often somebody who may not be back yet is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// A ping (XEP-0199).
pub fn ping() -> Element {
    Element::bare("ping", xep::PING)
}

/// Waits until something is so.
///
/// # Panics
/// It never came to that.
#[allow(clippy::panic, reason = "a test without it cannot go on")]
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !so().await {
            sleep(AGAIN).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("it never came to: {what}"));
}

/// What answers a person knows: the JSON, or a no in words.
pub fn outcome(answer: AdhocCommand) -> Result<Value, String> {
    match answer.note {
        Some(note) if note.kind == NoteKind::Error => Err(note.text),
        _ => Ok(answer.json.unwrap_or_default()),
    }
}

impl Client {
    /// Carries out a command that has to work; gives its reply.
    ///
    /// # Errors
    /// It did not work.
    pub async fn done(&self, to: &str, node: &str, argv: &[&str]) -> Result<Value> {
        let answer = self.command(to, node, argv).await.with_context(|| format!("{node} {argv:?}"))?;
        outcome(answer).map_err(|text| anyhow::anyhow!("{node} {argv:?}: {text}"))
    }

    /// Gives a command that is to be refused; gives the words of the refusal, and before them the
    /// condition when it was a stanza error.
    ///
    /// # Errors
    /// It was not refused, or not answered.
    pub async fn refused(&self, to: &str, node: &str, argv: &[&str]) -> Result<String> {
        match self.command(to, node, argv).await {
            Ok(answer) => match outcome(answer) {
                Ok(json) => bail!("{node} {argv:?} was done: {json}"),
                Err(text) => Ok(text),
            },
            Err(error) => refusal(&error).with_context(|| format!("{node} {argv:?}: {error:#}")),
        }
    }

    /// One command with an id of our own, so that it can be repeated.
    ///
    /// # Errors
    /// Not answered, or refused with a stanza error.
    pub async fn command_as(&self, id: &str, to: &str, node: &str, argv: &[&str]) -> Result<AdhocCommand> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        self.stage_as(id, to, &AdhocCommand::request(node, Some(form::submit(&argv)))).await
    }

    /// One stage of a command with an id of our own.
    ///
    /// # Errors
    /// Not answered, or refused with a stanza error.
    pub async fn stage_as(&self, id: &str, to: &str, request: &AdhocCommand) -> Result<AdhocCommand> {
        let iq = Element::builder("iq", ns::CLIENT)
            .attr("type".try_into()?, "set")
            .attr("id".try_into()?, id)
            .attr("to".try_into()?, to)
            .append(request.to_element())
            .build();
        let answer = self.handle.ask(iq, PATIENCE).await?;
        let payload = answer.children().next().context("an answer with nothing in it")?;
        AdhocCommand::parse(payload).map_err(|condition| anyhow::anyhow!("{condition:?}"))
    }

    /// The state of a machine, in its word.
    ///
    /// # Errors
    /// Not answered, or there is none.
    pub async fn state(&self, host: &str, machine: &str) -> Result<String> {
        let status = self.done(host, &format!("machine/{machine}/status"), &[]).await?;
        Ok(status.get("state").and_then(Value::as_str).context("a status without a state")?.to_owned())
    }

    /// Asks again and again until somebody who is coming back answers.
    ///
    /// # Errors
    /// They did not.
    pub async fn reach(&self, whom: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.ask("get", Some(whom), ping()).await {
            if Instant::now() >= deadline {
                return Err(error).with_context(|| format!("{whom} does not answer"));
            }
            sleep(AGAIN).await;
        }
        Ok(())
    }

    /// Becomes a contact of somebody, both ways, and waits until they are seen.
    ///
    /// # Errors
    /// They do not want it, or do not show themselves.
    pub async fn befriend(&mut self, whom: &str) -> Result<Element> {
        let bare = Jid::new(whom)?.to_bare();
        // Servers tell of a refusal only who asked for the contact list (RFC 6121 §2.2, §3.2.3).
        let roster = self.ask("get", None, Element::bare("query", xep::ROSTER)).await?;
        let mut items = roster.children().flat_map(Element::children);
        let item = items.find(|item| item.attr("jid") == Some(bare.as_str()));
        let subscription = item.and_then(|item| item.attr("subscription")).unwrap_or("none");
        // Who sees us already does not ask; whom we see already does not say that we may.
        let mut asked = matches!(subscription, "from" | "both");
        let mut allowed = matches!(subscription, "to" | "both");
        self.presence("subscribe", bare.as_str()).await?;
        let is = |stanza: &Element, kind: &str| {
            stanza.name() == "presence" && shown(stanza) == kind && from(stanza, bare.as_str())
        };
        let here = |stanza: &Element| {
            stanza.name() == "presence" && stanza.attr("type").is_none() && from(stanza, bare.as_str())
        };
        // Which comes first is theirs to decide. Who introduces itself is seen before the server knows of us.
        let mut seen = None;
        while seen.is_none() || !asked || !allowed {
            let words = ["subscribe", "subscribed", "unsubscribed"];
            let next = self.expect(whom, |it| here(it) || words.iter().any(|word| is(it, word)));
            let next = next.await?;
            match shown(&next).as_str() {
                "subscribed" => allowed = true,
                "unsubscribed" => bail!("{whom} does not want us"),
                "subscribe" => {
                    asked = true;
                    self.presence("subscribed", bare.as_str()).await?;
                }
                _ => seen = Some(next),
            }
        }
        seen.context("not seen")
    }

    /// A presence that asks for something or answers.
    ///
    /// # Errors
    /// Not connected.
    pub async fn presence(&self, kind: &str, to: &str) -> Result<()> {
        let presence = Element::builder("presence", ns::CLIENT)
            .attr("type".try_into()?, kind)
            .attr("to".try_into()?, to)
            .build();
        Ok(self.handle.send(presence).await?)
    }

    /// The numbers and names of all that happened on a host, oldest first.
    ///
    /// # Errors
    /// Not answered.
    pub async fn happenings(&self, host: &str) -> Result<Vec<(u64, String, String)>> {
        let bare = Jid::new(host)?.to_bare();
        let mut all: Vec<(u64, String, String)> = Vec::new();
        loop {
            let after = all.last().map_or(0, |(sequence, ..)| *sequence);
            let set = match bare.node() {
                Some(_) => String::new(),
                None => format!("<set xmlns='{}'><max>100</max><after>{after}</after></set>", xep::RSM),
            };
            let page =
                format!("<pubsub xmlns='{}'><items node='{}'/>{set}</pubsub>", xep::PUBSUB, ns::EVENTS);
            let answer = self.ask("get", Some(bare.as_str()), page.parse()?).await?;
            // Not every server of accounts has pages: there, all of it is asked for at once.
            let mut page = events(&answer);
            page.retain(|(sequence, ..)| *sequence > after);
            let whole = bare.node().is_some() || page.is_empty();
            all.extend(page);
            if whole {
                return Ok(all);
            }
        }
    }
}

/// The events in an answer or a notification: number, name, machine.
pub fn events(stanza: &Element) -> Vec<(u64, String, String)> {
    let mut found = Vec::new();
    let mut open = vec![stanza];
    while let Some(element) = open.pop() {
        open.extend(element.children());
        if element.is("event", ns::EVENTS) {
            let word = |name: &str| element.attr(name).unwrap_or_default().to_owned();
            found.push((word("sequence").parse().unwrap_or_default(), word("what"), word("machine")));
        }
    }
    found.sort_unstable();
    found
}

/// Whether a stanza comes from a bare address or one of its resources.
pub fn from(stanza: &Element, bare: &str) -> bool {
    stanza
        .attr("from")
        .and_then(|from| Jid::new(from).ok())
        .is_some_and(|from| from.to_bare().as_str() == bare)
}

/// A stanza error in words: its condition and its text.
pub fn refusal(error: &anyhow::Error) -> Option<String> {
    let Some(Ask::Refused(iq)) = error.downcast_ref::<Ask>() else { return None };
    let error = iq.children().find(|child| child.name() == "error")?;
    let condition = error.children().find(|child| child.has_ns(ns::STANZA_ERRORS) && child.name() != "text");
    let text = error.get_child("text", ns::STANZA_ERRORS).map(Element::text).unwrap_or_default();
    Some(format!("{}: {text}", condition.map_or("?", Element::name)))
}
