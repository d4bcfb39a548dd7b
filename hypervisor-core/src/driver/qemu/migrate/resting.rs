//! A machine that does not run: its disks, and with them what else it remembers ([`luggage`]), by `qemu-img`
//! to a `qemu-nbd` each. These end with the agent, as does what they wait for.

use std::{
    net::IpAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, PoisonError},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

use super::super::{Shared, arguments::disks::node, folder::Folder};
use super::{TLS, keys, luggage};
use crate::{
    driver::{
        DriverError, Launch,
        migrate::{Arrival, Copied, Departure, Passed, Passing, Place, TLS_NAME, remove},
        qcow2::{self, ends_with_us},
        reach::Img,
    },
    machine::MachineId,
};

/// How long a server may take to write down what it was given.
const END_MAX: Duration = Duration::from_secs(60);
/// How long a console's log may take to be sent: who moved the machine waits for it.
const LOG_SEND_MAX: Duration = Duration::from_secs(10);
/// How long the log of a machine that runs here already is waited for.
const LOG_MAX: Duration = Duration::from_secs(600);
/// How long a server may take to listen.
const LISTEN_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(10);

/// What is still to be done for a machine outside of its QEMU.
pub(in super::super) enum Resting {
    /// Destination: the servers of its disks. They end when this is dropped.
    Servers(Vec<Child>),
    /// Source: where its log goes, once it runs there.
    Log(Box<Departure>),
}

impl Shared {
    fn rests(&self, id: MachineId, resting: Resting) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, resting);
    }

    fn rested(&self, id: MachineId) -> Option<Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }
}

fn tls(folder: &Path, server: bool) -> String {
    let endpoint = if server { "server" } else { "client" };
    let folder = folder.join(keys::FOLDER).display().to_string().replace(',', ",,");
    format!("tls-creds-x509,id={TLS},endpoint={endpoint},verify-peer=on,dir={folder}")
}

/// Makes its disks, and waits for what is in them.
pub(super) async fn prepare(shared: &Shared, arrival: &Arrival) -> Result<Place, DriverError> {
    let launch = &arrival.launch;
    let folder = Folder::new(&launch.folder);
    folder.close_to_others()?;
    keys::put(&folder, &arrival.keys, true)?;
    let files: Vec<_> = arrival.copied.iter().map(|copied| copied.disk.path.clone()).collect();
    match serve(arrival).await {
        Ok((servers, place)) => {
            shared.rests(launch.id, Resting::Servers(servers));
            Ok(place)
        }
        Err(error) => {
            keys::remove(&folder);
            // It is the failure that is told.
            let _ = remove(&files);
            luggage::remove(launch);
            Err(error)
        }
    }
}

async fn serve(arrival: &Arrival) -> Result<(Vec<Child>, Place), DriverError> {
    let mut place = Place { address: arrival.listen, memory_port: None, disks: vec![] };
    let mut ports = arrival.ports.0..=arrival.ports.1;
    let mut servers = Vec::new();
    for Copied { disk, size_bytes } in &arrival.copied {
        qcow2::create(&disk.path, disk.format, *size_bytes).await?;
    }
    luggage::make_room(&arrival.launch)?;
    let luggage = luggage::as_disk(&arrival.launch);
    for copied in arrival.copied.iter().chain([&luggage]) {
        let (server, port) = server_somewhere(arrival, copied, &mut ports).await?;
        servers.push(server);
        place.disks.push((copied.disk.name.clone(), port));
    }
    Ok((servers, place))
}

/// A machine that runs is waited for: its log comes when it runs here already. Where to, if that can be had.
pub(super) async fn wait_for_log(shared: &Shared, arrival: &Arrival) -> Option<(String, u16)> {
    let luggage = luggage::as_disk(&arrival.launch);
    let mut ports = arrival.ports.0..=arrival.ports.1;
    let served = async {
        luggage::make_room(&arrival.launch)?;
        server_somewhere(arrival, &luggage, &mut ports).await
    };
    match served.await {
        Ok((server, port)) => {
            shared.rests(arrival.launch.id, Resting::Servers(vec![server]));
            Some((luggage.disk.name, port))
        }
        Err(error) => {
            tracing::warn!(machine = %arrival.launch.id, %error, "the log of its console will not come along");
            luggage::remove(&arrival.launch);
            None
        }
    }
}

/// It runs here: its log may come now.
pub(super) fn take_log(shared: &Shared, launch: &Launch) {
    let Some(Resting::Servers(mut servers)) = shared.rested(launch.id) else { return };
    let launch = launch.clone();
    tokio::spawn(async move {
        let Some(server) = servers.first_mut() else { return };
        let ended = timeout(LOG_MAX, server.wait()).await;
        if ended.is_ok_and(|ended| ended.is_ok_and(|status| status.success()))
            && let Err(error) = luggage::unpack(&launch, true)
        {
            tracing::warn!(machine = %launch.id, %error, "the log of its console did not come along");
        }
        luggage::remove(&launch);
    });
}

/// It is sent while it runs: its log is to follow.
pub(super) fn remember_log(shared: &Shared, departure: &Departure) {
    shared.rests(departure.launch.id, Resting::Log(Box::new(departure.clone())));
}

/// It runs at the destination: its log follows it. That it does not is no reason to keep the rest.
pub(super) async fn send_log(shared: &Shared, launch: &Launch) {
    let Some(Resting::Log(departure)) = shared.rested(launch.id) else { return };
    let luggage = luggage::as_disk(launch);
    let is_waited_for = departure.place.disks.iter().any(|(name, _)| *name == luggage.disk.name);
    let sent = async {
        keys::put(&Folder::new(&launch.folder), &departure.keys, false)?;
        luggage::pack(launch, true)?;
        convert(&departure, &luggage, &|_| {}).await
    };
    if is_waited_for && !matches!(timeout(LOG_SEND_MAX, sent).await, Ok(Ok(()))) {
        tracing::warn!(machine = %launch.id, "the log of its console could not be sent along");
    }
    luggage::remove(launch);
}

async fn server_somewhere(
    arrival: &Arrival,
    copied: &Copied,
    ports: &mut impl Iterator<Item = u16>,
) -> Result<(Child, u16), DriverError> {
    for port in ports {
        if let Some(server) = server(arrival, copied, port).await? {
            return Ok((server, port));
        }
    }
    Err(DriverError::Unfit("no port is free for it".into()))
}

/// A server for one disk; `None` if somebody has the port.
async fn server(arrival: &Arrival, copied: &Copied, port: u16) -> Result<Option<Child>, DriverError> {
    let failed = |source| DriverError::system("running qemu-nbd", source);
    // Somebody who listens would be taken for it.
    if tokio::net::TcpListener::bind((arrival.listen, port)).await.is_err() {
        return Ok(None);
    }
    let mut command = Command::new("qemu-nbd");
    command.args(["--object", &tls(&arrival.launch.folder, true), "--tls-creds", TLS]);
    command.args(["-f", copied.disk.format.word(), "-x", &node(&copied.disk.name)]);
    command.args(["-b", &arrival.listen.to_string(), "-p", &port.to_string()]).arg(&copied.disk.path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    ends_with_us(&mut command);
    let mut server = command.spawn().map_err(failed)?;
    let listening = async {
        while !listens(arrival.listen, port) {
            if server.try_wait().map_err(failed)?.is_some() {
                return Ok::<_, DriverError>(false);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    };
    let limit = LISTEN_MAX;
    match timeout(limit, listening).await.map_err(|_| DriverError::TimedOut { what: "qemu-nbd", limit })?? {
        true => Ok(Some(server)),
        false => {
            let mut said = String::new();
            if let Some(mut errors) = server.stderr.take() {
                let _ = errors.read_to_string(&mut said).await;
            }
            match said.contains("in use") {
                true => Ok(None),
                false => Err(DriverError::Unfit(said.trim().trim_start_matches("qemu-nbd: ").to_owned())),
            }
        }
    }
}

/// Whether somebody listens there, without asking: a question would be its first guest, and its last.
fn listens(address: IpAddr, port: u16) -> bool {
    let (file, hex) = match address {
        IpAddr::V4(address) => {
            ("/proc/net/tcp", format!("{:08X}:{port:04X}", u32::from_le_bytes(address.octets())))
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let words = octets.chunks(4).map(|part| {
                format!("{:08X}", part.iter().rev().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)))
            });
            ("/proc/net/tcp6", format!("{}:{port:04X}", words.collect::<String>()))
        }
    };
    let table = std::fs::read_to_string(file).unwrap_or_default();
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|fields| {
        fields.get(1).is_some_and(|local| *local == hex) && fields.get(3).is_some_and(|state| *state == "0A")
    })
}

/// All was sent: each server ends after its one guest, and has written everything by then.
pub(super) async fn settled(shared: &Shared, launch: &Launch) -> Result<(), DriverError> {
    let Some(Resting::Servers(servers)) = shared.rested(launch.id) else {
        return Err(DriverError::Unfit("nothing of it is coming".into()));
    };
    for mut server in servers {
        let limit = END_MAX;
        let ended = timeout(limit, server.wait()).await;
        let ended = ended.map_err(|_| DriverError::TimedOut { what: "the end of a copy", limit })?;
        if !ended.is_ok_and(|status| status.success()) {
            return Err(DriverError::Unfit("a disk did not come through".into()));
        }
    }
    for disk in &launch.definition.disks {
        let synced = std::fs::File::open(&disk.path).and_then(|file| file.sync_all());
        synced.map_err(|source| DriverError::system("writing a disk", source))?;
    }
    luggage::unpack(launch, false)?;
    keys::remove(&Folder::new(&launch.folder));
    Ok(())
}

/// It is not waited for any more.
pub(super) fn forget(shared: &Arc<Shared>, id: MachineId) {
    drop(shared.rested(id));
}

/// Sends its disks, one after the other, and what goes along with them.
pub(super) async fn send(departure: &Departure, passing: Passing<'_>) -> Result<(), DriverError> {
    let folder = Folder::new(&departure.launch.folder);
    keys::put(&folder, &departure.keys, false)?;
    let total_bytes = departure.copied.iter().map(|copied| copied.size_bytes).sum();
    let mut before = 0;
    let mut sent = Ok(());
    for copied in &departure.copied {
        let progress = |percent: u8| {
            let sent_bytes = before + copied.size_bytes / 100 * u64::from(percent);
            passing(Passed { sent_bytes, total_bytes, bytes_per_second: 0, slowed_percent: 0 });
        };
        sent = convert(departure, copied, &progress).await;
        if sent.is_err() {
            break;
        }
        before += copied.size_bytes;
    }
    if sent.is_ok() {
        sent = match luggage::pack(&departure.launch, false) {
            Ok(()) => convert(departure, &luggage::as_disk(&departure.launch), &|_| {}).await,
            Err(error) => Err(error),
        };
    }
    luggage::remove(&departure.launch);
    keys::remove(&folder);
    sent
}

async fn convert(
    departure: &Departure,
    copied: &Copied,
    progress: &(dyn Fn(u8) + Send + Sync),
) -> Result<(), DriverError> {
    let port = departure.place.disks.iter().find(|(name, _)| *name == copied.disk.name);
    let (_, port) = port.ok_or_else(|| DriverError::Unfit("the destination did not say where".into()))?;
    let target = json!({
        "driver": "nbd", "export": node(&copied.disk.name), "tls-creds": TLS, "tls-hostname": TLS_NAME,
        "server": {"type": "inet", "host": departure.place.address.to_string(), "port": port.to_string()},
    });
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-p", "-n", "--object", &tls(&departure.launch.folder, false)]);
    if let Some(rate) = departure.bytes_per_second {
        command.args(["-r", &rate.to_string()]);
    }
    command.args(["-f", copied.disk.format.word(), "--target-image-opts"]);
    command.arg(&copied.disk.path).arg(options(&target));
    // With the keys.
    let reach = Img::new().reads_in(&departure.launch.folder).reads(&copied.disk.path);
    let reach = reach.follows(&copied.disk.path, copied.disk.format)?;
    qcow2::converted(command, reach, progress).await
}

/// The same as options of qemu-img take it: names with dots.
fn options(target: &serde_json::Value) -> String {
    let mut words = Vec::new();
    let mut each = |prefix: &str, value: &serde_json::Value| {
        for (name, value) in value.as_object().into_iter().flatten() {
            if let Some(text) = value.as_str() {
                words.push(format!("{prefix}{name}={}", text.replace(',', ",,")));
            }
        }
    };
    each("", target);
    each("server.", &target["server"]);
    words.join(",")
}
