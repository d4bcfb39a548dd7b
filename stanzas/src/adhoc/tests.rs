#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::json;

use super::*;
use crate::form;

fn parse(xml: &str) -> Result<AdhocCommand, Condition> {
    AdhocCommand::parse(&xml.parse::<Element>().unwrap())
}

#[track_caller]
fn assert_there_and_back(command: &AdhocCommand) {
    let text = String::from(&command.to_element());
    assert_eq!(&parse(&text).unwrap(), command, "{text}");
}

#[test]
fn commands_go_there_and_back() {
    let start = AdhocCommand::request("start", None);
    assert_there_and_back(&start);
    let confirm = AdhocCommand {
        node: "kill".into(),
        sessionid: Some("s1".into()),
        status: Some(Status::Executing),
        actions: Some(Actions::last(false)),
        form: Some(form::confirm("Kill", "web1 will lose its power.")),
        ..AdhocCommand::default()
    };
    assert_there_and_back(&confirm);
    assert_there_and_back(&confirm.follow(Action::Complete, Some(form::submit_confirm(true))));
    assert_there_and_back(&AdhocCommand {
        status: Some(Status::Completed),
        note: Some(Note { kind: NoteKind::Error, text: "No.\nReally <not>.".into() }),
        json: Some(json!({"a": ["<b>", null, 1.5, "\u{ffff}\u{0}"]})),
        ..confirm
    });
}

#[test]
fn an_absent_action_is_execute() {
    let command = parse("<command xmlns='http://jabber.org/protocol/commands' node='list'/>").unwrap();
    assert_eq!((command.asked(), command.action, command.status), (Action::Execute, None, None));
}

#[test]
fn the_default_of_actions_follows_the_xep() {
    let default = |inner: &str| {
        parse(&format!("<command xmlns='{}' node='x' status='executing'>{inner}</command>", ns::ADHOC))
            .map(|command| command.actions.unwrap().default)
    };
    assert_eq!(default("<actions><next/></actions>"), Ok(Action::Next));
    assert_eq!(default("<actions><complete/></actions>"), Ok(Action::Complete));
    assert_eq!(default("<actions execute='complete'><next/><complete/></actions>"), Ok(Action::Complete));
    assert_eq!(default("<actions execute='execute'/>"), Err(Condition::BadPayload));
}

#[test]
fn what_may_follow_is_checked() {
    let last = Actions::last(true);
    assert!(last.allows(Action::Execute) && last.allows(Action::Cancel) && last.allows(Action::Prev));
    assert!(last.allows(Action::Complete) && !last.allows(Action::Next));
    assert!(!Actions::last(false).allows(Action::Prev));
}

#[test]
fn each_fault_has_its_condition() {
    let fault = |attributes: &str, inner: &str| {
        parse(&format!("<command xmlns='{}' {attributes}>{inner}</command>", ns::ADHOC)).unwrap_err()
    };
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    assert_eq!(fault("", ""), Condition::BadPayload);
    assert_eq!(fault(&format!("node='{long}'"), ""), Condition::BadPayload);
    assert_eq!(fault("node='a' sessionid=''", ""), Condition::BadSessionid);
    assert_eq!(fault(&format!("node='a' sessionid='{long}'"), ""), Condition::BadSessionid);
    assert_eq!(fault("node='a' action='explode'", ""), Condition::MalformedAction);
    assert_eq!(fault("node='a' status='sleeping'", ""), Condition::BadPayload);
    assert_eq!(fault("node='a'", "<x xmlns='jabber:x:data' type='bogus'/>"), Condition::BadPayload);
    assert_eq!(fault("node='a'", "<json xmlns='urn:xmpp:json:0'>{</json>"), Condition::BadPayload);
    let other: Element = "<command xmlns='urn:x' node='a'/>".parse().unwrap();
    assert_eq!(AdhocCommand::parse(&other), Err(Condition::BadPayload));
}

#[test]
fn what_is_unknown_is_passed_over() {
    let command = parse(&format!(
        "<command xmlns='{}' xml:lang='de' node='a' odd='1'><note type='odd'>one</note><note>two</note>\
         <odd xmlns='urn:odd'/></command>",
        ns::ADHOC
    ))
    .unwrap();
    assert_eq!(command.note, Some(Note { kind: NoteKind::Info, text: "one".into() }));
}

#[test]
fn conditions_go_there_and_back() {
    for condition in Condition::ALL {
        let error = condition.to_element();
        assert_eq!(Condition::from_error(&error), Some(condition));
        assert!(error.has_child("text", ns::STANZA_ERRORS));
    }
    let expired = Condition::SessionExpired.to_element();
    assert_eq!(expired.attr("type"), Some("cancel"));
    assert!(expired.has_child("not-allowed", ns::STANZA_ERRORS));
}
