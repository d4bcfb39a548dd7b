//! NICs on bridges and on networks of the host.
//!
//! The interface at the host's end goes with QEMU's process, however that ends: nothing has to be taken away.
//! On a network it is made by whoever knows the network, on a bridge that a definition names by us, and QEMU
//! is handed the descriptor it lives by: it has no right to make one. Where systemd starts QEMU, and hands on
//! no descriptor, QEMU makes it itself, and it is joined to its bridge while the machine is still held.

use std::{io, os::fd::OwnedFd, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use crate::{
    definition::Network,
    driver::{DriverError, Launch},
    network::{Interface, NetworkError, tap},
};

/// Putting an interface on a bridge is a matter of milliseconds.
const IP_MAX: Duration = Duration::from_secs(10);

/// The host's end of each NIC on a network or a bridge, for a QEMU that is started by us.
pub(super) async fn taps(launch: &Launch) -> Result<Vec<(String, OwnedFd)>, DriverError> {
    let mut taps = Vec::new();
    for nic in &launch.definition.nics {
        let tap = match nic.network {
            Network::User { .. } => continue,
            Network::Named { .. } => launch.networks.connect()?.tap(launch.id, nic).await?,
            Network::Bridge { .. } => made(&nic.interface(launch.id))?,
        };
        taps.push((nic.name.clone(), tap));
    }
    Ok(taps)
}

fn made(interface: &str) -> Result<OwnedFd, DriverError> {
    let doing = || format!("making the interface {interface}");
    let name: Interface = interface.parse().map_err(|error| DriverError::system(doing(), error))?;
    tap::open(&name).map_err(|error| match error {
        NetworkError::Unfit(why) => DriverError::Unfit(why),
        NetworkError::System { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            DriverError::Unfit("an interface on a bridge takes an agent with CAP_NET_ADMIN".into())
        }
        error => DriverError::system(doing(), error),
    })
}

/// Joins what QEMU made itself: NICs on networks.
pub(super) async fn join(launch: &Launch) -> Result<(), DriverError> {
    for nic in launch.definition.nics.iter().filter(|nic| matches!(nic.network, Network::Named { .. })) {
        launch.networks.connect()?.join(launch.id, nic).await?;
    }
    Ok(())
}

/// Puts the host's end of each NIC on its bridge.
pub(super) async fn connect(launch: &Launch) -> Result<(), DriverError> {
    for nic in &launch.definition.nics {
        let Network::Bridge { name: bridge } = &nic.network else { continue };
        let interface = nic.interface(launch.id);
        ip(&["link", "set", "dev", &interface, "master", bridge, "up"]).await.map_err(
            |error| match error {
                DriverError::Unfit(why) if why.contains("Device does not exist") => {
                    DriverError::Unfit(format!("there is no bridge {bridge} on this host"))
                }
                DriverError::Unfit(why) => DriverError::Unfit(format!("the bridge {bridge}: {why}")),
                error => error,
            },
        )?;
    }
    Ok(())
}

async fn ip(words: &[&str]) -> Result<(), DriverError> {
    let running = Command::new("ip").args(words).stdin(Stdio::null()).kill_on_drop(true).output();
    let done = timeout(IP_MAX, running)
        .await
        .map_err(|_| DriverError::TimedOut { what: "ip", limit: IP_MAX })?
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                DriverError::Unfit("ip is not installed (Debian package iproute2)".into())
            }
            _ => DriverError::system("running ip", source),
        })?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("ip did not say why");
    Err(DriverError::Unfit(line.trim_start_matches("Error: ").trim_end_matches('.').to_owned()))
}
