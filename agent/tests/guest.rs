//! What is asked of a guest's agent: by whom, what is kept of it, and that disks never hold still for ever.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::asked::Answer;
use skerry_stanzas::refusal::Reason;
use stage::{ANN, OTTO, Stage, VERA, asked, stage};

async fn running() -> Stage {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    stage
}

/// Everything the agent wrote into its folder.
fn written(stage: &Stage) -> Vec<u8> {
    let mut all = Vec::new();
    let mut folders = vec![stage.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => all.extend(std::fs::read(path).unwrap()),
            }
        }
    }
    all
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// A command with words that are not typed: as a form gives them.
async fn formed(stage: &Stage, line: &str, words: &[&str]) -> Answer {
    let mut asked = asked(ANN, line);
    asked.argv.extend(words.iter().map(ToString::to_string));
    stage.agent.ask(asked, None).await
}

#[tokio::test]
async fn a_password_arrives_and_is_kept_nowhere() {
    let stage = running().await;
    let secret = "hunter2 in the kitchen";
    let done = stage::done(formed(&stage, "web1: password root", &[&format!("--password={secret}")]).await);
    assert_eq!(done, "root of web1 has another password.");
    let id = stage.id("web1");
    assert_eq!(stage.world.password(id, "root").as_deref(), Some(secret));
    stage::done(formed(&stage, "web1: password root", &["--password=$6$x$y", "--hashed"]).await);
    assert_eq!(stage.world.password(id, "root").as_deref(), Some("#$6$x$y"));
    let log = stage.done(ANN, "web1: log").await;
    assert!(log.contains("password, ann@example.org") && !log.contains(secret), "{log}");
    assert!(!holds(&written(&stage), secret), "no journal, no note, no event");
    let events = format!("{:?}", stage.agent.events_after(0, 1000).await);
    assert!(!events.contains(secret));
}

#[tokio::test]
async fn a_password_is_not_taken_from_a_chat_or_from_just_anybody() {
    let stage = running().await;
    let refusal = stage.refused(ANN, "web1: password root").await;
    assert!(refusal.sentence().contains("not said in a chat"), "{refusal:?}");
    assert!(refusal.sentence().contains("skerry password web1 root"), "{refusal:?}");
    assert_eq!(stage.refused(OTTO, "web1: password root").await.reason, Reason::NotAllowed);
    for odd in ["--password=", "--password=two\nlines"] {
        let refused = stage::refused(formed(&stage, "web1: password root", &[odd]).await);
        assert_eq!(refused.reason, Reason::BadRequest, "{odd}");
    }
    assert_eq!(stage.world.password(stage.id("web1"), "root"), None);
}

#[tokio::test]
async fn another_password_with_the_same_id_is_another_request() {
    let stage = running().await;
    for word in ["first", "second"] {
        let mut asked = asked(ANN, "web1: password root");
        asked.argv.push(format!("--password={word}"));
        asked.key = Some("1".into());
        stage::done(stage.agent.ask(asked, None).await);
        assert_eq!(stage.world.password(stage.id("web1"), "root").as_deref(), Some(word));
    }
}

#[tokio::test]
async fn files_are_written_and_read_and_not_recorded() {
    let stage = running().await;
    let said = stage.done(ANN, "web1: file write /etc/motd Ask ann, first").await;
    assert_eq!(said, "Wrote 15 bytes to /etc/motd of web1.");
    stage.done(ANN, "web1: file write append=yes /etc/motd and otto").await;
    let shown = stage.done(ANN, "web1: file read /etc/motd").await;
    assert_eq!(shown, "/etc/motd of web1:\n```\nAsk ann, first\nand otto\n```");
    let part = stage.done(ANN, "web1: file read /etc/motd from=4 bytes=3").await;
    assert!(part.starts_with("/etc/motd of web1, bytes 4 to 7; more: from=7:"), "{part}");
    stage.done(ANN, "web1: file write /bin/x base64=AAEC/w==").await;
    assert!(stage.done(ANN, "web1: file read /bin/x").await.contains("4 bytes that are no text"));
    assert!(!holds(&written(&stage), "Ask ann"), "what is in files is not the journal's business");
    for (line, reason) in [
        ("web1: file read /none", Reason::Conflict),
        ("web1: file write /x", Reason::BadRequest),
        ("web1: file write /x base64=?", Reason::BadRequest),
        ("web1: file write /x base64=aGk= hi", Reason::BadRequest),
    ] {
        assert_eq!(stage.refused(ANN, line).await.reason, reason, "{line}");
    }
    assert_eq!(stage.refused(OTTO, "web1: file read /etc/motd").await.reason, Reason::NotAllowed);
}

#[tokio::test]
async fn a_status_says_who_the_guest_is() {
    let stage = running().await;
    let status = stage.done(VERA, "web1: status").await;
    assert!(status.contains("\nGuest: Fake OS 1, kernel 1.0, calls itself guest\n"), "{status}");
    assert!(status.contains("\nAddresses: 10.0.2.15 (net1, guest)"), "{status}");
    let toml = "vcpus = 1\nmemory_mib = 64\nguest_agent = false\nboot = { from = \"disk\" }\n[[nics]]\nboot_order = 1";
    stage.done(ANN, "create web2 linux").await;
    stage.done(ANN, &format!("web2: define toml='{toml}'")).await;
    stage.done(ANN, "web2: start").await;
    assert!(!stage.done(VERA, "web2: status").await.contains("Guest"));
    let refusal = stage.refused(ANN, "web2: exec true").await;
    assert!(refusal.sentence().starts_with("web2 has no guest agent: it is made without."), "{refusal:?}");
}

#[tokio::test]
async fn disks_hold_still_for_a_while_and_go_on_by_themselves() {
    let stage = running().await;
    assert_eq!(stage.refused(VERA, "web1: fsfreeze").await.reason, Reason::NotAllowed);
    let said = stage.done(OTTO, "web1: fsfreeze 5s").await;
    assert!(said.starts_with("The disks of web1 hold still until "), "{said}");
    assert!(stage.done(VERA, "web1: status").await.contains("Its disks hold still until"));
    assert_eq!(stage.refused(ANN, "web1: file write /x y").await.reason, Reason::Conflict);
    assert_eq!(stage.done(OTTO, "web1: fsthaw").await, "The disks of web1 go on.");
    assert_eq!(stage.done(OTTO, "web1: fsthaw").await, "The disks of web1 did not hold still.");
    stage.done(OTTO, "web1: fsfreeze 1s").await;
    // The wall clock says when: it is asked until the time has come.
    while stage.done(VERA, "web1: status").await.contains("hold still") {
        tokio::task::yield_now().await;
    }
    stage.done(ANN, "web1: file write /x y").await;
}

#[tokio::test]
async fn what_a_guest_does_not_use_is_given_back_by_one_that_can() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    assert!(stage.refused(OTTO, "web1: disk trim").await.text.contains("has no disk"));
    stage.done(ANN, "web1: disk create data 1G").await;
    let said = stage.done(OTTO, "web1: disk trim").await;
    assert_eq!(
        said,
        "The disks of web1 take what they took before: nothing came back.\n- data: 1 MiB, before 1 MiB"
    );
    assert_eq!(stage.refused(VERA, "web1: disk trim").await.reason, Reason::NotAllowed);
    stage.done(OTTO, "web1: fsfreeze 10m").await;
    assert!(stage.refused(OTTO, "web1: disk trim").await.sentence().contains("fsthaw"));
    stage.done(OTTO, "web1: fsthaw").await;
    stage.done(OTTO, "web1: pause").await;
    assert!(stage.refused(OTTO, "web1: disk trim").await.sentence().contains("resume"));
    stage.yes(ANN, "web1: kill").await;
    let refusal = stage.refused(OTTO, "web1: disk trim").await;
    assert!(
        refusal.sentence().contains("only its guest knows what it does not use. Start it"),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn the_next_agent_lets_disks_go_on() {
    let stage = running().await;
    stage.done(OTTO, "web1: fsfreeze 1s").await;
    let stage = stage.restart().await;
    while stage.done(VERA, "web1: status").await.contains("hold still") {
        tokio::task::yield_now().await;
    }
    stage.done(ANN, "web1: file write /x y").await;
    // Of one that is off there is nothing to let go, and no note is left.
    stage.done(OTTO, "web1: fsfreeze 1s").await;
    stage.yes(ANN, "web1: kill").await;
    let note = stage.folder.path().join(format!("state/machines/{}/frozen.json", stage.id("web1")));
    while note.exists() {
        tokio::task::yield_now().await;
    }
}
