//! The main job: a host and its machines are contacts, driven by forms and by chat; on both servers and
//! both links, with pretended guests.

use skerry_stanzas::adhoc::{AdhocCommand, NoteKind};
use skerry_tests::{
    client::{Client, shown},
    lab::{Lab, Wanted},
};

/// Where a machine's commands and chat are, whatever the link.
struct Reach {
    jid: String,
    /// Before the verb in a node.
    node: String,
    /// Before the words in a chat.
    front: String,
}

impl Reach {
    fn of(lab: &Lab, at: usize) -> Self {
        let machine = &lab.record.machines[at];
        let own = machine.jid != machine.host;
        Self {
            jid: machine.jid.clone(),
            node: if own { String::new() } else { format!("machine/{}/", machine.name) },
            front: if own { String::new() } else { format!("{} ", machine.name) },
        }
    }

    async fn command(&self, client: &Client, verb: &str) -> AdhocCommand {
        client.command(&self.jid, &format!("{}{verb}", self.node), &[]).await.unwrap()
    }

    /// Says something and waits for a part of the answer.
    async fn chat(&self, client: &mut Client, words: &str, answer: &str) {
        client.say(&self.jid, &format!("{}{words}", self.front)).await.unwrap();
        let bare = self.jid.split('/').next().unwrap();
        client.hear(bare, answer).await.unwrap();
    }
}

fn note(answer: &AdhocCommand) -> (NoteKind, &str) {
    let note = answer.note.as_ref().expect("one note with the whole outcome");
    (note.kind, note.text.as_str())
}

/// A machine's life by forms, then by chat; a stranger is refused in both.
async fn main_job(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).machines(2).up().await.unwrap();
    let mut operator = lab.client("operator").await.unwrap();
    let web1 = Reach::of(&lab, 0);
    let web2 = Reach::of(&lab, 1);

    let list = operator.command(&lab.host().jid, "list", &[]).await.unwrap();
    let names = list.json.unwrap()["machines"].as_array().unwrap().clone();
    let names: Vec<&str> = names.iter().map(|machine| machine["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web1", "web2"]);

    let started = web1.command(&operator, "start").await;
    assert_eq!(note(&started), (NoteKind::Info, "web1 is running."));
    let status = web1.command(&operator, "status").await;
    assert_eq!(status.json.unwrap()["state"], "running");
    // Destroying: `command` says yes to the confirmation.
    let killed = web1.command(&operator, "kill").await;
    assert!(note(&killed).1.contains("power was cut"), "{killed:?}");
    assert_eq!(web1.command(&operator, "status").await.json.unwrap()["state"], "stopped");

    web2.chat(&mut operator, "start", "web2 is running").await;
    web2.chat(&mut operator, "status", "Running").await;
    web2.chat(&mut operator, "kill", "Write yes").await;
    // Yes is said in the chat the question was asked in, whichever machine it was about.
    let bare = web2.jid.split('/').next().unwrap();
    operator.say(&web2.jid, "yes").await.unwrap();
    operator.hear(bare, "power was cut").await.unwrap();
    web2.chat(&mut operator, "stauts", "Did you mean status?").await;

    let mut stranger = lab.client("stranger").await.unwrap();
    stranger
        .command(&web1.jid, &format!("{}start", web1.node), &[])
        .await
        .map(|answer| assert_eq!(note(&answer).0, NoteKind::Error))
        .unwrap_or_else(|refused| assert!(format!("{refused:#}").contains("refused"), "{refused:#}"));
    stranger.say(&web1.jid, &format!("{}start", web1.front)).await.unwrap();
    let bare = web1.jid.split('/').next().unwrap().to_owned();
    stranger.hear(&bare, "").await.unwrap();
    assert_eq!(web1.command(&operator, "status").await.json.unwrap()["state"], "stopped");
}

/// kill -9 the server and start it again: the hosts come back by themselves, presence and all.
async fn the_server_dies(server: &'static str, link: &'static str) {
    let mut lab = Wanted::new(server, link).machines(1).up().await.unwrap();
    let operator = lab.client("operator").await.unwrap();
    let web1 = Reach::of(&lab, 0);
    web1.command(&operator, "start").await;
    lab.is_written_down(&operator).await.unwrap();
    drop(operator);

    lab.crash("server").await.unwrap();
    lab.start("server").await.unwrap();

    let mut operator = lab.client("operator").await.unwrap();
    let contact = web1.jid.split('/').next().unwrap().to_owned();
    let here = operator
        .expect("the presence of web1", |stanza| {
            stanza.name() == "presence"
                && stanza.attr("from").is_some_and(|from| from.starts_with(&contact))
                && shown(stanza) == "available"
        })
        .await;
    here.unwrap();
    assert_eq!(web1.command(&operator, "status").await.json.unwrap()["state"], "running");
}

/// kill -9 the agent and start it again: the same machines in the same states, the same journal.
async fn the_agent_dies(server: &'static str, link: &'static str) {
    let mut lab = Wanted::new(server, link).machines(2).up().await.unwrap();
    let operator = lab.client("operator").await.unwrap();
    let (web1, web2) = (Reach::of(&lab, 0), Reach::of(&lab, 1));
    web1.command(&operator, "start").await;
    let before = lab.host().pid;

    lab.crash("kvm1").await.unwrap();
    lab.start("kvm1").await.unwrap();

    assert_ne!(lab.host().pid, before);
    assert_eq!(web1.command(&operator, "status").await.json.unwrap()["state"], "running");
    assert_eq!(web2.command(&operator, "status").await.json.unwrap()["state"], "stopped");
    let log = web1.command(&operator, "log").await;
    assert!(note(&log).1.contains("start"), "{log:?}");
}

macro_rules! on_both_servers_and_links {
    ($($story:ident: $($name:ident $server:literal $link:literal),*;)*) => { $($(
        #[tokio::test]
        async fn $name() {
            $story($server, $link).await;
        }
    )*)* };
}

on_both_servers_and_links! {
    main_job:
        main_job_on_prosody_as_component "prosody" "component",
        main_job_on_prosody_as_account "prosody" "single",
        main_job_on_ejabberd_as_component "ejabberd" "component",
        main_job_on_ejabberd_as_account "ejabberd" "single";
    the_server_dies:
        prosody_dies_under_a_component "prosody" "component",
        prosody_dies_under_an_account "prosody" "single",
        ejabberd_dies_under_a_component "ejabberd" "component",
        ejabberd_dies_under_an_account "ejabberd" "single";
    the_agent_dies:
        the_agent_dies_as_component "prosody" "component",
        the_agent_dies_as_account "ejabberd" "single";
}
