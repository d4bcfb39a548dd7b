//! Carries out the drawn commands: find the targets, ask them, wait, show what they answered.

use std::{collections::BTreeMap, io};

use futures::{StreamExt as _, stream};
use skerry_stanzas::command::{Effect, Object};
use xmpp_parsers::jid::Jid;

use crate::{
    applied,
    call::{Consent, Reply, Sent},
    cli::{Asked, Output},
    config::Config,
    failure::{Failure, Outcome},
    fleet::Fleet,
    guest,
    name::Among,
    picture,
    plan::{self, Planned},
    progress::Progress,
    render::{Answered, render},
    session::Session,
    several, signing, wait,
};

/// How many targets are asked at a time.
const CALLS_AT_ONCE: usize = 16;

/// Carries a drawn command out.
///
/// # Errors
/// The first failure; what others answered is shown all the same.
pub async fn run(asked: &Asked, config: &Config, output: Output) -> Outcome<()> {
    let session = Session::open(config, false).await?.deaf();
    let mut fleet = fleet(asked, &session, config).await?;
    if let (Some(declaration), Some(code), None) = (asked.of(Object::Host), asked.words.first(), &asked.host)
        && declaration.answers_requests()
        && fleet.hosts.len() > 1
    {
        fleet = several::with_request(code, &session, fleet).await?;
    }
    let labels = several::names_a_label(asked) && plan::among(asked) != Among::Hosts;
    let named = if labels { Some(several::with_labels(asked, &session, &fleet).await?) } else { None };
    let asked = named.as_ref().unwrap_or(asked);
    let mut plan = applied::read(guest::completed(asked, plan::plan(asked, &fleet)?)?)?;
    several::together(&mut plan);
    if plan.calls.len() > 1 || plan::among(asked) != Among::Machines {
        fleet.warn_of_away();
    }
    if asked.out.is_some() && plan.calls.len() > 1 {
        return Err(Failure::usage("one file holds one picture: name one machine"));
    }
    let consent = if asked.yes { Consent::Given } else { Consent::Ask };
    let destroys = plan.calls.iter().any(|planned| planned.call.declaration.effect == Effect::Destroy);
    let consents = plan.calls.iter().any(|planned| signing::is_consent(&planned.call));
    let asks = (destroys || consents) && consent == Consent::Ask;
    let progress = Progress::new(&plan.calls, asks);
    // Questions are put one after another.
    let at_once = if asks { 1 } else { CALLS_AT_ONCE };
    let begun: Vec<(&Planned, Step)> = stream::iter(&plan.calls)
        .map(|planned| {
            let (session, progress) = (&session, &progress);
            async move {
                progress.begin(planned);
                let input = asked.file_write.as_ref().and_then(|args| args.input.as_ref());
                let step = match (&asked.file_read, input) {
                    (Some(args), _) => Step::Over(guest::read(planned, session, args, output).await),
                    (None, Some(file)) => Step::Over(guest::write(planned, session, file).await),
                    (None, None) => begun(planned, session, consent, asked.wait).await,
                };
                (planned, step)
            }
        })
        .buffered(at_once)
        .collect()
        .await;
    say_what_waits(&begun, &progress);
    let results: Vec<(&Planned, Outcome<Reply>)> = stream::iter(begun)
        .map(|(planned, step)| {
            let (session, progress) = (&session, &progress);
            async move {
                let mut result = match step {
                    Step::Over(result) => result,
                    Step::Goes(sent) => wait::until_ended(planned, *sent, session, progress).await,
                };
                if let (Ok(reply), Some(file)) = (&result, &asked.out) {
                    result = picture::save(session, planned, reply.clone(), file).await;
                }
                progress.end(planned);
                (planned, result)
            }
        })
        .buffered(CALLS_AT_ONCE)
        .collect()
        .await;
    progress.clear();
    session.close().await;
    if asked.exec.is_some() {
        return guest::show_ends(results, output, plan.one);
    }
    show(results, output, plan.one)
}

/// Lists the hosts that can be found.
///
/// # Errors
/// Nobody reads it, or the server does not answer.
pub async fn hosts(config: &Config, output: Output) -> Outcome<()> {
    let session = Session::open(config, false).await?.deaf();
    let fleet = Fleet::hosts(&session, config).await?;
    session.close().await;
    fleet.warn_of_away();
    if fleet.hosts.is_empty() {
        return Err(fleet.nobody());
    }
    let answers = [Answered { who: String::new(), host: String::new(), reply: fleet.reply() }];
    render(&mut io::stdout().lock(), output, &answers, false)
}

/// How far a call is once it was answered.
enum Step {
    Over(Outcome<Reply>),
    /// It goes on, and is waited for.
    Goes(Box<Sent>),
}

/// One call, until its first answer.
async fn begun(planned: &Planned, session: &Session, consent: Consent, wait: bool) -> Step {
    match planned.call.run(session, consent).await {
        Ok(sent) if wait && sent.reply.is_under_way() => Step::Goes(Box::new(sent)),
        Ok(sent) => Step::Over(Ok(sent.reply)),
        Err(failure) => Step::Over(Err(failure)),
    }
}

/// Others may take their time, and somebody has to tell them: also where no line moves. What was given
/// together waits as one, and the longest answer is the one that names them all.
fn say_what_waits(begun: &[(&Planned, Step)], progress: &Progress) {
    let mut said: BTreeMap<(Jid, String), String> = BTreeMap::new();
    for (planned, step) in begun {
        let Step::Goes(sent) = step else { continue };
        let Some(code) = sent.reply.request() else { continue };
        let said = said.entry((planned.host.jid.clone(), code.to_owned())).or_default();
        if said.len() < sent.reply.text.len() {
            said.clone_from(&sent.reply.text);
        }
    }
    said.values().for_each(|text| progress.say(text));
}

/// As much of the fleet as the words need.
async fn fleet(asked: &Asked, session: &Session, config: &Config) -> Outcome<Fleet> {
    let among = plan::among(asked);
    // A single address needs no search.
    if let [word] = asked.words.as_slice()
        && let Some(address) = address(word)
        && let Some(fleet) = Fleet::at(session, &address).await
    {
        return Ok(fleet);
    }
    match among {
        Among::Hosts => Fleet::hosts(session, config).await,
        Among::Machines | Among::Both => Fleet::whole(session, config).await,
    }
}

/// A word that is an address, not a name: it has an `@`, or is a domain of several parts.
pub fn address(word: &str) -> Option<Jid> {
    let jid = Jid::new(word).ok()?;
    let is_domain = jid.node().is_none() && jid.resource().is_none() && word.contains('.');
    (jid.node().is_some() || is_domain).then_some(jid)
}

pub(crate) fn show(results: Vec<(&Planned, Outcome<Reply>)>, output: Output, one: bool) -> Outcome<()> {
    let several = results.len() > 1;
    let mut answers = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    for (planned, result) in results {
        match result {
            // Shown already: a file that went out as it is.
            Ok(reply) if reply.text.is_empty() && output != Output::Json => {}
            Ok(reply) => {
                answers.push(Answered { who: planned.who.clone(), host: planned.host.jid.to_string(), reply })
            }
            Err(failure) if several => {
                failures.push(Failure { text: format!("{}: {}", planned.who, failure.text), ..failure });
            }
            Err(failure) => failures.push(failure),
        }
    }
    if !answers.is_empty() {
        render(&mut io::stdout().lock(), output, &answers, one)?;
    }
    let worst = failures.iter().map(|failure| failure.kind).max();
    let last = failures.pop();
    for failure in failures {
        failure.report();
    }
    match (last, worst) {
        (Some(last), Some(kind)) => Err(Failure { kind, ..last }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn addresses_are_told_from_names() {
        for yes in ["web1@kvm1.example.org", "kvm1.example.org", "attic@example.org/skerry"] {
            assert!(address(yes).is_some(), "{yes}");
        }
        for no in ["web1", "kvm1/web1", "web1,web2"] {
            assert!(address(no).is_none(), "{no}");
        }
    }
}
