//! Being told of what is too much, and not being told at certain hours.

use std::{sync::Arc, time::Duration};

use skerry_stanzas::{
    command::{host, machine},
    refusal::{Reason, Refusal},
    reply::{AlertChanged, AlertLine, AlertList, QuietHours, measure},
};

use super::Handle;
use crate::{
    agent::Agent,
    alerts::{quiet::Quiet, rule::Rule},
    crash,
    dispatch::Job,
    machine::Machine,
    store::alerts::{self, ALL_MAX, Alert, PERSON_MAX},
};

/// The longest time something may have to last.
const FOR_MAX: Duration = Duration::from_secs(24 * 3600);

impl Handle<machine::AlertAdd> for Agent {
    async fn handle(&self, job: &Job, command: machine::AlertAdd) -> Result<AlertChanged, Refusal> {
        let machine = Arc::clone(job.machine()?);
        self.add_alert(job, Some(machine), &command.rule, command.clear.as_deref(), command.r#for).await
    }
}

impl Handle<host::AlertAdd> for Agent {
    async fn handle(&self, job: &Job, command: host::AlertAdd) -> Result<AlertChanged, Refusal> {
        self.add_alert(job, None, &command.rule, command.clear.as_deref(), command.r#for).await
    }
}

impl Handle<machine::AlertList> for Agent {
    async fn handle(&self, job: &Job, _command: machine::AlertList) -> Result<AlertList, Refusal> {
        let id = job.machine()?.card.id;
        self.list_alerts(job, |alert| alert.machine == Some(id)).await
    }
}

impl Handle<host::AlertList> for Agent {
    async fn handle(&self, job: &Job, _command: host::AlertList) -> Result<AlertList, Refusal> {
        self.list_alerts(job, |_| true).await
    }
}

impl Handle<machine::AlertRemove> for Agent {
    async fn handle(&self, job: &Job, command: machine::AlertRemove) -> Result<AlertChanged, Refusal> {
        let id = job.machine()?.card.id;
        self.remove_alert(job, command.number, |alert| alert.machine == Some(id)).await
    }
}

impl Handle<host::AlertRemove> for Agent {
    async fn handle(&self, job: &Job, command: host::AlertRemove) -> Result<AlertChanged, Refusal> {
        self.remove_alert(job, command.number, |_| true).await
    }
}

impl Handle<host::Quiet> for Agent {
    async fn handle(&self, job: &Job, command: host::Quiet) -> Result<QuietHours, Refusal> {
        let quiet = Quiet::parse(&command.hours, &command.zone)?;
        let person = job.permit.person();
        self.inner.store.run(move |connection| alerts::set_quiet(connection, &person, quiet)).await?;
        crash::point("alert-stored");
        let hours = quiet.map(|quiet| quiet.said());
        let sentence = match &hours {
            Some(hours) => format!("You are told nothing at {hours}; what lasts longer is told after that."),
            None => "You are told at all hours.".into(),
        };
        Ok(QuietHours { hours, sentence })
    }
}

impl Agent {
    async fn add_alert(
        &self,
        job: &Job,
        machine: Option<Arc<Machine>>,
        rule: &str,
        clear: Option<&str>,
        time: Duration,
    ) -> Result<AlertChanged, Refusal> {
        if time > FOR_MAX {
            return Err(Refusal::new(Reason::BadRequest, "It may have to last a day at most.").field("for"));
        }
        let rule = Rule::parse(rule, clear, time.as_secs(), machine.is_some())?;
        let person = job.permit.person();
        let of_person = self.inner.alerts.of(&person);
        if of_person.len() >= PERSON_MAX || self.inner.alerts.count() >= ALL_MAX {
            return Err(Refusal::new(Reason::Limit, "You are told of too much already.")
                .hint("Remove an alert first: alert list shows them."));
        }
        let id = machine.as_ref().map(|machine| machine.card.id);
        let whose = match &machine {
            Some(machine) => machine.record().name.to_string(),
            None => self.config().name.clone(),
        };
        let said = format!("{whose} {}", rule.said());
        let lasting = format!("for {}", measure::duration(rule.for_seconds));
        let back = rule.what.said(rule.clear);
        if let Some(same) = of_person.iter().find(|alert| alert.machine == id && alert.rule == rule) {
            let sentence = format!("You are told of it already: {said} {lasting} (number {}).", same.number);
            return Ok(AlertChanged { number: same.number, sentence });
        }
        let mut alert = Alert {
            number: 0,
            person,
            machine: id,
            rule,
            entry: job.id,
            since: None,
            seen: None,
            told: None,
        };
        let stored = alert.clone();
        alert.number = self.inner.store.run(move |connection| alerts::insert(connection, &stored)).await?;
        crash::point("alert-stored");
        let number = alert.number;
        self.inner.alerts.add(alert);
        let sentence = format!(
            "You will be told when {said} {lasting}, and when it is back at {back} (number {number})."
        );
        Ok(AlertChanged { number, sentence })
    }

    async fn list_alerts(&self, job: &Job, which: impl Fn(&Alert) -> bool) -> Result<AlertList, Refusal> {
        let person = job.permit.person();
        let lines = self.inner.alerts.of(&person).into_iter().filter(which).filter_map(|alert| {
            let machine = match alert.machine {
                None => None,
                // One in the trash may come back.
                Some(id) => Some(self.inner.machines.get(id)?.record().name.to_string()),
            };
            Some(AlertLine {
                number: alert.number,
                machine,
                rule: alert.rule.said(),
                clear: alert.rule.what.said(alert.rule.clear),
                for_seconds: alert.rule.for_seconds,
                since: alert.since,
            })
        });
        let alerts = lines.collect();
        let quiet = self.inner.store.run(move |connection| alerts::quiet(connection, &person)).await?;
        Ok(AlertList { host: self.config().name.clone(), alerts, quiet: quiet.map(|quiet| quiet.said()) })
    }

    async fn remove_alert(
        &self,
        job: &Job,
        number: u64,
        which: impl Fn(&Alert) -> bool,
    ) -> Result<AlertChanged, Refusal> {
        let own = self.inner.alerts.of(&job.permit.person());
        if !own.into_iter().any(|alert| alert.number == number && which(&alert)) {
            let text = format!("You have no alert of the number {number} here.");
            return Err(Refusal::new(Reason::NotFound, text).field("number").hint("alert list shows yours."));
        }
        self.inner.store.run(move |connection| alerts::remove(connection, number)).await?;
        crash::point("alert-stored");
        self.inner.alerts.remove(number);
        Ok(AlertChanged { number, sentence: format!("You are not told of number {number} any more.") })
    }
}
