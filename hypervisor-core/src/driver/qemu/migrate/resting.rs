//! A machine that does not run: its disks alone, by `qemu-img` to a `qemu-nbd` each. These end with the
//! agent, as does what they wait for.

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
use super::{TLS, keys};
use crate::{
    driver::{
        DriverError, Launch,
        migrate::{Arrival, Copied, Departure, Passed, Passing, Place, TLS_NAME, remove},
        qcow2::{self, ends_with_us},
    },
    machine::MachineId,
};

/// How long a server may take to write down what it was given.
const END_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to listen.
const LISTEN_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(10);

/// The servers of one machine's disks. They end when this is dropped.
pub(in super::super) struct Resting(Vec<Child>);

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
            let mut resting = shared.resting.lock().unwrap_or_else(PoisonError::into_inner);
            resting.insert(launch.id, Resting(servers));
            Ok(place)
        }
        Err(error) => {
            keys::remove(&folder);
            // It is the failure that is told.
            let _ = remove(&files);
            Err(error)
        }
    }
}

async fn serve(arrival: &Arrival) -> Result<(Vec<Child>, Place), DriverError> {
    let mut place = Place { address: arrival.listen, memory_port: None, disks: vec![] };
    let mut ports = arrival.ports.0..=arrival.ports.1;
    let mut servers = Vec::new();
    for copied in &arrival.copied {
        let Copied { disk, size_bytes } = copied;
        qcow2::create(&disk.path, disk.format, *size_bytes).await?;
        let (server, port) = loop {
            let Some(port) = ports.next() else {
                return Err(DriverError::Unfit("no port is free for it".into()));
            };
            if let Some(server) = server(arrival, copied, port).await? {
                break (server, port);
            }
        };
        servers.push(server);
        place.disks.push((disk.name.clone(), port));
    }
    Ok((servers, place))
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
    let servers = shared.resting.lock().unwrap_or_else(PoisonError::into_inner).remove(&launch.id);
    let Some(Resting(servers)) = servers else {
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
    keys::remove(&Folder::new(&launch.folder));
    Ok(())
}

/// It is not waited for any more.
pub(super) fn forget(shared: &Arc<Shared>, id: MachineId) {
    shared.resting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
}

/// Sends its disks, one after the other.
pub(super) async fn send(departure: &Departure, passing: Passing<'_>) -> Result<(), DriverError> {
    let folder = Folder::new(&departure.launch.folder);
    keys::put(&folder, &departure.keys, false)?;
    let total_bytes = departure.copied.iter().map(|copied| copied.size_bytes).sum();
    let mut before = 0;
    let mut sent = Ok(());
    for copied in &departure.copied {
        let progress = |percent: u8| {
            let sent_bytes = before + copied.size_bytes / 100 * u64::from(percent);
            passing(Passed { sent_bytes, total_bytes, bytes_per_second: 0 });
        };
        sent = convert(departure, copied, &progress).await;
        if sent.is_err() {
            break;
        }
        before += copied.size_bytes;
    }
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
    qcow2::converted(command, progress).await
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
