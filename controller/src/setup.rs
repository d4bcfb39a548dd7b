//! `skerry setup`: writes the configuration, after asking for what was not given, and logs in to try it.
//!
//! A password typed here goes into a file that only its owner can read, beside the configuration; it
//! is never an argument, and never in the configuration itself.

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};
use xmpp_parsers::jid::BareJid;

use crate::{
    cli::SetupArgs,
    config::{Config, usual_path},
    failure::{Failure, Kind, Outcome},
    fleet::Fleet,
    password::{self, Keeper, Purpose},
    session::Session,
};

/// How the password is kept, as it is written.
enum Kept {
    File(String),
    Command(String),
    Keyring,
}

/// Writes the configuration and tries it.
///
/// # Errors
/// It is there already, something is missing that nobody can be asked for, or it cannot be written.
/// That the login failed is an error too; the configuration stays.
pub async fn run(args: SetupArgs, named: Option<&Path>) -> Outcome<()> {
    let path = named.map(Path::to_owned).or_else(usual_path).ok_or_else(|| {
        Failure::usage("there is no home folder to write the configuration to").hint("Name it: --config FILE")
    })?;
    let again = match named {
        Some(named) => format!("skerry setup --replace --config {}", named.display()),
        None => "skerry setup --replace".to_owned(),
    };
    if path.exists() && !args.replace {
        return Err(Failure::usage(format!("there is a configuration at {} already", path.display()))
            .hint(format!("Edit it, or write a new one with: {again}")));
    }
    let asked = tokio::task::spawn_blocking({
        let path = path.clone();
        move || write(&args, &path)
    });
    asked.await.map_err(|_| Failure::new(Kind::Internal, "the questions broke off"))??;
    eprintln!("Written: {}", path.display());
    let config = Config::load(Some(&path))?;
    if config.keeper == Keeper::Keyring && is_asked() {
        fill_keyring(&config.jid).await?;
    }
    let session = Session::open(&config, false).await.map_err(|failure| {
        let hint = failure.hint.clone().map(|hint| format!("{hint}\n")).unwrap_or_default();
        failure.hint(format!("{hint}Edit {}, or answer again: {again}", path.display()))
    })?;
    let session = session.deaf();
    eprintln!("Logged in as {}.", session.jid());
    let fleet = Fleet::hosts(&session, &config).await?;
    session.close().await;
    match fleet.hosts.len() {
        0 => eprintln!(
            "No host was found yet. Add one to your contacts, or to the configuration: \
             hosts = [\"kvm1.example.org\"]"
        ),
        _ => {
            let names: Vec<String> = fleet.hosts.iter().map(|host| host.name.clone()).collect();
            eprintln!("Hosts: {}. Try: skerry list", names.join(", "));
        }
    }
    Ok(())
}

/// Puts the password into the keyring, unless it is there already.
async fn fill_keyring(jid: &BareJid) -> Outcome<()> {
    let asked = || hidden("Password for the keyring (empty: it is in there already): ");
    let asked = tokio::task::spawn_blocking(asked).await;
    let password = asked.map_err(|_| Failure::new(Kind::Internal, "the question broke off"))??;
    match password.expose_secret() {
        "" => Ok(()),
        _ => password::into_keyring(Purpose::Password, jid, &password).await,
    }
}

fn write(args: &SetupArgs, path: &Path) -> Outcome<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: io::Error| Failure::usage(format!("{} cannot be written: {error}", path.display()));
    let jid = match &args.jid {
        Some(jid) => jid.clone(),
        None => ask_for_account()?,
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let kept = kept(args, folder)?;
    let server = match &args.server {
        Some(server) => Some(server.clone()),
        None if is_asked() => Some(ask("Server (HOST:PORT; empty: as DNS says): ", "--server")?),
        None => None,
    };
    let ca = args.ca.as_deref().map(absolute);
    let text = text(&jid, &kept, server.as_deref().filter(|server| !server.is_empty()), ca.as_deref());
    // Read before it is written: a wrong address is told now.
    Config::read(&text, folder)?;
    private_file(path, text.as_bytes()).map_err(failed)
}

/// The file.
fn text(jid: &str, kept: &Kept, server: Option<&str>, ca: Option<&str>) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = format!("jid = {}\n", quoted(jid));
    text.push_str(&match kept {
        Kept::File(file) => format!("password_file = {}\n", quoted(file)),
        Kept::Command(command) => format!("password_command = {}\n", quoted(command)),
        Kept::Keyring => "keyring = true\n".to_owned(),
    });
    if let Some(server) = server {
        text.push_str(&format!("server = {}\n", quoted(server)));
    }
    if let Some(ca) = ca {
        text.push_str(&format!("ca = {}\n", quoted(ca)));
    }
    text
}

fn kept(args: &SetupArgs, folder: &Path) -> Outcome<Kept> {
    if let Some(file) = &args.password_file {
        return Ok(Kept::File(absolute(file)));
    }
    if let Some(command) = &args.password_command {
        return Ok(Kept::Command(command.clone()));
    }
    if args.keyring {
        return Ok(Kept::Keyring);
    }
    eprintln!("How is the password kept?\n  1 in a file beside the configuration, which you type now");
    eprintln!("  2 a command prints it (pass show xmpp)\n  3 in the keyring of the desktop");
    match ask("1, 2 or 3: ", "--password-file, --password-command or --keyring")?.as_str() {
        "" | "1" => {
            let password = hidden("Password: ")?;
            let file = folder.join("password");
            private_file(&file, password.expose_secret().as_bytes())?;
            Ok(Kept::File("password".into()))
        }
        "2" => Ok(Kept::Command(ask("The command: ", "--password-command")?)),
        "3" => Ok(Kept::Keyring),
        other => Err(Failure::usage(format!("{other:?} is none of 1, 2 and 3"))),
    }
}

/// A path as it is meant here and now, whatever folder the configuration is in.
fn absolute(file: &str) -> String {
    if file.starts_with("~/") {
        return file.to_owned();
    }
    std::path::absolute(file).unwrap_or_else(|_| PathBuf::from(file)).display().to_string()
}

/// Writes a file only its owner can read; an old one is replaced whole.
pub(crate) fn private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn is_asked() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on the terminal; without one, says which flag to give.
fn ask(question: &str, flag: &str) -> Outcome<String> {
    if !is_asked() {
        return Err(Failure::usage("nobody can be asked here").hint(format!("Give it: {flag}")));
    }
    eprint!("{question}");
    io::stderr().flush()?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        eprintln!();
        return Err(Failure::usage("the answers ended (Ctrl-D); no configuration was written"));
    }
    Ok(line.trim().to_owned())
}

/// Asks until the answer is the address of an account.
fn ask_for_account() -> Outcome<String> {
    loop {
        let answer = ask("Your account (such as ann@example.org): ", "--jid")?;
        match BareJid::new(&answer) {
            Ok(jid) if jid.node().is_some() => return Ok(answer),
            _ => eprintln!("That is no address of an account: it has a name, an @ and the server's domain."),
        }
    }
}

/// Asks without showing what is typed.
pub(crate) fn hidden(question: &str) -> Outcome<SecretString> {
    let _quiet = Quiet::enter()?;
    let answer = ask(question, "--password-file")?;
    Ok(SecretString::from(answer))
}

/// How the terminal was before it stopped showing what is typed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Lets the terminal show again what is typed, if it was stopped from it.
pub fn show_typing_again() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &before).ok();
        eprintln!();
    }
}

/// A terminal that does not show what is typed, until dropped.
struct Quiet;

impl Quiet {
    fn enter() -> Outcome<Self> {
        let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &quiet).map_err(io::Error::from)?;
        Ok(Self)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        show_typing_again();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn args(jid: &str) -> SetupArgs {
        SetupArgs {
            jid: Some(jid.into()),
            password_file: None,
            password_command: Some("pass show 'my \"xmpp\"'".into()),
            keyring: false,
            server: Some("127.0.0.1:5222".into()),
            ca: Some("/etc/ssl/ours.crt".into()),
            replace: false,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config.toml");
        write(&args("ann@example.org"), &path).unwrap();
        let config = Config::load(Some(&path)).unwrap();
        assert_eq!(config.jid.to_string(), "ann@example.org");
        assert_eq!(config.keeper, Keeper::command(Purpose::Password, "pass show 'my \"xmpp\"'").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_wrong_address_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(write(&args("example.org"), &path).unwrap_err().kind, Kind::Usage);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_there_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, "mine").unwrap();
        let failure = run(args("ann@example.org"), Some(&path)).await.unwrap_err();
        let again = format!("skerry setup --replace --config {}", path.display());
        assert!(failure.hint.unwrap().ends_with(&again));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
