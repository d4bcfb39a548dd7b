//! People of another organisation, whose server is another one: what one of them is given is theirs through both
//! servers and nothing more; it ends when it ends; what is cut off in between is done once; and a server that lies
//! is not let in by ours.

use std::time::Duration;

use minidom::Element;
use serde_json::Value;
use skerry_tests::{
    client::{Client, PATIENCE, shown},
    federation::Pair,
    lab::Wanted,
    requests::{from, outcome, refusal, until},
};
use tokio::time::Instant;
use xmpp_parsers::{jid::Jid, ns as xep};

/// How long one request is waited for that may be lost.
const AGAIN: Duration = Duration::from_secs(3);

pub(crate) fn bare(jid: &str) -> String {
    Jid::new(jid).unwrap().to_bare().to_string()
}

/// What disco finds below an address.
async fn items(client: &Client, whom: &str) -> String {
    let answer = client.ask("get", Some(whom), Element::bare("query", xep::DISCO_ITEMS)).await;
    let Ok(answer) = answer else { return String::new() };
    answer.children().map(String::from).collect()
}

/// The machines somebody is listed.
async fn listed(client: &Client, host: &str) -> Vec<String> {
    let list = client.done(host, "list", &[]).await.unwrap();
    let machines = list["machines"].as_array().unwrap();
    machines.iter().map(|machine| machine["name"].as_str().unwrap().to_owned()).collect()
}

/// Two organisations, the host with web1, web2, db1, and its admin.
pub(crate) async fn stage(home: (&'static str, &'static str), away: &'static str) -> (Pair, Client) {
    let pair = Pair::up(Wanted::new(home.0, home.1), away).await.unwrap();
    let host = &pair.home.host().jid;
    let admin = pair.home.client("admin").await.unwrap();
    admin.reach(host).await.unwrap();
    for name in ["web1", "web2", "db1"] {
        admin.done(host, "create", &[&format!("--name={name}"), "--image=linux"]).await.unwrap();
    }
    (pair, admin)
}

fn goes(stanza: &Element, whom: &str, how: &str) -> bool {
    stanza.name() == "presence" && from(stanza, whom) && shown(stanza) == how
}

async fn two_machines(home: (&'static str, &'static str), away: &'static str) {
    let (pair, mut admin) = stage(home, away).await;
    let host = pair.home.host().jid.clone();
    let mut eve = pair.away.client("operator").await.unwrap();
    let whom = pair.person("operator");
    let no = eve.refused(&host, "list", &[]).await.unwrap();
    assert!(no.contains("no role on this host"), "{no}");

    let sentence = format!("grant power to {whom} on web1,web2 until 3d because they run the shop");
    admin.say(&host, &sentence).await.unwrap();
    admin.hear(&bare(&host), "has power on web1, web2 until").await.unwrap();
    assert_eq!(listed(&eve, &host).await, ["web1", "web2"]);
    let found = items(&eve, &host).await;
    assert!(found.contains("web1") && found.contains("web2") && !found.contains("db1"), "{found}");
    eve.say(&host, "list").await.unwrap();
    let said = eve.hear(&bare(&host), "web2").await.unwrap();
    assert!(said.contains("web1") && !said.contains("db1"), "{said}");
    eve.done(&host, "machine/web1/start", &[]).await.unwrap();
    let no = eve.refused(&host, "machine/web1/delete", &[]).await.unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");
    let hidden = eve.refused(&host, "machine/db1/start", &[]).await.unwrap();
    let absent = eve.refused(&host, "machine/db9/start", &[]).await.unwrap();
    assert_eq!(hidden.replace("db1", "X"), absent.replace("db9", "X"));

    // Somebody else of the same organisation sees nothing of all that.
    let mut mallory = pair.away.client("stranger").await.unwrap();
    let no = mallory.refused(&host, "machine/web1/start", &[]).await.unwrap();
    assert!(no.contains("no role on this host"), "{no}");
    let found = items(&mallory, &host).await;
    assert!(!found.contains("web1") && !found.contains("db1"), "{found}");
    let no = mallory.befriend(&host).await.unwrap_err().to_string();
    assert!(no.ends_with("does not want us"), "{no}");

    if home.1 == "component" {
        shown_and_withdrawn(&pair, &admin, &mut eve).await;
    }

    // All of the organisation, on one machine, and nobody any more.
    let given = ["--what=viewer", "--to=other.test", "--on=db1"];
    let grant = admin.done(&host, "grant", &given).await.unwrap();
    assert_eq!(listed(&mallory, &host).await, ["db1"]);
    let no = mallory.refused(&host, "machine/db1/start", &[]).await.unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");
    let number = grant["grant"]["number"]
        .as_u64()
        .or_else(|| grant["number"].as_u64())
        .unwrap_or_else(|| panic!("{grant}"));
    admin.done(&host, "revoke", &[&format!("--number={number}")]).await.unwrap();
    let no = mallory.refused(&host, "list", &[]).await.unwrap();
    assert!(no.contains("no role on this host"), "{no}");
}

/// Presence goes from one organisation to the other as long as there is a right, and is withdrawn when it ends.
async fn shown_and_withdrawn(pair: &Pair, admin: &Client, eve: &mut Client) {
    let host = &pair.home.host().jid;
    let web1 = format!("web1@{host}");
    eve.befriend(&web1).await.unwrap();
    let no = eve.befriend(&format!("db1@{host}")).await.unwrap_err().to_string();
    assert!(no.ends_with("does not want us"), "{no}");
    eve.done(host, "machine/web1/shutdown", &[]).await.unwrap();
    eve.expect("web1 off", |it| goes(it, &web1, "xa")).await.unwrap();
    // Nothing but time ends this one.
    let grants = admin.done(host, "grant-list", &[]).await.unwrap();
    let grant = grants["grants"][0]["number"].as_u64().unwrap_or_else(|| panic!("{grants}"));
    let whom = pair.person("operator");
    let given =
        ["--what=power".to_owned(), format!("--to={whom}"), "--on=web1".to_owned(), "--until=5s".to_owned()];
    admin.done(host, "grant", &given.each_ref().map(String::as_str)).await.unwrap();
    admin.done(host, "revoke", &[&format!("--number={grant}")]).await.unwrap();
    eve.expect("web1's goodbye", |it| goes(it, &web1, "unavailable")).await.unwrap();
    let no = eve.refused(host, "machine/web1/start", &[]).await.unwrap();
    assert!(no.contains("no role on this host"), "{no}");
}

/// What is asked for at home takes the consent of somebody of the other organisation.
async fn an_approver(home: (&'static str, &'static str), away: &'static str) {
    let (pair, admin) = stage(home, away).await;
    let host = pair.home.host().jid.clone();
    let who = pair.person("admin");
    let auditor = format!("--to={who}");
    admin.done(&host, "grant", &["--what=auditor", &auditor, "--on=web1"]).await.unwrap();
    admin.done(&host, "machine/web1/start", &[]).await.unwrap();
    let policy = ["--name=theirs", "--what=kill", "--on=web1", "--from=auditor"];
    admin.done(&host, "policy-add", &policy).await.unwrap();
    let operator = pair.home.client("operator").await.unwrap();
    let asked = operator.done(&host, "machine/web1/kill", &["--because=it hangs"]).await.unwrap();
    let code = asked["request"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    // Not who may do the thing, nor a stranger of the same organisation.
    let no = operator.refused(&host, "approve", &[&format!("--code={code}")]).await.unwrap();
    assert!(no.starts_with("forbidden: "), "{no}");
    let mallory = pair.away.client("stranger").await.unwrap();
    let no = mallory.refused(&host, "approve", &[&format!("--code={code}")]).await.unwrap();
    assert!(no.contains("no role on this host"), "{no}");
    assert_eq!(admin.state(&host, "web1").await.unwrap(), "running");

    let mut approver = pair.away.client("admin").await.unwrap();
    // The question waited for them at their server, as they were away.
    approver.hear(&bare(&host), "wants: kill web1").await.unwrap();
    approver.say(&host, &format!("approve {code}")).await.unwrap();
    approver.hear(&bare(&host), "Agreed: admin@other.test").await.unwrap();
    assert_eq!(admin.state(&host, "web1").await.unwrap(), "stopped");
}

#[tokio::test]
async fn an_approver_prosody_to_prosody() {
    an_approver(("prosody", "component"), "prosody").await;
}

#[tokio::test]
async fn an_approver_prosody_to_ejabberd() {
    an_approver(("ejabberd", "single"), "prosody").await;
}

/// The same request until there is an answer of the host: what a link that breaks had on its way may be lost.
async fn asked_until_answered(client: &Client, id: &str, host: &str, node: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = tokio::time::timeout(AGAIN, client.command_as(id, host, node, &[])).await;
        match asked {
            Ok(Ok(answer)) => return outcome(answer).unwrap(),
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A request that gets no answer of the host: at most one of a server that could not reach it.
async fn unanswered(client: &Client, id: &str, host: &str, node: &str) {
    match tokio::time::timeout(AGAIN, client.command_as(id, host, node, &[])).await {
        Err(_) => {}
        Ok(Err(error)) => {
            let no = refusal(&error).unwrap_or_default();
            assert!(no.is_empty() || no.starts_with("remote-server-"), "{no}");
        }
        Ok(Ok(answer)) => panic!("it was answered: {answer:?}"),
    }
}

/// How often something was begun, as the host's trail has it.
async fn in_the_trail(admin: &Client, host: &str, what: &str, machine: &str) -> usize {
    let search = [format!("--what={what}"), format!("--machine={machine}")];
    let found = admin.done(host, "audit-search", &search.each_ref().map(String::as_str)).await.unwrap();
    found["entries"].as_array().map(Vec::len).unwrap_or_else(|| panic!("{found}"))
}

/// The link between the servers breaks before a command, or after it and before its answer; and at last the
/// server of who asks is killed.
async fn cut_off(home: (&'static str, &'static str), away: &'static str) {
    let (mut pair, admin) = stage(home, away).await;
    let host = pair.home.host().jid.clone();
    let to = format!("--to={}", pair.person("operator"));
    admin.done(&host, "grant", &["--what=power", &to, "--on=web1,web2"]).await.unwrap();
    let eve = pair.away.client("operator").await.unwrap();
    eve.done(&host, "machine/web1/start", &[]).await.unwrap();

    // It never arrives: who asks hears so from a server, and nothing was done.
    pair.inwards.cut();
    unanswered(&eve, "lost", &host, "machine/web1/shutdown").await;
    assert_eq!(admin.state(&host, "web1").await.unwrap(), "running");
    pair.inwards.mend();
    asked_until_answered(&eve, "lost", &host, "machine/web1/shutdown").await;
    assert_eq!(admin.state(&host, "web1").await.unwrap(), "stopped");

    // It arrives and is done, and its answer is lost on the way.
    pair.outwards.cut();
    unanswered(&eve, "once", &host, "machine/web2/start").await;
    until("web2 runs", async || admin.state(&host, "web2").await.unwrap() == "running").await;
    pair.outwards.mend();
    let first = asked_until_answered(&eve, "once", &host, "machine/web2/start").await;
    assert_eq!(first["state"], "running", "{first}");
    assert!(
        first.get("changed").is_none_or(|changed| changed == true),
        "the first answer, not of a second try: {first}"
    );
    assert_eq!(in_the_trail(&admin, &host, "machine.start", "web2").await, 1);

    // The server of who asks dies with all it had on its way. They come back.
    let asked = eve.command_as("killed", &host, "machine/web2/shutdown", &[]);
    let (unanswered, crashed) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(5), asked), pair.away.crash("server"));
    crashed.unwrap();
    drop(unanswered);
    pair.away.start("server").await.unwrap();
    let eve = pair.away.client("operator").await.unwrap();
    // Whoever comes back with another client looks what came of it, and is not left in doubt.
    let times = in_the_trail(&admin, &host, "machine.shutdown", "web2").await;
    let state = asked_until_answered(&eve, "look", &host, "machine/web2/status").await["state"].clone();
    assert_eq!((times, state.as_str()), if times == 0 { (0, Some("running")) } else { (1, Some("stopped")) });
    admin.done(&host, "audit-verify", &[]).await.unwrap();
}

#[tokio::test]
async fn cut_off_prosody_from_prosody() {
    cut_off(("prosody", "component"), "prosody").await;
}

#[tokio::test]
async fn cut_off_ejabberd_from_prosody() {
    cut_off(("prosody", "single"), "ejabberd").await;
}

#[tokio::test]
async fn two_machines_prosody_to_prosody() {
    two_machines(("prosody", "component"), "prosody").await;
}

#[tokio::test]
async fn two_machines_prosody_to_ejabberd() {
    two_machines(("ejabberd", "component"), "prosody").await;
}

#[tokio::test]
async fn two_machines_ejabberd_to_prosody() {
    two_machines(("prosody", "single"), "ejabberd").await;
}

/// Has the server of the other organisation say to other servers whatever a person of it tells it to, over the
/// stream that it is believed on as itself.
async fn teach_to_lie(pair: &mut Pair) {
    const LIES: &str = r#"
module:hook("message/host", function (event)
	local to, what = event.stanza:get_child_text("subject"), event.stanza:get_child_text("body");
	local stream = prosody.hosts[module.host].s2sout[to];
	if stream then stream.sends2s(what); end
	return true;
end, 10);
"#;
    let folder = pair.away.dir().join("server");
    std::fs::write(folder.join("mod_lies.lua"), LIES).unwrap();
    let configuration = folder.join("prosody.cfg.lua");
    let text = std::fs::read_to_string(&configuration).unwrap();
    std::fs::write(&configuration, text.replace("\"dialback\",", "\"dialback\", \"lies\",")).unwrap();
    pair.away.crash("server").await.unwrap();
    pair.away.start("server").await.unwrap();
}

/// A server that is who it is, and says stanzas of others: the home's server takes none of them, so that the agent
/// sees none.
async fn a_lying_server(home: (&'static str, &'static str)) {
    let (mut pair, admin) = stage(home, "prosody").await;
    teach_to_lie(&mut pair).await;
    let host = pair.home.host().jid.clone();
    let domain = Jid::new(&host).unwrap().domain().to_string();
    let to = format!("--to={}", pair.person("operator"));
    admin.done(&host, "grant", &["--what=power", &to, "--on=web1"]).await.unwrap();
    let eve = pair.away.client("operator").await.unwrap();
    let say = async |what: &str| {
        // The stream has to be there, and be the one it is said on.
        asked_until_answered(&eve, "before", &host, "whoami").await;
        let xml = format!(
            "<message xmlns='jabber:client' to='other.test'><subject>{domain}</subject><body/></message>"
        );
        let mut message: Element = xml.parse().unwrap();
        message.children_mut().last().unwrap().append_text(what);
        eve.handle.send(message).await.unwrap();
        // What is asked after it is answered after it, on that stream or on the next.
        asked_until_answered(&eve, "after", &host, "whoami").await;
    };
    let command = |from: &str, node: &str| {
        format!(
            "<iq type='set' id='lie' from='{from}' to='{host}'>\
             <command xmlns='http://jabber.org/protocol/commands' node='{node}'/></iq>"
        )
    };
    // In the name of who it can speak for it is heard: this way of saying things works.
    say(&command(&eve.jid.to_string(), "machine/web1/start")).await;
    until("web1 runs", async || admin.state(&host, "web1").await.unwrap() == "running").await;

    let ann = admin.jid.to_string();
    let chat = format!("<message type='chat' from='{ann}' to='{host}'><body>web1 pause</body></message>");
    let dialback =
        "<db:result xmlns:db='jabber:server:dialback' from='skerry.test' to='DOMAIN'>abcdef</db:result>";
    let dialback = dialback.replace("DOMAIN", &domain);
    let lies = [
        ("an admin of the home", command(&ann, "machine/web1/pause")),
        ("in a chat", chat.clone()),
        ("the host itself", command(&host, "machine/web1/pause")),
        ("the home's server", command("skerry.test", "machine/web1/pause")),
        ("a third organisation", command("admin@third.test/x", "machine/web1/pause")),
        ("nobody", command("", "machine/web1/pause")),
        ("after claiming to be the home's server", dialback + &chat),
    ];
    for (as_whom, lie) in lies {
        say(&lie).await;
        assert_eq!(admin.state(&host, "web1").await.unwrap(), "running", "as {as_whom}");
    }
    assert_eq!(in_the_trail(&admin, &host, "machine.pause", "web1").await, 0, "not even a refusal");
}

#[tokio::test]
async fn a_lying_server_is_refused_by_prosody() {
    a_lying_server(("prosody", "component")).await;
}

#[tokio::test]
async fn a_lying_server_is_refused_by_prosody_for_an_account() {
    a_lying_server(("prosody", "single")).await;
}

#[tokio::test]
async fn a_lying_server_is_refused_by_ejabberd() {
    a_lying_server(("ejabberd", "component")).await;
}
