//! The lab's server: started, waited for, and what it says when it does not start.

use std::{net::Ipv4Addr, process::Child, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use super::{
    ServerKind, ejabberd,
    part::Part,
    prosody,
    site::{Ports, Site, make_dir},
};

/// How long a server may take until it listens: ejabberd on a busy machine takes several seconds.
const START_MAX: Duration = Duration::from_secs(60);

/// How often a starting server is looked at: nothing tells us the moment it listens.
const LOOK: Duration = Duration::from_millis(25);

/// How often other ports are tried when somebody took ours between our look and the server's.
const TRIES: u32 = 5;

/// Writes the server's configuration and starts it; other ports when one was taken meanwhile.
pub(super) async fn start(site: &mut Site) -> Result<(Part, Child)> {
    installed(site.server)?;
    for attempt in 1.. {
        make_dir(&site.server_dir())?;
        let part = match site.server {
            ServerKind::Prosody => prosody::prepare(site)?,
            ServerKind::Ejabberd => ejabberd::prepare(site)?,
        };
        match resume(site, &part).await {
            Ok(child) => return Ok((part, child)),
            Err(Failure::PortTaken) if attempt < TRIES => {
                std::fs::remove_dir_all(site.server_dir())?;
                site.ports = Ports::free()?;
            }
            Err(failure) => bail!(failure.told(site.server, &part)),
        }
    }
    unreachable!("the last attempt returns")
}

/// Starts a server that has its configuration, and waits until clients and components can come in.
pub(super) async fn resume(site: &Site, part: &Part) -> Result<Child, Failure> {
    let ready = site.server_dir().join("ready");
    let _ = std::fs::remove_file(&ready);
    let mut child = part.launch.start(&site.id).map_err(Failure::NotStarted)?;
    let deadline = Instant::now() + START_MAX;
    loop {
        if let Ok(Some(_)) = child.try_wait() {
            return Err(failure_in(&part.launch.last_words(200)));
        }
        if listens(site).await && (site.server == ServerKind::Prosody || ready.exists()) {
            return Ok(child);
        }
        let port_taken = matches!(failure_in(&part.launch.last_words(200)), Failure::PortTaken);
        if port_taken || Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(if port_taken { Failure::PortTaken } else { Failure::TooSlow });
        }
        sleep(LOOK).await;
    }
}

/// Why a server did not start.
#[derive(Debug)]
pub(super) enum Failure {
    NotStarted(anyhow::Error),
    PortTaken,
    Ended,
    TooSlow,
}

impl Failure {
    /// The same for people, with the server's own words.
    pub(super) fn told(self, server: ServerKind, part: &Part) -> String {
        let name = server.name();
        let words = part.launch.last_words(15);
        let log = part.launch.log.display();
        match self {
            Failure::NotStarted(why) => format!("{name} could not be started: {why:#}"),
            Failure::PortTaken => format!("{name} did not get its ports. It said:\n{words}"),
            Failure::Ended => format!("{name} ended as soon as it was started. It said ({log}):\n{words}"),
            Failure::TooSlow => {
                format!("{name} was not ready after {} s. It said ({log}):\n{words}", START_MAX.as_secs())
            }
        }
    }
}

/// Both servers run on with what is left when a port is taken, so their words have to be read.
fn failure_in(words: &str) -> Failure {
    let words = words.to_lowercase();
    match ["address already in use", "already in use", "eaddrinuse"].iter().any(|sign| words.contains(sign)) {
        true => Failure::PortTaken,
        false => Failure::Ended,
    }
}

async fn listens(site: &Site) -> bool {
    let mut ports = vec![site.ports.client];
    if !site.components().is_empty() {
        ports.push(site.ports.component);
    }
    for port in ports {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            return false;
        }
    }
    true
}

/// Says what to install when the server is not here.
fn installed(server: ServerKind) -> Result<()> {
    let (program, package) = match server {
        ServerKind::Prosody => ("prosody", "prosody"),
        ServerKind::Ejabberd => ("erl", "ejabberd"),
    };
    super::program(program)
        .map(drop)
        .with_context(|| format!("{} is not installed here (apt install {package})", server.name()))
}
