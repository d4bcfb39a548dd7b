//! What a person can ask of a target now, and what a form can offer them to choose from.

use hypervisor_core::{
    lifecycle::{Request, admit},
    machine::MachineName,
};
use skerry_stanzas::{
    command::{COMMANDS, Declaration, Object, argument::Takes},
    natural::natural,
};
use xmpp_parsers::jid::BareJid;

use super::Agent;
use crate::{
    asked::Target,
    handler,
    images::Places,
    machine::{Card, Machine, Record, wording::STATE_WORDS},
    rights::Subject,
};

impl Agent {
    /// The commands for this kind of object that this person may give at all. Some of them may make no
    /// sense now; that is for the object itself to say.
    pub fn permitted(&self, person: &BareJid, object: Object) -> Vec<&'static Declaration> {
        let of_object = COMMANDS.iter().filter(|declaration| declaration.object == object);
        of_object.filter(|declaration| self.permits(person, declaration)).collect()
    }

    /// The commands this person can give this target now: permitted, within the driver's
    /// capabilities, and sensible in the machine's state.
    pub fn offered(&self, person: &BareJid, target: &Target) -> Vec<&'static Declaration> {
        COMMANDS.iter().filter(|declaration| self.offers(person, target, declaration)).collect()
    }

    /// Whether this is among what is [`Agent::offered`].
    pub fn offers(&self, person: &BareJid, target: &Target, declaration: &Declaration) -> bool {
        let sensible = match target {
            Target::Host => declaration.object == Object::Host,
            Target::Machine(name) => {
                declaration.object == Object::Machine
                    && self.inner.machines.named(name).is_some_and(|machine| sensible(&machine, declaration))
            }
        };
        sensible && self.allows(person, declaration, target)
    }

    /// What this person can do to at least one machine, in the order of the manual.
    pub fn offered_on_any(&self, person: &BareJid) -> Vec<&'static Declaration> {
        let machines = self.seen_by(person);
        let fits = |machine: &Machine, declaration: &Declaration| {
            sensible(machine, declaration)
                && self.allows(person, declaration, &Target::Machine(machine.record().name.clone()))
        };
        let mut permitted = self.permitted(person, Object::Machine);
        permitted.retain(|declaration| machines.iter().any(|machine| fits(machine, declaration)));
        permitted
    }

    /// The machines this person may see.
    pub(crate) fn seen_by(&self, person: &BareJid) -> Vec<std::sync::Arc<Machine>> {
        let (rights, now) = (self.rights(), chrono::Utc::now());
        let mut machines = self.inner.machines.all();
        if rights.standing(person, now).is_none() {
            machines.retain(|machine| rights.sees(person, &Subject::Machine(&machine.record()), now));
        }
        machines
    }

    /// Real choices for an argument (images, drivers, machines in the trash), empty when it is free.
    pub async fn choices(
        &self,
        person: &BareJid,
        declaration: &'static Declaration,
        argument: &str,
        target: &Target,
    ) -> Vec<String> {
        match (declaration.object, declaration.verb, argument) {
            (Object::Host, "create", "image") | (Object::Host, "image-info", "name") => {
                self.image_names().await
            }
            (Object::Host, "image-rename" | "image-delete" | "image-export" | "image-share", "name") => {
                self.kept_image_names().await
            }
            (Object::Host, "image-pull", "name") => self.inner.images.catalogues.names(),
            (Object::Host, "image-pull", "catalogue") => self.config().catalogues.keys().cloned().collect(),
            (Object::Host, "create", "network")
            | (Object::Host, "network-info" | "network-define" | "network-delete", "name") => {
                self.network_names().await
            }
            (Object::Host, "image-import", "source") => Places::of(&self.config()).offered(),
            (Object::Machine, "define", "cd") => {
                self.cd_names().await.into_iter().chain([handler::NO_CD.to_owned()]).collect()
            }
            (Object::Host, "create", "driver") => {
                let usable = self.inner.drivers.enabled().iter().filter(|driver| driver.probe().usable);
                usable.map(|driver| driver.name().to_owned()).collect()
            }
            (Object::Host, "list", "state") => STATE_WORDS.iter().map(|word| (*word).to_owned()).collect(),
            (Object::Host, "list", "label") => {
                self.labels(self.seen_by(person).iter().map(|machine| machine.record()))
            }
            (Object::Host, "undelete", "name") => self.trash_names().await,
            (Object::Host, "adopt", "name") => self.foreign_names().await,
            (_, "migrate" | "evacuate" | "image-share", "to") => {
                self.config().peers.keys().cloned().collect()
            }
            (Object::Host, "job-cancel", "id") => {
                self.inner.going.all().iter().map(|going| going.code.clone()).collect()
            }
            (_, _, "machine") => {
                self.seen_by(person).iter().map(|machine| machine.record().name.to_string()).collect()
            }
            (Object::Host, "may" | "who-can", "what") => verbs(),
            (Object::Host, "role-show", "name") => self.rights().role_names(),
            (Object::Host, "role-delete", "name") => self.rights().defined.keys().cloned().collect(),
            (_, "device-map", "device") => self.nameless_devices().await,
            (_, "device-unmap" | "device-attach", "name") => self.device_names().await,
            (Object::Machine, verb, argument) => match self.choices_of(target, verb, argument) {
                Some(choices) => choices,
                None => words(declaration, argument),
            },
            _ => words(declaration, argument),
        }
    }

    /// What a machine has of what an argument names; none where it names nothing of it.
    fn choices_of(&self, target: &Target, verb: &str, argument: &str) -> Option<Vec<String>> {
        Some(match (verb, argument) {
            ("disk-detach" | "disk-resize" | "disk-move", "name") => {
                let record = self.record_of(target);
                let disks = record.iter().flat_map(|record| &record.definition.disks);
                disks.map(|disk| disk.name.clone()).collect()
            }
            ("nic-up" | "nic-down", "name") => self.nics(target),
            ("firewall-remove", "rule") => self.rules(target),
            ("disk-delete", "name") | ("disk-attach", "what") => self.detached_disks(target),
            ("snapshot-revert" | "snapshot-delete", "name") => {
                let card = self.card_of(target);
                let notes = card.map(|card| handler::snapshots::notes::Notes::read(&card.folder));
                notes.into_iter().flat_map(|notes| notes.snapshots.into_keys()).collect()
            }
            ("snapshot-unschedule", "name") => {
                let card = self.card_of(target);
                let schedules = card.map(|card| handler::snapshots::schedules::Schedules::read(&card.folder));
                schedules.into_iter().flat_map(|schedules| schedules.0.into_keys()).collect()
            }
            ("device-detach", "name") => {
                let record = self.record_of(target);
                let devices = record.iter().flat_map(|record| &record.definition.devices);
                devices.map(|device| device.name.clone()).collect()
            }
            ("label", "remove") => self.labels(self.record_of(target).into_iter()),
            _ => return None,
        })
    }

    /// The present value of an argument, where a form should show it (define: memory and so on).
    pub async fn present(
        &self,
        declaration: &'static Declaration,
        argument: &str,
        target: &Target,
    ) -> Option<String> {
        use hypervisor_core::definition::Boot;
        if declaration.object != Object::Machine {
            return None;
        }
        let record = self.record_of(target)?;
        let on_off = |on: bool| Some(if on { "on" } else { "off" }.to_owned());
        match (declaration.verb, argument) {
            ("define", "memory") => Some(format!("{}M", record.definition.memory_mib)),
            ("define", "memory-max") => Some(format!("{}M", record.definition.memory_room_mib())),
            ("define", "vcpus-max") => Some(record.definition.vcpus_room().to_string()),
            ("define", "vcpus") => Some(record.definition.vcpus.to_string()),
            ("define", "note") => record.definition.note.clone(),
            ("define", "restart") => Some(record.definition.restart.word().into()),
            ("define", "order") => {
                let order = record.definition.startup.order;
                Some(order.map_or_else(|| "last".into(), |order| order.to_string()))
            }
            ("define", "delay") => Some(format!("{}s", record.definition.startup.delay_seconds)),
            ("define", "toml") => Some(record.definition.to_toml()),
            ("define", "cmdline") => match &record.definition.boot {
                Boot::Kernel { cmdline, .. } => Some(cmdline.clone()),
                Boot::Disk => None,
            },
            ("rename", "to") => Some(record.name.to_string()),
            ("autostart", "set") => on_off(record.autostart),
            ("protect", "set") => on_off(record.protected),
            _ => None,
        }
    }

    fn record_of(&self, target: &Target) -> Option<std::sync::Arc<Record>> {
        let Target::Machine(name) = target else { return None };
        self.inner.machines.named(name).map(|machine| machine.record())
    }

    fn card_of(&self, target: &Target) -> Option<std::sync::Arc<Card>> {
        let Target::Machine(name) = target else { return None };
        self.inner.machines.named(name).map(|machine| std::sync::Arc::clone(&machine.card))
    }

    fn nics(&self, target: &Target) -> Vec<String> {
        let record = self.record_of(target);
        let nics = record.iter().flat_map(|record| &record.definition.nics);
        nics.map(|nic| nic.name.clone()).collect()
    }

    /// The rules that can be taken away, in their words.
    fn rules(&self, target: &Target) -> Vec<String> {
        let record = self.record_of(target);
        let rules = record.iter().flat_map(|record| &record.definition.firewall);
        rules.map(ToString::to_string).chain([handler::ALL_RULES.to_owned()]).collect()
    }

    fn detached_disks(&self, target: &Target) -> Vec<String> {
        let Some(card) = self.card_of(target) else { return Vec::new() };
        let found = handler::disks::files::detached(&card.folder, &card.record());
        found.into_iter().map(|one| one.name).collect()
    }

    fn labels(&self, records: impl Iterator<Item = std::sync::Arc<Record>>) -> Vec<String> {
        let mut labels: Vec<String> = records.flat_map(|record| record.labels.clone()).collect();
        labels.sort();
        labels.dedup();
        labels
    }

    async fn trash_names(&self) -> Vec<String> {
        let trash = self.trashed().await.unwrap_or_default();
        let mut names: Vec<MachineName> = trash.into_iter().map(|one| one.stored.record.name).collect();
        names.sort_by(|one, other| natural(one.as_str(), other.as_str()));
        names.dedup();
        names.into_iter().map(String::from).collect()
    }

    async fn foreign_names(&self) -> Vec<String> {
        let found = self.foreign().await.unwrap_or_default();
        found.into_iter().map(|(_, foreign)| foreign.name).collect()
    }
}

/// Whether it makes sense to ask this of the machine now.
fn sensible(machine: &Machine, declaration: &Declaration) -> bool {
    let record = machine.record();
    let has = match declaration.needs {
        Some("screen") => record.definition.graphics && record.state.has_guest(),
        Some("guest-agent") => record.definition.guest_agent && record.state.has_guest(),
        Some("numbers") => record.state.has_guest(),
        _ => true,
    };
    if !has {
        return false;
    }
    let Some(request) = handler::request_of(declaration) else {
        return handler::can(machine, declaration);
    };
    let spared = record.protected && matches!(request, Request::Kill | Request::Reset | Request::Delete);
    handler::can(machine, declaration) && !spared && admit(&record.state, &request).accepted()
}

/// Every verb there is, of hosts and machines.
fn verbs() -> Vec<String> {
    let mut verbs: Vec<String> = COMMANDS.iter().map(|declaration| declaration.verb.to_owned()).collect();
    verbs.sort();
    verbs.dedup();
    verbs
}

/// The words an argument takes, when it takes no others.
fn words(declaration: &Declaration, argument: &str) -> Vec<String> {
    let found = declaration.arguments().iter().find(|known| known.name == argument);
    match found.map(|known| &known.takes) {
        Some(Takes::Choice(words)) => words.clone(),
        _ => Vec::new(),
    }
}
