//! Moving a machine to another host, as far as a hypervisor is concerned. Who owns it meanwhile is not
//! decided here but in [`crate::handover`].
//!
//! | source | destination |
//! |---|---|
//! | | [`Migrate::prepare`]: waits for it, at a [`Place`] |
//! | [`Migrate::send`]: all of it goes there; at its end the guest stands still | |
//! | | [`Migrate::received`]: all of it has come; the guest stands still |
//! | [`Migrate::hold`]: it is sure that it stands still here, and will | |
//! | | [`Migrate::go_on`]: it runs on here |
//! | [`Migrate::clear`] | |
//!
//! Undone by [`Migrate::call_off`] and [`Migrate::discard`].

mod keys;

use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::keys::Half;
use super::{DriverError, Launch};
use crate::{definition::Disk, handover::Attempt};

/// A key made for one migration by one side, and what the other side knows it by. Text in PEM.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keys {
    /// Our certificate, signed by our authority.
    pub certificate: String,
    /// Its key; never leaves this host.
    pub key: String,
    /// Both authorities: ours and the other side's, each made for this migration alone.
    pub authorities: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// What both sides' certificates are made out to.
pub const TLS_NAME: &str = "migration.skerry.invalid";

/// A disk whose contents go along.
#[derive(Clone, Debug, PartialEq)]
pub struct Copied {
    /// The disk as it is on this host.
    pub disk: Disk,
    /// As large as the guest sees it, in bytes.
    pub size_bytes: u64,
}

/// What a destination is to take in.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// In which attempt.
    pub attempt: Attempt,
    /// The machine as it will be here. Its folder exists.
    pub launch: Launch,
    /// Disks whose contents come along; their files are not there yet. The others are the same files on
    /// both hosts.
    pub copied: Vec<Copied>,
    /// It runs (or is paused): its memory comes as well.
    pub live: bool,
    /// It may run here before all of its memory has come.
    pub postcopy: bool,
    /// For the data's way.
    pub keys: Keys,
    /// The address of this host that the source reaches.
    pub listen: IpAddr,
    /// Which ports may be used, the last one included.
    pub ports: (u16, u16),
}

/// Where the source sends to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The destination's address.
    pub address: IpAddr,
    /// For the machine's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_port: Option<u16>,
    /// For the disks, by their names.
    #[serde(default)]
    pub disks: Vec<(String, u16)>,
}

/// What a source sends.
#[derive(Clone, Debug)]
pub struct Departure {
    /// In which attempt.
    pub attempt: Attempt,
    /// The machine.
    pub launch: Launch,
    /// Disks whose contents go along.
    pub copied: Vec<Copied>,
    /// It runs (or is paused): its memory goes as well.
    pub live: bool,
    /// Where to.
    pub place: Place,
    /// For the data's way.
    pub keys: Keys,
    /// At most so many bytes a second, all streams together; none: as fast as it goes.
    pub bytes_per_second: Option<u64>,
    /// Let it run there before all of its memory has come, if it does not get smaller otherwise.
    pub postcopy: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// What has been sent, in bytes.
    pub sent_bytes: u64,
    /// What is to be sent, as far as it is known now, in bytes: a guest that writes makes it more.
    pub total_bytes: u64,
    /// How fast it goes, in bytes a second.
    pub bytes_per_second: u64,
    /// By how much its guest is slowed down, in percent, since it writes faster than that: 0 to 99.
    pub slowed_percent: u8,
}

/// Called now and then with how far it is.
pub type Passing<'a> = &'a (dyn Fn(Passed) + Send + Sync);

/// What it cost the guest, as the source's hypervisor counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// For how long the guest stood still until all was sent.
    pub downtime: Option<Duration>,
    /// How much was sent, in bytes.
    pub bytes: u64,
}

/// Moving a machine. For one machine one side's methods are called one at a time. All but
/// [`Migrate::send`] and [`Migrate::received`] may be called again, also by a driver made later, and
/// change nothing then.
#[async_trait]
pub trait Migrate: Send + Sync {
    /// What a processor must be like for a guest that runs on this host, in a word: equal words fit.
    fn processor(&self, launch: &Launch) -> String;

    /// Why it cannot be moved as it is, if it cannot: [`DriverError::Unfit`].
    async fn movable(&self, launch: &Launch, live: bool, copied: &[Copied]) -> Result<(), DriverError>;

    /// Destination: makes room, and waits for it. Nothing is left after an error.
    async fn prepare(&self, arrival: &Arrival) -> Result<Place, DriverError>;

    /// Destination: waits until all of a machine that runs has come; it stands still then, and goes on
    /// doing so. An error if it will not come any more.
    async fn received(&self, launch: &Launch) -> Result<(), DriverError>;

    /// Destination: all of a machine that does not run has come, as the source said. Its disks are whole
    /// and on the disk when this returns.
    async fn settled(&self, launch: &Launch) -> Result<(), DriverError>;

    /// Destination: it runs on from here if it ran there, as `runs` says; else it stays paused, or off. Where
    /// it has ended meanwhile nothing is done. Answers since when it is so: what is cleared away after that
    /// keeps the guest from nothing, and is no part of its standstill.
    async fn go_on(&self, launch: &Launch, runs: bool) -> Result<Instant, DriverError>;

    /// Destination: nothing is left of it, its disks' files included, and never runs again.
    async fn discard(&self, launch: &Launch, copied: &[PathBuf]) -> Result<(), DriverError>;

    /// Source: sends all of it. When this returns without an error the guest stands still, and stays so
    /// until [`Migrate::call_off`]. Dropped, or after an error, it has to be called off.
    async fn send(&self, departure: &Departure, passing: Passing<'_>) -> Result<(), DriverError>;

    /// Source: makes sure that all of it was sent and the guest stands still since. An error if it ran on.
    async fn hold(&self, launch: &Launch, live: bool) -> Result<Sent, DriverError>;

    /// Source: nothing is sent any more; the guest runs on here if it did before, as `runs` says. Fine if
    /// nothing was sent, or if it does not run.
    async fn call_off(&self, launch: &Launch, runs: bool) -> Result<(), DriverError>;

    /// Source: nothing of it runs here any more. Its disks' files are the caller's to remove.
    async fn clear(&self, launch: &Launch) -> Result<(), DriverError>;
}

/// Takes files away; fine if they are not there.
pub(super) fn remove(files: &[PathBuf]) -> Result<(), DriverError> {
    for file in files {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(DriverError::system(format!("removing {}", file.display()), error));
            }
            _ => {}
        }
    }
    Ok(())
}
