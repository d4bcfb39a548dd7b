//! Two organisations: two labs whose servers talk to each other, and what is between them, which a test can cut.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use rand::RngExt as _;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::lab::{Lab, Wanted};

/// Where servers listen for each other (RFC 6120 §14.7).
const PORT: u16 = 5269;
/// Of the second lab.
const AWAY: &str = "other.test";
/// Of the first, as of each lab.
const HOME: &str = "skerry.test";

/// Hosts at one server, and people of another organisation at another.
pub struct Pair {
    /// Where the hosts are.
    pub home: Lab,
    /// A server with accounts alone.
    pub away: Lab,
    /// By which the home's server is reached: requests come by it.
    pub inwards: Wire,
    /// By which the other server is reached: answers go by it.
    pub outwards: Wire,
}

impl Pair {
    /// Starts both.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn up(home: Wanted, away: &'static str) -> Result<Self> {
        let [here, there] = [free(1)?, free(2)?];
        let (inwards, outwards) = (Wire::to(here).await?, Wire::to(there).await?);
        let beside = |own: Ipv4Addr, domain: &str, wire: &Wire| {
            let words = ["--s2s", &own.to_string(), "--neighbour", &format!("{domain}={}", wire.address)];
            words.map(str::to_owned).to_vec()
        };
        let home = home.with(beside(here, AWAY, &outwards));
        let mut options = beside(there, HOME, &inwards);
        options.extend(["--domain", AWAY].map(str::to_owned));
        let away = Wanted::new(away, "component").hosts(0).with(options);
        let (home, away) = tokio::try_join!(home.up(), away.up())?;
        Ok(Self { home, away, inwards, outwards })
    }

    /// The bare address of somebody of the other organisation.
    pub fn person(&self, role: &str) -> String {
        self.away.user(role).jid.clone()
    }

    /// Has `skerry` of somebody of the other organisation know the hosts, which no contact list of theirs names.
    ///
    /// # Errors
    /// Their configuration cannot be written.
    pub fn introduce(&self, role: &str) -> Result<()> {
        let file = &self.away.user(role).config;
        let hosts: Vec<String> =
            self.home.record.hosts.iter().map(|host| format!("{:?}", host.jid)).collect();
        let text = std::fs::read_to_string(file)?;
        Ok(std::fs::write(file, format!("hosts = [{}]\n{text}", hosts.join(", ")))?)
    }
}

/// What is between two servers, in one direction of connecting.
pub struct Wire {
    /// Where it begins; its end is a server's.
    address: Ipv4Addr,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Wire {
    async fn to(server: Ipv4Addr) -> Result<Self> {
        let address = free(3)?;
        let listener = TcpListener::bind((address, PORT)).await?;
        let (open, gate) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut gate = gate.clone();
                tokio::spawn(async move {
                    let Ok(mut to) = TcpStream::connect((server, PORT)).await else { return };
                    // Also one that begins while it is cut is cut.
                    tokio::select! {
                        _ = gate.wait_for(|open| !open) => {}
                        _ = copy_bidirectional(&mut from, &mut to) => {}
                    }
                });
            }
        });
        Ok(Self { address, open, task })
    }

    /// Breaks what goes by it, and lets nothing in.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets what begins from now on through.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address of the loopback network that nobody listens at.
fn free(last: u8) -> Result<Ipv4Addr> {
    (0..100)
        .map(|_| {
            let mut random = rand::rng();
            Ipv4Addr::new(127, random.random_range(16..=250), random.random(), last)
        })
        .find(|address| std::net::TcpListener::bind((*address, PORT)).is_ok())
        .context("no free address on loopback")
}
