//! Create: a machine from an image, in phases, each with its undo.

mod origin;
mod plan;

use std::sync::{Arc, OnceLock};

use hypervisor_core::{
    definition::DiskFormat,
    driver::{Driver, DriverError, disk},
    lifecycle::{Exit, State},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::Changed,
};

use self::plan::{First, Plan};
use super::{
    Handle,
    quotas::{Takes, of_definition},
};
use crate::{
    agent::{Agent, Inner},
    crash,
    dispatch::Job,
    machine::{Card, Do, Machine, Order, Record, publisher::Change, task},
    reference,
    rights::{
        Permit, Whom,
        grant::{Grant, Scope},
        quota::Kind,
        role::OWNER,
    },
    store::{StoreError, grants, machines as rows},
};

impl Handle<host::Create> for Agent {
    async fn handle(&self, job: &Job, command: host::Create) -> Result<Changed, Refusal> {
        // Until it stands on its image, no image goes.
        let held = self.inner.images.hold().await;
        let id = MachineId(job.id);
        let plan = self.to_create(id, &command).await?;
        job.say(format!("{} is being made.", plan.name));
        let planned = Planned { agent: self, id, plan };
        let machine = planned.house().await?.furnish(job).await?.welcome(job).await?;
        drop(held);
        if command.start {
            return self.start_new(job, &machine).await;
        }
        let record = machine.record();
        Ok(self.changed(&record, format!("{} was created; \"start {0}\" starts it.", record.name)))
    }

    async fn obstacle(&self, _job: &Job, command: &host::Create) -> Result<(), Refusal> {
        self.to_create(MachineId::fresh(), command).await.map(drop)
    }

    async fn takes(&self, job: &Job, command: &host::Create) -> Result<Option<Takes>, Refusal> {
        let plan = self.to_create(MachineId(job.id), command).await?;
        let disks = plan.disk_bytes().await?;
        Ok(self.for_new(job, of_definition(&plan.definition).with(Kind::Disk, disks)))
    }
}

impl Agent {
    async fn start_new(&self, job: &Job, machine: &Arc<Machine>) -> Result<Changed, Refusal> {
        let record = machine.record();
        job.say(format!("{} is starting.", record.name));
        let by = Some(job.by());
        let start = |reply| Order::Do(Do::start(by, reply));
        match machine.order(start).await {
            Ok(report) => {
                let sentence =
                    format!("{} was created, and is {}.", report.record.name, report.record.state.word());
                Ok(self.changed(&report.record, sentence))
            }
            Err(refusal) => {
                Err(Refusal { text: format!("{} was created. {}", record.name, refusal.text), ..refusal })
            }
        }
    }
}

/// Checked, nothing made.
struct Planned<'a> {
    agent: &'a Agent,
    id: MachineId,
    plan: Plan,
}

/// With its folder.
struct Housed<'a>(Planned<'a>);

/// With its disk as well: all that the row will speak of is there.
struct Furnished<'a>(Planned<'a>);

impl<'a> Planned<'a> {
    async fn house(self) -> Result<Housed<'a>, Refusal> {
        let folder = self.agent.inner.folders.machine(self.id);
        let made = tokio::fs::create_dir(&folder).await;
        crash::point("folder-made");
        made.map_err(|error| made_nothing(&self.plan.name, error))?;
        Ok(Housed(self))
    }

    /// Undoes what was made so far.
    async fn unmake(&self) {
        self.agent.inner.folders.unmake(self.id).await;
    }
}

impl<'a> Housed<'a> {
    /// Disks of its own, so that the image stays as it is.
    async fn furnish(self, job: &Job) -> Result<Furnished<'a>, Refusal> {
        let Self(planned) = self;
        if let Err(refusal) = planned.plan.make_disks(job).await {
            planned.unmake().await;
            return Err(refusal);
        }
        crash::point("disk-made");
        Ok(Furnished(planned))
    }
}

impl Plan {
    async fn make_disks(&self, job: &Job) -> Result<(), Refusal> {
        if let Some(First { path, grown }) = &self.first {
            self.origin.make_disk(job, &self.name, path).await?;
            if let Some(bytes) = *grown {
                let grown = disk::grow(path, DiskFormat::Qcow2, bytes).await;
                grown.map_err(|error| no_disk(&self.name, error))?;
            }
        }
        for (path, bytes) in &self.empty {
            if let Some(folder) = path.parent() {
                let made = tokio::fs::create_dir_all(folder).await;
                made.map_err(|error| made_nothing(&self.name, error))?;
            }
            let Some(disks) = self.driver.disks() else { continue };
            let made = disks.create(path, DiskFormat::Qcow2, *bytes).await;
            made.map_err(|error| super::storage::said(&self.name, error))?;
        }
        Ok(())
    }
}

impl Furnished<'_> {
    /// Stores it and tells of it: from now on it is there.
    async fn welcome(self, job: &Job) -> Result<Arc<Machine>, Refusal> {
        let Self(planned) = &self;
        let Planned { agent, id, plan } = planned;
        let by = &job.by();
        let (definition, state) = (plan.definition.clone(), State::Stopped(Exit::Never));
        let driver = plan.driver.name();
        let record = Record::new(*id, plan.name.clone(), definition, driver, state, by.into());
        let change = Change {
            what: "machine.created",
            sentence: format!("{} was created.", record.name),
            by: Some(by.into()),
        };
        let machine = agent.welcome(record, Arc::clone(&plan.driver), change, Some(&job.permit)).await;
        crash::point("machine-stored");
        match machine {
            Ok(machine) => Ok(machine),
            Err(error) => {
                planned.unmake().await;
                Err(match error {
                    StoreError::Taken => task::taken(plan.name.as_str()).field("name"),
                    error => error.into(),
                })
            }
        }
    }
}

impl Agent {
    /// A machine that is new here. Who makes it by a right that was granted is made its owner with it;
    /// whoever the configuration gives a role has what that says.
    pub(super) async fn welcome(
        &self,
        record: Record,
        driver: Arc<dyn Driver>,
        change: Change,
        maker: Option<&Permit>,
    ) -> Result<Arc<Machine>, StoreError> {
        let _one = self.inner.ruling.lock().await;
        let owner = maker.filter(|permit| permit.is_granted()).map(|permit| owner(&record, permit));
        let (stored, number) = (owner.clone(), Arc::new(OnceLock::new()));
        let given = Arc::clone(&number);
        let write = move |connection: &_, record: &_| {
            rows::insert(connection, record)?;
            if let Some(owner) = stored {
                let _ = given.set(grants::insert(connection, &owner)?);
            }
            Ok(())
        };
        let card = Arc::new(Card::new(
            record,
            driver,
            &self.inner.folders,
            self.inner.networks.clone().into(),
            self.inner.devices.clone().into(),
        ));
        let machine = Arc::new(task::spawn(card, Arc::clone(&self.inner.publisher)));
        self.inner.publisher.welcome(Arc::clone(&machine), write, change).await?;
        // From here on it is there: nothing may fail any more.
        if let Some((owner, number)) = owner.zip(number.get().copied()) {
            self.change_rights(|rights| rights.grants.push(Grant { number, ..owner }));
            self.inner.publisher.rights_changed();
        }
        Ok(machine)
    }
}

fn owner(record: &Record, permit: &Permit) -> Grant {
    Grant {
        number: 0,
        whom: Whom::Person(permit.person()),
        what: vec![OWNER.to_owned()],
        on: vec![Scope::Machine(record.id)],
        forbids: false,
        until: None,
        because: Some("made it".to_owned()),
        by: Whom::Person(permit.person()),
        at: record.created_at,
        entry: record.id.0,
        from: None,
        set: None,
    }
}

/// Takes away what a create left that the agent's end interrupted.
pub(crate) async fn unbuild(inner: &Inner, id: MachineId) -> bool {
    inner.folders.unmake(id).await
}

fn no_disk(name: &MachineName, error: DriverError) -> Refusal {
    match error {
        DriverError::Unfit(why) => {
            Refusal::new(Reason::Conflict, format!("{name} could not be created: {why}.")).field("image")
        }
        error => reference::internal(&format!("{name} could not be created"), &error),
    }
}

fn made_nothing(name: &MachineName, error: std::io::Error) -> Refusal {
    match error.kind() {
        std::io::ErrorKind::StorageFull => StoreError::Full.into(),
        _ => reference::internal(&format!("{name} could not be created"), &error),
    }
}
