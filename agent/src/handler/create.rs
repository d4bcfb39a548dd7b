//! Create: a machine from an image, in phases, each with its undo.

mod origin;

use std::{path::Path, sync::Arc};

use hypervisor_core::{
    definition::{Definition, Disk, DiskFormat, Network, Nic},
    driver::{Driver, DriverError},
    lifecycle::{Exit, State},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::Changed,
};

use self::origin::Origin;
use super::{Handle, define::memory_mib};
use crate::{
    agent::{Agent, Inner},
    crash,
    dispatch::Job,
    machine::{Card, Do, Machine, Order, Record, publisher::Change, task},
    reference,
    store::{StoreError, machines as rows},
};

/// The overlay's name in a machine's folder.
const OVERLAY: &str = "disk.qcow2";

impl Handle<host::Create> for Agent {
    async fn handle(&self, job: &Job, command: host::Create) -> Result<Changed, Refusal> {
        let name = super::name(&command.name, "name")?;
        self.free(&name, "name").await?;
        let driver = self.inner.drivers.choose(command.driver.as_deref())?;
        // Until it stands on its image, no image goes.
        let held = self.inner.images.hold().await;
        let origin = self.origin(&command.image, command.full).await?;
        let memory_mib = memory_mib(&command.memory)?;
        let id = MachineId(job.id);
        let definition = define(&origin, memory_mib, command.vcpus, &self.inner.folders.machine(id));
        super::define::checked(&definition)?;
        job.say(format!("{name} is being made."));
        let planned = Planned { agent: self, id, name, definition, driver };
        let machine = planned.house().await?.furnish(job, &origin).await?.welcome(&job.by()).await?;
        drop(held);
        if command.start {
            return self.start_new(job, &machine).await;
        }
        let record = machine.record();
        Ok(self.changed(&record, format!("{} was created; \"start {0}\" starts it.", record.name)))
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
    name: MachineName,
    definition: Definition,
    driver: Arc<dyn Driver>,
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
        made.map_err(|error| made_nothing(&self.name, error))?;
        Ok(Housed(self))
    }

    /// Undoes what was made so far.
    async fn unmake(&self) {
        self.agent.inner.folders.unmake(self.id).await;
    }
}

impl<'a> Housed<'a> {
    /// A disk of its own, so that the image stays as it is.
    async fn furnish(self, job: &Job, origin: &Origin) -> Result<Furnished<'a>, Refusal> {
        let Self(planned) = self;
        if let Some(disk) = planned.definition.disks.first()
            && let Err(refusal) = origin.make_disk(job, &planned.name, &disk.path).await
        {
            planned.unmake().await;
            return Err(refusal);
        }
        crash::point("disk-made");
        Ok(Furnished(planned))
    }
}

impl Furnished<'_> {
    /// Stores it and tells of it: from now on it is there.
    async fn welcome(self, by: &str) -> Result<Arc<Machine>, Refusal> {
        let Self(planned) = &self;
        let agent = planned.agent;
        let (definition, state) = (planned.definition.clone(), State::Stopped(Exit::Never));
        let driver = planned.driver.name();
        let record = Record::new(planned.id, planned.name.clone(), definition, driver, state, by.into());
        let change = Change {
            what: "machine.created",
            sentence: format!("{} was created.", record.name),
            by: Some(by.into()),
        };
        let machine = agent.welcome(record, Arc::clone(&planned.driver), change).await;
        crash::point("machine-stored");
        match machine {
            Ok(machine) => Ok(machine),
            Err(error) => {
                planned.unmake().await;
                Err(match error {
                    StoreError::Taken => task::taken(planned.name.as_str()).field("name"),
                    error => error.into(),
                })
            }
        }
    }
}

impl Agent {
    /// A machine that is new here.
    pub(super) async fn welcome(
        &self,
        record: Record,
        driver: Arc<dyn Driver>,
        change: Change,
    ) -> Result<Arc<Machine>, StoreError> {
        let card = Arc::new(Card::new(
            record,
            driver,
            self.inner.folders.machines(),
            self.inner.networks.clone().into(),
        ));
        let machine = Arc::new(task::spawn(card, Arc::clone(&self.inner.publisher)));
        self.inner.publisher.welcome(Arc::clone(&machine), rows::insert, change).await?;
        Ok(machine)
    }
}

/// Takes away what a create left that the agent's end interrupted.
pub(crate) async fn unbuild(inner: &Inner, id: MachineId) -> bool {
    inner.folders.unmake(id).await
}

fn define(origin: &Origin, memory_mib: u64, vcpus: u32, folder: &Path) -> Definition {
    let overlay = || Disk::new(folder.join(OVERLAY), DiskFormat::Qcow2);
    let disks = origin.disk.iter().map(|_| overlay()).collect();
    let nics = vec![Nic::new(Network::default())];
    let mut definition =
        Definition { disks, nics, ..Definition::new(vcpus, memory_mib, origin.boot.clone()) };
    definition.name_all();
    definition
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
