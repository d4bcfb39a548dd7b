//! Interfaces, addresses and neighbours, by the program `ip`: what it is told are words of our own types, one
//! by one and never through a shell, and what it says is JSON.

use std::{io, net::IpAddr, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use super::{NetworkError, dnsmasq};

/// Each of these is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// An interface of the host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Link {
    #[serde(rename = "ifname")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) flags: Vec<String>,
    #[serde(default)]
    pub(super) master: Option<String>,
    #[serde(default)]
    pub(super) address: Option<String>,
    /// The interface it stands on, for a VLAN's.
    #[serde(default)]
    pub(super) link: Option<String>,
    #[serde(default)]
    pub(super) linkinfo: Kind,
    #[serde(default)]
    pub(super) addr_info: Vec<Has>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Kind {
    #[serde(default, rename = "info_kind")]
    pub(super) kind: Option<String>,
    #[serde(default, rename = "info_data")]
    pub(super) about: About,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct About {
    /// The number of a VLAN.
    #[serde(default)]
    pub(super) id: Option<u16>,
    /// Whether a bridge keeps VLANs apart.
    #[serde(default)]
    pub(super) vlan_filtering: Option<u8>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Has {
    pub(super) local: Option<IpAddr>,
    pub(super) prefixlen: u8,
    pub(super) scope: String,
}

/// Somebody an interface has heard of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Neighbour {
    pub(super) dst: IpAddr,
    #[serde(default)]
    pub(super) lladdr: Option<String>,
    #[serde(default)]
    pub(super) state: Vec<String>,
}

impl Link {
    pub(super) fn is(&self, kind: &str) -> bool {
        self.linkinfo.kind.as_deref() == Some(kind)
    }

    pub(super) fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.flags.iter().any(|flag| flag == "LOOPBACK")
    }

    pub(super) fn has(&self, address: IpAddr, prefix: u8) -> bool {
        self.addr_info.iter().any(|has| has.local == Some(address) && has.prefixlen == prefix)
    }
}

/// All interfaces with their addresses.
pub(super) async fn links() -> Result<Vec<Link>, NetworkError> {
    read(&["-json", "-details", "address", "show"]).await
}

/// Who was heard of on an interface; nobody on one that is not there.
pub(super) async fn neighbours(interface: &str) -> Result<Vec<Neighbour>, NetworkError> {
    match read(&["-json", "neighbour", "show", "dev", interface]).await {
        Err(NetworkError::Unfit(why)) if is_missing(&why) => Ok(Vec::new()),
        found => found,
    }
}

async fn read<T: for<'de> Deserialize<'de>>(words: &[&str]) -> Result<Vec<T>, NetworkError> {
    let said = run("ip", words, "").await?;
    // Older ones say nothing at all where there is nothing, and empty objects for what was filtered out.
    if said.trim().is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<serde_json::Value> = serde_json::from_str(&said)
        .map_err(|error| NetworkError::system("reading what ip says", error.into()))?;
    let found = all.into_iter().filter(|one| one.as_object().is_some_and(|one| !one.is_empty()));
    found
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()
        .map_err(|error| NetworkError::system("reading what ip says", error.into()))
}

/// Changes something.
pub(super) async fn ip(words: &[&str]) -> Result<(), NetworkError> {
    run("ip", words, "").await.map(drop)
}

/// Whether a complaint says that an interface is not there.
pub(super) fn is_missing(why: &str) -> bool {
    why.contains("does not exist") || why.contains("Cannot find device") || why.contains("No such device")
}

/// Runs a program of the system's, and says what it said.
pub(super) async fn run(program: &'static str, words: &[&str], input: &str) -> Result<String, NetworkError> {
    let missing = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => {
            let package = if program == "nft" { "nftables" } else { "iproute2" };
            NetworkError::Unfit(format!("{program} is not installed (Debian package {package})"))
        }
        _ => NetworkError::system(format!("running {program}"), source),
    };
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", dnsmasq::path()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().map_err(missing)?;
    let mut told = running.stdin.take();
    let telling = async {
        if let Some(told) = &mut told {
            // One that ends before it has read all says why itself.
            let _ = told.write_all(input.as_bytes()).await;
        }
        drop(told);
        running.wait_with_output().await
    };
    let done = timeout(PATIENCE, telling)
        .await
        .map_err(|_| NetworkError::Unfit(format!("{program} took longer than {} s", PATIENCE.as_secs())))?
        .map_err(missing)?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it did not say why");
    Err(NetworkError::Unfit(format!(
        "{program}: {}",
        line.trim_start_matches("Error: ").trim_end_matches('.')
    )))
}
