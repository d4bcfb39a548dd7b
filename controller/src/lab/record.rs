//! What a lab leaves for those who come later: `lab.json` for everybody, `inside.json` for itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    host,
    part::{Part, runs},
    site::{Site, write},
};

/// Holds the lab's id, and says that the folder is a lab's.
pub(super) const ID: &str = "lab.id";
/// For everybody; there while the lab is up.
pub(super) const LAB: &str = "lab.json";
/// For the lab itself.
const INSIDE: &str = "inside.json";
/// The name of the part that is the server.
pub(super) const SERVER: &str = "server";

/// What the lab knows of itself: to stop and to start its parts again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Inside {
    pub(super) site: Site,
    pub(super) parts: Vec<Part>,
    /// Of each part, in the same order.
    pub(super) pids: Vec<u32>,
}

impl Inside {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        read(dir, INSIDE)
    }

    pub(super) fn write(&self) -> Result<()> {
        write_whole(&self.site.dir, INSIDE, self)
    }

    /// A part and its process.
    pub(super) fn part(&self, name: &str) -> Result<(&Part, i32)> {
        self.each().find(|(part, _)| part.name == name).with_context(|| {
            let names: Vec<&str> = self.parts.iter().map(|part| part.name.as_str()).collect();
            format!("the lab has no part {name}; it has {}", names.join(", "))
        })
    }

    pub(super) fn set_pid(&mut self, name: &str, new: u32) {
        for (part, pid) in self.parts.iter().zip(&mut self.pids) {
            if part.name == name {
                *pid = new;
            }
        }
    }

    /// The parts that do not run.
    pub(super) fn ended(&self) -> impl Iterator<Item = &Part> {
        self.each().filter(|(_, pid)| !runs(*pid, &self.site.id)).map(|(part, _)| part)
    }

    /// The process of the server, and those of the agents.
    pub(super) fn server_and_agents(&self) -> (Option<i32>, Vec<i32>) {
        let server = self.each().find(|(part, _)| part.name == SERVER).map(|(_, pid)| pid);
        (server, self.each().filter(|(part, _)| part.name != SERVER).map(|(_, pid)| pid).collect())
    }

    fn each(&self) -> impl Iterator<Item = (&Part, i32)> {
        self.parts.iter().zip(self.pids.iter().map(|pid| i32::try_from(*pid).unwrap_or_default()))
    }

    fn pid(&self, name: &str) -> u32 {
        self.part(name).map_or(0, |(_, pid)| pid.unsigned_abs())
    }
}

/// What everybody may know: `lab.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    server: Server,
    users: Vec<User>,
    hosts: Vec<Host>,
    pub(super) machines: Vec<Machine>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Server {
    kind: super::ServerKind,
    domain: String,
    address: String,
    /// Clients, STARTTLS.
    port: u16,
    ca: PathBuf,
    /// Clients, TLS from the first byte.
    tls_port: u16,
    /// For clients in a browser (RFC 7395).
    websocket: String,
    pid: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct User {
    jid: String,
    password: String,
    /// `stranger` for the one without.
    role: String,
    /// For `skerry --config`.
    config: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Host {
    jid: String,
    config: PathBuf,
    pid: u32,
    name: String,
}

/// A machine, as `lab.json` has it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) jid: String,
    pub(super) name: String,
    /// The address of its host.
    pub(super) host: String,
}

impl Record {
    pub(super) fn of(inside: &Inside, machines: Vec<Machine>) -> Self {
        let site = &inside.site;
        let users = site.users.iter().map(|user| User {
            jid: site.user_jid(user),
            password: user.password.clone(),
            role: user.role().to_owned(),
            config: site.user_configuration(user),
        });
        let hosts = site.hosts.iter().map(|host| Host {
            jid: site.host_jid(host),
            config: host::configuration(site, host),
            pid: inside.pid(&host.name),
            name: host.name.clone(),
        });
        Self {
            server: Server {
                kind: site.server,
                domain: site.domain.clone(),
                address: "127.0.0.1".to_owned(),
                port: site.ports.client,
                ca: site.ca(),
                tls_port: site.ports.client_tls,
                websocket: site.websocket(),
                pid: inside.pid(SERVER),
            },
            users: users.collect(),
            hosts: hosts.collect(),
            machines,
        }
    }

    pub(super) fn read(dir: &Path) -> Result<Self> {
        read(dir, LAB)
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        write_whole(dir, LAB, self)
    }

    /// After a part was started again.
    pub(super) fn set_pids(&mut self, inside: &Inside) {
        self.server.pid = inside.pid(SERVER);
        for host in &mut self.hosts {
            host.pid = inside.pid(&host.name);
        }
    }

    /// How to log in, for people.
    pub(super) fn told(&self, dir: &Path, how: &str) -> String {
        let Server { address, port, ca, tls_port, domain, .. } = &self.server;
        let mut lines = vec![
            format!("The lab in {} {how}.", dir.display()),
            String::new(),
            format!("  server       {address}, port {port} (STARTTLS) or {tls_port} (TLS); domain {domain}"),
            format!("  certificate  {}", ca.display()),
        ];
        let users = self
            .users
            .iter()
            .map(|user| format!("  {:<12} {}  password {}", user.role, user.jid, user.password));
        lines.extend(users);
        lines.extend(self.hosts.iter().map(|host| format!("  host         {}", host.jid)));
        match &self.machines[..] {
            [] => {}
            [first] => lines.push(format!("  machine      {} ({})", first.name, first.jid)),
            [first, .., last] => {
                let count = self.machines.len();
                lines.push(format!("  machines     {} … {} ({count} of them)", first.name, last.name));
            }
        }
        if let Some(admin) = self.users.first() {
            lines.extend([String::new(), format!("  skerry --config {} list", admin.config.display())]);
        }
        lines.join("\n")
    }
}

/// The configuration file of `skerry`.
#[derive(Serialize)]
struct UserConfiguration {
    jid: String,
    password_file: PathBuf,
    server: String,
    tls: &'static str,
    ca: PathBuf,
}

/// Writes a file for `skerry --config` for each user.
pub(super) fn write_user_configurations(site: &Site) -> Result<()> {
    for user in &site.users {
        let password_file = site.users_dir().join(format!("{}.password", user.name));
        write(&password_file, &format!("{}\n", user.password))?;
        let configuration = UserConfiguration {
            jid: site.user_jid(user),
            password_file,
            server: format!("127.0.0.1:{}", site.ports.client),
            tls: "starttls",
            ca: site.ca(),
        };
        write(&site.user_configuration(user), &toml::to_string(&configuration)?)?;
    }
    Ok(())
}

fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<T> {
    let file = dir.join(name);
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("there is no lab in {}", dir.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} cannot be understood", file.display()))
}

/// So that whoever waits for the file never sees half of it.
fn write_whole<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<()> {
    let unfinished = dir.join(format!("{name}.new"));
    write(&unfinished, &serde_json::to_string_pretty(value)?)?;
    std::fs::rename(&unfinished, dir.join(name)).with_context(|| format!("{name} cannot be written"))
}
