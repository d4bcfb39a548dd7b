//! The devices of this host: what they are called, and which machine has which.
//!
//! A device is noted as a machine's before its driver is taken from it, and as nobody's after that has it
//! back: whenever an agent ends, the next one knows what may have to be given back. That is done when a
//! machine is off, whoever saw to it, and when an agent starts.

use std::{
    io,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use async_trait::async_trait;
use hypervisor_core::{
    device::{BindError, HostUse, Lent, Loan, Mapping, Obstacle, Seen, Tree, choose},
    driver::{Devices as Lending, DriverError, Lend, When},
    lifecycle::State,
    machine::MachineId,
};
use tokio::{sync::MutexGuard, sync::broadcast::error::RecvError, task, time::timeout};

use crate::{
    agent::Announcement,
    config::Config,
    crash,
    machine::publisher::Publisher,
    machines::Machines,
    store::{
        Store, StoreError,
        devices::{self as rows, Stored},
    },
};

/// How long a driver may take to let go of a device; it waits for who has it open.
const GIVE_BACK_MAX: Duration = Duration::from_secs(20);
/// How long another machine's driver may take to say whether it runs.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// The devices of this host.
#[derive(Clone)]
pub(crate) struct Devices(Arc<Inner>);

struct Inner {
    store: Store,
    machines: Arc<Machines>,
    /// Where the host is pretended, if it is.
    pretended: Option<std::path::PathBuf>,
    tree: OnceLock<Tree>,
    /// Who has what, as the store has it; held while that changes.
    loans: tokio::sync::Mutex<Vec<Loan>>,
}

impl Devices {
    /// Those of this host; of one that is made up where machines are pretended as well.
    pub(crate) fn new(store: Store, machines: Arc<Machines>, config: &Config) -> Self {
        let pretends = config.drivers.enabled.iter().all(|driver| driver == "fake");
        let pretended = pretends.then(|| config.state.join("pretended"));
        Self(Arc::new(Inner { store, machines, pretended, tree: OnceLock::new(), loans: Default::default() }))
    }

    /// Reads who has what.
    pub(crate) async fn load(&self) -> Result<(), StoreError> {
        *self.0.loans.lock().await = self.0.store.run(rows::loans).await?;
        Ok(())
    }

    /// All names, and what they mean.
    pub(crate) async fn all(&self) -> Result<Vec<Stored>, StoreError> {
        self.0.store.run(rows::all).await
    }

    /// Who has what now.
    pub(crate) async fn loans(&self) -> Vec<Loan> {
        self.0.loans.lock().await.clone()
    }

    /// What the host has.
    pub(crate) async fn look(&self) -> io::Result<Seen> {
        let tree = self.tree()?;
        task::spawn_blocking(move || tree.look()).await.map_err(io::Error::other)?
    }

    /// The machines that are to have it, by name.
    pub(crate) fn users(&self, name: &str) -> Vec<String> {
        let all = self.0.machines.all().into_iter().map(|machine| machine.record());
        let named = all.filter(|record| record.definition.devices.iter().any(|device| device.name == name));
        let mut users: Vec<String> = named.map(|record| record.name.to_string()).collect();
        users.sort();
        users
    }

    /// What a machine is called, for people.
    pub(crate) fn called(&self, id: MachineId) -> String {
        let machine = self.0.machines.get(id);
        machine.map_or_else(|| "another machine".into(), |machine| machine.record().name.to_string())
    }

    fn tree(&self) -> io::Result<Tree> {
        if let Some(tree) = self.0.tree.get() {
            return Ok(tree.clone());
        }
        let tree = match &self.0.pretended {
            Some(folder) => Tree::pretended(folder)?,
            None => Tree::of_host(),
        };
        Ok(self.0.tree.get_or_init(|| tree).clone())
    }

    /// Takes back what machines had that do not run any more.
    pub(crate) async fn settle(&self) {
        let mut loans = self.0.loans.lock().await;
        if !loans.is_empty() {
            self.take_back(&mut loans).await;
        }
    }

    async fn take_back(&self, loans: &mut MutexGuard<'_, Vec<Loan>>) {
        for loan in loans.clone() {
            if !self.may_have(loan.machine).await {
                self.give_back(loans, &loan).await;
            }
        }
    }

    /// Whether a machine may have devices open.
    async fn may_have(&self, id: MachineId) -> bool {
        let Some(machine) = self.0.machines.get(id) else { return false };
        match &machine.record().state {
            State::Starting => true,
            state if state.has_guest() => true,
            // Its process may be there still.
            State::Failed(_) => {
                let launch = machine.card.launch();
                let seen = timeout(LOOK_MAX, machine.card.driver.observe(&launch)).await;
                !matches!(seen, Ok(Ok(seen)) if seen.running_for.is_none())
            }
            _ => false,
        }
    }

    /// Gives one back to the host. What cannot be is tried again when the next one is.
    async fn give_back(&self, loans: &mut MutexGuard<'_, Vec<Loan>>, loan: &Loan) {
        let given = async {
            let (tree, back) = (self.tree()?, loan.clone());
            let blocking = task::spawn_blocking(move || tree.give_back(&back));
            let given = timeout(GIVE_BACK_MAX, blocking).await.map_err(io::Error::other)?;
            given.map_err(io::Error::other)?.map_err(io::Error::other)?;
            crash::point("device-returned");
            let back = loan.clone();
            let forgotten = self.0.store.run(move |connection| rows::give_back(connection, &back)).await;
            forgotten.map_err(io::Error::other)
        };
        match given.await {
            Ok(()) => loans.retain(|other| other != loan),
            Err(error) => {
                tracing::error!(%error, device = loan.name, at = %loan.lent, "it is not the host's again")
            }
        }
    }

    async fn taken(&self, loans: &mut MutexGuard<'_, Vec<Loan>>, new: &[Loan]) -> Result<(), DriverError> {
        let noted = new.to_vec();
        let noting = self.0.store.run(move |connection| rows::lend(connection, &noted)).await;
        noting.map_err(|error| DriverError::system("noting a device", error))?;
        loans.retain(|other| !new.iter().any(|loan| loan.lent.to_string() == other.lent.to_string()));
        loans.extend_from_slice(new);
        crash::point("device-noted");
        let tree = self.tree().map_err(|error| DriverError::system("looking at devices", error))?;
        let lent: Vec<Lent> = new.iter().map(|loan| loan.lent.clone()).collect();
        let taking = task::spawn_blocking(move || lent.iter().try_for_each(|lent| tree.take(lent)));
        let taken = taking.await.map_err(|error| DriverError::system("taking a device", error))?;
        crash::point("device-taken");
        taken.map_err(|error| match error {
            BindError::System { .. } => {
                DriverError::system("a device could not be taken from the host", error)
            }
            error => DriverError::Unfit(error.to_string()),
        })
    }

    fn said(&self, obstacle: &Obstacle) -> DriverError {
        DriverError::Unfit(match obstacle {
            Obstacle::Taken { name, by } => {
                format!("the device {name} is {}'s while that runs", self.called(*by))
            }
            Obstacle::Beside { name, other, by } => format!(
                "the device {name} is in one IOMMU group with {other}, which is {}'s while that runs",
                self.called(*by)
            ),
            obstacle => obstacle.to_string(),
        })
    }

    /// What the host itself does with a device now.
    pub(crate) async fn host_uses(&self, lent: Lent) -> io::Result<Vec<HostUse>> {
        let tree = self.tree()?;
        task::spawn_blocking(move || tree.host_uses(&lent)).await.map_err(io::Error::other)?
    }

    /// Refuses what the host itself uses, whatever it did when the device was given its name.
    async fn not_the_hosts(&self, all: &[Stored], new: &[Loan]) -> Result<(), DriverError> {
        let meant = |loan: &&Loan| !all.iter().any(|stored| stored.name == loan.name && stored.even_in_use);
        for Loan { name, lent, .. } in new.iter().filter(meant) {
            let uses = self.host_uses(lent.clone()).await;
            let uses = uses.map_err(|error| DriverError::system("looking what the host uses", error))?;
            if let Some(first) = uses.first() {
                return Err(DriverError::Unfit(format!(
                    "the host itself uses the device {name} ({lent}): {first}. It is handed over all the same \
                     when it is mapped with --even-in-use (see: device map)"
                )));
            }
        }
        Ok(())
    }

    fn meant(all: &[Stored], names: &[String]) -> Result<Vec<(String, Mapping)>, DriverError> {
        let meant = names.iter().map(|name| {
            let found = all.iter().find(|device| device.name == *name);
            found.map(|device| (name.clone(), device.mapping.clone())).ok_or_else(|| {
                DriverError::Unfit(format!("no device of this host is called {name} (see: device map)"))
            })
        });
        meant.collect()
    }
}

#[async_trait]
impl Lend for Devices {
    async fn lend(
        &self,
        id: MachineId,
        names: &[String],
        when: When,
    ) -> Result<Vec<(String, Lent)>, DriverError> {
        let mut loans = self.0.loans.lock().await;
        self.take_back(&mut loans).await;
        let all =
            self.all().await.map_err(|error| DriverError::system("reading what devices mean", error))?;
        let meant = Self::meant(&all, names)?;
        let seen = self.look().await.map_err(|error| DriverError::system("looking at devices", error))?;
        let new = choose(&meant, &seen, &loans, id, when == When::Runs).map_err(|error| self.said(&error))?;
        self.not_the_hosts(&all, &new).await?;
        if let Err(error) = self.taken(&mut loans, &new).await {
            for loan in &new {
                self.give_back(&mut loans, loan).await;
            }
            return Err(error);
        }
        let own = loans.iter().filter(|loan| loan.machine == id);
        Ok(own.map(|loan| (loan.name.clone(), loan.lent.clone())).collect())
    }

    async fn keep(&self, id: MachineId, names: &[String]) -> Result<(), DriverError> {
        let mut loans = self.0.loans.lock().await;
        for loan in loans.clone() {
            if loan.machine == id && !names.contains(&loan.name) {
                self.give_back(&mut loans, &loan).await;
            }
        }
        Ok(())
    }
}

impl From<Devices> for Lending {
    fn from(devices: Devices) -> Self {
        Self::new(Arc::new(devices))
    }
}

/// Takes back what machines had as they end, until the agent does.
pub(crate) async fn keep(devices: Devices, publisher: Weak<Publisher>) {
    let Some(mut told) = publisher.upgrade().map(|publisher| publisher.listen()) else { return };
    loop {
        match told.recv().await {
            Ok(Announcement::Machine { .. } | Announcement::Gone { .. }) | Err(RecvError::Lagged(_)) => {
                devices.settle().await;
            }
            Ok(Announcement::Event(_) | Announcement::Rights) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
