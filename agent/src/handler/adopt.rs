//! Adopt: take over machines that somebody else started, untouched.

use std::sync::Arc;

use hypervisor_core::{
    driver::{Driver, DriverError, Foreign, Launch},
    lifecycle::{Exit, State},
    machine::MachineId,
};
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{Adoption, MachineLine},
    words::nearest,
};

use super::{
    Handle,
    quotas::{Takes, of_definition},
};
use crate::{
    agent::{Agent, Inner},
    crash,
    dispatch::Job,
    machine::{Record, publisher::Change, task},
    reference,
    store::StoreError,
};

impl Handle<host::Adopt> for Agent {
    async fn takes(&self, job: &Job, command: &host::Adopt) -> Result<Option<Takes>, Refusal> {
        let Some(wanted) = &command.name else { return Ok(None) };
        let (_, foreign) = picked(wanted, self.foreign().await?)?;
        Ok(self.for_new(job, of_definition(&foreign.definition)))
    }

    async fn handle(&self, job: &Job, command: host::Adopt) -> Result<Adoption, Refusal> {
        let foreign = self.foreign().await?;
        match command.name {
            None => Ok(Adoption {
                adopted: None,
                machines: foreign
                    .iter()
                    .map(|(driver, foreign)| self.line_of(driver.name(), foreign))
                    .collect(),
            }),
            Some(wanted) => self.adopt(job, &wanted, foreign).await,
        }
    }
}

type Found = Vec<(Arc<dyn Driver>, Foreign)>;

impl Agent {
    /// What could be taken over, of all drivers that can.
    pub(crate) async fn foreign(&self) -> Result<Found, Refusal> {
        let mut found = Vec::new();
        for driver in self.inner.drivers.enabled() {
            let Some(adopt) = driver.adopt() else { continue };
            let foreign = adopt.foreign().await.map_err(|error| failed("What runs here", &error))?;
            found.extend(foreign.into_iter().map(|foreign| (Arc::clone(driver), foreign)));
        }
        Ok(found)
    }

    fn line_of(&self, driver: &str, foreign: &Foreign) -> MachineLine {
        MachineLine {
            name: foreign.name.clone(),
            // It has no address before it is taken over.
            jid: String::new(),
            host: self.addresses().host().to_string(),
            state: "foreign".into(),
            driver: driver.into(),
            vcpus: foreign.definition.vcpus,
            memory_mib: foreign.definition.memory_mib,
            labels: vec![],
        }
    }

    async fn adopt(&self, job: &Job, wanted: &str, found: Found) -> Result<Adoption, Refusal> {
        let (driver, foreign) = picked(wanted, found)?;
        let Some(adopt) = driver.adopt() else {
            let text = format!("The driver {} takes nothing over.", driver.name());
            return Err(Refusal::new(Reason::NotSupported, text));
        };
        let name = super::name(&foreign.name, "name")?;
        self.free(&name, "name").await?;
        let id = MachineId(job.id);
        let launch = Launch {
            id,
            name: name.to_string(),
            definition: foreign.definition.clone(),
            folder: self.inner.folders.machine(id),
            own: Vec::new(),
            networks: self.inner.networks.clone().into(),
            devices: self.inner.devices.clone().into(),
        };
        tokio::fs::create_dir(&launch.folder)
            .await
            .map_err(|error| reference::internal(&format!("{name} could not be taken over"), &error))?;
        let looked = async {
            adopt.adopt(&foreign.name, &launch).await?;
            crash::point("adopted");
            driver.observe(&launch).await
        };
        let state = match looked.await {
            Ok(seen) => task::observed_state(&State::Stopped(Exit::Found), &seen),
            Err(error) => {
                unadopt(&self.inner, id).await;
                return Err(failed(&format!("{name} could not be taken over"), &error));
            }
        };
        let record = Record::new(id, name.clone(), foreign.definition, driver.name(), state, job.by());
        let change = Change {
            what: "machine.adopted",
            sentence: format!("{name} was taken over as it was."),
            by: Some(job.by()),
        };
        match self.welcome(record, driver, change, None).await {
            Ok(machine) => {
                let adopted = Some(name.to_string());
                Ok(Adoption { adopted, machines: vec![self.line(&machine.record())] })
            }
            Err(error) => {
                unadopt(&self.inner, id).await;
                Err(match error {
                    StoreError::Taken => task::taken(name.as_str()).field("name"),
                    error => error.into(),
                })
            }
        }
    }
}

/// The one of this name, or what else could have been meant.
fn picked(wanted: &str, found: Found) -> Result<(Arc<dyn Driver>, Foreign), Refusal> {
    let names: Vec<String> = found.iter().map(|(_, foreign)| foreign.name.clone()).collect();
    found.into_iter().find(|(_, foreign)| foreign.name == wanted).ok_or_else(|| {
        let hint = match nearest(wanted, names.iter().map(String::as_str)) {
            Some(near) => format!("Did you mean {near}?"),
            None => "\"adopt\" without a name lists what can.".into(),
        };
        Refusal::new(Reason::NotFound, format!("Nothing called {wanted:?} can be taken over."))
            .field("name")
            .hint(hint)
    })
}

/// Undoes an adoption that is not in the store: the guest is somebody else's again, and runs on.
pub(crate) async fn unadopt(inner: &Inner, id: MachineId) {
    for adopt in inner.drivers.enabled().iter().filter_map(|driver| driver.adopt()) {
        if let Err(error) = adopt.release(id).await {
            tracing::error!(%id, %error, "an adoption could not be undone");
        }
    }
    inner.folders.unmake(id).await;
}

fn failed(what: &str, error: &DriverError) -> Refusal {
    match error {
        DriverError::Unfit(why) => Refusal::new(Reason::Conflict, format!("{what}: {why}.")),
        error => reference::internal(what, error),
    }
}
