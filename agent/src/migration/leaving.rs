//! The source: what is offered, and what is written down when a machine leaves.

use std::{path::Path, sync::Arc};

use hypervisor_core::{
    definition::{Boot, Disk, Media},
    driver::{
        DriverError,
        migrate::{Copied, Departure},
    },
    handover::{Attempt, Input, Pass, Standing, step},
    lifecycle::{Side, State},
    machine::{MachineId, MachineName},
};
use serde_json::json;
use skerry_stanzas::{
    payload::{
        Handover,
        migration::{Offer, OfferedDisk, OfferedFile, Past, Plan, Storage},
    },
    refusal::{Reason, Refusal},
};
use tokio::sync::{OwnedMutexGuard, watch};
use uuid::Uuid;
use xmpp_parsers::jid::Jid;

use super::{
    Agent, PLAN, Unheard, WATCHERS_MAX,
    journal::{About, Row, gone},
    passage::{Beginning, Heard, Options, Passage, View, of_task},
    rights,
};
use crate::{
    handler::{disks::files, storage::busy},
    machine::{Edit, Machine, Order, Record, publisher::Change, task, wording},
    reference,
    store::{StoreError, definitions},
};

/// As much of what a machine was made of before goes along, in bytes.
const HISTORY_BYTES_MAX: usize = 48 * 1024;

/// A machine that is about to leave: looked at, and held.
pub(crate) struct Leaving {
    pub(crate) machine: Arc<Machine>,
    pub(crate) offer: Offer,
    pub(crate) to: Jid,
    storage: OwnedMutexGuard<()>,
    copied: Vec<Copied>,
    signs: Vec<Sign>,
}

impl Agent {
    /// The host that is called so, by its name in `[peers]` or its address.
    pub(crate) fn peer(&self, name: &str) -> Result<Jid, Refusal> {
        let config = self.config();
        let found = config.peers.get(name).or_else(|| config.peers.values().find(|jid| jid.as_str() == name));
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = config.peers.keys().map(String::as_str).collect();
            let refusal =
                Refusal::new(Reason::NotFound, format!("{name:?} is no host that machines move to."));
            refusal.field("to").hint(match names.as_slice() {
                [] => "The agent's configuration names them: [peers] kvm2 = \"kvm2.example.org\".".into(),
                names => format!("There is: {}.", names.join(", ")),
            })
        })
    }

    /// Looks at a machine that is to leave, and holds its storage.
    pub(crate) async fn leaving(
        &self,
        machine: &Arc<Machine>,
        by: &str,
        to: &Jid,
        storage: Storage,
        postcopy: bool,
    ) -> Result<Leaving, Refusal> {
        let name = machine.record().name.clone();
        let held = machine.card.storage().ok_or_else(|| busy(&name))?;
        let record = machine.record();
        let live = match &record.state {
            State::Running | State::Paused => true,
            State::Stopped(_) => false,
            state => {
                let text = format!("{} It cannot be moved now.", wording::is(&record.name, state));
                return Err(Refusal::new(Reason::Conflict, text).hint("Wait until it is running or stopped."));
            }
        };
        let migrate = machine.card.driver.migrate().ok_or_else(|| {
            Refusal::new(Reason::NotSupported, format!("The driver {} cannot move machines.", record.driver))
        })?;
        if let [first, ..] = record.layers.snapshots.as_slice() {
            let text = format!("{} has external snapshots, which would not go along.", record.name);
            return Err(Refusal::new(Reason::Conflict, text)
                .hint(format!("\"snapshot delete {}\" deletes one.", first.name)));
        }
        machine.card.stands_on_its_own_ground(&record, &self.inner.machines)?;
        let disks = self.offered_disks(machine, &record).await?;
        let launch = machine.card.launch();
        let offer = Offer {
            name: record.name.to_string(),
            by: by.to_owned(),
            driver: record.driver.to_owned(),
            processor: if live { migrate.processor(&launch) } else { String::new() },
            definition: json!(record.definition),
            wanted: json!(record.wanted),
            labels: record.labels.clone(),
            autostart: record.autostart,
            protected: record.protected,
            generation: record.generation,
            created: (record.created_at.to_rfc3339(), record.created_by.clone()),
            history: self.history(&record).await?,
            live,
            paused: record.state == State::Paused,
            postcopy: postcopy && live,
            storage,
            files: files_of(&record)?,
            disks,
            addresses: self.inner.networks.lent(record.id, &record.definition.nics),
            grants: self
                .inner
                .store
                .run({
                    let id = record.id;
                    move |connection| rights::of(connection, id)
                })
                .await?,
            watchers: self.watchers(record.id),
            authority: String::new(),
        };
        Ok(Leaving {
            machine: Arc::clone(machine),
            offer,
            to: to.clone(),
            storage: held,
            copied: vec![],
            signs: vec![],
        })
    }

    async fn offered_disks(&self, machine: &Machine, record: &Record) -> Result<Vec<OfferedDisk>, Refusal> {
        let driver = &machine.card.driver;
        let seen = match driver.disks() {
            Some(disks) => disks.list(&machine.card.launch()).await,
            None => Ok(vec![]),
        };
        let seen = seen.map_err(|error| cannot(&record.name, &error))?;
        let mut offered = Vec::new();
        for disk in &record.definition.disks {
            let file = seen.iter().find(|seen| seen.name == disk.name).and_then(|seen| seen.file.as_ref());
            let Some(file) = file else {
                let text = format!("The disk {} of {} cannot be read.", disk.name, record.name);
                return Err(Refusal::new(Reason::Conflict, text));
            };
            offered.push(OfferedDisk {
                name: disk.name.clone(),
                size_bytes: file.size_bytes,
                path: disk.path.display().to_string(),
                own: files::is_own(&machine.card.folder, &disk.path),
                read_only: disk.read_only || disk.media == Media::Cd,
                sign: None,
            });
        }
        Ok(offered)
    }

    fn watchers(&self, id: MachineId) -> Vec<String> {
        let watchers = self.inner.passages.peers().map(|peers| peers.watchers(id)).unwrap_or_default();
        watchers.iter().take(WATCHERS_MAX).map(ToString::to_string).collect()
    }

    /// What it was made of before, the newest as far as there is room.
    async fn history(&self, record: &Record) -> Result<Vec<Past>, Refusal> {
        let id = record.id;
        let found = self.inner.store.run(move |connection| {
            let kept = definitions::list(connection, id)?;
            let with = kept.into_iter().map(|kept| {
                let definition = definitions::one(connection, id, kept.number)?;
                Ok((kept.who, kept.what, definition))
            });
            with.collect::<Result<Vec<_>, StoreError>>()
        });
        let (mut history, mut room) = (Vec::new(), HISTORY_BYTES_MAX);
        for (who, what, definition) in found.await?.into_iter().rev() {
            let past = Past { who, what, definition: json!(definition) };
            let takes = serde_json::to_string(&past).map_or(usize::MAX, |text| text.len());
            let Some(left) = room.checked_sub(takes) else { break };
            room = left;
            history.insert(0, past);
        }
        Ok(history)
    }
}

/// Files of the host besides its disks.
fn files_of(record: &Record) -> Result<Vec<OfferedFile>, Refusal> {
    let Boot::Kernel { kernel, initrd, .. } = &record.definition.boot else { return Ok(vec![]) };
    let named = std::iter::once(("kernel", kernel)).chain(initrd.iter().map(|initrd| ("initrd", initrd)));
    let offered = named.map(|(what, path)| {
        // What a driver that runs nothing boots need not be there.
        let size_bytes = std::fs::metadata(path).map_or(0, |found| found.len());
        OfferedFile { what: what.into(), path: path.display().to_string(), size_bytes }
    });
    Ok(offered.collect())
}

/// A file beside a disk, by which the other host sees whether it has the same folder. Gone when dropped.
pub(super) struct Sign(std::path::PathBuf);

impl Drop for Sign {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn sign(disk: &mut OfferedDisk) -> Option<Sign> {
    let path = Path::new(&disk.path).parent()?.join(format!(".skerry-{}", Uuid::new_v4()));
    let said = Uuid::new_v4().to_string();
    std::fs::write(&path, &said).ok()?;
    disk.sign = Some((path.display().to_string(), said));
    Some(Sign(path))
}

/// Takes away the signs that an interrupted move left.
pub(super) fn forget_signs(offer: &Offer) {
    for (path, _) in offer.disks.iter().filter_map(|disk| disk.sign.as_ref()) {
        drop(Sign(path.into()));
    }
}

impl Leaving {
    pub(crate) fn name(&self) -> &str {
        &self.offer.name
    }

    /// Asks the other host what would become of it; its reasons are a refusal.
    pub(crate) async fn plan(&mut self, agent: &Agent) -> Result<Plan, Refusal> {
        if self.offer.storage != Storage::Copy {
            let shared = self.offer.disks.iter_mut().filter(|disk| !disk.own && !disk.read_only);
            self.signs = shared.filter_map(sign).collect();
        }
        let word = Handover {
            word: PLAN.into(),
            machine: self.machine.card.id.to_string(),
            attempt: Uuid::new_v4().to_string(),
            epoch: 2,
            content: serde_json::to_string(&self.offer).unwrap_or_default(),
        };
        let peers = agent.inner.passages.peers().ok_or_else(|| no_link(&self.to))?;
        let plan = peers.plan(&self.to, word).await.map_err(|error| self.unheard(&error))?;
        if !plan.reasons.is_empty() {
            let text = format!("{} does not take {}: {}.", self.to, self.name(), plan.reasons.join("; "));
            return Err(Refusal::new(Reason::Conflict, text));
        }
        let record = self.machine.record();
        self.copied = copied(&record, &self.offer, &plan.copies);
        let migrate = self.machine.card.driver.migrate();
        if let Some(migrate) = migrate {
            let movable = migrate.movable(&self.machine.card.launch(), self.offer.live, &self.copied).await;
            movable.map_err(|error| cannot(&record.name, &error))?;
        }
        Ok(plan)
    }

    fn unheard(&self, error: &Unheard) -> Refusal {
        match error {
            Unheard::Refused(why) => Refusal::new(Reason::Conflict, format!("{}: {why}", self.to)),
            Unheard::Lost => no_link(&self.to),
        }
    }

    /// Sets it on its way. What becomes of it is seen in what is answered.
    pub(crate) async fn begin(
        mut self,
        agent: &Agent,
        plan: &Plan,
        options: Options,
    ) -> Result<(MachineId, watch::Receiver<View>), Refusal> {
        let id = self.machine.card.id;
        let Some(hears) = agent.inner.passages.begin(id, &self.to) else {
            let text = format!("{} is on its way already, or too many machines are.", self.name());
            return Err(Refusal::new(Reason::Conflict, text).hint("Wait until it has moved."));
        };
        let epoch = match agent.row(id).await? {
            Some(Row { standing: Standing::Owner { epoch }, .. }) => epoch,
            _ => 1,
        };
        let sentence = format!("{} is moving to {}.", self.name(), self.to);
        let change = Change { what: "machine.moving", sentence, by: Some(self.offer.by.clone()) };
        let becomes = Edit::Become(Box::new(State::Migrating(Side::Source)), change);
        let edited = self.machine.order(|reply| Order::Edit { edit: becomes, by: None, reply }).await;
        if let Err(refusal) = edited {
            agent.inner.passages.end(id);
            return Err(refusal);
        }
        self.offer.generation = self.machine.record().generation;
        let about = About { offer: self.offer, copies: plan.copies.clone(), address: plan.address.clone() };
        let row = Row { machine: id, standing: Standing::Owner { epoch }, peer: self.to, about };
        let beginning = Beginning {
            row,
            side: Side::Source,
            driver: Arc::clone(&self.machine.card.driver),
            launch: self.machine.card.launch(),
            machine: Some(self.machine),
            storage: Some(self.storage),
            options,
            made: vec![],
            signs: self.signs,
            room: None,
        };
        let passage = Passage::new(agent.clone(), beginning, hears);
        let view = passage.watch();
        let begin = step(Standing::Owner { epoch }, Input::Move(Attempt(Uuid::new_v4())));
        agent.keep(passage.run(begin));
        Ok((id, view))
    }
}

impl Agent {
    /// Calls a move off, if that can still be done.
    pub(crate) fn call_off_move(&self, id: MachineId) {
        self.inner.passages.tell(id, Heard::CallOff);
    }
}

fn no_link(to: &Jid) -> Refusal {
    Refusal::new(Reason::Unavailable, format!("{to} does not answer."))
        .hint("See whether its agent runs, and whether it names this host in its [peers].")
}

pub(super) fn cannot(name: &MachineName, error: &DriverError) -> Refusal {
    match error {
        DriverError::Unfit(why) => Refusal::new(Reason::Conflict, format!("{name} cannot be moved: {why}.")),
        error => reference::internal(&format!("{name} cannot be moved"), error),
    }
}

/// The disks whose contents go along.
pub(super) fn copied(record: &Record, offer: &Offer, copies: &[String]) -> Vec<Copied> {
    let size = |disk: &Disk| offer.disks.iter().find(|one| one.name == disk.name).map(|one| one.size_bytes);
    let goes = record.definition.disks.iter().filter(|disk| copies.contains(&disk.name));
    goes.filter_map(|disk| Some(Copied { disk: disk.clone(), size_bytes: size(disk)? })).collect()
}

impl Passage {
    /// What goes along with an offer.
    pub(super) fn offer_content(&self) -> String {
        let mut offer = self.row.about.offer.clone();
        offer.authority = self.keys.as_ref().map(|keys| keys.authority.clone()).unwrap_or_default();
        serde_json::to_string(&offer).unwrap_or_default()
    }

    /// What is sent, and where to.
    pub(super) fn departure(&self, pass: Pass) -> Result<Departure, String> {
        let accepted = self.accepted.as_ref().ok_or("the other host did not say where")?;
        let keys = self.keys.as_ref().ok_or("no keys could be made")?;
        let place = serde_json::from_value(accepted.place.clone())
            .map_err(|_| "what the other host says of where makes no sense")?;
        if accepted.copies != self.row.about.copies {
            return Err("the other host has another plan by now".into());
        }
        let record = self.machine.as_ref().map(|machine| machine.record()).ok_or("it is not here")?;
        Ok(Departure {
            attempt: pass.attempt,
            launch: self.launch.clone(),
            copied: copied(&record, &self.row.about.offer, &accepted.copies),
            live: self.row.about.offer.live,
            place,
            keys: keys.with(&accepted.authority),
            bytes_per_second: self.options.bytes_per_second,
            postcopy: self.row.about.offer.postcopy,
        })
    }

    /// The source's part of writing down.
    pub(super) async fn write_leaving(&mut self, row: &mut Row) -> Result<(), StoreError> {
        match row.standing {
            Standing::Away { .. } => self.goes(row).await,
            Standing::HandedOver { .. } => self.hands_over(row).await,
            _ => self.put(row).await,
        }
    }

    /// It runs on here, or whatever it does: seen once nothing is done to it any more.
    pub(super) async fn stays(&self) -> Result<(), StoreError> {
        let Some(machine) = &self.machine else { return Ok(()) };
        let record = machine.record();
        if !matches!(record.state, State::Migrating(_)) {
            return Ok(());
        }
        let was = if self.row.about.offer.live {
            State::Running
        } else {
            State::Stopped(hypervisor_core::lifecycle::Exit::Found)
        };
        let state = match machine.card.driver.observe(&machine.card.launch()).await {
            Ok(seen) => task::observed_state(&was, &seen),
            Err(error) => State::Failed(hypervisor_core::lifecycle::Cause(wording::cause(&error))),
        };
        let why = self.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let sentence = format!("{} stays on this host{why}.", record.name);
        let change = Change { what: "machine.stayed", sentence, by: None };
        let becomes = Edit::Become(Box::new(state), change);
        let edited = machine.order(|reply| Order::Edit { edit: becomes, by: None, reply }).await;
        edited.map(drop).map_err(of_task)
    }

    /// It is gone from here: its row, its folder; its name says where it went.
    async fn goes(&self, row: &Row) -> Result<(), StoreError> {
        let (name, address) = (self.launch.name.clone(), self.row.about.address.clone());
        let name = MachineName::new(name).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let address = Jid::new(&address).unwrap_or_else(|_| self.row.peer.clone());
        if let Some(machine) = &self.machine {
            let own = if address == self.row.peer { String::new() } else { format!(": {address}") };
            let change = Change {
                what: "machine.moved",
                sentence: format!("{name} moved to {}{own}.", self.row.peer),
                by: Some(self.row.about.offer.by.clone()),
            };
            let inner = &self.agent.inner;
            let _one = inner.ruling.lock().await;
            let id = row.machine;
            let saw = inner.store.run(move |connection| rights::saw(connection, id)).await?;
            inner.passages.moved_away(&name, &address, saw.clone());
            let (stored, named, to) = (row.clone(), name.clone(), address.clone());
            let depart = move |connection: &_| gone(connection, &stored, &named, &to, &saw);
            inner.publisher.depart(&machine.card, depart, change, Some(address)).await?;
            self.agent.change_rights(|rights| rights.leave(id));
            inner.publisher.rights_changed();
        } else {
            self.put(row).await?;
        }
        self.agent.inner.folders.unmake(self.row.machine).await;
        Ok(())
    }
}
