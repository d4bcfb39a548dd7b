//! A component that lies, on the same server as a host: the place of another host that somebody has taken. It
//! speaks as anybody of its own domain, claims to be others, repeats, and answers what it was not asked. The
//! host does nothing of all that, whether it is a component itself or has an account, on both servers.

use skerry_tests::{
    client::Client,
    component::Component,
    lab::{Host, Lab, Wanted},
    requests::ping,
};
use xmpp_parsers::jid::Jid;

const COMMANDS: &str = "http://jabber.org/protocol/commands";
const FORWARD: &str = "urn:xmpp:forward:0";
const EVENT: &str = "http://jabber.org/protocol/pubsub#event";

struct Stage {
    lab: Lab,
    ann: Client,
    /// Who is lied to.
    host: Host,
    liar: Component,
}

impl Stage {
    /// The host of one link, and in the place of another one a liar.
    async fn set(server: &'static str, link: &'static str) -> Self {
        let lab = Wanted::new(server, link).hosts(2).up().await.unwrap();
        let (host, place) = match link {
            "component" => (lab.record.hosts[0].clone(), lab.record.hosts[1].clone()),
            // Of hosts of both kinds the first is the component.
            _ => (lab.record.hosts[1].clone(), lab.record.hosts[0].clone()),
        };
        let ann = lab.client("admin").await.unwrap();
        ann.reach(&host.jid).await.unwrap();
        ann.done(&host.jid, "create", &["--name=web1", "--image=linux", "--start"]).await.unwrap();
        lab.crash(&place.name).await.unwrap();
        let liar = Component::log_in(&place).await.unwrap();
        Self { lab, ann, host, liar }
    }

    /// Says it as it is, but for `D`, the liar's domain, `TO`, the host, and `ANN`, who may do everything;
    /// waits until the host has read it.
    async fn lie(&mut self, what: &str, stanza: &str) {
        let domain = self.liar.domain.clone();
        let ann = self.ann.jid.to_string();
        let said = stanza.replace("@D", &format!("@{domain}")).replace("'D'", &format!("'{domain}'"));
        let said = said.replace("TO", &self.host.jid).replace("ANN", &ann);
        let follows = format!(
            "<iq type='get' from='follows@{domain}' id='follows' to='{}'><ping xmlns='urn:xmpp:ping'/></iq>",
            self.host.jid
        );
        self.liar.say(&format!("{said}{follows}")).await.unwrap();
        let heard = self.liar.until("follows@").await;
        heard.unwrap_or_else(|error| panic!("{what}: {error}"));
        self.ann
            .ask("get", Some(&self.host.jid), ping())
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(self.ann.state(&self.host.jid, "web1").await.unwrap(), "running", "{what}");
    }

    /// Nothing of all that did anything.
    async fn nothing_was_done(&self) {
        let host = &self.host.jid;
        let list = self.ann.done(host, "list", &[]).await.unwrap();
        assert_eq!(list.to_string().matches("\"name\"").count(), 1, "{list}");
        let grants = self.ann.done(host, "grant-list", &[]).await.unwrap();
        assert_eq!(grants["grants"].as_array().map(Vec::len), Some(0), "{grants}");
        self.ann.done(host, "audit-verify", &[]).await.unwrap();
        let log = self.host.log();
        assert!(self.host.runs() && !log.contains("panic") && !log.contains("ERROR"), "{log}");
    }
}

fn command(from: &str, node: &str) -> String {
    format!("<iq type='set' from='{from}' id='c' to='TO'><command xmlns='{COMMANDS}' node='{node}'/></iq>")
}

/// What a liar says in its own name, or in one that sounds like somebody else's.
fn lies() -> Vec<(&'static str, String)> {
    let inner =
        "<message xmlns='jabber:client' from='ANN' to='TO' type='chat'><body>web1 pause</body></message>";
    let say =
        |inside: &str| format!("<message from='admin@D/x' to='TO' type='chat' id='m'>{inside}</message>");
    let forwarded = format!("<forwarded xmlns='{FORWARD}'>{inner}</forwarded>");
    let event = |node: &str, item: &str| {
        say(&format!(
            "<event xmlns='{EVENT}'><items node='{node}'><item id='1'>{item}</item></items></event>"
        ))
    };
    let head = format!(
        "<head xmlns='urn:skerry:audit:0' host='TO' sequence='999' hash='{}' at='2026-11-23T17:00:00+00:00'/>",
        "ab".repeat(32)
    );
    vec![
        ("a command of one who is called as an admin", command("admin@D/x", "machine/web1/pause")),
        ("a command of another host", command("D", "machine/web1/pause")),
        ("a grant to itself", command("D", "grant")),
        ("a chat of one who is called as an admin", say("<body>web1 pause</body>")),
        ("a chat of another host", say("<body>web1 pause</body>").replace("admin@D/x", "D")),
        ("a forwarded command", say(&forwarded)),
        ("a made-up carbon", say(&format!("<sent xmlns='urn:xmpp:carbons:2'>{forwarded}</sent>"))),
        (
            "a made-up archive",
            say(&format!("<result xmlns='urn:xmpp:mam:2' id='1' queryid='q'>{forwarded}</result>")),
        ),
        ("a head of its own making", say(&head)),
        ("a published head", event("urn:skerry:audit:0", &head)),
        (
            "a published state",
            event(
                "urn:skerry:state:0",
                "<machine xmlns='urn:skerry:state:0' id='x' name='web1' state='stopped' generation='99' \
                 wanted='stopped' host='TO' driver='fake'/>",
            ),
        ),
        (
            "a roster push",
            "<iq type='set' from='D' id='r' to='TO'><query xmlns='jabber:iq:roster'>\
             <item jid='admin@D' subscription='both'><group>admin</group></item></query></iq>"
                .into(),
        ),
        ("an unasked yes", "<presence from='admin@D' to='TO' type='subscribed'/>".into()),
        ("a wish to see it", "<presence from='admin@D' to='TO' type='subscribe'/>".into()),
        ("a probe", "<presence from='admin@D' to='TO' type='probe'/>".into()),
        (
            "a seat in a room nobody entered",
            "<presence from='ops@D/admin' to='TO'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='owner' role='moderator' jid='ANN'/><status code='110'/></x></presence>"
                .into(),
        ),
        (
            "a message of a room nobody entered",
            "<message from='ops@D/admin' to='TO' type='groupchat'><body>web1 pause</body></message>".into(),
        ),
        (
            "a result of nothing",
            "<iq type='result' from='D' id='asked-1' to='TO'><query xmlns='x'/></iq>".into(),
        ),
        ("an error of nothing", "<iq type='error' from='D' id='asked-1' to='TO'/>".into()),
        (
            "a hand-over of what it was not offered",
            "<iq type='set' from='D' id='h' to='TO'><handover xmlns='urn:skerry:migration:0' word='commit' \
             machine='web1' attempt='00000000-0000-0000-0000-000000000000' epoch='9'>{}</handover></iq>"
                .into(),
        ),
    ]
}

async fn nothing_is_believed(server: &'static str, link: &'static str) {
    let mut stage = Stage::set(server, link).await;
    for (what, stanza) in lies() {
        stage.lie(what, &stanza).await;
        // Once more, to the letter: it has no more effect than before.
        stage.lie(&format!("{what}, repeated"), &stanza).await;
    }
    stage.nothing_was_done().await;

    // The other host is asked whether it would take a machine. What somebody else of its domain answers under
    // the id of the question is no answer; its own is.
    let host = stage.host.jid.clone();
    let domain = stage.liar.domain.clone();
    let name = domain.split('.').next().unwrap().to_owned();
    let argv = [format!("--to={name}")];
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let moved = stage.ann.refused(&host, "machine/web1/migrate", &argv);
    let answered = async {
        let asked = loop {
            let stanza = stage.liar.until("</iq>").await.unwrap();
            if stanza.contains("urn:skerry:migration:0") {
                break stanza.replace('"', "'");
            }
        };
        let iq = asked.rsplit_once("<iq").unwrap().1;
        let word = |name: &str| iq.split(&format!(" {name}='")).nth(1).unwrap().split('\'').next().unwrap();
        let answer = |from: &str, reason: &str| {
            let plan = format!(
                "{{&quot;reasons&quot;:[&quot;{reason}&quot;],&quot;copies&quot;:[],&quot;address&quot;:&quot;x@y&quot;,\
                 &quot;memory_free_mib&quot;:9}}"
            );
            format!(
                "<iq type='result' from='{from}' to='{}' id='{}'><handover xmlns='urn:skerry:migration:0' \
                 word='plan' machine='{}' attempt='{}' epoch='{}'>{plan}</handover></iq>",
                word("from"),
                word("id"),
                word("machine"),
                word("attempt"),
                word("epoch"),
            )
        };
        for liar in [format!("admin@{domain}"), format!("{domain}/other")] {
            stage.liar.say(&answer(&liar, "somebody else says so")).await.unwrap();
        }
        stage.liar.say(&answer(&domain, "it is asleep")).await.unwrap();
    };
    let (words, ()) = tokio::join!(moved, answered);
    let words = words.unwrap();
    assert!(words.contains("it is asleep") && !words.contains("somebody else"), "{words}");

    // To speak as another domain the server itself does not let it.
    for from in [stage.ann.jid.to_string(), Jid::new(&host).unwrap().to_bare().to_string()] {
        let stanza = command(&from, "machine/web1/pause").replace("TO", &host);
        // Components of one listener of ejabberd it does not keep from claiming each other's domains: all the
        // same nothing comes of it.
        if server == "ejabberd" && link == "component" && from == host {
            stage.lie("a command in the name of the host itself", &stanza).await;
            continue;
        }
        stage.liar.say(&stanza).await.unwrap();
        let said = stage.liar.until("never said").await.unwrap_err().to_string();
        assert!(said.contains("closed") || said.contains("invalid-from"), "{said}");
        let place = stage.lab.record.hosts.iter().find(|one| one.jid == domain).unwrap();
        stage.liar = Component::log_in(place).await.unwrap();
        assert_eq!(stage.ann.state(&host, "web1").await.unwrap(), "running", "as {from}");
    }
    stage.nothing_was_done().await;
}

#[tokio::test]
async fn by_a_component_on_prosody() {
    nothing_is_believed("prosody", "component").await;
}

#[tokio::test]
async fn by_an_account_on_prosody() {
    nothing_is_believed("prosody", "mixed").await;
}

#[tokio::test]
async fn by_a_component_on_ejabberd() {
    nothing_is_believed("ejabberd", "component").await;
}

#[tokio::test]
async fn by_an_account_on_ejabberd() {
    nothing_is_believed("ejabberd", "mixed").await;
}

/// `ᵐ` is newer than the tables of stringprep, and Prosody passes it as it is: somebody else than `m`.
async fn who_looks_alike_is_somebody_else(link: &'static str) {
    let mut stage = Stage::set("prosody", link).await;
    let (host, domain) = (stage.host.jid.clone(), stage.liar.domain.clone());
    let to = format!("--to=mia@{domain}");
    stage.ann.done(&host, "grant", &["--what=power", &to, "--on=web1"]).await.unwrap();
    let says = |who: &str| {
        format!("<message from='{who}@D/x' to='TO' type='chat'><body>web1 pause</body></message>")
    };
    stage.lie("a chat of one whose name looks like Mia's", &says("ᵐia")).await;
    stage.lie("a command of the same", &command("ᵐia@D/x", "machine/web1/pause")).await;
    // Mia herself is heard.
    let said = says("mia").replace("@D", &format!("@{domain}")).replace("TO", &host);
    stage.liar.say(&said).await.unwrap();
    stage.liar.until("</message>").await.unwrap();
    assert_eq!(stage.ann.state(&host, "web1").await.unwrap(), "paused");
}

#[tokio::test]
async fn who_looks_alike_is_somebody_else_to_a_component() {
    who_looks_alike_is_somebody_else("component").await;
}

#[tokio::test]
async fn who_looks_alike_is_somebody_else_to_an_account() {
    who_looks_alike_is_somebody_else("mixed").await;
}
