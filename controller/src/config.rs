//! The configuration of `skerry`: who to be, where the server is, how the password is kept.
//!
//! One TOML file, found in this order: `--config FILE`, `SKERRY_CONFIG`, then
//! `$XDG_CONFIG_HOME/skerry/config.toml` (`~/.config` when that is not set).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use skerry_link::{LinkConfig, Login, ServerAddress, Tls};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::{
    failure::{Failure, Outcome},
    password::{Keeper, Purpose},
};

/// The keys of the file.
const KEYS: &[&str] = &[
    "jid",
    "password_file",
    "password_command",
    "keyring",
    "signing_key_file",
    "signing_key_command",
    "signing_key_keyring",
    "server",
    "tls",
    "ca",
    "hosts",
    "detach_key",
];

/// The file of the signing key, beside the configuration, when nobody says.
const SIGNING_KEY: &str = "signing-key";

/// What to write when there is no configuration.
pub const EXAMPLE: &str = r#"jid = "ann@example.org"
password_file = "~/.config/skerry/password"   # one line, readable by you alone
# password_command = "pass show xmpp"         # or what prints it
# keyring = true                              # or the desktop's keyring
# signing_key_file = "signing-key"            # your key, likewise: _command, _keyring
# hosts = ["kvm1.example.org"]                # else found by contact list and service discovery
# server = "127.0.0.1:5222"                   # else found by DNS
# tls = "direct"                              # else STARTTLS
# ca = "ca.crt"                               # a certificate authority of your own"#;

/// The file as it is written.
#[derive(Debug, Deserialize)]
struct Written {
    jid: String,
    password_file: Option<PathBuf>,
    password_command: Option<String>,
    #[serde(default)]
    keyring: bool,
    signing_key_file: Option<PathBuf>,
    signing_key_command: Option<String>,
    #[serde(default)]
    signing_key_keyring: bool,
    server: Option<String>,
    #[serde(default)]
    tls: WrittenTls,
    ca: Option<PathBuf>,
    #[serde(default)]
    hosts: Vec<String>,
    detach_key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenTls {
    #[default]
    StartTls,
    Direct,
}

/// The file, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The account.
    pub jid: BareJid,
    /// How its password is kept.
    pub keeper: Keeper,
    /// How the key is kept that they sign by.
    pub signing: Keeper,
    /// Where the server is.
    pub server: ServerAddress,
    /// How the stream is protected.
    pub tls: Tls,
    /// A certificate authority to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The hosts, when they are named; else they are looked for.
    pub hosts: Vec<Jid>,
    /// The key that leaves `skerry console`, such as `ctrl-]`.
    pub detach_key: Option<String>,
}

impl Config {
    /// Finds, reads and checks the file.
    ///
    /// # Errors
    /// There is none, or it is not right; the hint says what to write.
    pub fn load(named: Option<&Path>) -> Outcome<Self> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => usual_path().ok_or_else(|| {
                Failure::usage("there is no home folder to look for the configuration in")
                    .hint("Name it: skerry --config FILE …")
            })?,
        };
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::read(&text, folder).map_err(|failure| {
            let text = format!("{}: {}", path.display(), failure.text);
            Failure { text, ..failure }
        })
    }

    /// Reads the text of a file that lies in `folder`.
    ///
    /// # Errors
    /// It is not right.
    pub fn read(text: &str, folder: &Path) -> Outcome<Self> {
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| Failure::usage(one_line(error.message())))?;
        if let Some(odd) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let failure = Failure::usage(format!("there is no setting {odd:?}"));
            return Err(match crate::name::nearest(odd, KEYS.iter().copied()) {
                Some(near) => failure.hint(format!("Did you mean {near}?")),
                None => failure.hint(format!("There are: {}.", KEYS.join(", "))),
            });
        }
        if !table.contains_key("jid") {
            return Err(Failure::usage("jid is missing").hint(format!("For example:\n{EXAMPLE}")));
        }
        let written: Written =
            table.try_into().map_err(|error: toml::de::Error| Failure::usage(one_line(error.message())))?;
        written.check(folder)
    }

    /// The link to log in with.
    ///
    /// # Errors
    /// The password cannot be had.
    pub async fn link(&self, reconnect: bool) -> Outcome<LinkConfig> {
        let password = self.keeper.secret(Purpose::Password, &self.jid).await?;
        let jid = Jid::from(self.jid.clone());
        let mut link = LinkConfig::new(Login::Account { jid, password });
        link.server = self.server.clone();
        link.tls = self.tls.clone();
        link.ca = self.ca.clone();
        link.reconnect = reconnect;
        Ok(link)
    }
}

impl Written {
    fn check(self, folder: &Path) -> Outcome<Config> {
        let jid = BareJid::new(&self.jid).map_err(|error| {
            Failure::usage(format!("jid: {:?} is no address ({error})", self.jid))
                .hint("An account, such as ann@example.org.")
        })?;
        if jid.node().is_none() {
            return Err(Failure::usage(format!("jid: {jid} is a server, not an account"))
                .hint("An account, such as ann@example.org."));
        }
        let ways = (self.password_file, self.password_command, self.keyring);
        let keepers = keepers(Purpose::Password, folder, ways)?;
        let ways = (self.signing_key_file, self.signing_key_command, self.signing_key_keyring);
        let signing = match <[Keeper; 1]>::try_from(self::keepers(Purpose::SigningKey, folder, ways)?) {
            Ok([signing]) => signing,
            Err(none) if none.is_empty() => Keeper::File(folder.join(SIGNING_KEY)),
            Err(_) => {
                return Err(Failure::usage("it says twice how the signing key is kept")
                    .hint("One of: signing_key_file, signing_key_command, signing_key_keyring."));
            }
        };
        let [keeper] = <[Keeper; 1]>::try_from(keepers).map_err(|keepers| {
            let text = if keepers.is_empty() { "it does not say" } else { "it says twice" };
            Failure::usage(format!("{text} how the password is kept"))
                .hint("One of: password_file = \"FILE\", password_command = \"COMMAND\", keyring = true.")
        })?;
        let hosts = self.hosts.iter().map(|host| host_address(host)).collect::<Outcome<_>>()?;
        Ok(Config {
            jid,
            keeper,
            signing,
            server: self.server.map_or(Ok(ServerAddress::Dns), |server| server_address(&server))?,
            tls: match self.tls {
                WrittenTls::StartTls => Tls::StartTls,
                WrittenTls::Direct => Tls::Direct,
            },
            ca: self.ca.map(|ca| place(folder, &ca)),
            hosts,
            detach_key: self.detach_key,
        })
    }
}

/// The ways that are named in which something is kept: a file, a command, the keyring.
fn keepers(
    what: Purpose,
    folder: &Path,
    (file, command, keyring): (Option<PathBuf>, Option<String>, bool),
) -> Outcome<Vec<Keeper>> {
    let file = file.map(|file| Keeper::File(place(folder, &file)));
    let command = command.map(|command| Keeper::command(what, &command)).transpose()?;
    Ok(file.into_iter().chain(command).chain(keyring.then_some(Keeper::Keyring)).collect())
}

/// Where the file is when nobody says.
pub fn usual_path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("skerry").join("config.toml"))
}

/// Where `skerry` keeps what it remembers (the chat's history).
pub fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(folder.join("skerry"))
}

/// A path of the file: `~/` is the home folder, others are seen from the file's own.
fn place(folder: &Path, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => folder.join(path),
    }
}

fn host_address(host: &str) -> Outcome<Jid> {
    Jid::new(host).map_err(|error| Failure::usage(format!("hosts: {host:?} is no address ({error})")))
}

fn server_address(server: &str) -> Outcome<ServerAddress> {
    let wrong = || {
        Failure::usage(format!("server: {server:?} is not HOST:PORT"))
            .hint("For example 127.0.0.1:5222 or [::1]:5222; leave it out to ask DNS.")
    };
    let (host, port) = server.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(wrong());
    }
    Ok(ServerAddress::At(host.to_owned(), port))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Failure::usage(format!("there is no configuration at {}", path.display()))
            .hint(format!("Run `skerry setup`, or write it:\n\n{EXAMPLE}\n"));
    }
    Failure::usage(format!("the configuration {} cannot be read: {error}", path.display()))
}

/// A library's message as one line.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn read(text: &str) -> Outcome<Config> {
        Config::read(text, Path::new("/etc/here"))
    }

    fn wrong(text: &str) -> Failure {
        let failure = read(text).unwrap_err();
        assert_eq!(failure.kind, crate::failure::Kind::Usage);
        failure
    }

    #[test]
    fn the_whole_file_is_understood() {
        let config = read(
            "jid = 'ann@example.org'\npassword_file = 'password'\nserver = '127.0.0.1:15222'\n\
             tls = 'direct'\nca = '/ca.crt'\nhosts = ['kvm1.example.org', 'kvm2@example.org/skerry']",
        )
        .unwrap();
        assert_eq!(config.jid.to_string(), "ann@example.org");
        assert_eq!(config.keeper, Keeper::File("/etc/here/password".into()));
        assert_eq!(config.server, ServerAddress::At("127.0.0.1".into(), 15222));
        assert_eq!(config.signing, Keeper::File("/etc/here/signing-key".into()), "when nobody says");
        assert_eq!(config.tls, Tls::Direct);
        assert_eq!(config.ca, Some("/ca.crt".into()));
        assert_eq!(config.hosts.len(), 2);
    }

    #[test]
    fn the_example_is_a_configuration() {
        assert!(read(EXAMPLE).is_ok());
    }

    #[test]
    fn an_unknown_setting_is_told_with_the_nearest_one() {
        let failure = wrong("jid = 'a@b'\npasword_file = 'x'");
        assert!(failure.text.contains("pasword_file"));
        assert_eq!(failure.hint.unwrap(), "Did you mean password_file?");
    }

    #[test]
    fn a_password_in_the_file_is_not_a_setting() {
        let failure = wrong("jid = 'a@b'\npassword = 'secret'");
        assert!(!format!("{failure:?}").contains("secret"));
    }

    #[test]
    fn the_password_is_kept_in_exactly_one_way() {
        assert!(wrong("jid = 'a@b'").text.contains("does not say"));
        assert!(wrong("jid = 'a@b'\nkeyring = true\npassword_file = 'x'").text.contains("twice"));
        let signing = "jid = 'a@b'\nkeyring = true\nsigning_key_keyring = true";
        assert_eq!(read(signing).unwrap().signing, Keeper::Keyring);
        assert!(wrong(&format!("{signing}\nsigning_key_file = 'x'")).text.contains("twice how the signing"));
    }

    #[test]
    fn a_missing_jid_shows_what_to_write() {
        assert!(wrong("keyring = true").hint.unwrap().contains("jid = "));
    }

    #[test]
    fn an_account_is_wanted_not_a_server() {
        assert!(wrong("jid = 'example.org'\nkeyring = true").text.contains("not an account"));
    }

    #[test]
    fn servers_are_host_and_port() {
        assert_eq!(server_address("[::1]:5222").unwrap(), ServerAddress::At("::1".into(), 5222));
        for odd in ["example.org", "example.org:", ":5222", "example.org:99999"] {
            assert!(server_address(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn no_file_says_what_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Config::load(Some(&folder.path().join("none.toml"))).unwrap_err();
        assert!(failure.text.contains("there is no configuration"));
        assert!(failure.hint.unwrap().contains("password_file"));
    }

    #[test]
    fn broken_toml_is_one_sentence() {
        assert!(!wrong("jid = = 1").text.contains('\n'));
    }
}
