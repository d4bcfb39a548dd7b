//! A driver in memory: deterministic, with faults to order. For tests, for authors of bots, and for
//! fleets of thousands; it runs nothing and is never chosen by itself.
//!
//! Its disks are small text files, in which their size and their snapshots stand.
//!
//! Its guests live in a [`FakeWorld`], apart from the driver, as real guests live in processes of
//! their own: a new [`Fake`] on the same world finds them running, as an agent does that was
//! restarted. [`Fake::persistent`] keeps the world in a file, so that this holds for `kill -9` too.
//!
//! A fake guest boots at once, writes [`FakeWorld::READY`] to its console, echoes what is typed, and
//! obeys the lines `halt`, `reboot` and `crash`. Its screen shows the console, a coloured cell for each
//! byte, and what is typed on its keyboard comes to the console too. Its
//! guest agent knows a few programs, keeps files and passwords, and holds file systems still.
//!
//! Its kernel command line may have the words `fake.start=fails`, `fake.start=hangs`, `fake.start=2s`,
//! `fake.deaf` (it ignores shutdown and reboot), `fake.deaf=2` (it ignores the first two times it is
//! asked), `fake.move=2s` and `fake.move=breaks` (so long it takes to move it; it never gets through):
//! faults that can be ordered through an agent. `fake.busy=70` makes it as busy (in percent; a
//! tenth otherwise), and what it reads, writes, hears and says is in proportion; within the process
//! there is [`Faults`]. Time is tokio's, so that a test can pause it.

mod altering;
mod disks;
mod faults;
mod guest;
mod guest_agent;
mod layers;
mod ledger;
mod live;
mod migrate;
mod numbers;
mod rfb;
mod screen;
#[cfg(test)]
mod tests;
mod world;

use std::{io, path::Path, sync::Mutex, time::Duration};

use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc};

pub use self::{
    faults::{Faults, StartFault},
    world::FakeWorld,
};
use crate::definition::Network;
use crate::{
    definition::Live,
    driver::{
        Adopt, Alter, Altered, Capability, Console, Disks, Driver, DriverError, DriverEvent, Foreign,
        GuestAgent, Launch, Migrate, Numbers, Observed, Pause, Picture, Plea, Probe, Reading, Reset, Screen,
        Snapshots,
        screen::{Viewing, keys::Chord},
    },
    machine::MachineId,
};

/// A driver whose machines are only remembered. See the [module](self).
#[derive(Debug)]
pub struct Fake {
    world: FakeWorld,
    probe: Probe,
    events: Mutex<Option<mpsc::Receiver<DriverEvent>>>,
    /// Those it holds still while their disks are turned over. Another one knows nothing of them.
    turned: Mutex<Vec<MachineId>>,
}

impl Fake {
    /// On a new, empty world.
    #[allow(clippy::new_without_default, reason = "a new world is not a default one")]
    pub fn new() -> Self {
        Self::on(&FakeWorld::new())
    }

    /// On a world that may have machines in it. From now on the world tells its events to this driver,
    /// and to no earlier one.
    pub fn on(world: &FakeWorld) -> Self {
        let events = world.listen();
        Self {
            world: world.clone(),
            probe: Probe {
                usable: true,
                why: "Machines are only remembered, nothing runs: for tests.".into(),
                capabilities: Capability::ALL.to_vec(),
            },
            events: Mutex::new(Some(events)),
            turned: Mutex::default(),
        }
    }

    /// On a world kept in a file, which is made when it is not there.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn persistent(path: &Path) -> Result<Self, DriverError> {
        Ok(Self::on(&FakeWorld::persistent(path)?))
    }

    /// Without one of the capabilities, which it has all of otherwise.
    #[must_use]
    pub fn without(mut self, capability: Capability) -> Self {
        self.probe.capabilities.retain(|has| *has != capability);
        self
    }

    /// The world it runs on.
    pub fn world(&self) -> &FakeWorld {
        &self.world
    }

    /// What goes wrong, to order.
    pub fn faults(&self) -> Faults {
        self.world.faults()
    }

    fn can<T>(&self, capability: Capability, it: T) -> Option<T> {
        self.probe.capabilities.contains(&capability).then_some(it)
    }

    /// Every operation passes here first: as slow as ordered, and a point at which it can be dropped.
    async fn slowly(&self) {
        match self.world.slowness() {
            Duration::ZERO => tokio::task::yield_now().await,
            slowness => tokio::time::sleep(slowness).await,
        }
    }
}

/// Nothing is there to be connected, but whether it could be is asked as by any driver.
async fn connect(launch: &Launch) -> Result<(), DriverError> {
    for nic in launch.definition.nics.iter().filter(|nic| matches!(nic.network, Network::Named { .. })) {
        drop(launch.networks.connect()?.tap(launch.id, nic).await?);
    }
    Ok(())
}

#[async_trait]
impl Driver for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn observe(&self, launch: &Launch) -> Result<Observed, DriverError> {
        self.slowly().await;
        Ok(self.world.observe(launch.id))
    }

    async fn start(&self, launch: &Launch) -> Result<(), DriverError> {
        let starting = self.world.begin_start(launch)?;
        self.slowly().await;
        let ordered = self.faults().take_start(launch.id);
        match ordered.or_else(|| StartFault::of(&launch.definition)) {
            None => {}
            Some(StartFault::Takes(time)) => tokio::time::sleep(time).await,
            Some(StartFault::Hangs) => std::future::pending().await,
            Some(StartFault::Fails(why)) => return Err(DriverError::Unfit(why)),
        }
        connect(launch).await?;
        launch.devices().await?;
        starting.finish(launch)
    }

    async fn shutdown(&self, id: MachineId) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.ask(id, Plea::Shutdown)
    }

    async fn reboot(&self, id: MachineId) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.ask(id, Plea::Reboot)
    }

    async fn ask_again(&self, id: MachineId, plea: Plea) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.ask_again(id, plea)
    }

    async fn kill(&self, id: MachineId) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.kill(id)
    }

    async fn forget(&self, id: MachineId) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.forget(id)
    }

    fn remembered(&self, folder: &Path) -> io::Result<Vec<String>> {
        let all = ["uefi-vars.fd", "tpm/tpm2-00.permall"].map(str::to_owned).into_iter();
        Ok(all.filter(|name| folder.join(name).is_file()).collect())
    }

    fn events(&self) -> Option<mpsc::Receiver<DriverEvent>> {
        world::held(&self.events).take()
    }

    fn reset(&self) -> Option<&dyn Reset> {
        self.can(Capability::Reset, self)
    }

    fn pause(&self) -> Option<&dyn Pause> {
        self.can(Capability::Pause, self)
    }

    fn console(&self) -> Option<&dyn Console> {
        self.can(Capability::Console, self)
    }

    fn adopt(&self) -> Option<&dyn Adopt> {
        self.can(Capability::Adopt, self)
    }

    fn screen(&self) -> Option<&dyn Screen> {
        self.can(Capability::Screen, self)
    }

    fn disks(&self) -> Option<&dyn Disks> {
        self.can(Capability::Disks, self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.can(Capability::Snapshots, self)
    }

    fn guest_agent(&self) -> Option<&dyn GuestAgent> {
        self.can(Capability::GuestAgent, self)
    }

    fn alter(&self) -> Option<&dyn Alter> {
        self.can(Capability::Alter, self)
    }

    fn numbers(&self) -> Option<&dyn Numbers> {
        self.can(Capability::Numbers, self)
    }

    fn migrate(&self) -> Option<&dyn Migrate> {
        self.can(Capability::Migrate, self)
    }
}

#[async_trait]
impl Reset for Fake {
    async fn reset(&self, id: MachineId) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.reset(id)
    }
}

#[async_trait]
impl Pause for Fake {
    async fn pause(&self, id: MachineId) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.hold(id, true)
    }

    async fn resume(&self, id: MachineId) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.hold(id, false)
    }
}

#[async_trait]
impl Console for Fake {
    async fn tail(&self, launch: &Launch, bytes_max: usize) -> Result<Vec<u8>, DriverError> {
        self.slowly().await;
        Ok(self.world.console_tail(launch.id, bytes_max))
    }

    async fn send(&self, id: MachineId, bytes: &[u8]) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.console_type(id, bytes)
    }

    async fn follow(&self, id: MachineId) -> Result<broadcast::Receiver<Vec<u8>>, DriverError> {
        self.slowly().await;
        self.world.console_follow(id)
    }
}

#[async_trait]
impl Screen for Fake {
    async fn picture(&self, id: MachineId) -> Result<Picture, DriverError> {
        self.slowly().await;
        let console = self.world.console_shown(id)?;
        Ok(screen::draw(&console))
    }

    async fn press(&self, id: MachineId, chords: &[Chord]) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.takes_keys(id)?;
        self.world.console_type(id, &screen::bytes(chords))
    }

    async fn view(&self, id: MachineId) -> Result<Box<dyn Viewing>, DriverError> {
        self.slowly().await;
        Ok(Box::new(rfb::serve(self.world.clone(), id)?))
    }
}

#[async_trait]
impl Alter for Fake {
    async fn alter(&self, launch: &Launch, what: Live) -> Result<Altered, DriverError> {
        self.slowly().await;
        if what == Live::Devices { self.change_devices(launch).await } else { self.world.alter(launch, what) }
    }
}

#[async_trait]
impl Numbers for Fake {
    async fn read(&self, launch: &Launch) -> Result<Reading, DriverError> {
        self.slowly().await;
        self.world.read_numbers(launch)
    }
}

#[async_trait]
impl Adopt for Fake {
    async fn foreign(&self) -> Result<Vec<Foreign>, DriverError> {
        self.slowly().await;
        Ok(self.world.foreign())
    }

    async fn adopt(&self, name: &str, launch: &Launch) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.adopt(name, launch.id)
    }

    fn is_adopted(&self, launch: &Launch) -> bool {
        self.world.is_adopted(launch.id)
    }

    async fn release(&self, id: MachineId) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.release(id);
        Ok(())
    }
}
