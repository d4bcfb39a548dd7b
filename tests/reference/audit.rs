//! Examples of the replies about the audit trail, and of its head.

use minidom::Element;
use skerry_stanzas::{
    audit::{Head, Row, hex},
    payload::Via,
    reply::{AuditEntries, AuditEntry, AuditPage, AuditVerified, WitnessChanged, WitnessLine, WitnessList},
};

use crate::{
    examples::{Example, example},
    xml::block,
};

const HEAD: &str = "
The head of the audit trail, the one item of its node, at a host only; the item's id is its number. Witnesses
get the same element in a message without a body, no more often than once a second:

";

const VIA: &str = "
What a request passed on its way may be said in a `<command/>` or a `<message/>`, at most four times; only `by` is
needed. It stands in the audit trail as what the caller says of itself:

";

fn row() -> Row {
    let mut row = Row {
        seq: 1,
        at: "2026-11-22T20:31:00+00:00".into(),
        kind: "accepted".into(),
        entry: "0197a3c0-5f00-7000-8000-000000000001".into(),
        body: r#"{"caller":"ann@example.org/phone","rule":"…","door":"chat","permission":"machine.kill","machine":null,"name":"db1","args":{},"key":null,"because":"the disk is full"}"#.into(),
        prev: Vec::new(),
        hash: Vec::new(),
    };
    row.hash = row.computed();
    row
}

/// The head and the way of a request, for the page.
pub fn head() -> String {
    let row = row();
    let head = Head { host: "kvm1.example.org".into(), sequence: row.seq, hash: hex(&row.hash), at: row.at };
    let via = Via {
        by: "skerry".into(),
        version: Some("0.1.0".into()),
        on: Some("desk".into()),
        behalf: Some("eve@other.example".into()),
    };
    [HEAD, &block(&Element::from(&head)), VIA, &block(&Element::from(&via))].concat()
}

/// What the commands about the audit trail answer.
pub fn of_audit() -> Vec<Example> {
    let row = row();
    let jid = "audit@other.example".to_owned();
    vec![
        example(AuditEntries {
            entries: vec![AuditEntry {
                number: 1,
                at: "2026-11-22T20:31:00Z".parse().unwrap(),
                who: "ann@example.org/phone".into(),
                door: Some("chat".into()),
                what: "machine.kill".into(),
                machine: Some("db1".into()),
                rule: Some("roles.admin names ann@example.org: admin allows machine.kill".into()),
                args: None,
                result: "done".into(),
                outcome: "The power of db1 was cut.".into(),
                ended: "2026-11-22T20:31:01Z".parse().ok(),
                times: 1,
                because: Some("the disk is full".into()),
                way: vec!["skerry 0.1.0 on desk (says who asked)".into()],
                hash: hex(&row.hash),
            }],
            before: None,
            one: true,
        }),
        example(AuditPage { rows: vec![row.line()], after: None }),
        example(AuditVerified { first: 1, last: 1, hash: hex(&row.hash), held: 1 }),
        example(WitnessChanged {
            jid: jid.clone(),
            sentence: format!("{jid} is told each head of the audit trail from now on."),
        }),
        example(WitnessList { witnesses: vec![WitnessLine { jid, configured: false }] }),
    ]
}
