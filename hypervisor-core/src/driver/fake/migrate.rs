//! Moving fake machines: one line of JSON over TCP.
//!
//! As with real ones, what waits for a machine that is coming ends with its process, and what has come
//! does not.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};

use super::{Fake, FakeWorld, connect, disks::Written, faults::moves_in, guest::Life, world::held};
use crate::{
    driver::{
        DriverError, Launch,
        migrate::{Arrival, Copied, Departure, Migrate, Passed, Passing, Place, Sent},
    },
    machine::MachineId,
};

/// The longest line taken.
const LINE_MAX: u64 = 1 << 20;
/// In how many steps it is sent.
const STEPS: u32 = 10;
/// What the destination says when all has come.
const CAME: &[u8] = b"came\n";

/// What a machine is waited for with.
#[derive(Debug)]
pub(super) struct Coming {
    task: AbortHandle,
    /// `None` until it has come, or not.
    end: watch::Receiver<Option<Result<(), String>>>,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All of a machine.
#[derive(Serialize, Deserialize)]
struct Load {
    attempt: crate::handover::Attempt,
    /// `None` for one that does not run.
    guest: Option<GuestLoad>,
    disks: Vec<(String, Written)>,
}

#[derive(Serialize, Deserialize)]
struct GuestLoad {
    paused: bool,
    born_ms: u64,
    memory_mib: u64,
    deaf_for: u32,
    disks: Vec<String>,
    console: Vec<u8>,
}

fn unfit(what: &str) -> DriverError {
    DriverError::Unfit(what.into())
}

async fn listen(address: IpAddr, ports: (u16, u16)) -> Result<TcpListener, DriverError> {
    for port in ports.0..=ports.1 {
        if let Ok(listener) = TcpListener::bind((address, port)).await {
            return Ok(listener);
        }
    }
    Err(unfit("no port is free for it"))
}

impl FakeWorld {
    /// What becomes of one that has come.
    fn arrive(&self, id: MachineId, load: GuestLoad) {
        let mut inside = held(&self.0.inside);
        let guest = inside.guests.entry(id).or_default();
        guest.run += 1;
        guest.life = Life::Arrived { paused: load.paused };
        (guest.born_ms, guest.memory_mib) = (load.born_ms, load.memory_mib);
        (guest.deaf_for, guest.disks) = (load.deaf_for, load.disks);
        guest.watched = true;
        inside.keep(id);
        inside.write(id, &load.console);
    }

    /// All of it, standing still from now on.
    fn pack(&self, id: MachineId) -> Result<GuestLoad, DriverError> {
        let mut inside = held(&self.0.inside);
        let guest = inside.on(id)?;
        let paused = match &guest.life {
            Life::Running => false,
            Life::Paused => true,
            _ => return Err(unfit("it is on its way already")),
        };
        guest.life = Life::Sent { paused };
        let load = GuestLoad {
            paused,
            born_ms: guest.born_ms,
            memory_mib: guest.memory_mib,
            deaf_for: guest.deaf_for,
            disks: guest.disks.clone(),
            console: guest.tail(usize::MAX).to_vec(),
        };
        inside.keep(id);
        Ok(load)
    }

    /// What stands still because of a move does what it did before.
    fn run_on(&self, id: MachineId) {
        let mut inside = held(&self.0.inside);
        let Ok(guest) = inside.on(id) else { return };
        if let Life::Sent { paused } | Life::Arrived { paused } = guest.life {
            guest.life = if paused { Life::Paused } else { Life::Running };
            inside.keep(id);
        }
    }

    fn life(&self, id: MachineId) -> Life {
        held(&self.0.inside).guests.get(&id).map(|guest| guest.life.clone()).unwrap_or_default()
    }
}

/// Takes one in.
async fn take_in(world: FakeWorld, arrival: Arrival, listener: TcpListener) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let (stream, _) = listener.accept().await.map_err(failed)?;
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    (&mut stream).take(LINE_MAX).read_until(b'\n', &mut line).await.map_err(failed)?;
    let load: Load = serde_json::from_slice(&line).map_err(|_| "it broke off".to_owned())?;
    if load.attempt != arrival.attempt {
        return Err("that is another attempt".into());
    }
    for (name, written) in load.disks {
        let copied = arrival.copied.iter().find(|copied| copied.disk.name == name);
        let copied = copied.ok_or("it has a disk that was not announced")?;
        written.write_new(&copied.disk.path).map_err(|error| error.to_string())?;
    }
    if let Some(guest) = load.guest {
        world.arrive(arrival.launch.id, guest);
    }
    stream.get_mut().write_all(CAME).await.map_err(failed)
}

async fn hand_out(departure: &Departure, load: &Load) -> Result<(), DriverError> {
    let failed = |source: std::io::Error| DriverError::system("sending it", source);
    let port = departure.place.memory_port.or(departure.place.disks.first().map(|(_, port)| *port));
    let port = port.ok_or_else(|| unfit("the destination says no port"))?;
    let mut stream =
        TcpStream::connect(SocketAddr::new(departure.place.address, port)).await.map_err(failed)?;
    let mut line = serde_json::to_vec(load).map_err(|source| DriverError::system("packing it", source))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(failed)?;
    let mut said = Vec::new();
    stream.take(LINE_MAX).read_to_end(&mut said).await.map_err(failed)?;
    if said == CAME { Ok(()) } else { Err(unfit("the destination did not take all of it")) }
}

#[async_trait]
impl Migrate for Fake {
    fn processor(&self, _launch: &Launch) -> String {
        "fake".into()
    }

    async fn movable(&self, _launch: &Launch, _live: bool, copied: &[Copied]) -> Result<(), DriverError> {
        self.slowly().await;
        for Copied { disk, .. } in copied {
            if !Written::read(&disk.path)?.snapshots.is_empty() {
                let why = format!("the disk {} has snapshots, which would not go along", disk.name);
                return Err(DriverError::Unfit(why));
            }
        }
        Ok(())
    }

    async fn prepare(&self, arrival: &Arrival) -> Result<Place, DriverError> {
        self.slowly().await;
        let id = arrival.launch.id;
        if self.world.life(id).on() {
            return Err(DriverError::AlreadyRunning);
        }
        if arrival.live {
            connect(&arrival.launch).await?;
        }
        let listener = listen(arrival.listen, arrival.ports).await?;
        let port = listener.local_addr().map_err(|source| DriverError::system("listening", source))?.port();
        let (tell, end) = watch::channel(None);
        let (world, taken) = (self.world.clone(), arrival.clone());
        let task = tokio::spawn(async move {
            let end = take_in(world, taken, listener).await;
            tell.send_replace(Some(end));
        });
        let coming = Coming { task: task.abort_handle(), end };
        held(&self.world.0.inside).arrivals.insert(id, coming);
        let disks = arrival.copied.iter().map(|copied| (copied.disk.name.clone(), port)).collect();
        Ok(Place { address: arrival.listen, memory_port: arrival.live.then_some(port), disks })
    }

    async fn received(&self, launch: &Launch) -> Result<(), DriverError> {
        let end = held(&self.world.0.inside).arrivals.get(&launch.id).map(|coming| coming.end.clone());
        let Some(mut end) = end else {
            let here = matches!(self.world.life(launch.id), Life::Arrived { .. });
            return if here { Ok(()) } else { Err(unfit("nothing of it is coming")) };
        };
        let end = end.wait_for(Option::is_some).await.map(|end| end.clone());
        match end {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(why))) => Err(DriverError::Unfit(why)),
            Ok(None) | Err(_) => Err(unfit("it is not waited for any more")),
        }
    }

    async fn settled(&self, launch: &Launch) -> Result<(), DriverError> {
        if !held(&self.world.0.inside).arrivals.contains_key(&launch.id) {
            return Err(unfit("nothing of it is coming"));
        }
        if launch.definition.disks.iter().all(|disk| !disk.path.starts_with(&launch.folder)) {
            return Ok(());
        }
        self.received(launch).await
    }

    async fn go_on(&self, launch: &Launch, _runs: bool) -> Result<Instant, DriverError> {
        self.slowly().await;
        self.world.run_on(launch.id);
        let since = Instant::now();
        held(&self.world.0.inside).arrivals.remove(&launch.id);
        Ok(since)
    }

    async fn discard(&self, launch: &Launch, copied: &[PathBuf]) -> Result<(), DriverError> {
        self.slowly().await;
        held(&self.world.0.inside).arrivals.remove(&launch.id);
        self.world.kill(launch.id)?;
        self.world.forget(launch.id)?;
        super::super::migrate::remove(copied)
    }

    async fn send(&self, departure: &Departure, passing: Passing<'_>) -> Result<(), DriverError> {
        self.slowly().await;
        let id = departure.launch.id;
        let Some(takes) = moves_in(&departure.launch.definition) else {
            return Err(unfit("its command line says so: fake.move=breaks"));
        };
        let total_bytes = departure.launch.definition.memory_mib << 20;
        for step in 1..=STEPS {
            if !takes.is_zero() {
                tokio::time::sleep(takes / STEPS).await;
            }
            let sent_bytes = total_bytes * u64::from(step) / u64::from(STEPS);
            passing(Passed { sent_bytes, total_bytes, bytes_per_second: 1 << 30, slowed_percent: 0 });
        }
        let disks = departure.copied.iter().map(|copied| {
            let written = Written::read(&copied.disk.path)?;
            Ok((copied.disk.name.clone(), Written { backing: None, ..written }))
        });
        let disks = disks.collect::<Result<Vec<_>, DriverError>>()?;
        if !departure.live && disks.is_empty() {
            return Ok(());
        }
        let guest = if departure.live { Some(self.world.pack(id)?) } else { None };
        let load = Load { attempt: departure.attempt, guest, disks };
        let sent = hand_out(departure, &load).await;
        if sent.is_err() {
            self.world.run_on(id);
        }
        sent
    }

    async fn hold(&self, launch: &Launch, live: bool) -> Result<Sent, DriverError> {
        self.slowly().await;
        match self.world.life(launch.id) {
            Life::Sent { .. } if live => {
                let bytes = launch.definition.memory_mib << 20;
                Ok(Sent { downtime: Some(Duration::ZERO), bytes })
            }
            life if !live && !life.on() => Ok(Sent::default()),
            _ => Err(unfit("it ran on here meanwhile")),
        }
    }

    async fn call_off(&self, launch: &Launch, _runs: bool) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.run_on(launch.id);
        Ok(())
    }

    async fn clear(&self, launch: &Launch) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.kill(launch.id)?;
        self.world.forget(launch.id)
    }
}
