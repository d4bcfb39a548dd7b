//! More at once than anybody needs: everything is answered, memory stays bounded.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use minidom::Element;
use skerry_stanzas::{adhoc::AdhocCommand, form, ns};
use skerry_tests::{
    client::Client,
    lab::Wanted,
    requests::{outcome, ping, refusal},
};

/// How much the agent may grow, in KiB, whatever is thrown at it by one client.
const GROWTH_MAX: u64 = 32 * 1024;

/// The last of ten thousand waits for all before it, in a build without optimisation.
const QUEUE: Duration = Duration::from_secs(240);

/// How a command ended, in a word.
async fn status(client: &Client, to: &str, node: &str) -> String {
    let request = AdhocCommand::request(node, Some(form::submit(&[])));
    let iq = Element::builder("iq", ns::CLIENT)
        .attr("type".try_into().unwrap(), "set")
        .attr("to".try_into().unwrap(), to)
        .append(request.to_element())
        .build();
    match client.handle.ask(iq, QUEUE).await {
        Ok(answer) => match outcome(AdhocCommand::parse(answer.children().next().unwrap()).unwrap()) {
            Ok(_) => "done".into(),
            Err(words) => words,
        },
        Err(error) => {
            let error = anyhow::Error::from(error);
            refusal(&error).unwrap_or_else(|| error.to_string())
        }
    }
}

/// Asks all of it at once; how often each answer came.
async fn ask_all(
    client: &Client,
    to: &str,
    node: impl Fn(usize) -> String,
    count: usize,
) -> BTreeMap<String, usize> {
    let began = Instant::now();
    let all: FuturesUnordered<_> = (0..count)
        .map(|n| {
            let node = node(n);
            async move { status(client, to, &node).await }
        })
        .collect();
    let mut answers = BTreeMap::new();
    for answer in all.collect::<Vec<_>>().await {
        *answers.entry(answer).or_insert(0) += 1;
    }
    eprintln!("{count} commands at once, in {:.1?}: {answers:#?}", began.elapsed());
    answers
}

/// Each was done, or refused as one too many.
#[track_caller]
fn assert_answered(answers: &BTreeMap<String, usize>, count: usize) {
    assert_eq!(answers.values().sum::<usize>(), count);
    for answer in answers.keys() {
        let clear = answer == "done" || answer.contains("under way") || answer.contains("too much to do");
        assert!(clear, "{answer}");
    }
    assert!(answers.contains_key("done"));
}

#[tokio::test]
async fn ten_thousand_commands() {
    let lab = Wanted::new("prosody", "component").up().await.unwrap();
    let host = lab.host().jid.clone();
    let ann = lab.client("admin").await.unwrap();
    ann.reach(&host).await.unwrap();
    ann.done(&host, "create", &["--name=web1", "--image=linux", "--start"]).await.unwrap();
    let before = lab.host().resident().unwrap();

    let answers = ask_all(&ann, &host, |_| "machine/web1/status".into(), 10_000).await;
    assert_answered(&answers, 10_000);
    let looked = lab.host().resident().unwrap();

    let change = |n: usize| format!("machine/web1/{}", if n.is_multiple_of(2) { "pause" } else { "resume" });
    let answers = ask_all(&ann, &host, change, 1_000).await;
    assert_eq!(answers.values().sum::<usize>(), 1_000);
    assert!(!answers.keys().any(|answer| answer.contains("no answer within")), "{answers:?}");
    let changed = lab.host().resident().unwrap();

    eprintln!("{before} KiB, after 10,000 looks {looked} KiB, after 1,000 changes {changed} KiB");
    assert!(changed.max(looked) < before + GROWTH_MAX);
    ann.ask("get", Some(&host), ping()).await.unwrap();
    ann.done(&host, "machine/web1/status", &[]).await.unwrap();
    assert!(lab.host().runs());
}

/// 512 pings under way at any moment, 10,000 in all: none is lost.
#[tokio::test]
async fn five_hundred_pings_in_flight() {
    let lab = Wanted::new("prosody", "component").up().await.unwrap();
    let host = lab.host().jid.clone();
    let ann = lab.client("admin").await.unwrap();
    ann.reach(&host).await.unwrap();
    let (ann, host) = (&ann, host.as_str());
    let began = Instant::now();
    let pings = futures::stream::iter(0..10_000).map(|_| ann.ask("get", Some(host), ping()));
    let lost = pings.buffer_unordered(512).filter(|answer| std::future::ready(answer.is_err())).count().await;
    eprintln!("10,000 pings, 512 under way, in {:.1?}", began.elapsed());
    assert_eq!(lost, 0);
}
