//! How much of the host each person may have: set, listed, taken away.

mod room;

use std::collections::BTreeSet;

use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{QuotaChanged, QuotaLine, QuotaList, QuotaUse},
};
use xmpp_parsers::jid::BareJid;

pub(crate) use self::room::{Room, Rooms, Takes, all_disks, of_definition, size_of};
use super::{Handle, define::memory_mib, rights::person};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    rights::{
        Whom,
        quota::{Bound, Kind, Limits, Quota, used},
    },
    store::grants::{self, QUOTAS_MAX},
};

/// Whose a quota is.
pub(super) fn bound(text: &str) -> Result<Bound, Refusal> {
    Bound::read(text).ok_or_else(|| {
        Refusal::new(Reason::BadRequest, format!("{text:?} is no address."))
            .field("to")
            .hint("Write such as ann@example.org, a whole domain, or everyone.")
    })
}

/// Reads limits.
pub(super) fn limits(
    machines: Option<u64>,
    vcpus: Option<u64>,
    memory: Option<&str>,
    disk: Option<&str>,
    snapshots: Option<u64>,
) -> Result<Limits, Refusal> {
    let size = |text: Option<&str>, field: &'static str| {
        let mib = text.map(memory_mib).transpose().map_err(|refusal| {
            let text = refusal.text.replacen("memory", field, 1);
            Refusal { text, ..refusal.field(field) }
        })?;
        Ok::<_, Refusal>(mib.map(|mib| mib.saturating_mul(1 << 20)))
    };
    let all = [
        (Kind::Machines, machines),
        (Kind::Vcpus, vcpus),
        (Kind::Memory, size(memory, "memory")?),
        (Kind::Disk, size(disk, "disk")?),
        (Kind::Snapshots, snapshots),
    ];
    let limits: Limits = all.into_iter().filter_map(|(kind, most)| Some((kind, most?))).collect();
    match limits.is_empty() {
        true => Err(Refusal::new(Reason::BadRequest, "That limits nothing.")
            .hint("Such as: quota set everyone machines=5 memory=16G")),
        false => Ok(limits),
    }
}

impl Agent {
    /// Who sets quotas takes from what others have.
    fn may_limit(&self, job: &Job) -> Result<(), Refusal> {
        match self.is_admin(&job.permit.person()) {
            true => Ok(()),
            false => Err(Refusal::new(Reason::NotAllowed, "Quotas are set by an admin of the whole host.")
                .hint("Ask one of them.")),
        }
    }

    /// Whether a journalled command about a quota did what it was to.
    pub(crate) fn is_limited(&self, permission: &str, args: &serde_json::Value) -> bool {
        let text = |name: &str| args.get(name).and_then(serde_json::Value::as_str);
        let number = |name: &str| args.get(name).and_then(serde_json::Value::as_u64);
        let Some(to) = text("to").and_then(Bound::read) else { return false };
        let rights = self.rights();
        let had = rights.quotas.iter().find(|quota| quota.to == to).map(|quota| &quota.limits);
        if permission == "host.quota-remove" {
            return had.is_none();
        }
        let [machines, vcpus, snapshots] = ["machines", "vcpus", "snapshots"].map(number);
        let wanted = limits(machines, vcpus, text("memory"), text("disk"), snapshots).ok();
        had.is_some() && had == wanted.as_ref()
    }

    async fn use_of(&self, person: &BareJid) -> QuotaUse {
        let has = self.has(person).await;
        let rights = self.rights();
        let quota = rights.quota_of(person);
        let sentence = match quota {
            Some(quota) => format!("{person} has {}", used(&quota.limits, has)),
            None => {
                let all: Vec<String> =
                    Kind::ALL.into_iter().map(|kind| kind.say(None, has.of(kind))).collect();
                format!("{person} has {}; nothing limits that", all.join(", "))
            }
        };
        QuotaUse {
            who: person.to_string(),
            quota: quota.map(|quota| quota.to.to_string()),
            machines: has.of(Kind::Machines),
            vcpus: has.of(Kind::Vcpus),
            memory_bytes: has.of(Kind::Memory),
            disk_bytes: has.of(Kind::Disk),
            snapshots: has.of(Kind::Snapshots),
            sentence,
        }
    }
}

fn line(quota: &Quota) -> QuotaLine {
    let most = |kind: Kind| quota.limits.get(&kind).copied();
    QuotaLine {
        to: quota.to.to_string(),
        machines: most(Kind::Machines),
        vcpus: most(Kind::Vcpus),
        memory_bytes: most(Kind::Memory),
        disk_bytes: most(Kind::Disk),
        snapshots: most(Kind::Snapshots),
        by: quota.by.to_string(),
        set: quota.set.clone(),
        sentence: quota.sentence(),
    }
}

impl Handle<host::QuotaSet> for Agent {
    async fn handle(&self, job: &Job, command: host::QuotaSet) -> Result<QuotaChanged, Refusal> {
        self.may_limit(job)?;
        let host::QuotaSet { to, machines, vcpus, memory, disk, snapshots } = command;
        let limits = limits(machines, vcpus, memory.as_deref(), disk.as_deref(), snapshots)?;
        let by = Whom::Person(job.permit.person());
        let quota = Quota { to: bound(&to)?, limits, by, at: chrono::Utc::now(), set: None };
        let _one = self.inner.ruling.lock().await;
        let rights = self.rights();
        if rights.quotas.len() >= QUOTAS_MAX && rights.quotas.iter().all(|had| had.to != quota.to) {
            return Err(Refusal::new(Reason::Limit, format!("There are {QUOTAS_MAX} quotas already."))
                .hint("\"quota remove\" takes one away."));
        }
        let stored = quota.clone();
        self.inner.store.run(move |connection| grants::limit(connection, &stored)).await?;
        crash::point("quota-stored");
        let (to, sentence) = (quota.to.to_string(), format!("{}.", quota.sentence()));
        self.change_rights(|rights| {
            rights.quotas.retain(|had| had.to != quota.to);
            rights.quotas.push(quota);
        });
        self.note(job, "host.quota-set", &format!("{} set a quota: {to}.", job.by())).await?;
        Ok(QuotaChanged { to, sentence })
    }
}

impl Handle<host::QuotaRemove> for Agent {
    async fn handle(&self, job: &Job, command: host::QuotaRemove) -> Result<QuotaChanged, Refusal> {
        self.may_limit(job)?;
        let to = bound(&command.to)?;
        let _one = self.inner.ruling.lock().await;
        if self.rights().quotas.iter().all(|quota| quota.to != to) {
            return Err(Refusal::new(Reason::NotFound, format!("There is no quota of {to}."))
                .field("to")
                .hint("\"quota list\" shows those there are."));
        }
        let stored = to.to_string();
        self.inner.store.run(move |connection| grants::unlimit(connection, &stored)).await?;
        crash::point("quota-stored");
        self.change_rights(|rights| rights.quotas.retain(|quota| quota.to != to));
        self.note(job, "host.quota-removed", &format!("{} took a quota away: {to}.", job.by())).await?;
        Ok(QuotaChanged { to: to.to_string(), sentence: format!("There is no quota of {to} any more.") })
    }
}

impl Handle<host::QuotaList> for Agent {
    async fn handle(&self, job: &Job, command: host::QuotaList) -> Result<QuotaList, Refusal> {
        let own = job.permit.person();
        let who = command.who.as_deref().map(|text| person(text, "who")).transpose()?;
        let rights = self.rights();
        if !self.sees_all_rights(&own) || who.is_some() {
            let who = who.unwrap_or_else(|| own.clone());
            if who != own && !self.sees_all_rights(&own) {
                return Err(
                    Refusal::new(Reason::NotAllowed, "Only an admin may ask for somebody else.").field("who")
                );
            }
            let quotas = rights.quota_of(&who).map(line).into_iter().collect();
            return Ok(QuotaList { quotas, uses: vec![self.use_of(&who).await] });
        }
        let mut people: BTreeSet<BareJid> = BTreeSet::new();
        for machine in self.inner.machines.all() {
            people.extend(self.owner_of(&machine).filter(|person| rights.quota_of(person).is_some()));
        }
        people.extend(rights.quotas.iter().filter_map(|quota| match &quota.to {
            Bound::Whom(Whom::Person(person)) => Some(person.clone()),
            _ => None,
        }));
        let mut uses = Vec::new();
        for person in people {
            uses.push(self.use_of(&person).await);
        }
        Ok(QuotaList { quotas: rights.quotas.iter().map(line).collect(), uses })
    }
}
