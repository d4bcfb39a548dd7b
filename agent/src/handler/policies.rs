//! The rules that ask for the consent of others.

use skerry_stanzas::{
    command::{host, machine},
    refusal::{Reason, Refusal},
    reply::{PolicyLine, PolicyList},
    words::{nearest, parse},
};
use xmpp_parsers::jid::BareJid;

use super::{
    Handle,
    grants::{parts, unknown},
};
use crate::{
    agent::Agent,
    approval::{
        Policy,
        policy::{NEED_MAX, NOBODY, Place, WITHIN_MAX, WITHIN_MIN, read_role, read_what},
        window::Window,
    },
    asked::Asked,
    crash,
    dispatch::Job,
    machine::Record,
    rights::grant::Scope,
    store::approvals::{self as rows, POLICIES_MAX},
};

impl Handle<host::PolicyAdd> for Agent {
    async fn handle(&self, job: &Job, command: host::PolicyAdd) -> Result<PolicyLine, Refusal> {
        let _one = self.inner.approvals.deciding.lock().await;
        let policy = self.policy(job, command)?;
        let policies = self.inner.approvals.policies();
        if policies.configured.iter().any(|kept| kept.name == policy.name) {
            let text = format!("{} is a policy of the agent's configuration.", policy.name);
            return Err(Refusal::new(Reason::Conflict, text).field("name").hint("Change it there."));
        }
        if policies.kept.len() >= POLICIES_MAX {
            let text = format!("There are {POLICIES_MAX} policies already.");
            return Err(Refusal::new(Reason::Limit, text).hint("\"policy remove NAME\" takes one away."));
        }
        let stored = policy.clone();
        self.inner.store.run(move |connection| rows::set_policy(connection, &stored)).await?;
        crash::point("policy-stored");
        let kept = policy.clone();
        self.inner.approvals.change_policies(|policies| {
            policies.kept.retain(|one| one.name != kept.name);
            policies.kept.push(kept);
        });
        // Rooms are entered and left by it.
        self.inner.publisher.rights_changed();
        let line = self.policy_line(&policy, false);
        let sentence = format!("From now on {}.", line.rule());
        self.note(job, "host.policy-set", &format!("{} set the policy {}.", job.by(), policy.name)).await?;
        Ok(PolicyLine { sentence, ..line })
    }

    async fn obstacle(&self, job: &Job, command: &host::PolicyAdd) -> Result<(), Refusal> {
        self.policy(job, command.clone()).map(drop)
    }
}

impl Handle<host::PolicyRemove> for Agent {
    async fn handle(&self, job: &Job, command: host::PolicyRemove) -> Result<PolicyLine, Refusal> {
        let _one = self.inner.approvals.deciding.lock().await;
        let policy = self.kept_policy(&command.name)?;
        let name = policy.name.clone();
        self.inner.store.run(move |connection| rows::remove_policy(connection, &name)).await?;
        crash::point("policy-stored");
        self.inner.approvals.change_policies(|policies| policies.kept.retain(|one| one.name != policy.name));
        // Rooms are entered and left by it.
        self.inner.publisher.rights_changed();
        let line = self.policy_line(&policy, false);
        let sentence = format!("The policy {} is gone: nothing needs approval by it any more.", policy.name);
        self.note(job, "host.policy-removed", &format!("{} removed the policy {}.", job.by(), policy.name))
            .await?;
        Ok(PolicyLine { sentence, ..line })
    }

    async fn obstacle(&self, _job: &Job, command: &host::PolicyRemove) -> Result<(), Refusal> {
        self.kept_policy(&command.name).map(drop)
    }
}

impl Handle<host::PolicyList> for Agent {
    async fn handle(&self, _job: &Job, _command: host::PolicyList) -> Result<PolicyList, Refusal> {
        let policies = self.inner.approvals.policies();
        Ok(PolicyList {
            policies: policies
                .all()
                .map(|(policy, configured)| self.policy_line(policy, configured))
                .collect(),
        })
    }
}

impl Agent {
    fn policy(&self, job: &Job, command: host::PolicyAdd) -> Result<Policy, Refusal> {
        let rights = self.rights();
        let defined = &rights.defined;
        let no = |field: &'static str, text: String| Refusal::new(Reason::BadRequest, text).field(field);
        let name = command.name.trim().to_lowercase();
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(is_plain) {
            let text = format!("{:?} cannot be the name of a policy.", command.name);
            return Err(no("name", text).hint("Write small letters, digits and dashes."));
        }
        let mut what = Vec::new();
        for word in parts(&command.what, "what")? {
            let word = read_what(word, defined).map_err(|(text, near)| unknown(text, near, "what"))?;
            if !what.contains(&word) {
                what.push(word);
            }
        }
        let on = self.scopes(&job.permit.person(), &command.on)?.into_iter().map(Place::Scope).collect();
        let roles = |text: Option<&str>, field: &'static str| match text {
            None => Ok(Vec::new()),
            Some(text) => {
                let read = |word| {
                    read_role(word, defined)
                        .map_err(|text| no(field, text).hint("\"role list\" shows which there are."))
                };
                parts(text, field)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()
            }
        };
        let from = roles(Some(&command.from), "from")?;
        let except = roles(command.except.as_deref(), "except")?;
        let need =
            u8::try_from(command.need).ok().filter(|need| *need <= NEED_MAX && (*need > 0 || command.signed));
        let need =
            need.ok_or_else(|| no("need", format!("It must be 1 to {NEED_MAX}, or 0 where it is signed.")))?;
        if !(WITHIN_MIN..=WITHIN_MAX).contains(&command.within) {
            return Err(no("within", "It must be 10s to 7d.".into()));
        }
        let during = command.during.map(|text| {
            Window::read(&text).ok_or_else(|| {
                no("during", format!("{text:?} are no hours.")).hint("Write such as mon-fri 08:00-18:00.")
            })
        });
        let emergency = match command.emergency.trim().to_lowercase().as_str() {
            NOBODY => None,
            role => Some(read_role(role, defined).map_err(|text| no("emergency", text))?),
        };
        let room = command.room.map(|text| {
            BareJid::new(text.trim()).ok().filter(|room| room.node().is_some()).ok_or_else(|| {
                no("room", format!("{text:?} is no room.")).hint("Write such as ops@rooms.example.org.")
            })
        });
        Ok(Policy {
            name,
            what,
            on,
            need,
            from,
            within: command.within,
            during: during.transpose()?,
            except,
            emergency,
            reactions: command.reactions.is_on(),
            room: room.transpose()?,
            signed: command.signed,
        })
    }

    fn kept_policy(&self, name: &str) -> Result<Policy, Refusal> {
        let policies = self.inner.approvals.policies();
        let name = name.trim().to_lowercase();
        if let Some(found) = policies.kept.iter().find(|one| one.name == name) {
            return Ok(found.clone());
        }
        if policies.configured.iter().any(|one| one.name == name) {
            let text = format!("{name} is a policy of the agent's configuration.");
            return Err(Refusal::new(Reason::Conflict, text).field("name").hint("Take it out there."));
        }
        let refusal = Refusal::new(Reason::NotFound, format!("There is no policy {name:?}.")).field("name");
        Err(match nearest(&name, policies.kept.iter().map(|one| one.name.as_str())) {
            Some(near) => refusal.hint(format!("Did you mean {near}?")),
            None => refusal.hint("\"policy list\" shows which there are."),
        })
    }

    /// The rules that a command would take away or replace, or take its machine out of: it asks for the same
    /// consent itself, or who could do that alone could do without.
    pub(crate) fn policies_left_by(&self, asked: &Asked, machine: Option<&Record>) -> Vec<Policy> {
        let policies = self.inner.approvals.policies();
        let kept = |name: &str| {
            let name = name.trim().to_lowercase();
            policies.kept.iter().filter(|one| one.name == name).cloned().collect()
        };
        let on_machine = |is_left: &dyn Fn(&Policy) -> bool| {
            policies.all().map(|(policy, _)| policy).filter(|policy| is_left(policy)).cloned().collect()
        };
        match (asked.declaration.permission().as_str(), machine) {
            ("host.policy-add", _) => {
                parse::<host::PolicyAdd>(&asked.argv).map(|it| kept(&it.name)).unwrap_or_default()
            }
            ("host.policy-remove", _) => {
                parse::<host::PolicyRemove>(&asked.argv).map(|it| kept(&it.name)).unwrap_or_default()
            }
            // What it is about, and who can agree, would be other things by the same word.
            ("host.role-define", _) => {
                let role = parse::<host::RoleDefine>(&asked.argv).map(|it| it.name).unwrap_or_default();
                on_machine(&|policy| policy.names_role(&role))
            }
            ("host.role-delete", _) => {
                let role = parse::<host::RoleDelete>(&asked.argv).map(|it| it.name).unwrap_or_default();
                on_machine(&|policy| policy.names_role(&role))
            }
            ("host.apply", _) => {
                let defined = self.rights();
                on_machine(&|policy| defined.defined.keys().any(|role| policy.names_role(role)))
            }
            ("machine.rename", Some(record)) => on_machine(&|policy| policy.names(&record.name)),
            ("machine.label", Some(record)) => {
                let removed = parse::<machine::Label>(&asked.argv).map(|it| it.remove).unwrap_or_default();
                let removed: Vec<&String> =
                    removed.iter().filter(|label| record.labels.contains(*label)).collect();
                on_machine(&|policy| removed.iter().any(|label| policy.names_label(label)))
            }
            _ => Vec::new(),
        }
    }

    fn policy_line(&self, policy: &Policy, configured: bool) -> PolicyLine {
        let place = |place: &Place| match place {
            Place::Named(name) => name.to_string(),
            Place::Scope(Scope::Label(label)) => format!("label:{label}"),
            Place::Scope(scope) => self.scope_in_words(scope),
        };
        policy.line(policy.on.iter().map(place).collect(), configured)
    }
}
