//! Trash and undelete, and the end of what has been in the trash for long enough.

use std::sync::Arc;

use hypervisor_core::machine::MachineName;
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{Changed, TrashLine, TrashList},
};

use xmpp_parsers::jid::BareJid;

use super::{
    Handle,
    quotas::{Takes, of_definition},
};
use crate::{
    agent::{Agent, Inner},
    crash,
    dispatch::Job,
    machine::{Card, Record, publisher::Change, task},
    rights::quota::Kind,
    store::{
        StoreError,
        machines::{self as rows, Stored, Trashed},
    },
};

impl Agent {
    /// What is in the trash, newest first.
    pub(crate) async fn trashed(&self) -> Result<Vec<Trashed>, StoreError> {
        self.inner.store.run(rows::trash).await
    }
}

impl Handle<host::Trash> for Agent {
    async fn handle(&self, _job: &Job, _command: host::Trash) -> Result<TrashList, Refusal> {
        let keep = self.config().trash.keep;
        let lines = self.trashed().await?.into_iter().map(|one| TrashLine {
            name: one.stored.record.name.to_string(),
            deleted_at: one.deleted_at,
            deleted_by: one.deleted_by,
            purged_at: one.deleted_at + keep,
        });
        Ok(TrashList { machines: lines.collect() })
    }
}

impl Handle<host::Undelete> for Agent {
    /// Of who made it, who need not be who takes it out of the trash.
    async fn takes(&self, _job: &Job, command: &host::Undelete) -> Result<Option<Takes>, Refusal> {
        let trash = self.trashed().await?;
        let one = trash.into_iter().find(|one| one.stored.record.name.as_str() == command.name.trim());
        Ok(one.and_then(|one| {
            let record = one.stored.record;
            let amount = of_definition(&record.definition).with(Kind::Machines, 1);
            let owner = BareJid::new(&record.created_by).ok()?;
            Some(Takes { owner, machine: record.id, amount })
        }))
    }

    async fn handle(&self, job: &Job, command: host::Undelete) -> Result<Changed, Refusal> {
        let name = super::name(&command.name, "name")?;
        let trash = self.trashed().await?;
        let Some(trashed) = trash.into_iter().find(|one| one.stored.record.name == name) else {
            return Err(Refusal::new(Reason::NotFound, format!("There is no {name} in the trash."))
                .field("name")
                .hint("\"trash\" shows what is."));
        };
        self.not_taken(&name).await?;
        let id = trashed.stored.record.id;
        self.inner.folders.back_from_trash(id).await?;
        let machine = house(&self.inner, trashed.stored);
        let change = Change {
            what: "machine.undeleted",
            sentence: format!("{name} is back from the trash."),
            by: Some(job.by()),
        };
        let machine = Arc::new(machine);
        let back = self
            .inner
            .publisher
            .welcome(
                Arc::clone(&machine),
                move |connection, _| rows::take_out_of_trash(connection, id),
                change,
            )
            .await;
        crash::point("row-restored");
        if let Err(error) = back {
            self.inner.folders.to_trash(id).await;
            return Err(match error {
                StoreError::Taken => task::taken(name.as_str()).field("name"),
                error => error.into(),
            });
        }
        let record = machine.record();
        Ok(self
            .changed(&record, format!("{name} is back; {}", crate::machine::wording::it_is(&record.state))))
    }
}

impl Agent {
    /// Refuses to bring a machine back under a name that was given away meanwhile.
    async fn not_taken(&self, name: &MachineName) -> Result<(), Refusal> {
        self.free(name, "name").await.map_err(|refusal| {
            refusal.hint(format!("Rename the other one first: rename {name} to something else."))
        })
    }
}

/// Gives a stored machine its driver and its task.
pub(crate) fn house(inner: &Arc<Inner>, stored: Stored) -> crate::machine::Machine {
    let driver = inner.drivers.named_or_absent(&stored.driver);
    let record = Record { driver: driver.name(), ..stored.record };
    let (networks, devices) = (inner.networks.clone().into(), inner.devices.clone().into());
    let card = Arc::new(Card::new(record, driver, &inner.folders, networks, devices));
    task::spawn(card, Arc::clone(&inner.publisher))
}

/// Takes out of the world what has been in the trash for longer than it is kept.
pub(crate) async fn empty_trash(inner: &Inner) {
    let keep = inner.config().trash.keep;
    let trash = match inner.store.run(rows::trash).await {
        Ok(trash) => trash,
        Err(error) => {
            tracing::warn!(%error, "the trash could not be looked at");
            return;
        }
    };
    let now = chrono::Utc::now();
    for one in trash.into_iter().filter(|one| one.deleted_at + keep <= now) {
        let Record { id, name, .. } = one.stored.record;
        let driver = inner.drivers.named_or_absent(&one.stored.driver);
        if let Err(error) = driver.forget(id).await {
            // Its disks stay where they are while anything may hold them open.
            tracing::warn!(machine = %name, %error, "the driver does not forget it: it stays in the trash");
            continue;
        }
        // The row goes last: while it stands, a later round tries again.
        if inner.folders.purge(id).await
            && let Err(error) = inner.store.run(move |connection| rows::purge(connection, id)).await
        {
            tracing::warn!(machine = %name, %error, "a purged machine stays in the trash's list");
        }
    }
    super::clone::sweep_bases(inner).await;
}
