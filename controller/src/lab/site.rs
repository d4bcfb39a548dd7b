//! What a lab consists of, decided before anything is started: folders, ports, accounts, secrets.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rand::{RngExt, distr::Alphanumeric};
use serde::{Deserialize, Serialize};

use super::{LinkKind, ServerKind, Up, neighbours::Neighbour};

/// The domain of a lab that is given none: `.test` is nobody's (RFC 6761).
pub(super) const DOMAIN: &str = "skerry.test";

/// Ports are taken from here: above the privileged ones and below those the system hands out by
/// itself, so that nothing slips into a port while the server behind it is being restarted.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Where the server listens, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Ports {
    /// Clients, STARTTLS.
    pub(super) client: u16,
    /// Clients, TLS from the first byte.
    pub(super) client_tls: u16,
    /// Components.
    pub(super) component: u16,
    /// WebSocket, for clients in a browser.
    pub(super) http: u16,
    /// Uploads (XEP-0363 wants TLS).
    pub(super) https: u16,
}

impl Ports {
    /// Free ones.
    pub(super) fn free() -> Result<Self> {
        let mut held: Vec<TcpListener> = Vec::new();
        for _ in 0..1_000 {
            let port = rand::rng().random_range(PORTS);
            held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
            if let [a, b, c, d, e] = &held[..] {
                return Ok(Self {
                    client: a.local_addr()?.port(),
                    client_tls: b.local_addr()?.port(),
                    component: c.local_addr()?.port(),
                    http: d.local_addr()?.port(),
                    https: e.local_addr()?.port(),
                });
            }
        }
        bail!("no free ports between {} and {} on 127.0.0.1", PORTS.start, PORTS.end)
    }
}

/// An account for people, and its role on every host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

impl User {
    /// The role it has on every host, which is its name; the stranger has none.
    pub(super) fn role(&self) -> &str {
        &self.name
    }

    /// Whether no host knows it.
    pub(super) fn is_stranger(&self) -> bool {
        self.name == "stranger"
    }
}

/// A host: its name, and the component secret or account password of its agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) secret: String,
}

/// What a lab consists of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Site {
    /// Absolute.
    pub(super) dir: PathBuf,
    /// Unlike any other lab's.
    pub(super) id: String,
    pub(super) server: ServerKind,
    pub(super) link: LinkKind,
    pub(super) domain: String,
    /// Where it talks to other servers, and which ones there are; it is by itself without.
    pub(super) s2s: Option<Ipv4Addr>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) ports: Ports,
    pub(super) users: Vec<User>,
    pub(super) hosts: Vec<Host>,
}

impl Site {
    /// Decides everything; writes nothing.
    pub(super) fn plan(dir: &Path, id: String, up: &Up) -> Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            id,
            server: up.server,
            link: up.link,
            domain: up.domain.clone(),
            s2s: up.s2s,
            neighbours: up.neighbours.clone(),
            ports: Ports::free()?,
            users: ["admin", "operator", "viewer", "stranger"]
                .into_iter()
                .map(|name| User { name: name.to_owned(), password: secret(14) })
                .collect(),
            hosts: (1..=up.hosts).map(|n| Host { name: format!("kvm{n}"), secret: secret(32) }).collect(),
        })
    }

    pub(super) fn tls(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// The certificate authority clients have to trust.
    pub(super) fn ca(&self) -> PathBuf {
        self.tls().join("ca.crt")
    }

    pub(super) fn server_dir(&self) -> PathBuf {
        self.dir.join("server")
    }

    pub(super) fn users_dir(&self) -> PathBuf {
        self.dir.join("users")
    }

    pub(super) fn host_dir(&self, host: &Host) -> PathBuf {
        self.dir.join("hosts").join(&host.name)
    }

    /// The bare address of a user.
    pub(super) fn user_jid(&self, user: &User) -> String {
        format!("{}@{}", user.name, self.domain)
    }

    /// The file for `skerry --config`.
    pub(super) fn user_configuration(&self, user: &User) -> PathBuf {
        self.users_dir().join(format!("{}.toml", user.name))
    }

    /// Where clients in a browser connect to.
    pub(super) fn websocket(&self) -> String {
        let path = match self.server {
            ServerKind::Prosody => "xmpp-websocket",
            ServerKind::Ejabberd => "ws",
        };
        format!("ws://127.0.0.1:{}/{path}", self.ports.http)
    }

    /// Whether a host is one account, and its machines have no addresses of their own.
    pub(super) fn is_account(&self, host: &Host) -> bool {
        match self.link {
            LinkKind::Component => false,
            LinkKind::Single => true,
            LinkKind::Mixed => self.hosts.iter().skip(1).step_by(2).any(|one| one.name == host.name),
        }
    }

    /// The address a host logs in as: its component domain, or its account.
    pub(super) fn login(&self, host: &Host) -> String {
        let between = if self.is_account(host) { '@' } else { '.' };
        format!("{}{between}{}", host.name, self.domain)
    }

    /// The address a host answers at.
    pub(super) fn host_jid(&self, host: &Host) -> String {
        let resource = if self.is_account(host) { "/skerry" } else { "" };
        format!("{}{resource}", self.login(host))
    }

    /// The accounts the server has to know: people's, and those of hosts that are accounts.
    pub(super) fn accounts(&self) -> Vec<(&str, &str)> {
        let people = self.users.iter().map(|user| (user.name.as_str(), user.password.as_str()));
        let hosts = self.hosts.iter().filter(|host| self.is_account(host));
        people.chain(hosts.map(|host| (host.name.as_str(), host.secret.as_str()))).collect()
    }

    /// The component domains and their secrets.
    pub(super) fn components(&self) -> Vec<(String, &str)> {
        let hosts = self.hosts.iter().filter(|host| !self.is_account(host));
        hosts.map(|host| (self.login(host), host.secret.as_str())).collect()
    }
}

/// Letters and digits that nobody can guess.
pub(super) fn secret(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// Writes a file that only its owner can read.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
}

/// Makes a folder that only its owner can enter, and those above it.
pub(super) fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("the folder {} cannot be made", path.display()))
}

/// A template with its `@NAME@` places filled in.
pub(super) fn filled(template: &str, places: &[(&str, String)]) -> String {
    places.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}
