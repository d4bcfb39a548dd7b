//! The agents of a lab: their configuration, how they are started and waited for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tokio::{
    net::UnixDatagram,
    time::{Instant, timeout},
};

use super::{
    guest::{Driver, Guest},
    part::{Launch, Part},
    site::{Host, Site, make_dir, write},
};

/// How long an agent may take until it is ready.
const START_MAX: Duration = Duration::from_secs(60);

/// How often a starting agent is checked for having ended.
const LOOK: Duration = Duration::from_millis(100);

/// The agent's configuration file, as far as the lab needs it.
#[derive(Serialize)]
struct Configuration<'a> {
    name: &'a str,
    state: PathBuf,
    link: Link,
    roles: BTreeMap<&'static str, Vec<String>>,
    drivers: BTreeMap<&'static str, Vec<&'static str>>,
    images: BTreeMap<&'static str, Image>,
    peers: BTreeMap<String, String>,
    migration: BTreeMap<&'static str, String>,
    log: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
struct Link {
    kind: &'static str,
    jid: String,
    server: String,
    secret_file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'static str>,
    ca: PathBuf,
}

#[derive(Serialize)]
struct Image {
    kernel: PathBuf,
    initrd: PathBuf,
    cmdline: String,
    about: &'static str,
}

/// Where the configuration of a host's agent is.
pub(super) fn configuration(site: &Site, host: &Host) -> PathBuf {
    site.host_dir(host).join("agent.toml")
}

/// Writes all that a host's agent needs, and says how to start it.
pub(super) fn prepare(site: &Site, host: &Host, agent: &Path, driver: &Driver) -> Result<Part> {
    let dir = site.host_dir(host);
    make_dir(&dir.join("state"))?;
    let secret_file = dir.join("secret");
    write(&secret_file, &format!("{}\n", host.secret))?;
    let (guest, about) = match driver {
        Driver::Qemu(guest) => (guest.clone(), "a small Linux with a shell on its console"),
        Driver::Fake => (Guest::pretended(&dir.join("image"))?, "a pretended Linux"),
    };
    let (kind, port, tls) = match site.is_account(host) {
        false => ("component", site.ports.component, None),
        true => ("single", site.ports.client, Some("starttls")),
    };
    // A component has no TLS; its uploads have.
    let ca = site.ca();
    let role = |name: &str| vec![format!("{name}@{}", site.domain)];
    let configured = Configuration {
        name: &host.name,
        state: dir.join("state"),
        link: Link { kind, jid: site.login(host), server: format!("127.0.0.1:{port}"), secret_file, tls, ca },
        roles: ["admin", "operator", "viewer"].into_iter().map(|name| (name, role(name))).collect(),
        drivers: BTreeMap::from([("enabled", vec![driver.word()])]),
        images: BTreeMap::from([(
            "linux",
            Image { kernel: guest.kernel, initrd: guest.initrd, cmdline: guest.cmdline, about },
        )]),
        peers: site
            .hosts
            .iter()
            .filter(|one| one.name != host.name)
            .map(|one| (one.name.clone(), site.host_jid(one)))
            .collect(),
        migration: BTreeMap::from([("listen", loopback(site, host))]),
        log: BTreeMap::from([("format", "text")]),
    };
    let file = configuration(site, host);
    write(&file, &toml::to_string(&configured)?)?;
    let launch = Launch {
        program: agent.to_owned(),
        arguments: vec!["run".to_owned(), "--config".to_owned(), file.display().to_string()],
        environment: BTreeMap::from([("NOTIFY_SOCKET".to_owned(), notify_socket(&dir)?)]),
        log: dir.join("agent.log"),
        directory: dir,
    };
    Ok(Part { name: host.name.clone(), launch })
}

/// An address of the loopback network for each host: machines move between these.
fn loopback(site: &Site, host: &Host) -> String {
    let number = site.hosts.iter().position(|one| one.name == host.name).unwrap_or_default();
    format!("127.0.{}.{}", number / 250, number % 250 + 1)
}

/// Where the agent says that it is ready, as it would say it to systemd.
fn notify_socket(dir: &Path) -> Result<String> {
    let socket = dir.join("notify").display().to_string();
    // sockaddr_un has room for 107 bytes, and the drivers' sockets lie deeper.
    if socket.len() > 107 {
        bail!("the path of the lab's folder is too long for the sockets in it: take a shorter --dir");
    }
    Ok(socket)
}

/// Starts an agent and waits until it says that it is connected.
pub(super) async fn start(part: &Part, lab: &str) -> Result<Child> {
    let socket = part.launch.directory.join("notify");
    let _ = std::fs::remove_file(&socket);
    let notified = UnixDatagram::bind(&socket)
        .with_context(|| format!("the socket {} cannot be made", socket.display()))?;
    let mut child = part.launch.start(lab)?;
    let deadline = Instant::now() + START_MAX;
    let mut message = [0; 4096];
    loop {
        if let Ok(read) = timeout(LOOK, notified.recv(&mut message)).await {
            // READY=1 is said to systemd before the server is there; the lab wants the host on it.
            let said = String::from_utf8_lossy(&message[..read?]).into_owned();
            let status = said.lines().find_map(|line| line.strip_prefix("STATUS=")).unwrap_or_default();
            if status.starts_with("connected as ") {
                return Ok(child);
            }
            continue;
        }
        let words = || (part.launch.log.display(), part.launch.last_words(15));
        if child.try_wait()?.is_some() {
            let (log, words) = words();
            bail!("the agent of {} ended as soon as it was started. It said ({log}):\n{words}", part.name);
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            let (log, words) = words();
            bail!(
                "the agent of {} was not ready after {} s. It said ({log}):\n{words}",
                part.name,
                START_MAX.as_secs()
            );
        }
    }
}
