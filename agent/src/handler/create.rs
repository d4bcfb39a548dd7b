//! Create: a machine from an image, in phases, each with its undo.

use std::{path::Path, sync::Arc};

use hypervisor_core::{
    definition::{Boot, Definition, Disk, DiskFormat, Network, Nic},
    driver::{Driver, DriverError, disk},
    lifecycle::{Exit, State, Wanted},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{Changed, ImageLine},
    words::nearest,
};

use super::{Handle, define::memory_mib};
use crate::{
    agent::{Agent, Inner},
    config::{Config, Image},
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
        let config = self.config();
        let image = image(&config, &command.image)?;
        let memory_mib = memory_mib(&command.memory)?;
        let id = MachineId(job.id);
        let definition = define(image, memory_mib, command.vcpus, &self.inner.folders.machine(id));
        super::define::checked(&definition)?;
        job.say(format!("{name} is being made."));
        let planned = Planned { agent: self, id, name, definition, driver };
        let machine = planned.house().await?.furnish(image).await?.welcome(&job.by()).await?;
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
    /// A disk of its own: an overlay, so that the image stays as it is.
    async fn furnish(self, image: &Image) -> Result<Furnished<'a>, Refusal> {
        let Self(planned) = self;
        if let (Some(base), Some(disk)) = (&image.disk, planned.definition.disks.first())
            && let Err(error) = disk::overlay(base, &disk.path).await
        {
            planned.unmake().await;
            return Err(no_disk(&planned.name, error));
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
        let record = Record {
            id: planned.id,
            name: planned.name.clone(),
            definition: planned.definition.clone(),
            driver: planned.driver.name(),
            wanted: Wanted::Stopped,
            state: State::Stopped(Exit::Never),
            generation: 1,
            labels: vec![],
            autostart: false,
            protected: false,
            created_at: chrono::Utc::now(),
            created_by: by.into(),
        };
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
        let card = Arc::new(Card::new(record, driver, self.inner.folders.machines()));
        let machine = Arc::new(task::spawn(card, Arc::clone(&self.inner.publisher)));
        self.inner.publisher.welcome(Arc::clone(&machine), rows::insert, change).await?;
        Ok(machine)
    }
}

/// Takes away what a create left that the agent's end interrupted.
pub(crate) async fn unbuild(inner: &Inner, id: MachineId) -> bool {
    inner.folders.unmake(id).await
}

fn image<'a>(config: &'a Config, name: &str) -> Result<&'a Image, Refusal> {
    config.images.get(name).ok_or_else(|| {
        let refusal = Refusal::new(Reason::NotFound, format!("There is no image {name:?} on this host."))
            .field("image");
        let names: Vec<&str> = config.images.keys().map(String::as_str).collect();
        match nearest(name, names.iter().copied()) {
            Some(near) => refusal.hint(format!("Did you mean {near}?")),
            None if names.is_empty() => {
                refusal.hint("It has none: add [images.NAME] to the agent's configuration.")
            }
            None => refusal.hint(format!("There is: {}.", names.join(", "))),
        }
    })
}

fn define(image: &Image, memory_mib: u64, vcpus: u32, folder: &Path) -> Definition {
    let boot = match &image.kernel {
        Some(kernel) => Boot::Kernel {
            kernel: kernel.clone(),
            initrd: image.initrd.clone(),
            cmdline: image.cmdline.clone(),
        },
        None => Boot::Disk,
    };
    let overlay = || Disk::new(folder.join(OVERLAY), DiskFormat::Qcow2);
    let disks = image.disk.iter().map(|_| overlay()).collect();
    let nics = vec![Nic::new(Network::default())];
    let mut definition = Definition { disks, nics, ..Definition::new(vcpus, memory_mib, boot) };
    definition.name_all();
    definition
}

/// The images, for a list.
pub(crate) fn image_lines(config: &Config) -> Vec<ImageLine> {
    let mib = |path: &Option<std::path::PathBuf>| {
        path.as_ref().and_then(|path| path.metadata().ok()).map_or(0, |file| file.len())
    };
    config
        .images
        .iter()
        .map(|(name, image)| ImageLine {
            name: name.clone(),
            kind: if image.kernel.is_some() { "kernel" } else { "disk" }.into(),
            size_mib: (mib(&image.kernel) + mib(&image.initrd) + mib(&image.disk)).div_ceil(1 << 20),
            about: image.about.clone(),
        })
        .collect()
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
