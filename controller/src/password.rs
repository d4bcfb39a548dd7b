//! Where the password comes from: a file, a command, or the desktop's keyring. Never an argument,
//! never a variable of the environment: both can be read by others.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use secrecy::{ExposeSecret as _, SecretString};
use secret_service::{EncryptionType, SecretService};
use tokio::io::AsyncReadExt as _;
use xmpp_parsers::jid::BareJid;

use crate::failure::{Failure, Outcome};

/// The longest password read, in bytes: more is a wrong file.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The password of an account.
    Password,
    /// The private key that its owner signs by.
    SigningKey,
}

impl Purpose {
    /// As it is called.
    const fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::SigningKey => "signing key",
        }
    }

    /// The setting that names a command.
    const fn command(self) -> &'static str {
        match self {
            Self::Password => "password_command",
            Self::SigningKey => "signing_key_command",
        }
    }

    /// As what it is found in a keyring.
    const fn service(self) -> &'static str {
        match self {
            Self::Password => "skerry",
            Self::SigningKey => "skerry-signing-key",
        }
    }
}

/// How a password, or a key, is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The first line of a file.
    File(PathBuf),
    /// The first line a command prints; its words, run without a shell.
    Command(Vec<String>),
    /// The secret service of the desktop (GNOME, KDE, KeePassXC), under `service=skerry jid=JID`.
    Keyring,
}

impl Keeper {
    /// A command, split into words as a shell would, but never given to one.
    ///
    /// # Errors
    /// No words in it, or a quote left open.
    pub fn command(what: Purpose, command: &str) -> Outcome<Self> {
        match shlex::split(command) {
            Some(words) if !words.is_empty() => Ok(Keeper::Command(words)),
            _ => Err(Failure::usage(format!("{}: not a command (is a quote left open?)", what.command()))),
        }
    }

    /// What is kept of `jid`.
    ///
    /// # Errors
    /// It cannot be had; the sentence says why and never holds any of it.
    pub async fn secret(&self, what: Purpose, jid: &BareJid) -> Outcome<SecretString> {
        match self {
            Keeper::File(path) => from_file(what, path).await,
            Keeper::Command(words) => from_command(what, words).await,
            Keeper::Keyring => from_keyring(what, jid).await,
        }
    }
}

async fn from_file(what: Purpose, path: &Path) -> Outcome<SecretString> {
    let word = what.word();
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("the {word} file {} cannot be read: {error}", path.display()))
    };
    let file = tokio::fs::File::open(path).await.map_err(|error| wrong(&error))?;
    warn_if_open_to_others(path, &file).await;
    let mut text = String::new();
    file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).await.map_err(|error| wrong(&error))?;
    first_line(text, || format!("the {word} file {} is empty", path.display()))
}

async fn warn_if_open_to_others(path: &Path, file: &tokio::fs::File) {
    use std::os::unix::fs::MetadataExt as _;
    if file.metadata().await.is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o077 != 0) {
        let path = path.display();
        eprintln!("skerry: others on this computer can read {path}; mend it with: chmod 600 {path}");
    }
}

async fn from_command(what: Purpose, words: &[String]) -> Outcome<SecretString> {
    let setting = what.command();
    let (program, arguments) = words.split_first().expect("invariant: Keeper::command refuses no words");
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::usage(format!("{setting}: {program} cannot be run: {error}")))?;
    let stdout = child.stdout.take().expect("invariant: stdout is piped");
    let mut text = String::new();
    let read = stdout.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).await;
    let status = child.wait().await?;
    if !status.success() {
        return Err(Failure::usage(format!("{setting}: {program} ended with {status}")));
    }
    read.map_err(|_| Failure::usage(format!("{setting}: {program} printed no text")))?;
    first_line(text, || format!("{setting}: {program} printed nothing"))
}

fn keyring_failed(error: secret_service::Error) -> Failure {
    Failure::usage(format!("the keyring does not answer: {error}"))
        .hint("Where there is no desktop, use password_file or password_command.")
}

/// How what is ours is found in a keyring.
fn attributes(what: Purpose, jid: &str) -> HashMap<&str, &str> {
    HashMap::from([("service", what.service()), ("jid", jid)])
}

/// Puts what is kept of `jid` into the keyring, in place of an older one.
///
/// # Errors
/// There is no keyring, or it stays locked.
pub async fn into_keyring(what: Purpose, jid: &BareJid, secret: &SecretString) -> Outcome<()> {
    let jid = jid.to_string();
    let service = SecretService::connect(EncryptionType::Dh).await.map_err(keyring_failed)?;
    let collection = service.get_default_collection().await.map_err(keyring_failed)?;
    collection.ensure_unlocked().await.map_err(keyring_failed)?;
    let (label, secret) = (format!("Skerry {} {jid}", what.word()), secret.expose_secret().as_bytes());
    let made = collection.create_item(&label, attributes(what, &jid), secret, true, "text/plain").await;
    made.map(drop).map_err(keyring_failed)
}

async fn from_keyring(what: Purpose, jid: &BareJid) -> Outcome<SecretString> {
    let jid = jid.to_string();
    let wrong = keyring_failed;
    let service = SecretService::connect(EncryptionType::Dh).await.map_err(wrong)?;
    let wanted = attributes(what, &jid);
    let found = service.search_items(wanted).await.map_err(wrong)?;
    let item = match (found.unlocked.first(), found.locked.first()) {
        (Some(item), _) => item,
        (None, Some(item)) => {
            item.unlock().await.map_err(wrong)?;
            item
        }
        (None, None) => {
            let (word, service) = (what.word(), what.service());
            return Err(Failure::usage(format!("the keyring has no {word} for {jid}")).hint(format!(
                "Store it: secret-tool store --label 'Skerry {word} {jid}' service {service} jid {jid}"
            )));
        }
    };
    let secret = item.get_secret().await.map_err(wrong)?;
    let text = String::from_utf8(secret)
        .map_err(|_| Failure::usage(format!("what the keyring has for {jid} is no text")))?;
    first_line(text, || format!("what the keyring has for {jid} is empty"))
}

/// The first line, as passwords are kept; the rest (`pass` keeps notes there) is not looked at.
fn first_line(text: String, empty: impl FnOnce() -> String) -> Outcome<SecretString> {
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(SecretString::from(line.to_owned())),
        _ => Err(Failure::usage(empty())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use secrecy::ExposeSecret as _;

    use super::*;

    fn ann() -> BareJid {
        BareJid::new("ann@example.org").unwrap()
    }

    #[tokio::test]
    async fn the_first_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "pencil sharp\nnote: old\n").unwrap();
        let password = Keeper::File(path).secret(Purpose::Password, &ann()).await.unwrap();
        assert_eq!(password.expose_secret(), "pencil sharp");
    }

    #[tokio::test]
    async fn an_empty_or_missing_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        assert!(
            Keeper::File(path.clone())
                .secret(Purpose::Password, &ann())
                .await
                .unwrap_err()
                .text
                .contains("cannot be read")
        );
        std::fs::write(&path, "\n").unwrap();
        assert!(
            Keeper::File(path).secret(Purpose::Password, &ann()).await.unwrap_err().text.contains("is empty")
        );
    }

    #[tokio::test]
    async fn a_command_is_run_without_a_shell() {
        let keeper = Keeper::command(Purpose::Password, "printf '%s\\n' 'pencil; $HOME'").unwrap();
        let password = keeper.secret(Purpose::Password, &ann()).await.unwrap();
        assert_eq!(password.expose_secret(), "pencil; $HOME");
    }

    #[tokio::test]
    async fn a_command_that_fails_is_told_without_what_it_printed() {
        let keeper = Keeper::command(Purpose::Password, "sh -c 'echo pencil; exit 3'").unwrap();
        let failure = keeper.secret(Purpose::Password, &ann()).await.unwrap_err();
        assert!(failure.text.contains("sh ended with"), "{failure}");
        assert!(!failure.text.contains("pencil"));
    }

    #[test]
    fn no_command_is_no_command() {
        assert!(Keeper::command(Purpose::Password, "  ").is_err());
        assert!(Keeper::command(Purpose::Password, "pass 'show").is_err());
    }
}
