//! Stanzas that nobody should send, through a real server, by somebody who sends them all the same:
//! each is answered with a clear error or ignored, and the agent goes on as if nothing had been.
//!
//! Only through Prosody: the deepest of them kills ejabberd itself.

use skerry_tests::{
    client::Client,
    lab::{Lab, Wanted},
    raw::Raw,
    requests::ping,
};

/// How much the agent may grow by one of these stories, in KiB: what a stanza of the largest size takes
/// while it is read, and what an allocator keeps for the next.
const GROWTH_MAX: u64 = 8 * 1024;

const HOST: &str = "kvm1.skerry.test";
const MACHINE: &str = "web1@kvm1.skerry.test";

struct Stage {
    lab: Lab,
    ann: Client,
}

impl Stage {
    async fn set() -> Self {
        let lab = Wanted::new("prosody", "component").up().await.unwrap();
        let ann = lab.client("admin").await.unwrap();
        ann.reach(HOST).await.unwrap();
        ann.done(HOST, "create", &["--name=web1", "--image=linux", "--start"]).await.unwrap();
        Self { lab, ann }
    }

    /// Sends it to the host and to the machine; whatever comes of it, the agent is the same, answers,
    /// and is not much larger. `TO` in the stanza stands for the receiver.
    async fn survives(&self, what: &str, role: &str, stanza: &str) {
        let before = self.lab.host().resident().unwrap();
        for to in [HOST, MACHINE] {
            let mut raw = Raw::log_in(&self.lab.record.server, self.lab.user(role)).await.unwrap();
            // A server that refuses it closes the stream; then the agent never saw it.
            let said = raw.say(&stanza.replace("TO", to).replace("ME", &raw.jid.clone())).await;
            let follows = format!("<iq type='get' id='follows' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>");
            if said.is_ok() && raw.say(&follows).await.is_ok() {
                let _refused_by_the_server = raw.until("follows").await;
            }
            self.ann.ask("get", Some(to), ping()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        assert!(self.lab.host().runs(), "{what}");
        let after = self.lab.host().resident().unwrap();
        eprintln!("{what}: {before} KiB, then {after} KiB");
        assert!(after < before + GROWTH_MAX, "{what}: from {before} to {after} KiB");
    }

    /// Nothing of all that did anything.
    async fn nothing_was_done(&self) {
        assert_eq!(self.ann.state(HOST, "web1").await.unwrap(), "running");
        let list = self.ann.done(HOST, "list", &[]).await.unwrap();
        assert_eq!(list.to_string().matches("\"name\"").count(), 1, "{list}");
        let log = self.lab.host().log();
        assert!(!log.contains("panic") && !log.contains("ERROR"), "{log}");
    }
}

fn message(inside: &str) -> String {
    format!("<message to='TO' type='chat' id='h'>{inside}</message>")
}

#[tokio::test]
async fn what_is_malformed_is_survived() {
    let stage = Stage::set().await;
    let long = "n".repeat(9 * 1024);
    let deep = format!("{}{}", "<a>".repeat(1000), "</a>".repeat(1000));
    let many = "<a/>".repeat(30_000);
    let stanzas = [
        ("a long attribute name", message(&format!("<body>kill</body><a {long}='1'/>"))),
        ("a long element name", message(&format!("<body>kill</body><{long}/>"))),
        ("a long attribute", message(&format!("<body>kill</body><a b='{long}'/>"))),
        ("nested a thousand deep", message(&deep)),
        ("thirty thousand elements", message(&many)),
        ("a bogus show", "<presence to='TO'><show>bogus</show></presence>".into()),
        ("a bogus priority", "<presence to='TO'><priority>999</priority></presence>".into()),
        ("a bogus presence", "<presence to='TO' type='bogus'/>".into()),
        ("a bogus message", "<message to='TO' type='weird'><body>kill</body></message>".into()),
        ("two threads", message("<body>status</body><thread>1</thread><thread>2</thread>")),
        ("two bodies", message("<body>status</body><body xml:lang='de'>kill</body>")),
        ("a bogus error", "<message to='TO' type='error'><error type='bogus'/></message>".into()),
        ("an empty error", "<iq to='TO' type='error' id='e'/>".into()),
        ("a result of nothing", "<iq to='TO' type='result' id='nothing'><query xmlns='x'/></iq>".into()),
        ("an iq of two", "<iq to='TO' type='set' id='2'><a xmlns='x'/><b xmlns='y'/></iq>".into()),
        ("an iq of none", "<iq to='TO' type='get' id='0'/>".into()),
        ("a bogus iq", "<iq to='TO' type='bogus' id='b'><ping xmlns='urn:xmpp:ping'/></iq>".into()),
        ("a body of 250 KB", message(&format!("<body>{}</body>", "status ".repeat(35_000)))),
        ("control characters", message("<body>ki\u{202e}ll\u{200b}\u{feff}</body>")),
    ];
    for (what, stanza) in &stanzas {
        for role in ["stranger", "admin"] {
            stage.survives(&format!("{what} by {role}"), role, stanza).await;
        }
    }
    stage.nothing_was_done().await;
}

#[tokio::test]
async fn nesting_without_end_is_survived() {
    let stage = Stage::set().await;
    let deep = format!("{}{}", "<a>".repeat(30_000), "</a>".repeat(30_000));
    stage.survives("nested 30,000 deep", "stranger", &message(&deep)).await;
    assert!(stage.lab.host().log().contains("a stanza was refused"), "the server let none of it through");
    stage.nothing_was_done().await;
}

#[tokio::test]
async fn what_is_forged_is_not_believed() {
    let stage = Stage::set().await;
    let command = "<command xmlns='http://jabber.org/protocol/commands' node='pause' action='execute'/>";
    let inner = "<message xmlns='jabber:client' from='admin@skerry.test/x' to='TO' type='chat'><body>pause</body></message>";
    let event = "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:skerry:state:0'><item id='current'>\
                 <machine xmlns='urn:skerry:state:0' id='x' name='web1' state='stopped' generation='99' wanted='stopped' host='TO' driver='fake'/>\
                 </item></items></event>";
    let stanzas = [
        ("a forged from", "<message from='operator@skerry.test/x' to='TO' type='chat'><body>pause</body></message>".into()),
        ("a forged bare from", format!("<iq from='operator@skerry.test' to='TO' type='set' id='f'>{command}</iq>")),
        ("a foreign event", message(event)),
        ("a forwarded command", message(&format!("<body>pause</body><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded>"))),
        (
            "a made-up carbon",
            message(&format!(
                "<body>pause</body><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></received>"
            )),
        ),
        ("a group's message", "<message to='TO' type='groupchat'><body>pause</body></message>".into()),
        (
            "an encrypted message",
            message("<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted><body>pause</body>"),
        ),
        ("an old message", message("<body>pause</body><delay xmlns='urn:xmpp:delay' stamp='2001-01-01T00:00:00Z'/>")),
        ("a roster push", "<iq to='TO' type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='ME' subscription='both'/></query></iq>".into()),
        ("a probe", "<presence to='TO' type='probe'/>".into()),
        ("an unasked yes", "<presence to='TO' type='subscribed'/>".into()),
        ("a command in a wrong namespace", "<iq to='TO' type='set' id='w'><command xmlns='urn:wrong' node='pause'/></iq>".into()),
        (
            "a wrong session",
            "<iq to='TO' type='set' id='s'><command xmlns='http://jabber.org/protocol/commands' node='pause' \
             sessionid='made-up' action='complete'/></iq>"
                .into(),
        ),
    ];
    for (what, stanza) in &stanzas {
        // Also from somebody who may: what was not said by them, to us, now, is no command of theirs.
        // (A forged `from` the server replaces by the true one: from them it is no forgery.)
        let roles: &[&str] =
            if what.starts_with("a forged") { &["stranger"] } else { &["stranger", "admin"] };
        for role in roles {
            stage.survives(&format!("{what} by {role}"), role, stanza).await;
        }
    }
    stage.nothing_was_done().await;
}

/// What is asked wrongly by somebody who may ask gets an error that says what was wrong.
#[tokio::test]
async fn what_is_wrong_is_said() {
    let stage = Stage::set().await;
    let mut raw = Raw::log_in(&stage.lab.record.server, stage.lab.user("admin")).await.unwrap();
    let fields: String = (0..3_000).map(|n| format!("<field var='f{n}'><value>x</value></field>")).collect();
    let form = |kind: &str, inside: &str| {
        format!(
            "<command xmlns='http://jabber.org/protocol/commands' node='create' action='execute'>\
             <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>{kind}</value></field>\
             {inside}</x></command>"
        )
    };
    let named =
        "<field var='name'><value>web2</value></field><field var='image'><value>linux</value></field>";
    let ours = "urn:skerry:command:0";
    let cases = [
        ("no such machine", "nobody@kvm1.skerry.test", "<ping xmlns='urn:xmpp:ping'/>".to_owned(), "item-not-found"),
        ("an unknown namespace", HOST, "<query xmlns='urn:unknown'/>".into(), "service-unavailable"),
        (
            "an unknown command",
            HOST,
            "<command xmlns='http://jabber.org/protocol/commands' node='frobnicate'/>".into(),
            "item-not-found",
        ),
        (
            "a bogus action",
            HOST,
            "<command xmlns='http://jabber.org/protocol/commands' node='list' action='bogus'/>".into(),
            "bad-request",
        ),
        ("a form of something else", HOST, form("urn:other", named), "That is a form of something else"),
        ("too many fields", HOST, form(ours, &format!("{named}{fields}")), "The form is too large"),
        (
            "a field twice",
            HOST,
            form(ours, &format!("{named}<field var='name'><value>web3</value></field>")),
            "in the form twice",
        ),
        ("a bad name", HOST, form(ours, "<field var='name'><value>../../etc</value></field><field var='image'><value>linux</value></field>"), "name"),
        (
            "publishing",
            HOST,
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:skerry:state:0'><item/></publish></pubsub>"
                .into(),
            "forbidden",
        ),
    ];
    for (n, (what, to, payload, answer)) in cases.iter().enumerate() {
        raw.say(&format!("<iq type='set' id='case{n}' to='{to}'>{payload}</iq>")).await.unwrap();
        // The answer, and nothing before it.
        raw.until(&format!("case{n}")).await.unwrap();
        let said = raw.until("</iq>").await.unwrap();
        assert!(said.contains(answer), "{what}: {said}");
    }
    // A field that nobody knows is let be (XEP-0004 §3.3).
    raw.say(&format!(
        "<iq type='set' id='kind' to='{HOST}'>{}</iq>",
        form(ours, &format!("{named}<field var='unknown'><value>x</value></field>"))
    ))
    .await
    .unwrap();
    raw.until("kind").await.unwrap();
    let said = raw.until("</iq>").await.unwrap();
    assert!(said.contains("completed") && !said.contains("type='error'"), "{said}");
    stage.ann.done(HOST, "machine/web2/status", &[]).await.unwrap();
}

/// A stranger who does not stop is told once that they are not known, and costs nothing.
#[tokio::test]
async fn a_stranger_is_answered_once() {
    let stage = Stage::set().await;
    let before = stage.lab.host().resident().unwrap();
    let mut raw = Raw::log_in(&stage.lab.record.server, stage.lab.user("stranger")).await.unwrap();
    for n in 0..2_000 {
        raw.say(&format!("<message to='{HOST}' type='chat' id='m{n}'><body>hello {n}</body></message>"))
            .await
            .unwrap();
    }
    raw.say(&format!("<iq type='get' id='last' to='{HOST}'><ping xmlns='urn:xmpp:ping'/></iq>"))
        .await
        .unwrap();
    let heard = raw.until("last").await.unwrap();
    assert_eq!(heard.matches("<body").count(), 1, "{heard}");
    assert!(heard.contains("administrator"), "{heard}");
    let after = stage.lab.host().resident().unwrap();
    eprintln!("2,000 messages of a stranger: {before} KiB, then {after} KiB");
    assert!(after < before + GROWTH_MAX, "from {before} to {after} KiB");
    stage.nothing_was_done().await;
}
