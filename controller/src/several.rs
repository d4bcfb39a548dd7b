//! One command for several: machines by a label they share, on as many hosts as have them; and one answer to
//! what was asked for on several hosts.

use futures::{StreamExt as _, stream};
use skerry_stanzas::{
    command::{COMMANDS, Effect},
    payload::Together,
};

use crate::{
    call::{Call, Consent},
    cli::Asked,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    name::full_name,
    plan::Plan,
    session::Session,
};

/// What a word begins with that means all machines with a label.
const LABEL: &str = "label:";
/// How many hosts are asked at a time.
const HOSTS_AT_ONCE: usize = 16;

/// Whether any of the words is a label.
pub fn names_a_label(asked: &Asked) -> bool {
    asked.words.iter().any(|word| word.split(',').any(|name| name.starts_with(LABEL)))
}

/// The same command with the machines in the place of the labels they have.
///
/// # Errors
/// No machine has one of the labels, or a host does not say.
pub async fn with_labels(asked: &Asked, session: &Session, fleet: &Fleet) -> Outcome<Asked> {
    let mut words = Vec::new();
    for word in &asked.words {
        let mut names = Vec::new();
        for name in word.split(',') {
            match name.strip_prefix(LABEL) {
                Some(label) => names.extend(labelled(label, session, fleet).await?),
                None => names.push(name.to_owned()),
            }
        }
        words.push(names.join(","));
    }
    Ok(Asked { words, ..asked.clone() })
}

async fn labelled(label: &str, session: &Session, fleet: &Fleet) -> Outcome<Vec<String>> {
    let asked = answers(session, &fleet.hosts, "host.list", vec![format!("--label={label}")]);
    let mut names = Vec::new();
    for (host, json) in asked.await? {
        let listed = json.get("machines").and_then(|machines| machines.as_array()).into_iter().flatten();
        let listed: Vec<&str> = listed.filter_map(|machine| machine.get("name")?.as_str()).collect();
        let of_host = fleet.machines.iter().filter(|machine| machine.host == host.jid);
        let theirs = of_host.filter(|machine| listed.contains(&machine.name.as_str()));
        names.extend(theirs.map(|machine| full_name(machine, fleet)));
    }
    if names.is_empty() {
        return Err(Failure::usage(format!("no machine has the label {label}"))
            .hint(format!("`skerry list --label {label}` shows those that have it.")));
    }
    Ok(names)
}

/// The hosts on which a request of this code waits.
///
/// # Errors
/// None does, or a host does not say.
pub async fn with_request(code: &str, session: &Session, fleet: Fleet) -> Outcome<Fleet> {
    let mut hosts = Vec::new();
    for (host, json) in answers(session, &fleet.hosts, "host.request-list", Vec::new()).await? {
        let requests = json.get("requests").and_then(|requests| requests.as_array()).into_iter().flatten();
        let mut codes = requests.filter_map(|request| request.get("code")?.as_str());
        let meant = |own: &str| own.eq_ignore_ascii_case(code) || is_one_of(code, own);
        if codes.any(meant) {
            hosts.push(host);
        }
    }
    if hosts.is_empty() {
        return Err(Failure::usage(format!("no request {code} waits for you"))
            .hint("`skerry request list` shows those that wait."));
    }
    Ok(Fleet { hosts, ..fleet })
}

/// `7f3a.2` is one of those that `7f3a` stands for.
fn is_one_of(code: &str, group: &str) -> bool {
    code.split_once('.').is_some_and(|(of, _)| of.eq_ignore_ascii_case(group))
}

/// Says of calls that they are given together: as many as there are for each host.
pub fn together(plan: &mut Plan) {
    let changes: Vec<usize> =
        (0..plan.calls.len()).filter(|at| plan.calls[*at].call.declaration.effect != Effect::Read).collect();
    if changes.len() < 2 {
        return;
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let hosts: Vec<_> = plan.calls.iter().map(|planned| planned.host.jid.clone()).collect();
    for at in changes {
        let of = hosts.iter().filter(|host| **host == hosts[at]).count();
        let of = u16::try_from(of).unwrap_or(u16::MAX);
        plan.calls[at].call.together = Some(Together { id: id.clone(), of });
    }
}

/// What each host answers to a look.
async fn answers(
    session: &Session,
    hosts: &[Host],
    permission: &str,
    argv: Vec<String>,
) -> Outcome<Vec<(Host, serde_json::Value)>> {
    let Some(declaration) = COMMANDS.iter().find(|it| it.permission() == permission) else {
        return Ok(Vec::new());
    };
    let asked = stream::iter(hosts.to_vec()).map(|host| {
        let call = Call {
            to: host.jid.clone(),
            node: declaration.verb.to_owned(),
            declaration,
            argv: argv.clone(),
            together: None,
        };
        async move { Ok((host, call.run(session, Consent::Ask).await?.reply.json)) }
    });
    asked.buffered(HOSTS_AT_ONCE).collect::<Vec<Outcome<_>>>().await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_is_found_by_the_code_of_all() {
        assert!(is_one_of("ann-7f3a.2", "ann-7f3a"));
        assert!(!is_one_of("ann-7f3a", "ann-7f3a") && !is_one_of("7f3a.2", "ann-7f3a"));
    }
}
