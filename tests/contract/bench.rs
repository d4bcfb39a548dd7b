//! What a driver brings to be tried: guests of its kind, and eyes on what they leave behind.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use hypervisor_core::driver::{Driver, Launch};

/// What a guest is to do by itself, told through its console.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    /// Shut itself down.
    Halt,
    /// Reboot.
    Reboot,
    /// Write these bytes to the console, exactly.
    Write(&'a [u8]),
}

/// A place to try one driver in: made for each case, and nothing of it is left when it is dropped,
/// also when the case failed (processes included, ended by their own ids).
#[async_trait]
pub trait Bench: Send + Sync {
    /// The driver, made anew over whatever runs on this bench: as an agent does that was restarted.
    async fn driver(&self) -> Arc<dyn Driver>;

    /// A new machine that boots, shows [`Bench::ready_sign`], and obeys shutdown and reboot; with an
    /// empty folder of its own.
    fn launch(&self) -> Launch;

    /// A new machine that cannot be started, however good the driver.
    fn broken(&self) -> Launch;

    /// What the console shows once the guest listens.
    fn ready_sign(&self) -> &str;

    /// What to type for the guest to do this.
    fn typed(&self, act: Act<'_>) -> Vec<u8>;

    /// What to type on the keyboard for the console to show this text.
    fn at_the_keyboard(&self, text: &str) -> String;

    /// Ends the guest as a crash would, behind the driver's back.
    async fn crash(&self, launch: &Launch);

    /// What there still is of a machine besides its logs: processes, sockets, pid files; in words.
    async fn leftovers(&self, launch: &Launch) -> Vec<String>;

    /// Starts a machine as somebody else would, to be adopted: its name there. Asked only of a driver
    /// that can adopt.
    async fn foreign(&self) -> String;

    /// The driver of another host, with guests of its own.
    async fn another_host(&self) -> Arc<dyn Driver>;

    /// How many machines to run at once.
    fn fleet(&self) -> usize {
        20
    }

    /// After how long something hangs, and the case fails. Not a promise about speed.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}
