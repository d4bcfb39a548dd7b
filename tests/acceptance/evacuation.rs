//! A host is emptied of its real guests, by a plan that is shown first.

use skerry_stanzas::{
    adhoc::{Action, AdhocCommand, Status},
    form,
    reply::UNDER_WAY,
};
use skerry_tests::lab::Wanted;

use crate::real_guests::Guest;

#[tokio::test]
async fn a_host_is_emptied_of_real_guests_which_run_on() {
    let lab = Wanted::new("prosody", "component").hosts(2).machines(6).real_guests().up().await.unwrap();
    let [from, to] = [0, 1].map(|host| lab.record.hosts[host].jid.clone());
    // Half of them are the second host's, and one of the first's is off.
    let own: Vec<_> = lab.record.machines.iter().filter(|machine| machine.host == from).cloned().collect();
    assert_eq!(own.len(), 3);
    let mut boots = Vec::new();
    for machine in &own[..2] {
        let guest = Guest { client: lab.client("admin").await.unwrap(), jid: machine.jid.clone(), node: "" };
        guest.ask("start", &[]).await;
        boots.push(guest);
    }
    let mut ids = Vec::new();
    for guest in &boots {
        guest.booted().await;
        ids.push(guest.boot_id().await);
    }
    let client = lab.client("admin").await.unwrap();
    // What will happen is said before anything does.
    let asked =
        client.stage(&from, &AdhocCommand::request("evacuate", Some(form::submit(&[])))).await.unwrap();
    assert_eq!(asked.status, Some(Status::Executing));
    let plan = format!("{asked:?}");
    for machine in &own {
        assert!(plan.contains(&format!("{} to {to}.", machine.name)), "{plan}");
    }
    let yes = asked.follow(Action::Complete, Some(form::submit_confirm(true)));
    let emptied = loop {
        let answer = client.stage_as("the-end", &from, &yes).await.unwrap();
        if answer.json.as_ref().is_none_or(|json| json[UNDER_WAY] != true) {
            break answer.note.unwrap().text;
        }
    };
    for machine in &own {
        assert!(emptied.contains(&format!("{} is on {to} now.", machine.name)), "{emptied}");
    }
    let left = client.command(&from, "list", &[]).await.unwrap().json.unwrap();
    assert_eq!(left["machines"].as_array().map(Vec::len), Some(0), "{left}");
    for (machine, id) in own[..2].iter().zip(ids) {
        let jid = format!("{}@{to}", machine.name);
        let guest = Guest { client: lab.client("admin").await.unwrap(), jid, node: "" };
        assert_eq!(guest.state().await, "running");
        assert_eq!(guest.boot_id().await, id, "it was not started anew");
    }
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}
