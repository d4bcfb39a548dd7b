//! What takes a signature of who asks: not done for whoever speaks as them, nor twice, nor elsewhere.

#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::sync::Arc;

use skerry_agent::asked::{Answer, Asked};
use skerry_stanzas::{
    audit::{Row, signatures},
    refusal::Reason,
    reply::REQUEST,
    signature::{Keys, SigningKey, Text},
};
use stage::{
    ANN, EVE, OTTO, Stage, asked,
    ear::Ear,
    event, reason,
    signer::{Signer, to_sign, wanted},
    stage,
};

/// What somebody makes of a text.
type Change = Box<dyn FnOnce(&mut Text)>;

const MIA: &str = "mia@example.org/tab";

/// db1 runs; its power is cut only when who asks signs that. Otto can.
async fn sealed() -> (Stage, Signer) {
    let stage = stage().await;
    let otto = Signer::new(OTTO);
    stage.know(&[&otto]);
    stage.done(ANN, "create db1 linux").await;
    stage.done(ANN, "db1: start").await;
    stage.done(ANN, "policy add sealed kill on all signed need 0").await;
    (stage, otto)
}

/// The same with a second person, who has to agree: mia, an admin with a key.
async fn agreed() -> (Stage, Signer, Signer, Arc<Ear>) {
    let (stage, otto) = sealed().await;
    let mia = Signer::new(MIA);
    stage.know(&[&otto, &mia]);
    stage.done(ANN, "grant admin to mia@example.org").await;
    stage.done(ANN, "policy add careful kill on db1 signed").await;
    let ear = Ear::of(&stage.agent);
    (stage, otto, mia, ear)
}

/// Asks with what the host wants signed changed, and signed by this key.
async fn forged(stage: &Stage, key: &SigningKey, change: impl FnOnce(&mut Text)) -> Reason {
    let mut ask = asked(OTTO, "db1: kill");
    let mut text = wanted(stage.agent.ask(ask.clone(), None).await);
    change(&mut text);
    ask.signature = Some(key.sign(&text));
    reason(stage.agent.ask(ask, None).await)
}

fn code(answer: Answer) -> String {
    let Answer::Done { json, .. } = answer else { panic!("{answer:?}") };
    json[REQUEST].as_str().unwrap().to_owned()
}

/// The rows of the trail with these words in them.
fn rows(stage: &Stage, kind: &str, permission: &str) -> Vec<Row> {
    let store = rusqlite::Connection::open(stage.folder.path().join("state/state.db")).unwrap();
    let mut query = store
        .prepare(
            "SELECT seq, at, kind, entry, body FROM journal WHERE kind = ?1 AND body LIKE ?2 ORDER BY seq",
        )
        .unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let (prev, hash) = (Vec::new(), Vec::new());
        Ok(Row {
            seq: row.get(0)?,
            at: row.get(1)?,
            kind: row.get(2)?,
            entry: row.get(3)?,
            body: row.get(4)?,
            prev,
            hash,
        })
    };
    let found = query.query_map([kind, &format!("%\"permission\":\"{permission}\"%")], read).unwrap();
    found.map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_takes_a_signature_is_done_with_one_and_once() {
    let (stage, otto) = sealed().await;
    let no = stage.unsigned(OTTO, "db1: kill").await;
    assert_eq!(
        no.sentence(),
        "That needs your signature (the policy sealed asks for it), which only the program skerry can give. \
         Run: skerry kill db1"
    );
    assert_eq!(stage.state("db1"), "running");
    let ask = otto.signed(&stage.agent, "db1: kill because it hangs").await;
    // It was read by who signed it: nobody is asked whether it is meant.
    let Answer::Done { text, .. } = stage.agent.ask(ask.clone(), None).await else { panic!() };
    assert_eq!(
        (text.as_str(), stage.state("db1").as_str()),
        ("db1 is stopped: its power was cut.", "stopped")
    );
    // Whoever heard it can say it again, and nothing comes of it.
    stage.done(ANN, "db1: start").await;
    assert_eq!(reason(stage.agent.ask(ask, None).await), Reason::Unsigned);
    assert_eq!(stage.state("db1"), "running");
    // Who has a key can check what is written down, without the host.
    stage.agent.close().await;
    let keys = Keys::parse(&otto.line()).unwrap();
    let kills = rows(&stage, "accepted", "machine.kill");
    assert_eq!(kills.len(), 1);
    assert_eq!(signatures(&kills[0], &keys), Ok(1));
    for (was, is) in [
        ("it hangs", "it stinks"),
        ("otto@", "anna@"),
        ("\"db1\"", "\"db2\""),
        ("\"permission\":\"machine.kill", "\"permission\":\"machine.reset"),
    ] {
        let changed = Row { body: kills[0].body.replacen(was, is, 1), ..kills[0].clone() };
        assert_ne!(changed.body, kills[0].body);
        assert!(signatures(&changed, &keys).is_err(), "{was}: {}", changed.body);
    }
    let others = Keys::parse(&Signer::new(OTTO).line()).unwrap();
    assert!(
        signatures(&kills[0], &others).unwrap_err().to_string().contains("a key that is not in the file")
    );
}

#[tokio::test]
async fn a_forged_signature_does_nothing() {
    let (stage, otto) = sealed().await;
    stage.done(ANN, "create web1 linux").await;
    let elsewhere = stage.id("web1").to_string();
    let changes: [Change; 6] = [
        Box::new(|text| text.host = "kvm2.example.org".parse().unwrap()),
        Box::new(|text| text.caller = "ann@example.org".parse().unwrap()),
        Box::new(|text| text.command = "machine.start".into()),
        Box::new(move |text| text.on.as_mut().unwrap().id = elsewhere),
        Box::new(|text| text.on.as_mut().unwrap().name = "web1".into()),
        Box::new(|text| text.arguments.push(("because".into(), skerry_stanzas::signature::Given::Yes))),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        assert_eq!(forged(&stage, &otto.key, change).await, Reason::NotAllowed, "{at}");
    }
    // A word of nobody's: the host asks for a signature of a word of its own.
    assert_eq!(forged(&stage, &otto.key, |text| text.nonce = "0".repeat(32)).await, Reason::Unsigned);
    assert_eq!(
        forged(&stage, &SigningKey::generate().unwrap(), |_| ()).await,
        Reason::NotAllowed,
        "nobody's key"
    );
    // Somebody else's key, which the host knows, and their word.
    let ann = Signer::new(ANN);
    stage.know(&[&otto, &ann]);
    assert_eq!(forged(&stage, &ann.key, |_| ()).await, Reason::NotAllowed);
    let theirs = ann.signed(&stage.agent, "db1: kill").await;
    let as_otto = Asked { caller: stage::jid(OTTO), ..theirs.clone() };
    assert_eq!(reason(stage.agent.ask(as_otto, None).await), Reason::Unsigned);
    // Signed for one thing, sent with another.
    let why = Asked { argv: vec!["--because=another".into()], ..theirs };
    assert_eq!(reason(stage.agent.ask(why, None).await), Reason::NotAllowed);
    assert_eq!(stage.state("db1"), "running");
}

#[tokio::test]
async fn a_signature_is_good_for_this_agent_this_machine_and_these_keys_alone() {
    let (stage, otto) = sealed().await;
    let earlier = otto.signed(&stage.agent, "db1: kill").await;
    // A machine of the same name is another one.
    stage.done(ANN, "db1: shutdown").await;
    let gone = stage.yes(ANN, "db1: delete").await;
    assert!(matches!(gone, Answer::Done { .. }), "{gone:?}");
    stage.done(ANN, "create db1 linux").await;
    stage.done(ANN, "db1: start").await;
    assert_eq!(reason(stage.agent.ask(earlier, None).await), Reason::NotAllowed);
    // Nor does what was signed for an agent count for the next.
    let earlier = otto.signed(&stage.agent, "db1: kill").await;
    let stage = stage.restart().await;
    assert_eq!(reason(stage.agent.ask(earlier, None).await), Reason::Unsigned);
    // A key that is taken away does not count from the reload on.
    let earlier = otto.signed(&stage.agent, "db1: kill").await;
    stage.know(&[]);
    let no = stage::refused(stage.agent.ask(earlier, None).await);
    assert_eq!((no.reason, no.sign), (Reason::NotAllowed, None));
    let no = stage.unsigned(OTTO, "db1: kill").await;
    assert!(no.sign.is_none() && no.text.contains("knows no key of yours"), "{no:?}");
    assert_eq!(stage.state("db1"), "running");
    // Another key of theirs is as good.
    let phone = Signer::new(OTTO);
    stage.know(&[&otto, &phone]);
    stage::done(phone.ask(&stage, "db1: kill").await);
    assert_eq!(stage.state("db1"), "stopped");
}

#[tokio::test]
async fn a_file_of_keys_that_is_wrong_changes_nothing() {
    let (stage, otto) = sealed().await;
    let file = stage.folder.path().join("keys");
    for wrong in ["ed25519 nonsense\n".to_owned(), otto.line() + &otto.line()] {
        std::fs::write(&file, wrong).unwrap();
        let mut config = stage::config_of(stage.folder.path());
        config.name = "other".into();
        assert!(stage.agent.reload(config).is_err());
    }
    stage::done(otto.ask(&stage, "db1: kill").await);
}

#[tokio::test]
async fn who_consents_signs_as_well() {
    let (stage, otto, mia, ear) = agreed().await;
    let mut heard = stage.agent.announcements();
    let code = code(otto.ask(&stage, "db1: kill because it hangs").await);
    let asks = ear.next(0).await;
    assert!(asks.text.contains(&format!("run skerry approve {code}, or say reject {code}")), "{asks:?}");
    assert_eq!(asks.buttons, [format!("reject {code}")]);
    let no = stage.unsigned(MIA, &format!("approve {code}")).await;
    assert!(no.sentence().contains(&format!("Run: skerry approve {code}")), "{no:?}");
    // All that is asked for is in what is signed.
    let text = wanted(stage.agent.ask(asked(MIA, &format!("approve {code}")), None).await);
    let about = text.about.clone().unwrap();
    assert_eq!((about.by.as_str(), about.command.as_str()), ("otto@example.org", "machine.kill"));
    assert_eq!(about.on.unwrap().name, "db1");
    assert_eq!(about.arguments.len(), 1);
    // Somebody who has no part in it does not hear that there is something to sign.
    let no = stage.refused(EVE, &format!("approve {code}")).await;
    assert_eq!(no.reason, stage.refused(EVE, "approve zzzz").await.reason);
    let own = stage.refused(OTTO, &format!("approve {code}")).await;
    assert_eq!(own.reason, Reason::NotAllowed, "{own:?}");
    let said = stage::done(mia.ask(&stage, &format!("approve {code}")).await);
    assert_eq!(said, "You agreed: kill db1 is carried out.");
    event(&mut heard, "host.approval-ended").await;
    assert_eq!(stage.state("db1"), "stopped");
    stage.agent.close().await;
    let keys = Keys::parse(&(otto.line() + &mia.line())).unwrap();
    let kills = rows(&stage, "accepted", "machine.kill");
    assert_eq!(signatures(&kills[0], &keys), Ok(2), "{}", kills[0].body);
    let elsewhere = Row { entry: "0192f0c4-0000-7000-8000-000000000001".into(), ..kills[0].clone() };
    assert!(signatures(&elsewhere, &keys).is_err(), "a consent to something else");
    let of_otto = Keys::parse(&otto.line()).unwrap();
    assert!(signatures(&kills[0], &of_otto).is_err());
    // His own, which was refused, is before it.
    assert_eq!(signatures(rows(&stage, "accepted", "host.approve").last().unwrap(), &keys), Ok(1));
    assert_eq!(signatures(&rows(&stage, "asked", "machine.kill")[0], &keys), Ok(1));
}

#[tokio::test]
async fn a_consent_is_to_one_request() {
    let (stage, otto, mia, _ear) = agreed().await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "web1: start").await;
    stage.done(ANN, "policy add other kill on web1 signed").await;
    let first = code(otto.ask(&stage, "db1: kill").await);
    let second = code(otto.ask(&stage, "web1: kill").await);
    // Signed for the one, sent for the other, with its code in place of that.
    let to_first = mia.signed(&stage.agent, &format!("approve {first}")).await;
    let to_second = Asked { argv: vec![format!("--code={second}")], ..to_first.clone() };
    assert_eq!(reason(stage.agent.ask(to_second, None).await), Reason::NotAllowed);
    // A request that is asked again is another, also when it is for the same.
    stage.done(OTTO, &format!("withdraw {first}")).await;
    let again = code(otto.ask(&stage, "db1: kill").await);
    let to_again = Asked { argv: vec![format!("--code={again}")], ..to_first };
    assert_eq!(reason(stage.agent.ask(to_again, None).await), Reason::NotAllowed);
    assert_eq!((stage.state("db1"), stage.state("web1")), ("running".into(), "running".into()));
    // No takes no signature: the server could as well lose what it refuses.
    stage.done(MIA, &format!("reject {second}")).await;
}

#[tokio::test]
async fn what_was_signed_by_a_key_that_is_taken_away_does_not_count() {
    let (stage, otto, mia, ear) = agreed().await;
    stage.done(ANN, "grant admin to tom@example.org").await;
    stage.done(ANN, "policy add two kill on db1 signed need 2").await;
    let code_of = code(otto.ask(&stage, "db1: kill").await);
    stage::done(mia.ask(&stage, &format!("approve {code_of}")).await);
    let tom = Signer::new("tom@example.org/x");
    stage.know(&[&otto, &tom]);
    let said = stage::done(tom.ask(&stage, &format!("approve {code_of}")).await);
    assert!(said.contains("still needs 1 with the role admin"), "{said}");
    // With the key back it counts again; but not if who asked has none any more.
    stage.know(&[&tom]);
    stage.know(&[&mia, &tom]);
    let mut nth = 0;
    while !ear.next(nth).await.text.contains("do not count any more: nothing was done") {
        nth += 1;
    }
    assert_eq!(stage.state("db1"), "running");
}

#[tokio::test]
async fn what_was_asked_for_before_a_policy_wanted_signatures_is_not_done_without() {
    let stage = stage().await;
    let ear = Ear::of(&stage.agent);
    stage.done(ANN, "create db1 linux").await;
    stage.done(ANN, "db1: start").await;
    stage.done(ANN, "policy add careful kill on db1").await;
    let code = code(stage.ask(OTTO, "db1: kill").await);
    stage.done(ANN, "policy add sealed kill on db1 need 0 signed").await;
    stage.done(ANN, &format!("approve {code}")).await;
    let mut nth = 0;
    while !ear.next(nth).await.text.contains("It takes signatures that it does not have") {
        nth += 1;
    }
    assert_eq!(stage.state("db1"), "running");
}

#[tokio::test]
async fn who_does_without_consent_signs_that() {
    let (stage, otto, mia, _ear) = agreed().await;
    let mut heard = stage.agent.announcements();
    let code = code(otto.ask(&stage, "db1: kill").await);
    stage.unsigned(MIA, &format!("break-glass {code} because it burns")).await;
    let why = mia.signed(&stage.agent, &format!("break-glass {code} because it burns")).await;
    let other = Asked { argv: vec![format!("--code={code}"), "--because=I may".into()], ..why.clone() };
    assert_eq!(reason(stage.agent.ask(other, None).await), Reason::NotAllowed);
    stage::done(stage.agent.ask(why, None).await);
    event(&mut heard, "host.approval-ended").await;
    assert_eq!(stage.state("db1"), "stopped");
    stage.agent.close().await;
    let keys = Keys::parse(&(otto.line() + &mia.line())).unwrap();
    assert_eq!(signatures(&rows(&stage, "accepted", "machine.kill")[0], &keys), Ok(2));
}

#[tokio::test]
async fn a_policy_that_asks_for_signatures_guards_itself_with_them() {
    let (stage, otto) = sealed().await;
    let ann = Signer::new(ANN);
    stage.know(&[&otto, &ann]);
    stage.done(ANN, "role define cutter kill, reset").await;
    stage.done(ANN, "policy add cut cutter on all signed need 0 except admin").await;
    for line in [
        "policy remove sealed",
        "policy add sealed start",
        "role define cutter start",
        "role delete cutter",
        // Who needs no consent signs all the same: whoever speaks for the server could give the role.
        "db1: reset",
    ] {
        stage.unsigned(ANN, line).await;
    }
    assert_eq!(stage.done(ANN, "policy list").await.lines().count(), 2);
    stage::done(ann.ask(&stage, "policy remove sealed").await);
    stage::done(ann.ask(&stage, "policy remove cut").await);
    assert_eq!(stage.done(ANN, "policy list").await.lines().filter(|line| line.contains("*")).count(), 0);
    stage.yes(OTTO, "db1: kill").await;
    assert_eq!(stage.state("db1"), "stopped");
}

#[tokio::test]
async fn a_secret_that_is_signed_is_in_no_file() {
    const CANARY: &str = "canary-in-the-coal-mine";
    let (stage, _otto, mia, _ear) = agreed().await;
    stage.done(ANN, "policy add secrets password on db1 signed").await;
    let with = |password: &str| {
        let mut ask = asked(MIA, "db1: password root");
        ask.argv.push(format!("--password={password}"));
        ask
    };
    let mut ask = with(CANARY);
    let wants = to_sign(stage.agent.ask(ask.clone(), None).await);
    assert!(wants.blind.is_some() && wants.text.contains("hidden ") && !wants.text.contains(CANARY));
    ask.signature = Some(mia.key.sign(&Text::parse(&wants.text).unwrap()));
    let other = Asked { argv: with("another").argv, ..ask.clone() };
    assert_eq!(reason(stage.agent.ask(other, None).await), Reason::NotAllowed, "another password");
    code(stage.agent.ask(ask, None).await);
    stage.agent.close().await;
    for file in std::fs::read_dir(stage.folder.path().join("state")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            for secret in [CANARY, wants.blind.as_deref().unwrap()] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{path:?}");
            }
        }
    }
}
