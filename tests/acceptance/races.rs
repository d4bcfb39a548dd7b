//! Several people at the same machine at the same moment: it ends in one state, and everybody was told
//! the truth. A "yes" is its owner's alone.

use futures::future::join_all;
use skerry_stanzas::{
    adhoc::{Action, AdhocCommand, Status},
    form,
};
use skerry_tests::lab::Wanted;

#[tokio::test]
async fn start_and_kill_at_once_end_in_one_state() {
    let lab = Wanted::new("prosody", "component").up().await.unwrap();
    let host = lab.host().jid.clone();
    let (ann, otto) = (lab.client("admin").await.unwrap(), lab.client("operator").await.unwrap());
    ann.reach(&host).await.unwrap();
    ann.done(&host, "create", &["--name=web1", "--image=linux"]).await.unwrap();
    for round in 0..30 {
        let node = |verb: &str| format!("machine/web1/{verb}");
        let (start, kill, pause) = (node("start"), node("kill"), node("pause"));
        let people =
            [(&ann, &start), (&otto, &kill), (&otto, &start), (&ann, &kill), (&ann, &pause), (&otto, &start)];
        let answers = join_all(people.iter().map(|(who, what)| who.command(&host, what, &[]))).await;
        for answer in answers {
            let answer = answer.unwrap();
            assert_eq!(answer.status, Some(Status::Completed), "round {round}: {answer:?}");
        }
        // At rest, both see the same, and it obeys.
        let (seen, other) =
            (ann.state(&host, "web1").await.unwrap(), otto.state(&host, "web1").await.unwrap());
        assert_eq!(seen, other, "round {round}");
        assert!(["running", "stopped", "paused"].contains(&seen.as_str()), "round {round}: {seen}");
        match seen.as_str() {
            "stopped" => drop(ann.done(&host, &start, &[]).await.unwrap()),
            _ => drop(ann.done(&host, &kill, &[]).await.unwrap()),
        }
    }
    let events = ann.happenings(&host).await.unwrap();
    let numbers: Vec<u64> = events.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(!lab.host().log().contains("ERROR"), "{}", lab.host().log());
}

/// Two delete, one starts: it is gone once, and lies in the trash once.
#[tokio::test]
async fn deleted_by_two_it_is_gone_once() {
    let lab = Wanted::new("prosody", "component").up().await.unwrap();
    let host = lab.host().jid.clone();
    let (ann, otto) = (lab.client("admin").await.unwrap(), lab.client("operator").await.unwrap());
    let again = lab.client("admin").await.unwrap();
    ann.reach(&host).await.unwrap();
    for round in 0..10 {
        let name = format!("web{round}");
        ann.done(&host, "create", &[&format!("--name={name}"), "--image=linux"]).await.unwrap();
        let (delete, start) = (format!("machine/{name}/delete"), format!("machine/{name}/start"));
        let (one, two, started) = tokio::join!(
            ann.command(&host, &delete, &[]),
            again.command(&host, &delete, &[]),
            otto.command(&host, &start, &[]),
        );
        let list = ann.done(&host, "list", &[]).await.unwrap().to_string();
        let trash = ann.done(&host, "trash", &[]).await.unwrap().to_string();
        let (here, gone) =
            (list.contains(&format!("\"{name}\"")), trash.matches(&format!("\"{name}\"")).count());
        assert_eq!(gone, usize::from(!here), "{one:?} {two:?} {started:?} {list} {trash}");
        if here {
            assert_eq!(ann.state(&host, &name).await.unwrap(), "running", "{one:?} {two:?} {started:?}");
        }
    }
}

#[tokio::test]
async fn a_yes_is_its_owners_alone() {
    let lab = Wanted::new("prosody", "component").up().await.unwrap();
    let host = lab.host().jid.clone();
    let mut ann = lab.client("admin").await.unwrap();
    let mut otto = lab.client("operator").await.unwrap();
    ann.reach(&host).await.unwrap();
    ann.done(&host, "create", &["--name=web1", "--image=linux", "--start"]).await.unwrap();

    // By form: the session of somebody else is none.
    let request = AdhocCommand::request("machine/web1/kill", Some(form::submit(&[])));
    let question = ann.stage(&host, &request).await.unwrap();
    assert_eq!(question.status, Some(Status::Executing));
    let yes = question.follow(Action::Complete, Some(form::submit_confirm(true)));
    assert!(otto.stage(&host, &yes).await.is_err());
    assert_eq!(ann.state(&host, "web1").await.unwrap(), "running");

    // By chat: so is the code.
    ann.say(&host, "web1 kill").await.unwrap();
    let asked = ann.hear(&host, "Write yes").await.unwrap();
    let code = asked.split("or yes ").nth(1).unwrap().split(')').next().unwrap().to_owned();
    for words in [format!("yes {code}"), "yes".into(), format!("web1 yes {code}")] {
        otto.say(&host, &words).await.unwrap();
        let answer = otto.hear(&host, "").await.unwrap();
        assert!(!answer.contains("cut"), "{answer}");
    }
    assert_eq!(ann.state(&host, "web1").await.unwrap(), "running");

    // Its owner's works, once.
    ann.say(&host, &format!("yes {code}")).await.unwrap();
    ann.hear(&host, "cut").await.unwrap();
    assert_eq!(ann.state(&host, "web1").await.unwrap(), "stopped");
    ann.say(&host, &format!("yes {code}")).await.unwrap();
    ann.hear(&host, "nothing to confirm").await.unwrap();
}
