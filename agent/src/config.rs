//! The agent's configuration: one TOML file, checked before anything starts.
//!
//! Every complaint names the file and the key and says what to write. An unknown key is refused with
//! the nearest known one: a misspelt `trash.kep` must not silently mean the default.

mod approval;
mod audit;
mod catalogues;
mod images;
pub(crate) mod keys;
mod moving;
mod numbers;
pub mod signing;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use hypervisor_core::confine::Users;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use skerry_link::config::{LinkConfig, Login, ServerAddress, Tls};
use skerry_stanzas::command::Role;
use xmpp_parsers::jid::{BareJid, Jid};

pub use self::approval::ApprovalSection;
pub use self::audit::AuditSection;
pub use self::catalogues::CatalogueSection;
pub use self::moving::MigrationSection;
pub use self::numbers::{MetricsSection, PrometheusListen, PrometheusSection};
use crate::rights::Roles;

/// The resource asked for on a `single` link.
pub const RESOURCE: &str = "skerry";

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}{what}", file.display(), if key.is_empty() { String::new() } else { format!("{key}: ") })]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The key, with dots; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong, and what to write.
    pub what: String,
}

/// The agent's configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// The shown name; the hostname when left out.
    #[serde(default = "hostname")]
    pub name: String,
    /// Where `state.db` and the machines' folders are.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// How to reach the server, and as whom.
    pub link: LinkSection,
    /// Who may do what.
    #[serde(default)]
    pub roles: RolesSection,
    /// What is not done before others agree, by the name of the rule.
    #[serde(default)]
    pub approval: BTreeMap<String, ApprovalSection>,
    /// Which drivers.
    #[serde(default)]
    pub drivers: DriversSection,
    /// How long deleted machines are kept.
    #[serde(default)]
    pub trash: TrashSection,
    /// What machines are made from, by name.
    #[serde(default)]
    pub images: BTreeMap<String, Image>,
    /// Catalogues of images, by name.
    #[serde(default)]
    pub catalogues: BTreeMap<String, CatalogueSection>,
    /// Which files of this host its commands may name.
    #[serde(default)]
    pub files: FilesSection,
    /// The hosts that machines may move to and come from, by the names they have here.
    #[serde(default, deserialize_with = "moving::peers")]
    pub peers: BTreeMap<String, Jid>,
    /// How machines move.
    #[serde(default)]
    pub migration: MigrationSection,
    /// How often to look at what is used, and whether to remember it.
    #[serde(default)]
    pub metrics: MetricsSection,
    /// Where to answer Prometheus, if at all.
    #[serde(default)]
    pub prometheus: PrometheusSection,
    /// Who makes the networks of machines.
    #[serde(default)]
    pub network: NetworkSection,
    /// Who witnesses the audit trail.
    #[serde(default)]
    pub audit: AuditSection,
    /// How to log.
    #[serde(default)]
    pub log: LogSection,
    /// The file it was read from; for messages, and for reading it again.
    #[serde(skip)]
    pub file: PathBuf,
}

/// `[link]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LinkSection {
    /// The kind of link.
    pub kind: LinkKind,
    /// The component's domain, or the account.
    #[serde(deserialize_with = "bare_jid")]
    pub jid: BareJid,
    /// Host and port; DNS when left out (`single` only).
    #[serde(default)]
    pub server: Option<String>,
    /// The file holding the component secret or the password: one line.
    pub secret_file: PathBuf,
    /// How the stream of an account is protected.
    #[serde(default)]
    pub tls: TlsKind,
    /// Certificate authorities to trust instead of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// The kind of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// XEP-0114: the host is a domain, each machine an address of it.
    Component,
    /// One account for the host; machines are nodes under it.
    Single,
}

/// How the stream of an account is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsKind {
    /// STARTTLS, required.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Direct,
}

/// `[roles]`: bare addresses (`ann@example.org`), or whole domains (`example.org`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RolesSection {
    /// May do everything.
    pub admin: Vec<String>,
    /// May run machines.
    pub operator: Vec<String>,
    /// May look.
    pub viewer: Vec<String>,
}

/// `[drivers]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DriversSection {
    /// By name; `fake` only ever by being named here.
    pub enabled: Vec<String>,
    /// The one used when none is asked for; else the first enabled one that is usable.
    #[serde(rename = "default")]
    pub preferred: Option<String>,
    /// The users of the host that guests are, each one of its own, such as "70000-79999"; "none" for the
    /// agent's.
    #[serde(deserialize_with = "users")]
    pub guest_uids: Option<Users>,
}

impl Default for DriversSection {
    fn default() -> Self {
        Self { enabled: vec!["qemu".into()], preferred: None, guest_uids: Some(Users::default()) }
    }
}

/// `[trash]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct TrashSection {
    /// How long deleted machines are kept.
    #[serde(deserialize_with = "duration")]
    pub keep: Duration,
}

impl Default for TrashSection {
    fn default() -> Self {
        Self { keep: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// `[files]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FilesSection {
    /// Folders with files that a definition may name: disks, CDs, kernels.
    pub allow: Vec<PathBuf>,
    /// Where `image import` finds files; `<state>/import` when there is none.
    pub import: Vec<PathBuf>,
    /// Where `image export` writes them; `<state>/export` when left out.
    pub export: Option<PathBuf>,
}

/// `[network]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NetworkSection {
    /// Who makes them; left out, skerry-net where it is there, else the agent itself; nobody where the only
    /// driver is "fake".
    pub by: Option<By>,
    /// Where skerry-net listens; /run/skerry-net/socket when left out.
    pub helper: Option<PathBuf>,
}

/// Who makes the networks of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The agent: it takes rights (CAP_NET_ADMIN).
    Agent,
    /// skerry-net.
    Helper,
    /// Nobody: they are pretended, as the machines of the driver "fake" are.
    Nobody,
}

/// `[images.NAME]`: a kernel, booted directly, or a disk, of which a machine gets an overlay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Image {
    /// bzImage or vmlinux.
    pub kernel: Option<PathBuf>,
    /// The initial file system.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: String,
    /// A disk, qcow2 or raw.
    pub disk: Option<PathBuf>,
    /// What it is, for people.
    pub about: String,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LogSection {
    /// How to write it; journald when started by systemd, else text.
    pub format: Option<LogFormat>,
}

/// How to write the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// To systemd's journal.
    Journald,
}

fn hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "host".into())
}

fn default_state() -> PathBuf {
    "/var/lib/skerry".into()
}

fn bare_jid<'de, D: Deserializer<'de>>(from: D) -> Result<BareJid, D::Error> {
    let text = String::deserialize(from)?;
    BareJid::new(&text).map_err(|error| {
        serde::de::Error::custom(format!(
            "{text:?} is no address without a resource ({error}); write \"kvm1.example.org\""
        ))
    })
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    // Longer than anybody waits, and short enough to be added to a day.
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    humantime::parse_duration(&text).ok().filter(|time| *time <= century).ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is not a time; write one such as \"7d\" or \"12h\""))
    })
}

fn users<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Users>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "none" => Ok(None),
        text => {
            text.parse().map(Some).map_err(|what| serde::de::Error::custom(format!("{what}, or \"none\"")))
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// What is wrong with it: file, key, and what to write.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError {
            file: path.into(),
            key: String::new(),
            what: format!("cannot be read: {error}. Make one with: skerry-agent setup"),
        })?;
        let config = Self::parse(&text, path)?;
        config.check()?;
        Ok(config)
    }

    /// Reads a configuration from text; `path` is for messages. Files it names are not looked at.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let error = |key: &str, what: String| ConfigError { file: path.into(), key: key.into(), what };
        let table: toml::Table =
            toml::from_str(text).map_err(|wrong| error("", format!("is not TOML: {wrong}")))?;
        keys::check(&table).map_err(|(key, what)| error(&key, what))?;
        let mut config: Self = toml::from_str(text).map_err(|wrong| error("", wrong.to_string()))?;
        config.file = path.into();
        Ok(config)
    }

    /// Who may do what.
    ///
    /// # Errors
    /// An entry of `[roles]` is no address.
    pub fn roles(&self) -> Result<Roles, ConfigError> {
        let RolesSection { admin, operator, viewer } = &self.roles;
        Roles::new([(Role::Admin, admin), (Role::Operator, operator), (Role::Viewer, viewer)])
            .map_err(|(role, what)| self.wrong(&format!("roles.{}", role.word()), what))
    }

    /// Checks what parsing cannot see: that things fit each other and that the files it names exist.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_link()?;
        self.roles()?;
        self.policies()?;
        self.signing_keys()?;
        if self.drivers.enabled.is_empty() {
            return Err(self.wrong("drivers.enabled", "names no driver; write [\"qemu\"]"));
        }
        if let Some(driver) = &self.drivers.preferred
            && !self.drivers.enabled.contains(driver)
        {
            let what = format!("\"{driver}\" is not among drivers.enabled; add it there");
            return Err(self.wrong("drivers.default", what));
        }
        if let Some(missing) =
            self.files.allow.iter().find(|folder| !folder.is_absolute() || !folder.is_dir())
        {
            return Err(self.wrong("files.allow", format!("there is no folder {}", missing.display())));
        }
        self.check_files()?;
        self.metrics.check().map_err(|what| self.wrong("metrics.every", what))?;
        self.prometheus.check().map_err(|what| self.wrong("prometheus.listen", what))?;
        self.audit.check().map_err(|what| self.wrong("audit.rows", what))?;
        for (name, catalogue) in &self.catalogues {
            let wrong = |(key, what)| self.wrong(&format!("catalogues.{name}.{key}"), what);
            catalogue.check().map_err(wrong)?;
        }
        self.images.iter().try_for_each(|(name, image)| self.check_image(name, image))
    }

    fn check_link(&self) -> Result<(), ConfigError> {
        match (self.link.kind, self.link.jid.node()) {
            (LinkKind::Component, Some(_)) => {
                let what = format!("a component's is a domain; write \"{}\"", self.link.jid.domain());
                return Err(self.wrong("link.jid", what));
            }
            (LinkKind::Single, None) => {
                return Err(self.wrong("link.jid", "an account's has a name: write \"host@example.org\""));
            }
            (LinkKind::Component, None) if self.link.server.is_none() => {
                let what = "a component needs to know its server; write \"127.0.0.1:5347\"";
                return Err(self.wrong("link.server", what));
            }
            _ => {}
        }
        self.server()?;
        if let Some(ca) = &self.link.ca
            && !ca.is_file()
        {
            return Err(self.wrong("link.ca", format!("there is no file {}", ca.display())));
        }
        self.secret().map(drop)
    }

    fn check_files(&self) -> Result<(), ConfigError> {
        let named = self.files.import.iter().map(|folder| ("files.import", folder));
        let named = named.chain(self.files.export.iter().map(|folder| ("files.export", folder)));
        for (key, folder) in named {
            if !folder.is_absolute() {
                let what = format!("{} must begin with a slash", folder.display());
                return Err(self.wrong(key, what));
            }
        }
        Ok(())
    }

    /// The secret or password, from its file. Warns in the log when everybody could read it.
    ///
    /// # Errors
    /// When the file cannot be read, or is empty.
    pub fn secret(&self) -> Result<SecretString, ConfigError> {
        let path = &self.link.secret_file;
        let unread = |error| self.wrong("link.secret_file", format!("{}: {error}", path.display()));
        let mode = fs::metadata(path).map_err(unread)?.permissions().mode();
        if mode & 0o007 != 0 {
            tracing::warn!(file = %path.display(), "everybody on this host can read the secret: chmod 600 it");
        }
        let text = fs::read_to_string(path).map_err(unread)?;
        match text.lines().next().map(str::trim_end) {
            Some(line) if !line.is_empty() => Ok(SecretString::from(line)),
            _ => Err(self.wrong("link.secret_file", format!("{} is empty", path.display()))),
        }
    }

    /// How to log in.
    ///
    /// # Errors
    /// When the secret cannot be read or the server's address is none.
    pub fn link_config(&self) -> Result<LinkConfig, ConfigError> {
        let secret = self.secret()?;
        let jid = self.link.jid.clone();
        let mut link = match self.link.kind {
            LinkKind::Component => LinkConfig::new(Login::Component { domain: jid, secret }),
            LinkKind::Single => {
                let jid = Jid::from(self.full_jid()?);
                let mut link = LinkConfig::new(Login::Account { jid, password: secret });
                link.tls = match self.link.tls {
                    TlsKind::StartTls => Tls::StartTls,
                    TlsKind::Direct => Tls::Direct,
                };
                link
            }
        };
        link.server = self.server()?;
        link.ca.clone_from(&self.link.ca);
        Ok(link)
    }

    fn full_jid(&self) -> Result<xmpp_parsers::jid::FullJid, ConfigError> {
        self.link.jid.with_resource_str(RESOURCE).map_err(|error| self.wrong("link.jid", error.to_string()))
    }

    fn server(&self) -> Result<ServerAddress, ConfigError> {
        let Some(server) = &self.link.server else { return Ok(ServerAddress::Dns) };
        let parts = server.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match parts {
            Some((host, port)) if !host.is_empty() => {
                Ok(ServerAddress::At(host.trim_matches(['[', ']']).into(), port))
            }
            _ => {
                let what = format!("\"{server}\" has no port; write \"{server}:5222\" (a component: 5347)");
                Err(self.wrong("link.server", what))
            }
        }
    }

    /// The keys whose change takes a restart.
    pub(crate) fn differs(&self, new: &Self) -> Vec<&'static str> {
        let compared = [
            ("name", self.name == new.name),
            ("state", self.state == new.state),
            ("link", self.link == new.link),
            ("drivers", self.drivers == new.drivers),
            ("metrics", self.metrics == new.metrics),
            ("prometheus", self.prometheus == new.prometheus),
            ("network", self.network == new.network),
            ("log", self.log.format == new.log.format),
        ];
        compared.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }

    pub(crate) fn wrong(&self, key: &str, what: impl Into<String>) -> ConfigError {
        ConfigError { file: self.file.clone(), key: key.into(), what: what.into() }
    }
}

#[cfg(test)]
mod tests;
