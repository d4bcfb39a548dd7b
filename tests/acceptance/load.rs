//! A hundred callers with a hundred commands each at once, half of the callers not allowed, and the server
//! killed in the middle: each allowed command is done once or refused in words, each refusal is in the audit
//! trail, memory stays bounded, and the agent answers after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use minidom::Element;
use nix::sys::signal::Signal;
use skerry_link::{Ask, LinkHandle};
use skerry_stanzas::{adhoc::AdhocCommand, form, ns};
use skerry_tests::{
    client::PATIENCE,
    component,
    lab::{Lab, Wanted},
    requests::{outcome, ping, refusal},
    vitals::until,
};

/// How many callers, and how many commands each.
const CALLERS: usize = 100;
const EACH: usize = 100;
/// How long one question is waited for before it is asked again: under this load an answer takes its time.
const AGAIN: Duration = Duration::from_secs(20);
/// How much the agent may grow, in KiB, whatever is thrown at it by all of them.
const GROWTH_MAX: u64 = 48 * 1024;

/// Somebody asks, through the one connection that all of them share.
struct Caller<'a> {
    handle: &'a LinkHandle,
    from: String,
    to: &'a str,
    /// How often anything was asked, in all.
    asked: &'a AtomicUsize,
    /// How many answers there were, in all.
    answered: &'a AtomicUsize,
}

impl Caller<'_> {
    /// Asks until there is an answer, always under the same id: whether it was done, or why not.
    async fn ask(&self, n: usize) -> Result<(), String> {
        let request = AdhocCommand::request("machine/web1/pause", Some(form::submit(&[])));
        let mut iq = Element::builder("iq", ns::CLIENT);
        let id = format!("{}-{n}", self.from.split('@').next().unwrap());
        for (name, value) in [("type", "set"), ("from", &self.from), ("id", &id), ("to", self.to)] {
            iq = iq.attr(name.try_into().unwrap(), value);
        }
        let iq = iq.append(request.to_element()).build();
        let mut first = true;
        loop {
            self.asked.fetch_add(1, Relaxed);
            let answer = match self.handle.ask(iq.clone(), AGAIN).await {
                Ok(answer) => {
                    outcome(AdhocCommand::parse(answer.children().next().unwrap()).unwrap()).map(drop)
                }
                Err(error @ Ask::Refused(_)) => {
                    let words = refusal(&error.into()).unwrap();
                    // Nobody is there: the server says so while the agent is coming back.
                    let away = ["remote-server", "service-unavailable", "recipient-unavailable"];
                    let again = away.iter().any(|condition| words.starts_with(condition));
                    // Of what was asked before nobody knows yet what became of it.
                    if again || (!first && words.starts_with("resource-constraint")) {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        continue;
                    }
                    Err(words)
                }
                Err(_) => {
                    first = false;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            self.answered.fetch_add(1, Relaxed);
            return answer;
        }
    }
}

/// How answers were, by their words without numbers.
fn tally(answers: &[Heard]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for (_, _, answer) in answers {
        let words = answer.clone().map_or_else(|words| words, |()| "done".into());
        let words: String = words.chars().filter(|c| !c.is_ascii_digit()).collect();
        *tally.entry(words).or_insert(0) += 1;
    }
    tally
}

/// What each of them heard: who asked, which of their commands it was, and how it ended.
type Heard = (usize, usize, Result<(), String>);

#[track_caller]
fn assert_told(answers: &[Heard]) {
    // Who may not is told so, or that it is too much; who may has it done, or is told that it is too much.
    let may = |who: &usize| *who < CALLERS / 2;
    for (who, n, answer) in answers {
        let Err(words) = answer else {
            assert!(may(who), "caller {who} may not");
            continue;
        };
        let too_much = ["under way", "too much to do", "too many requests", "Too many commands"]
            .iter()
            .any(|part| words.contains(part));
        let next = ["Wait for some", "Wait until some", "Try again"].iter().any(|part| words.contains(part));
        assert!(if too_much { next } else { !may(who) && words.contains("no role") }, "{who} {n}: {words}");
    }
    // However many others ask, each who may has something done.
    for who in 0..CALLERS / 2 {
        let done = answers.iter().filter(|(one, _, answer)| *one == who && answer.is_ok()).count();
        assert!(done > 0, "caller {who} was starved");
    }
}

/// What the agent wrote down, once it has ended.
async fn in_the_trail(lab: &Lab, other: &str, answers: &[Heard], asked: u64) {
    // By the trail: each that was done was accepted once, and no refusal is missing.
    lab.host().signal(Signal::SIGTERM).unwrap();
    lab.host().ended().await.unwrap();
    let requests = lab.host().requests("machine.pause").unwrap();
    let keys: BTreeSet<&str> = requests.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys.len(), requests.len(), "something was accepted twice");
    let done = requests.iter().filter(|(_, done)| *done).count();
    let said_done = answers.iter().filter(|(_, _, answer)| answer.is_ok()).count();
    assert_eq!(done, said_done, "what was done and what was said to be");
    // What the machine had too much of was accepted, and ended as refused.
    let refused = (answers.len() - said_done - (requests.len() - done)) as u64;
    let noted = lab.host().refusals(other).unwrap();
    eprintln!("{refused} refusals were told, {noted} are in the trail");
    assert!((refused..=asked).contains(&noted), "{refused} were told, {noted} are in the trail");
}

async fn all_at_once(server: &'static str) {
    let mut lab = Wanted::new(server, "component").hosts(2).up().await.unwrap();
    let host = lab.host().jid.clone();
    let ann = lab.client("admin").await.unwrap();
    ann.reach(&host).await.unwrap();
    ann.done(&host, "create", &["--name=web1", "--image=linux", "--start"]).await.unwrap();
    lab.crash("kvm2").await.unwrap();
    let other = lab.record.hosts[1].clone();
    let link = component::link(&other).unwrap();
    // Whatever comes unasked is nobody's.
    let mut events = link.events;
    let listener = tokio::spawn(async move { while events.recv().await.is_some() {} });
    let address = |n: usize| format!("caller{n}@{}", other.jid);
    for n in 0..CALLERS / 2 {
        ann.done(&host, "grant", &[&format!("--to={}", address(n)), "--what=power", "--on=all"])
            .await
            .unwrap();
    }
    let before = lab.host().resident().unwrap();

    let (asked, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let callers: Vec<Caller> = (0..CALLERS)
        .map(|n| {
            let (asked, answered) = (&asked, &answered);
            Caller { handle: &link.handle, from: format!("{}/x", address(n)), to: &host, asked, answered }
        })
        .collect();
    let all: FuturesUnordered<_> = (0..CALLERS * EACH)
        .map(|nth| {
            let (who, n) = (nth % CALLERS, nth / CALLERS);
            let caller = &callers[who];
            async move { (who, n, caller.ask(n).await) }
        })
        .collect();
    let dies = async {
        until("some answers", || answered.load(Relaxed) >= CALLERS * EACH / 5).await.unwrap();
        lab.crash("server").await.unwrap();
        lab.start("server").await.unwrap();
        lab.host().resident().unwrap()
    };
    let (answers, during) = tokio::join!(all.collect::<Vec<_>>(), dies);
    let after = lab.host().resident().unwrap();
    eprintln!("{server}: {:#?}", tally(&answers));
    eprintln!("{} asked; {before} KiB, {during} KiB meanwhile, {after} KiB after", asked.load(Relaxed));
    assert_eq!(answers.len(), CALLERS * EACH);
    assert!(during.max(after) < before + GROWTH_MAX, "from {before} to {during} and {after} KiB");

    assert_told(&answers);
    // Asked again, each hears the same, and nothing more is done.
    for (who, n, _) in answers.iter().filter(|(_, _, answer)| answer.is_ok()).step_by(500) {
        callers[*who].ask(*n).await.unwrap();
    }
    ann.reach(&host).await.unwrap();
    ann.ask("get", Some(&host), ping()).await.unwrap();
    assert_eq!(ann.state(&host, "web1").await.unwrap(), "paused");
    assert_eq!(ann.done(&host, "audit-verify", &[]).await.unwrap()["first"], 1);

    let other = other.jid;
    in_the_trail(&lab, &other, &answers, asked.load(Relaxed) as u64).await;
    listener.abort();
}

#[tokio::test]
async fn prosody() {
    tokio::time::timeout(PATIENCE * 4, all_at_once("prosody")).await.unwrap();
}

#[tokio::test]
async fn ejabberd() {
    tokio::time::timeout(PATIENCE * 4, all_at_once("ejabberd")).await.unwrap();
}
