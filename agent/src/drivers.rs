//! The drivers of this host, and what stands for one that is not enabled any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use hypervisor_core::{
    driver::{Driver, DriverError, DriverEvent, Launch, Observed, Plea, Probe},
    machine::MachineId,
};
use skerry_stanzas::refusal::{Reason, Refusal};
use tokio::sync::mpsc;

/// The enabled drivers, in the order of the configuration.
pub(crate) struct Drivers {
    enabled: Vec<Arc<dyn Driver>>,
    preferred: Option<String>,
    absent: Mutex<HashMap<String, Arc<dyn Driver>>>,
}

impl Drivers {
    pub(crate) fn new(enabled: Vec<Arc<dyn Driver>>, preferred: Option<String>) -> Self {
        Self { enabled, preferred, absent: Mutex::default() }
    }

    /// All that are enabled.
    pub(crate) fn enabled(&self) -> &[Arc<dyn Driver>] {
        &self.enabled
    }

    /// The one used when none is asked for: the configured one, else the first that is usable.
    pub(crate) fn preferred(&self) -> Option<&Arc<dyn Driver>> {
        match &self.preferred {
            Some(name) => self.enabled.iter().find(|driver| driver.name() == name),
            None => self.enabled.iter().find(|driver| driver.probe().usable),
        }
    }

    /// The one to make a machine with: the named one, or the preferred one.
    pub(crate) fn choose(&self, name: Option<&str>) -> Result<Arc<dyn Driver>, Refusal> {
        let driver = match name {
            Some(name) => self.enabled.iter().find(|driver| driver.name() == name).ok_or_else(|| {
                let names: Vec<&str> = self.enabled.iter().map(|driver| driver.name()).collect();
                Refusal::new(Reason::NotFound, format!("There is no driver {name:?} on this host."))
                    .field("driver")
                    .hint(format!("There is: {}.", names.join(", ")))
            })?,
            None => self.preferred().ok_or_else(|| {
                Refusal::new(Reason::NotSupported, "No driver of this host can be used.")
                    .hint("\"drivers\" says why not.")
            })?,
        };
        if !driver.probe().usable {
            let text = format!("The driver {} cannot be used here: {}", driver.name(), driver.probe().why);
            return Err(Refusal::new(Reason::NotSupported, text).field("driver"));
        }
        Ok(Arc::clone(driver))
    }

    /// The named one; or what says that it is not there.
    pub(crate) fn named_or_absent(&self, name: &str) -> Arc<dyn Driver> {
        if let Some(driver) = self.enabled.iter().find(|driver| driver.name() == name) {
            return Arc::clone(driver);
        }
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(absent.entry(name.to_owned()).or_insert_with(|| Arc::new(Absent::new(name))))
    }
}

/// A driver that machines were made with and that is not enabled now.
struct Absent {
    name: &'static str,
    probe: Probe,
}

impl Absent {
    /// The name is kept for ever; there are as many of them as drivers were ever written.
    fn new(name: &str) -> Self {
        let why = format!("its driver {name} is not enabled in the agent's configuration");
        Self {
            name: String::leak(name.to_owned()),
            probe: Probe { usable: false, why, capabilities: vec![] },
        }
    }

    fn no<T>(&self) -> Result<T, DriverError> {
        Err(DriverError::Unfit(self.probe.why.clone()))
    }
}

#[async_trait]
impl Driver for Absent {
    fn name(&self) -> &'static str {
        self.name
    }
    fn probe(&self) -> &Probe {
        &self.probe
    }
    async fn observe(&self, _launch: &Launch) -> Result<Observed, DriverError> {
        self.no()
    }
    async fn start(&self, _launch: &Launch) -> Result<(), DriverError> {
        self.no()
    }
    async fn shutdown(&self, _id: MachineId) -> Result<(), DriverError> {
        self.no()
    }
    async fn reboot(&self, _id: MachineId) -> Result<(), DriverError> {
        self.no()
    }
    async fn ask_again(&self, _id: MachineId, _plea: Plea) -> Result<(), DriverError> {
        self.no()
    }
    async fn kill(&self, _id: MachineId) -> Result<(), DriverError> {
        self.no()
    }
    async fn forget(&self, _id: MachineId) -> Result<(), DriverError> {
        Ok(())
    }
    fn events(&self) -> Option<mpsc::Receiver<DriverEvent>> {
        None
    }
}
