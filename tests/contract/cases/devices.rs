//! Devices of the host: lent at the start, plugged in and out while a machine runs. Whoever lends them here
//! has nothing to lend: QEMU waits for what is not plugged in.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hypervisor_core::{
    definition::{Device, Live},
    device::Lent,
    driver::{Altered, Devices, DriverError, Launch, Lend, Power, When},
    machine::MachineId,
};

use crate::story::{Story, not_running};

/// Lends what is called `usb…` by USB, what is called `pci…` on PCI, and nothing else.
#[derive(Default)]
struct Lender(Mutex<Vec<(String, Lent)>>);

impl Lender {
    fn lent(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }
}

#[async_trait]
impl Lend for Lender {
    async fn lend(
        &self,
        _id: MachineId,
        names: &[String],
        when: When,
    ) -> Result<Vec<(String, Lent)>, DriverError> {
        let mut lent = self.0.lock().unwrap();
        for (nth, name) in names.iter().enumerate() {
            let it = match name.get(..3) {
                Some("usb") => Lent::Usb {
                    port: format!("250-{}", nth + 1).parse().unwrap(),
                    id: "1050:0407".parse().unwrap(),
                },
                Some("pci") if when == When::Runs => continue,
                Some("pci") => Lent::Pci { address: "01:00.0".parse().unwrap() },
                _ => return Err(DriverError::Unfit(format!("{name} is another machine's"))),
            };
            if !lent.iter().any(|(other, _)| other == name) {
                lent.push((name.clone(), it));
            }
        }
        Ok(lent.clone())
    }

    async fn keep(&self, _id: MachineId, names: &[String]) -> Result<(), DriverError> {
        self.0.lock().unwrap().retain(|(name, _)| names.contains(name));
        Ok(())
    }
}

fn has(launch: &mut Launch, names: &[&str]) {
    launch.definition.devices = names.iter().map(|name| Device::new(*name)).collect();
}

async fn alter(story: &Story, launch: &Launch) -> Altered {
    let driver = story.driver();
    story.goes_well("alter", driver.alter().unwrap().alter(launch, Live::Devices)).await
}

fn lending(story: &Story) -> (Launch, Arc<Lender>) {
    let lender = Arc::new(Lender::default());
    let mut launch = story.bench.launch();
    launch.devices = Devices::new(lender.clone());
    (launch, lender)
}

pub async fn by_usb_come_and_go_while_it_runs(story: &mut Story) {
    let (mut launch, lender) = lending(story);
    has(&mut launch, &["usb-a"]);
    story.boot(&launch).await;
    assert_eq!(lender.lent(), ["usb-a"]);
    for names in [&["usb-a"][..], &["usb-a", "usb-b"], &["usb-b"]] {
        has(&mut launch, names);
        assert_eq!(alter(story, &launch).await, Altered::Now, "{names:?}");
        assert_eq!(lender.lent(), names);
    }
    // The next one finds it with what it has.
    story.restart().await;
    assert_eq!(story.power(&launch).await, Power::Running);
    assert_eq!(alter(story, &launch).await, Altered::Now);
    assert_eq!(lender.lent(), ["usb-b"]);
    has(&mut launch, &[]);
    assert_eq!(alter(story, &launch).await, Altered::Now);
    assert!(lender.lent().is_empty());
}

pub async fn on_pci_come_with_a_start(story: &mut Story) {
    let (mut launch, lender) = lending(story);
    story.boot(&launch).await;
    has(&mut launch, &["pci-a"]);
    let wanted = Altered::NextStart("on PCI, it gets pci-a only then".into());
    assert_eq!(alter(story, &launch).await, wanted);
    assert!(lender.lent().is_empty());
}

pub async fn by_usb_the_first_may_come_with_a_start(story: &mut Story) {
    let (mut launch, lender) = lending(story);
    story.boot(&launch).await;
    has(&mut launch, &["usb-a"]);
    match alter(story, &launch).await {
        Altered::Now => assert_eq!(lender.lent(), ["usb-a"]),
        Altered::NextStart(why) => {
            assert!(why.contains("started without"), "{why}");
            assert!(lender.lent().is_empty(), "what it cannot use yet is the host's");
        }
        asked => panic!("{asked:?}"),
    }
}

pub async fn that_cannot_be_had_are_said(story: &mut Story) {
    let (mut launch, lender) = lending(story);
    has(&mut launch, &["taken"]);
    let driver = story.driver();
    let Err(DriverError::Unfit(why)) = driver.start(&launch).await else { panic!("it started") };
    assert_eq!(why, "taken is another machine's");
    assert_eq!(story.power(&launch).await, Power::Off);
    has(&mut launch, &["usb-a"]);
    not_running("alter", driver.alter().unwrap().alter(&launch, Live::Devices).await);
    story.boot(&launch).await;
    has(&mut launch, &["usb-a", "taken"]);
    let refused = driver.alter().unwrap().alter(&launch, Live::Devices).await;
    assert!(matches!(refused, Err(DriverError::Unfit(_))), "{refused:?}");
    assert_eq!(lender.lent(), ["usb-a"], "what it had it has");
}
