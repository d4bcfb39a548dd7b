//! The destination: whether an offer is taken, what is made for it, and what is written down when a machine
//! arrives.

use std::{path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use hypervisor_core::{
    definition::{Definition, Disk, DiskFormat},
    driver::{
        Driver, Launch, Power,
        migrate::{Arrival, Copied},
    },
    handover::{Input, Message, Pass, Standing, Word, step},
    lifecycle::{Exit, Side, State},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::{
    command::{COMMANDS, Object},
    payload::migration::{Accepted, Offer, Plan},
};
use xmpp_parsers::jid::{BareJid, Jid};

mod devices;
mod networks;
mod reasons;

use self::reasons::{Reasons, copies, rooted};
use super::{
    Agent,
    journal::{About, Row, put, taken_out},
    passage::{Beginning, Options, Passage, of_task},
};
use crate::rights::{Subject, quota::Kind};
use crate::{
    handler::{
        allowed_files, host_memory_mib,
        quotas::{Room, Takes, of_definition},
    },
    machine::{Card, Edit, Order, Record, publisher::Change, task},
    store::{StoreError, definitions, machines as rows},
};

/// What becomes of an offer.
pub(super) struct Considered {
    pub(super) plan: Plan,
    /// The machine as it would be here.
    pub(super) record: Option<Record>,
    driver: Option<Arc<dyn Driver>>,
    /// Held in the quota of who made it, as long as it is on its way.
    room: Option<Room>,
}

impl Agent {
    /// Whether an offer would be taken, and how.
    pub(super) async fn consider(&self, id: MachineId, offer: &Offer) -> Considered {
        let mut reasons = Reasons::default();
        let config = self.config();
        if config.migration.listen.is_none() {
            reasons.add("it does not say where it can be reached (migration.listen in its agent's file)");
        }
        self.may(offer, &mut reasons);
        let driver = self.inner.drivers.enabled().iter().find(|driver| driver.name() == offer.driver);
        let driver = driver.filter(|driver| driver.probe().usable && driver.migrate().is_some()).cloned();
        if driver.is_none() {
            reasons.add(format!("it has no driver {} that can take machines", offer.driver));
        }
        if self.inner.machines.get(id).is_some() {
            reasons.add("it has the machine already");
        }
        let name = reasons.found(MachineName::new(&offer.name).map_err(|error| error.to_string()));
        if let Some(name) = &name
            && let Err(refusal) = self.free(name, "name").await
        {
            reasons.add(refusal.text.trim_end_matches('.').to_owned());
        }
        let definition = serde_json::from_value::<Definition>(offer.definition.clone());
        let definition =
            definition.map_err(|error| format!("it does not understand the definition: {error}"));
        let definition =
            definition.and_then(|one| one.check().map(|()| one).map_err(|error| error.to_string()));
        let mut plan = Plan { memory_free_mib: host_memory_mib().1, ..Plan::default() };
        let (mut record, mut room) = (None, None);
        if let (Some(definition), Some(name)) = (reasons.found(definition), name) {
            plan.address = self.addresses().machine(&name).to_string();
            plan.copies = copies(offer, &mut reasons);
            reasons::room(&config.state, &definition, offer, &plan, &mut reasons);
            room = self.of_its_maker(id, &definition, offer, &mut reasons).await;
            rooted(&definition, offer, &mut reasons);
            self.lends(&definition, offer, &mut reasons).await;
            let here = self.as_here(id, offer, &plan.copies, definition, name);
            self.connected(&here, offer, &mut reasons, &mut plan.notes).await;
            self.fits(&here, offer, driver.as_ref(), &mut reasons).await;
            record = Some(here);
        }
        plan.reasons = reasons.0;
        Considered { plan, record, driver, room }
    }

    /// Whether the person that the source names may bring machines here.
    fn may(&self, offer: &Offer, reasons: &mut Reasons) {
        let declaration = COMMANDS.iter().find(|one| one.object == Object::Machine && one.verb == "migrate");
        let allowed = BareJid::new(&offer.by).ok().zip(declaration);
        // Here it is no machine yet: a right to all of them is what counts.
        let may = |(person, declaration): (BareJid, _)| {
            self.rights().decide(&person, declaration, &Subject::Absent, Utc::now()).allowed
        };
        if !allowed.is_some_and(may) {
            reasons.add(format!("{} may not move machines to it", offer.by));
        }
    }

    /// Room in the quota that who made it has here.
    async fn of_its_maker(
        &self,
        id: MachineId,
        definition: &Definition,
        offer: &Offer,
        reasons: &mut Reasons,
    ) -> Option<Room> {
        let owner = BareJid::new(&offer.created.1).ok()?;
        let own = offer.disks.iter().filter(|disk| !disk.read_only);
        let disks = own.fold(0_u64, |sum, disk| sum.saturating_add(disk.size_bytes));
        let amount = of_definition(definition).with(Kind::Machines, 1).with(Kind::Disk, disks);
        match self.hold(Takes { owner, machine: id, amount }).await {
            Ok(room) => room,
            Err(refusal) => {
                reasons.add(refusal.text.trim_end_matches('.').to_owned());
                None
            }
        }
    }

    /// What only the machine as it would be here can tell.
    async fn fits(
        &self,
        record: &Record,
        offer: &Offer,
        driver: Option<&Arc<dyn Driver>>,
        reasons: &mut Reasons,
    ) {
        let launch = self.launch_of(record);
        if let Some(migrate) = driver.and_then(|driver| driver.migrate())
            && offer.live
        {
            let here = migrate.processor(&launch);
            if here != offer.processor {
                reasons.add(format!("its guests see another processor: {here}, not {}", offer.processor));
            }
        }
        if offer.driver == "fake" {
            return;
        }
        for file in &offer.files {
            if std::fs::metadata(&file.path).map_or(0, |found| found.len()) != file.size_bytes {
                reasons.add(format!("it does not have the same {} {}", file.what, file.path));
            }
        }
        let config = self.config();
        let mut named = record.definition.clone();
        named.disks.retain(|disk| !disk.path.starts_with(&launch.folder));
        let nothing = Definition::new(1, 1, hypervisor_core::definition::Boot::Disk);
        if let Err(refusal) = allowed_files(&config, &launch.folder, &nothing, &named).await {
            reasons.add(refusal.text.trim_end_matches('.').to_owned());
        }
    }

    /// The machine as it would be on this host.
    pub(super) fn as_here(
        &self,
        id: MachineId,
        offer: &Offer,
        copies: &[String],
        mut definition: Definition,
        name: MachineName,
    ) -> Record {
        let folder = self.inner.folders.machine(id);
        for (number, disk) in definition.disks.iter_mut().enumerate() {
            if copies.contains(&disk.name) {
                let path = match number {
                    0 => folder.join("disk.qcow2"),
                    _ => folder.join("disks").join(format!("{}.qcow2", disk.name)),
                };
                *disk = Disk { path, format: DiskFormat::Qcow2, ..disk.clone() };
            }
        }
        let created_at = DateTime::parse_from_rfc3339(&offer.created.0);
        let driver = self.inner.drivers.named_or_absent(&offer.driver).name();
        Record {
            id,
            name,
            definition,
            driver,
            wanted: serde_json::from_value(offer.wanted.clone())
                .unwrap_or(hypervisor_core::lifecycle::Wanted::Stopped),
            state: State::Migrating(Side::Destination),
            generation: offer.generation.saturating_add(1),
            labels: offer.labels.clone(),
            autostart: offer.autostart,
            protected: offer.protected,
            created_at: created_at.map_or_else(|_| Utc::now(), |at| at.to_utc()),
            created_by: offer.created.1.clone(),
            restarts: crate::machine::restarts::Restarts::default(),
            layers: crate::machine::layers::Layers::default(),
        }
    }

    pub(super) fn launch_of(&self, record: &Record) -> Launch {
        Launch {
            id: record.id,
            name: record.name.to_string(),
            definition: record.definition.clone(),
            folder: self.inner.folders.machine(record.id),
            own: Vec::new(),
            networks: self.inner.networks.clone().into(),
            devices: self.inner.devices.clone().into(),
        }
    }

    /// Takes an offer that nothing stands against.
    pub(super) async fn arrive(
        &self,
        from: &Jid,
        id: MachineId,
        standing: Standing,
        pass: Pass,
        offer: Offer,
        considered: Considered,
    ) {
        let (Some(record), Some(driver)) = (considered.record, considered.driver) else { return };
        let first = step(standing, Input::Heard(Message { word: Word::Offer, pass }));
        if !matches!(first.next, Standing::Preparing { .. }) {
            return self.refuse(from, id, pass, "it knows of a later owner of the machine");
        }
        let Some(hears) = self.inner.passages.begin(id, from) else {
            return self.refuse(from, id, pass, "too many machines are on their way");
        };
        let launch = self.launch_of(&record);
        let about = About { offer, copies: considered.plan.copies, address: considered.plan.address };
        let made = made_files(&launch, &about.copies);
        let row = Row { machine: id, standing, peer: from.clone(), about };
        let beginning = Beginning {
            row,
            side: Side::Destination,
            driver,
            launch,
            machine: None,
            storage: None,
            options: Options::default(),
            made,
            signs: vec![],
            room: considered.room,
        };
        let passage = Passage::new(self.clone(), beginning, hears);
        self.keep(passage.run(first));
    }
}

/// The files of the disks that are copied.
pub(super) fn made_files(launch: &Launch, copies: &[String]) -> Vec<PathBuf> {
    let goes = launch.definition.disks.iter().filter(|disk| copies.contains(&disk.name));
    goes.map(|disk| disk.path.clone()).collect()
}

impl Passage {
    /// What goes along with "accept".
    pub(super) fn accept_content(&self) -> String {
        let accepted = Accepted {
            place: serde_json::json!(self.place),
            copies: self.row.about.copies.clone(),
            address: self.row.about.address.clone(),
            authority: self.keys.as_ref().map(|keys| keys.authority.clone()).unwrap_or_default(),
        };
        serde_json::to_string(&accepted).unwrap_or_default()
    }

    /// What is waited for.
    pub(super) fn arrival(&self, pass: Pass) -> Result<Arrival, String> {
        let (config, offer) = (self.agent.config(), &self.row.about.offer);
        let listen = config.migration.listen.ok_or("it does not say where it can be reached")?;
        let keys = self.keys.as_ref().ok_or("no keys could be made")?;
        let folder = &self.launch.folder;
        std::fs::create_dir_all(folder.join("disks")).map_err(|error| error.to_string())?;
        let size =
            |disk: &Disk| offer.disks.iter().find(|one| one.name == disk.name).map(|one| one.size_bytes);
        let goes =
            self.launch.definition.disks.iter().filter(|disk| self.row.about.copies.contains(&disk.name));
        Ok(Arrival {
            attempt: pass.attempt,
            launch: self.launch.clone(),
            copied: goes
                .filter_map(|disk| Some(Copied { disk: disk.clone(), size_bytes: size(disk)? }))
                .collect(),
            live: offer.live,
            postcopy: offer.postcopy,
            keys: keys.with(&offer.authority),
            listen,
            ports: config.migration.ports,
        })
    }

    /// The destination's part of writing down.
    pub(super) async fn write_arriving(&mut self, row: &Row) -> Result<(), StoreError> {
        match row.standing {
            Standing::Received { .. } => self.comes(row).await,
            Standing::Taking { .. } => self.takes(row).await,
            Standing::Owner { .. } => {
                self.is_here().await?;
                self.put(row).await
            }
            Standing::Away { .. } => self.goes_back(row).await,
            _ => self.put(row).await,
        }
    }

    /// All of it is here: from now on it is in the list, held still, and nobody can start it.
    async fn comes(&mut self, row: &Row) -> Result<(), StoreError> {
        let about = &self.row.about;
        let name =
            MachineName::new(&self.launch.name).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let definition = self.launch.definition.clone();
        let record = self.agent.as_here(row.machine, &about.offer, &about.copies, definition, name.clone());
        let inner = &self.agent.inner;
        let (networks, devices) = (inner.networks.clone().into(), inner.devices.clone().into());
        let driver = Arc::clone(&self.driver);
        let card = Arc::new(Card::new(record, driver, &inner.folders, networks, devices));
        card.hand_over();
        self.storage = card.storage();
        let machine = Arc::new(task::spawn(card, Arc::clone(&self.agent.inner.publisher)));
        let change = Change {
            what: "machine.arriving",
            sentence: format!(
                "{name} has come from {}, and is held still until that host lets go of it.",
                self.row.peer
            ),
            by: Some(about.offer.by.clone()),
        };
        let (stored, history) = (row.clone(), about.offer.history.clone());
        let write = move |connection: &_, record: &Record| {
            for past in &history {
                let definition = serde_json::from_value::<Definition>(past.definition.clone());
                if let Ok(definition) = definition {
                    definitions::append(connection, record.id, &past.who, &past.what, &definition)?;
                }
            }
            rows::insert(connection, record)?;
            put(connection, &stored)
        };
        self.agent.inner.publisher.welcome(Arc::clone(&machine), write, change).await?;
        self.machine = Some(machine);
        Ok(())
    }

    /// It is ours: what it does is seen, and told.
    async fn is_here(&mut self) -> Result<(), StoreError> {
        let Some(machine) = &self.machine else { return Ok(()) };
        let record = machine.record();
        let state = match self.driver.observe(&self.launch).await.map(|seen| seen.power) {
            Ok(Power::Running) => State::Running,
            Ok(Power::Paused) => State::Paused,
            Ok(Power::Crashed(cause)) => State::Failed(cause),
            Ok(Power::Off) | Err(_) => State::Stopped(Exit::Found),
        };
        let sentence = format!("{} came from {}, and is {}.", record.name, self.row.peer, state.word());
        let change = Change { what: "machine.arrived", sentence, by: Some(self.row.about.offer.by.clone()) };
        let becomes = Edit::Become(Box::new(state), change);
        let edited = machine.order(|reply| Order::Edit { edit: becomes, by: None, reply }).await;
        edited.map_err(of_task)?;
        self.agent.name_in_use(&record.name).await
    }

    /// It stays the source's: nothing of it is left here.
    async fn goes_back(&mut self, row: &Row) -> Result<(), StoreError> {
        match self.machine.take() {
            Some(machine) => {
                let change = Change {
                    what: "machine.not-arrived",
                    sentence: format!("{} stays on {}.", self.launch.name, self.row.peer),
                    by: None,
                };
                let stored = row.clone();
                let leave = move |connection: &_| taken_out(connection, &stored);
                self.agent.inner.publisher.depart(&machine.card, leave, change, None).await?;
            }
            None => self.put(row).await?,
        }
        self.agent.inner.folders.unmake(row.machine).await;
        Ok(())
    }
}
