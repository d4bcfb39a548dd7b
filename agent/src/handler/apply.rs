//! Files of rights: made so, and written out.

mod plan;

use chrono::SecondsFormat;
use serde_json::Value;
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{Applied, Exported, measure},
};
use uuid::Uuid;
use xmpp_parsers::jid::{BareJid, Jid};

use self::plan::Plan;
use super::Handle;
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    rights::{
        grant::{Grant, Scope},
        quota::{Kind, Quota},
        written::Writer,
    },
    store::{StoreError, grants},
};

impl Agent {
    fn to_apply(&self, job: &Job, command: &host::Apply) -> Result<Plan, Refusal> {
        let own = job.permit.person();
        if !self.is_admin(&own) {
            let text = "Files of rights are applied by an admin of the whole host.";
            return Err(Refusal::new(Reason::NotAllowed, text).hint("Ask one of them."));
        }
        let set = &command.set;
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if set.is_empty() || set.len() > 64 || !set.chars().all(fits) {
            return Err(Refusal::new(
                Reason::BadRequest,
                format!("{set:?} cannot be the name of a file here."),
            )
            .field("set")
            .hint("Letters, digits, dots and dashes: ops.toml"));
        }
        self.plan_of_rights(&own, set, &command.toml.0, job.id)
    }
}

impl Handle<host::Apply> for Agent {
    async fn handle(&self, job: &Job, command: host::Apply) -> Result<Applied, Refusal> {
        let _one = self.inner.ruling.lock().await;
        let plan = self.to_apply(job, &command)?;
        let answer = plan.answer(&command.set, !command.dry_run);
        if command.dry_run || plan.is_empty() {
            return Ok(answer);
        }
        let set = command.set.clone();
        let plan = self.inner.store.run(move |connection| store(connection, plan, &set)).await?;
        crash::point("apply-stored");
        self.put_in_force(plan, &command.set);
        // First, as it is so already, whether it can be noted or not.
        self.inner.publisher.rights_changed();
        let count = measure::count(answer.changes.len() as u64, "change");
        let sentence = format!("{} made what is granted what {} says: {count}.", job.by(), command.set);
        self.note(job, "host.applied", &sentence).await?;
        Ok(answer)
    }

    async fn obstacle(&self, job: &Job, command: &host::Apply) -> Result<(), Refusal> {
        self.to_apply(job, command).map(drop)
    }

    /// Not where nothing would change, nor where nothing is to.
    fn asks(&self, job: &Job, command: &host::Apply) -> bool {
        !command.dry_run && self.to_apply(job, command).map_or(true, |plan| !plan.is_empty())
    }

    fn warning(&self, job: &Job, command: &host::Apply) -> String {
        match self.to_apply(job, command) {
            Ok(plan) => plan.answer(&command.set, false).difference(),
            Err(refusal) => refusal.sentence(),
        }
    }
}

/// All of it, or nothing. New grants have their numbers then.
fn store(connection: &rusqlite::Connection, mut plan: Plan, set: &str) -> Result<Plan, StoreError> {
    for number in &plan.no_grants {
        grants::remove(connection, *number)?;
    }
    for (name, holds) in &plan.roles {
        grants::define(connection, name, holds, Some(set))?;
    }
    for name in &plan.no_roles {
        grants::undefine(connection, name)?;
    }
    for grant in &mut plan.grants {
        grant.number = grants::insert(connection, grant)?;
    }
    for to in &plan.no_quotas {
        grants::unlimit(connection, &to.to_string())?;
    }
    for quota in &plan.quotas {
        grants::limit(connection, quota)?;
    }
    Ok(plan)
}

impl Agent {
    fn put_in_force(&self, plan: Plan, set: &str) {
        self.change_rights(|rights| {
            rights.grants.retain(|grant| !plan.no_grants.contains(&grant.number));
            for name in &plan.no_roles {
                rights.undefine(name);
            }
            for (name, holds) in plan.roles {
                rights.sets_of_roles.insert(name.clone(), set.to_owned());
                rights.defined.insert(name, holds);
            }
            rights.grants.extend(plan.grants);
            let replaced = |had: &Quota| {
                plan.no_quotas.contains(&had.to) || plan.quotas.iter().any(|quota| quota.to == had.to)
            };
            rights.quotas.retain(|had| !replaced(had));
            rights.quotas.extend(plan.quotas);
        });
    }

    /// Whether what is granted is what a journalled command was to make it.
    pub(crate) fn is_applied(&self, caller: &str, args: &Value) -> bool {
        let text = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default();
        let own: Option<BareJid> = Jid::new(caller).ok().map(|jid| jid.to_bare());
        own.is_some_and(|own| {
            let plan = self.plan_of_rights(&own, text("set"), text("toml"), Uuid::nil());
            plan.is_ok_and(|plan| plan.is_empty())
        })
    }

    /// One grant, as a file has it; none where nothing that is here is meant.
    fn export(&self, writer: &mut Writer, grant: &Grant) {
        let here = |scope: &&Scope| match scope {
            Scope::Machine(id) => self.inner.machines.get(*id).is_some(),
            _ => true,
        };
        let on: Vec<String> = grant.on.iter().filter(here).map(|scope| self.scope_in_words(scope)).collect();
        if on.is_empty() {
            return;
        }
        let section = if grant.forbids { "[[deny]]" } else { "[[grant]]" };
        let at = measure::moment(grant.at);
        writer.begin(section, &format!("{}, by {}, {at}", grant.number, grant.by));
        writer.text("to", &grant.whom.to_string());
        writer.list("what", &grant.what);
        writer.list("on", &on);
        if let Some(until) = grant.until {
            writer.text("until", &until.to_rfc3339_opts(SecondsFormat::Secs, true));
        }
        if let Some(because) = &grant.because {
            writer.text("because", because);
        }
    }
}

impl Handle<host::GrantExport> for Agent {
    async fn handle(&self, job: &Job, command: host::GrantExport) -> Result<Exported, Refusal> {
        if !self.sees_all_rights(&job.permit.person()) {
            return Err(Refusal::new(
                Reason::NotAllowed,
                "Only who may see all that is granted can export it.",
            ));
        }
        let (rights, now) = (self.rights(), chrono::Utc::now());
        let of = |set: Option<&String>| command.set.is_none() || set == command.set.as_ref();
        let mut writer = Writer::default();
        let roles: Vec<_> =
            rights.defined.iter().filter(|(name, _)| of(rights.sets_of_roles.get(*name))).collect();
        if !roles.is_empty() {
            writer.begin("[roles]", "");
        }
        for (name, holds) in roles {
            writer.list(name, holds);
        }
        for grant in rights.grants.iter().filter(|grant| grant.is_live(now) && of(grant.set.as_ref())) {
            self.export(&mut writer, grant);
        }
        for quota in rights.quotas.iter().filter(|quota| of(quota.set.as_ref())) {
            writer.begin("[[quota]]", &format!("by {}", quota.by));
            writer.text("to", &quota.to.to_string());
            for (kind, most) in &quota.limits {
                match kind {
                    Kind::Memory | Kind::Disk => writer.text(kind.key(), &format!("{}M", most >> 20)),
                    _ => writer.number(kind.key(), *most),
                }
            }
        }
        Ok(Exported { toml: writer.0 })
    }
}
