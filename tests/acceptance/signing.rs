//! What takes signatures, on a real server: two people with `skerry` get it done, and who can say anything as
//! them, as their server's administrator can, does not.

use std::process::Stdio;

use nix::sys::signal::Signal;
use skerry_link::{LinkEvent, LinkHandle};
use skerry_stanzas::{
    adhoc::AdhocCommand,
    form, ns,
    refusal::{Reason, Refusal},
    signature::{SigningKey, Text},
};
use skerry_tests::{
    client::Client,
    component,
    lab::{Lab, Wanted, program},
    requests::{self, until},
};
use tokio::sync::mpsc::Receiver;
use xmpp_parsers::ns as xep;

/// Makes somebody's key, and gives its line to the host by another way than the server.
async fn key(lab: &Lab, role: &str) {
    let config = &lab.user(role).config;
    let text = std::fs::read_to_string(config).unwrap();
    // The lab has the configurations of all in one folder.
    std::fs::write(config, format!("signing_key_file = \"{role}-key\"\n{text}")).unwrap();
    let made = lab.skerry(role, &["signing-key", "new"]).await.unwrap();
    let line = String::from_utf8(made.stdout).unwrap();
    let added = tokio::process::Command::new(program("skerry-agent"))
        .args(["key", "add", line.trim(), "--config"])
        .arg(&lab.host().config)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(added.status.success(), "{line}: {added:?}");
}

/// What is answered to a request that is refused in an answer.
async fn refusal(client: &Client, host: &str, request: &AdhocCommand) -> Refusal {
    let answer = client.stage(host, request).await.unwrap();
    let json = answer.json.unwrap_or_else(|| panic!("{:?}", answer.note));
    serde_json::from_value(json["refusal"].clone()).unwrap_or_else(|_| panic!("{json}"))
}

/// What is answered to one that is not allowed.
async fn forbidden(client: &Client, host: &str, request: &AdhocCommand) -> String {
    let error = client.stage(host, request).await.unwrap_err();
    let no = requests::refusal(&error).unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");
    no
}

fn kill(because: &str) -> AdhocCommand {
    AdhocCommand::request("machine/web1/kill", Some(form::submit(&[format!("--because={because}")])))
}

/// `skerry … -o json`, which works.
async fn skerry(lab: &Lab, role: &str, arguments: &[&str]) -> serde_json::Value {
    let output = lab.skerry(role, &[&["-o", "json"], arguments].concat()).await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Speaks as the operator, and sees all that is said to them; has no key of theirs.
async fn forged(lab: &Lab, host: &str) {
    let server = lab.client("operator").await.unwrap();
    let no = refusal(&server, host, &kill("I say so")).await;
    assert_eq!(no.reason, Reason::Unsigned);
    let text = Text::parse(&no.sign.unwrap().text).unwrap();
    let own = SigningKey::generate().unwrap();
    let signed = AdhocCommand { signature: Some(own.sign(&text)), ..kill("I say so") };
    assert!(forbidden(&server, host, &signed).await.contains("is not yours, or not of this command"));
    // Nor does it take away what asks for that, in the name of an admin.
    let server = lab.client("admin").await.unwrap();
    let remove = AdhocCommand::request("policy-remove", Some(form::submit(&["--name=careful".to_owned()])));
    assert_eq!(refusal(&server, host, &remove).await.reason, Reason::Unsigned);
}

/// The operator asks for it and signs that; it is seen on its way, and sent again by somebody else.
async fn replayed(lab: &Lab, host: &str) {
    let person = lab.client("operator").await.unwrap();
    let line = std::fs::read_to_string(lab.user("operator").config.with_file_name("operator-key")).unwrap();
    let key = SigningKey::parse(line.trim()).unwrap();
    let no = refusal(&person, host, &kill("once")).await;
    let text = Text::parse(&no.sign.unwrap().text).unwrap();
    let signed = AdhocCommand { signature: Some(key.sign(&text)), ..kill("once") };
    // On its way it is changed.
    let changed = AdhocCommand { form: kill("something else").form, ..signed.clone() };
    assert!(forbidden(&person, host, &changed).await.contains("is not yours, or not of this command"));
    let asked = person.stage(host, &signed).await.unwrap().json.unwrap();
    let code = asked["request"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    person.done(host, "withdraw", &[&format!("--code={code}")]).await.unwrap();
    assert_eq!(refusal(&person, host, &signed).await.reason, Reason::Unsigned, "it is good once");
}

async fn signatures(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).up().await.unwrap();
    let host = lab.host().jid.clone();
    let admin = lab.client("admin").await.unwrap();
    admin.reach(&host).await.unwrap();
    admin.done(&host, "create", &["--name=web1", "--image=linux"]).await.unwrap();
    admin.done(&host, "machine/web1/start", &[]).await.unwrap();
    key(&lab, "operator").await;
    key(&lab, "admin").await;
    let argv = ["--name=careful", "--what=kill", "--on=web1", "--signed"];
    // Nobody has a key here before the agent has read the file.
    let operator = lab.client("operator").await.unwrap();
    admin.done(&host, "policy-add", &argv).await.unwrap();
    let no = refusal(&operator, &host, &kill("x")).await;
    assert!(no.sign.is_none() && no.text.contains("knows no key of yours"), "{no:?}");
    lab.host().signal(Signal::SIGHUP).unwrap();
    until("the keys are read", async || refusal(&operator, &host, &kill("x")).await.sign.is_some()).await;
    forged(&lab, &host).await;
    replayed(&lab, &host).await;
    assert_eq!(admin.state(&host, "web1").await.unwrap(), "running");

    // As people do it.
    let asked =
        skerry(&lab, "operator", &["kill", "web1", "--because", "it hangs", "--yes", "--no-wait"]).await;
    let code = asked["request"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    let no = admin.command(&host, "approve", &[&format!("--code={code}")]).await.unwrap();
    assert!(no.note.unwrap().text.contains(&format!("Run: skerry approve {code}")));
    // Without a terminal nobody can be asked what they sign.
    let unasked = lab.skerry("admin", &["approve", &code]).await.unwrap();
    let said = String::from_utf8(unasked.stderr).unwrap();
    assert!(said.contains("nobody can be asked") && said.contains("request by: operator@"), "{said}");
    skerry(&lab, "admin", &["approve", &code, "--yes"]).await;
    until("it is done", async || admin.state(&host, "web1").await.unwrap() == "stopped").await;

    // And who has the keys can check that without the host.
    let trail = lab.dir().join("trail.jsonl").display().to_string();
    let keys = lab.host().config.with_file_name("keys").display().to_string();
    assert!(lab.skerry("admin", &["audit", "export", "--out", &trail]).await.unwrap().status.success());
    let checked = skerry(&lab, "admin", &["audit", "verify", "--file", &trail, "--keys", &keys]).await;
    // What was withdrawn; the kill as it was asked and as it was done, with the consent; the consent itself.
    assert_eq!(checked["signatures"], 6, "{checked}");
    std::fs::write(&keys, "").unwrap();
    let unknown = lab.skerry("admin", &["audit", "verify", "--file", &trail, "--keys", &keys]).await.unwrap();
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("a key that is not in the file"));
}

#[tokio::test]
async fn prosody_component() {
    signatures("prosody", "component").await;
}

#[tokio::test]
async fn ejabberd_single() {
    signatures("ejabberd", "single").await;
}

/// In the place of a host, one that is older: it answers all that it is asked, and has not heard of signatures.
/// Until it was pinged. Gives how many commands it was given, and its events: a link ends when nobody takes
/// them, perhaps before the ping is answered.
async fn older(mut events: Receiver<LinkEvent>, handle: LinkHandle) -> (usize, Receiver<LinkEvent>) {
    let mut commands = 0;
    while let Some(event) = events.recv().await {
        let LinkEvent::Stanza(iq) = event else { continue };
        let Some(payload) = iq.children().next().filter(|_| iq.name() == "iq") else { continue };
        commands += usize::from(payload.name() == "command");
        let inside = match (payload.name(), payload.ns().as_str()) {
            ("query", xep::DISCO_INFO) => format!(
                "<query xmlns='{}'><identity category='component' type='generic'/><feature var='{}'/></query>",
                xep::DISCO_INFO,
                ns::HOST
            ),
            ("query", space) => format!("<query xmlns='{space}'/>"),
            _ => String::new(),
        };
        let word = |name: &str| iq.attr(name).unwrap_or_default().to_owned();
        let (id, from, to) = (word("id"), word("from"), word("to"));
        let answer = format!(
            "<iq xmlns='jabber:client' type='result' id='{id}' from='{to}' to='{from}'>{inside}</iq>"
        );
        handle.send(answer.parse().unwrap()).await.unwrap();
        if payload.is("ping", xep::PING) {
            break;
        }
    }
    (commands, events)
}

#[tokio::test]
async fn a_host_that_knows_no_signatures_is_not_told_to_want_them() {
    let lab = Wanted::new("prosody", "component").up().await.unwrap();
    let host = lab.host().clone();
    let line =
        ["policy", "add", "--host", &host.jid, "--name=careful", "--what=kill", "--on=all", "--signed"];
    lab.crash(&host.name).await.unwrap();
    let link = component::link(&host).unwrap();
    let handle = link.handle.clone();
    let older = tokio::spawn(older(link.events, link.handle));
    let no = until_up(&lab, &line).await;
    assert!(no.contains("does not know signatures") && no.contains("update it"), "{no}");
    lab.client("admin").await.unwrap().ask("get", Some(&host.jid), requests::ping()).await.unwrap();
    let (commands, _events) = older.await.unwrap();
    assert_eq!(commands, 0, "nothing of it was sent");
    handle.close().await;
}

/// What `skerry` says once the host's place is taken.
async fn until_up(lab: &Lab, line: &[&str]) -> String {
    let mut said = String::new();
    until("it answers", async || {
        let output = lab.skerry("admin", line).await.unwrap();
        said = String::from_utf8(output.stderr).unwrap();
        !output.status.success() && !said.contains("no host")
    })
    .await;
    said
}
