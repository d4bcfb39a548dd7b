//! Rights of those who are something in a room, or in a group of the host's contacts: theirs as soon as they are
//! in it, gone as soon as they are not, and nobody's when the room begins to hide who is in it.

use std::time::Duration;

use minidom::Element;
use skerry_tests::{
    client::{Client, shown},
    lab::{Lab, User, Wanted},
};
use tokio::time::timeout;
use xmpp_parsers::ns as xep;

const PATIENCE: Duration = Duration::from_secs(60);

fn element(xml: &str) -> Element {
    xml.parse().unwrap()
}

async fn enter(client: &mut Client, room: &str, nick: &str) {
    let xml = format!(
        "<presence xmlns='jabber:client' to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    );
    client.handle.send(element(&xml)).await.unwrap();
    let own = format!("{room}/{nick}");
    let here = |it: &Element| it.name() == "presence" && it.attr("from") == Some(&own);
    let seen = client.expect("our own presence in the room", here).await.unwrap();
    assert_ne!(seen.attr("type"), Some("error"), "{}", String::from(&seen));
}

/// Its owner says how the room is; what is not said stays as it is.
async fn configure(owner: &Client, room: &str, fields: &[(&str, &str)]) {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("<field var='muc#roomconfig_{name}'><value>{value}</value></field>"))
        .collect();
    let xml = format!(
        "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{}</x></query>",
        fields.concat()
    );
    owner.ask("set", Some(room), element(&xml)).await.unwrap();
}

async fn affiliate(owner: &Client, room: &str, whom: &str, affiliation: &str) {
    let xml = format!(
        "<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='{affiliation}' jid='{whom}'/></query>"
    );
    owner.ask("set", Some(room), element(&xml)).await.unwrap();
}

/// Asks until a person may start the machine, or may not any more; answers the rule.
async fn until_may(admin: &Client, host: &str, whom: &str, may: bool) -> String {
    let ask = async {
        loop {
            let argv = [&format!("--who={whom}"), "--what=start", "--machine=web1"];
            let verdict = admin.done(host, "may", &argv).await.unwrap();
            if verdict["allowed"] == may {
                return verdict["rule"].as_str().unwrap().to_owned();
            }
        }
    };
    timeout(PATIENCE, ask).await.unwrap_or_else(|_| panic!("{whom} never came to: {may}"))
}

async fn a_room(lab: &Lab, admin: &mut Client, eve: &mut Client) {
    let host = lab.host().jid.clone();
    let (whom, room) = (eve.jid.to_bare().to_string(), format!("ops@rooms.{}", lab.record.server.domain));
    enter(admin, &room, "ann").await;
    configure(admin, &room, &[("whois", "anyone"), ("persistentroom", "1")]).await;
    // It may read the lists of a room whose admin it is.
    affiliate(admin, &room, &host_in_room(lab), "admin").await;
    let to = format!("--to=room:{room}/members");
    admin.done(&host, "grant", &["--what=power", &to, "--on=web1"]).await.unwrap();
    // Whoever is in it only is nothing there.
    enter(eve, &room, "eve").await;
    assert!(eve.refused(&host, "machine/web1/start", &[]).await.unwrap().starts_with("forbidden: "));
    affiliate(admin, &room, &whom, "member").await;
    let rule = until_may(admin, &host, &whom, true).await;
    assert!(rule.ends_with(&format!("gives power to room:{room}/members ({whom} is in it)")), "{rule}");
    eve.done(&host, "machine/web1/start", &[]).await.unwrap();
    let who = admin.done(&host, "who-can", &["--what=start", "--machine=web1"]).await.unwrap();
    assert!(who.to_string().contains(&format!("({whom} is in it)")), "{who}");
    affiliate(admin, &room, &whom, "none").await;
    until_may(admin, &host, &whom, false).await;
    assert!(eve.refused(&host, "machine/web1/shutdown", &[]).await.unwrap().starts_with("forbidden: "));
    // She need not be there.
    affiliate(admin, &room, &whom, "member").await;
    until_may(admin, &host, &whom, true).await;
    eve.presence("unavailable", &format!("{room}/eve")).await.unwrap();
    let nick = format!("{room}/eve");
    let left = |it: &Element| {
        it.name() == "presence" && it.attr("from") == Some(&nick) && shown(it) == "unavailable"
    };
    admin.expect("her leaving the room", left).await.unwrap();
    until_may(admin, &host, &whom, true).await;
    affiliate(admin, &room, &whom, "none").await;
    until_may(admin, &host, &whom, false).await;
    asked_in_it(lab, admin, &room).await;
    // A room that hides who is in it gives nobody anything, until it does not any more.
    enter(eve, &room, "eve").await;
    affiliate(admin, &room, &whom, "member").await;
    until_may(admin, &host, &whom, true).await;
    configure(admin, &room, &[("whois", "moderators")]).await;
    until_may(admin, &host, &whom, false).await;
    configure(admin, &room, &[("whois", "anyone")]).await;
    until_may(admin, &host, &whom, true).await;
    let destroy = element("<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query>");
    admin.ask("set", Some(&room), destroy).await.unwrap();
    until_may(admin, &host, &whom, false).await;
}

/// What needs consent is asked in the room, agreed to there, and the question becomes the result.
async fn asked_in_it(lab: &Lab, admin: &mut Client, room: &str) {
    let host = lab.host().jid.clone();
    let mut operator = lab.client("operator").await.unwrap();
    admin.done(&host, "machine/web1/start", &[]).await.unwrap();
    let of_room = format!("--room={room}");
    admin.done(&host, "policy-add", &["--name=careful", "--what=kill", "--on=web1", &of_room]).await.unwrap();
    operator.say(&host, "web1 kill").await.unwrap();
    let says = |it: &Element, what: &str| {
        let body = it.get_child("body", "jabber:client").map(Element::text).unwrap_or_default();
        it.attr("type") == Some("groupchat") && body.contains(what)
    };
    let asks = admin.expect("the question in the room", |it| says(it, "wants: kill web1")).await.unwrap();
    let body = asks.get_child("body", "jabber:client").unwrap().text();
    let code = body.split("approve ").nth(1).unwrap().split(' ').next().unwrap();
    let say = |body: &str| {
        let xml = format!(
            "<message xmlns='jabber:client' type='groupchat' to='{room}' id='{body}'><body>{body}</body></message>"
        );
        element(&xml)
    };
    // A code of nobody's is answered by nobody: there may be other hosts in the room.
    admin.handle.send(say("approve zzzz")).await.unwrap();
    admin.handle.send(say(&format!("approve {code}"))).await.unwrap();
    let result = admin.expect("the result in its place", |it| says(it, "Agreed: admin@")).await.unwrap();
    let replace = result.get_child("replace", "urn:xmpp:message-correct:0").expect("it changes the question");
    assert_eq!(replace.attr("id"), asks.attr("id"));
    operator.hear(&host_in_room(lab), "Agreed: admin@").await.unwrap();
}

fn host_in_room(lab: &Lab) -> String {
    lab.host().jid.split('/').next().unwrap().to_owned()
}

/// The host's account, as somebody else logged in to it.
async fn account(lab: &Lab) -> Client {
    let host = lab.host();
    let secret = std::fs::read_to_string(host.config.with_file_name("secret")).unwrap();
    let (role, config) = (String::new(), host.config.clone());
    let user = User { jid: host_in_room(lab), password: secret.trim().to_owned(), role, config };
    Client::log_in(&lab.record.server, &user).await.unwrap()
}

async fn a_group(lab: &Lab, admin: &Client, eve: &Client) {
    let (host, whom) = (lab.host().jid.clone(), eve.jid.to_bare().to_string());
    admin.done(&host, "grant", &["--what=power", "--to=group:ops", "--on=web1"]).await.unwrap();
    let account = account(lab).await;
    let contact = async |inner: &str| {
        let xml = format!("<query xmlns='{}'><item jid='{whom}'{inner}</query>", xep::ROSTER);
        account.ask("set", None, element(&xml)).await.unwrap();
    };
    contact("><group>ops</group></item>").await;
    let rule = until_may(admin, &host, &whom, true).await;
    assert!(rule.ends_with(&format!("gives power to group:ops ({whom} is in it)")), "{rule}");
    eve.done(&host, "machine/web1/start", &[]).await.unwrap();
    contact("><group>others</group></item>").await;
    until_may(admin, &host, &whom, false).await;
    contact("><group>ops</group></item>").await;
    until_may(admin, &host, &whom, true).await;
    contact(" subscription='remove'/>").await;
    until_may(admin, &host, &whom, false).await;
}

/// `skerry apply FILE`, which says what changed.
async fn applied(lab: &Lab, file: &std::path::Path) -> String {
    let (file, host) = (file.display().to_string(), lab.host().name.clone());
    let output = lab.skerry("admin", &["apply", &file, "--host", &host, "--yes"]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn a_file(lab: &Lab, eve: &Client) {
    let (host, whom) = (lab.host().jid.clone(), eve.jid.to_bare().to_string());
    let file = lab.dir().join("ops.toml");
    std::fs::write(&file, format!("[[grant]]\nto = {:?}\nwhat = \"viewer\"\non = \"web1\"\n", whom)).unwrap();
    let said = applied(lab, &file).await;
    assert!(
        said.contains("as ops.toml says") && said.contains(&format!("given: {whom} has viewer on web1")),
        "{said}"
    );
    eve.done(&host, "machine/web1/status", &[]).await.unwrap();
    assert!(applied(lab, &file).await.contains("nothing to change"));
    std::fs::write(&file, "").unwrap();
    assert!(applied(lab, &file).await.contains("taken back"));
    assert!(eve.refused(&host, "machine/web1/status", &[]).await.unwrap().starts_with("forbidden: "));
}

async fn circles(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).up().await.unwrap();
    let host = lab.host().jid.clone();
    let mut admin = lab.client("admin").await.unwrap();
    admin.reach(&host).await.unwrap();
    admin.done(&host, "create", &["--name=web1", "--image=linux"]).await.unwrap();
    let mut eve = lab.client("stranger").await.unwrap();
    a_file(&lab, &eve).await;
    a_room(&lab, &mut admin, &mut eve).await;
    match link {
        "single" => a_group(&lab, &admin, &eve).await,
        _ => {
            let no = admin.refused(&host, "grant", &["--what=power", "--to=group:ops"]).await.unwrap();
            assert!(no.contains("has no contact list"), "{no}");
        }
    }
}

#[tokio::test]
async fn prosody_single() {
    circles("prosody", "single").await;
}

#[tokio::test]
async fn ejabberd_component() {
    circles("ejabberd", "component").await;
}
