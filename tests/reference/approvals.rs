//! Examples of the replies about approval.

use skerry_stanzas::reply::{PolicyLine, PolicyList, RequestLine, RequestList};

use crate::examples::{Example, example};

/// What the commands about approval answer.
pub fn of_approvals() -> Vec<Example> {
    let request = RequestLine {
        code: "7f3a".into(),
        by: "otto@example.org".into(),
        what: "kill".into(),
        machine: Some("db1".into()),
        effect: "db1 loses power at once: what its guest has not saved is lost.".into(),
        hash: "a948904f2f0f479b".into(),
        because: Some("it hangs".into()),
        agreed: vec!["mia@example.org".into()],
        missing: vec!["1 with the role admin".into()],
        not_before: None,
        until: "2026-11-23T18:00:00Z".parse().unwrap(),
        sentence: "You agreed. kill db1 still needs 1 with the role admin.".into(),
    };
    let policy = PolicyLine {
        name: "careful".into(),
        what: vec!["machine.kill".into(), "machine.delete".into()],
        on: vec!["label:prod".into()],
        need: 2,
        from: vec!["admin".into()],
        within_s: 3600,
        during: None,
        except: vec![],
        emergency: Some("admin".into()),
        reactions: true,
        room: None,
        signed: false,
        configured: false,
        sentence: String::new(),
    };
    let sentence = format!("From now on {}.", policy.rule());
    vec![
        example(request.clone()),
        example(RequestList { requests: vec![request] }),
        example(PolicyLine { sentence, ..policy.clone() }),
        example(PolicyList { policies: vec![policy] }),
    ]
}
