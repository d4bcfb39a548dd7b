//! A driver that panics fails one machine, or one command, and nothing else.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::sync::Arc;

use async_trait::async_trait;
use hypervisor_core::{
    driver::{
        Console, Driver, DriverError, DriverEvent, Launch, Observed, Plea, Probe,
        fake::{Fake, FakeWorld},
    },
    machine::MachineId,
};
use skerry_agent::agent::Agent;
use skerry_stanzas::refusal::Reason;
use stage::{ANN, Stage, event};
use tokio::sync::mpsc;

/// The fake one, but it panics for machines called "bad".
struct Panicky(Fake);

#[async_trait]
impl Driver for Panicky {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn probe(&self) -> &Probe {
        self.0.probe()
    }
    async fn observe(&self, launch: &Launch) -> Result<Observed, DriverError> {
        self.0.observe(launch).await
    }
    async fn start(&self, launch: &Launch) -> Result<(), DriverError> {
        assert!(launch.name != "bad", "boom in start");
        self.0.start(launch).await
    }
    async fn shutdown(&self, id: MachineId) -> Result<(), DriverError> {
        self.0.shutdown(id).await
    }
    async fn reboot(&self, id: MachineId) -> Result<(), DriverError> {
        self.0.reboot(id).await
    }
    async fn ask_again(&self, id: MachineId, plea: Plea) -> Result<(), DriverError> {
        self.0.ask_again(id, plea).await
    }
    async fn kill(&self, id: MachineId) -> Result<(), DriverError> {
        self.0.kill(id).await
    }
    async fn forget(&self, id: MachineId) -> Result<(), DriverError> {
        self.0.forget(id).await
    }
    fn events(&self) -> Option<mpsc::Receiver<DriverEvent>> {
        self.0.events()
    }
    fn console(&self) -> Option<&dyn Console> {
        panic!("boom in console")
    }
}

async fn panicky() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let world = FakeWorld::new();
    let drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(Panicky(Fake::on(&world)))];
    let agent = Agent::open(stage::config(folder.path()), drivers).await.unwrap();
    Stage { agent, world, folder }
}

#[tokio::test]
async fn a_panic_in_a_task_fails_that_machine_and_nothing_else() {
    let stage = panicky().await;
    stage.done(ANN, "create bad linux").await;
    stage.done(ANN, "create good linux --start").await;
    let mut told = stage.agent.announcements();
    let refusal = stage.refused(ANN, "bad: start").await;
    assert_eq!(refusal.reason, Reason::Internal);
    assert!(refusal.text.contains("reference") && !refusal.text.contains("boom"), "{refusal:?}");
    let event = event(&mut told, "machine.failed").await;
    assert_eq!(event.machine.as_deref(), Some("bad"));
    assert_eq!((stage.state("bad"), stage.state("good")), ("failed".into(), "running".into()));
    // The task goes on: the machine can be renamed, and then even started.
    stage.done(ANN, "bad: rename better").await;
    assert_eq!(stage.done(ANN, "better: start").await, "better is running.");
}

#[tokio::test]
async fn a_panic_in_a_handler_is_answered_with_a_reference() {
    let stage = panicky().await;
    stage.done(ANN, "create web1 linux --start").await;
    let refusal = stage.refused(ANN, "web1: console").await;
    assert_eq!(refusal.reason, Reason::Internal);
    assert!(!refusal.text.contains("boom"), "{refusal:?}");
    stage.done(ANN, "web1: status").await;
}
