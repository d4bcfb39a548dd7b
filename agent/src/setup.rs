//! `skerry-agent setup`: asks what it needs, writes the configuration and a secret, prints what the
//! server needs to be told, and sees whether it works.

mod ask;
mod snippet;

use std::{
    io::{IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hypervisor_core::confine;
use rand::RngExt;
use skerry_agent::config::Config;
use skerry_link::{Link, LinkEvent, LoginError};
use xmpp_parsers::jid::BareJid;

use self::snippet::Snippet;

/// How long the server may take to let us in.
const LOGIN_MAX: Duration = Duration::from_secs(30);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ServerKind {
    /// Prosody
    Prosody,
    /// ejabberd
    Ejabberd,
}

/// How the agent is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LinkKind {
    /// A domain of its own: every machine has an address. Needs a secret in the server's configuration
    Component,
    /// One ordinary account for the host, on any server
    Single,
}

/// What can be said beforehand; the rest is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Setup {
    /// The server's software
    #[arg(long, value_name = "KIND")]
    server_kind: Option<ServerKind>,
    /// How the agent is on it
    #[arg(long, value_name = "KIND")]
    link: Option<LinkKind>,
    /// The component's domain, or the account
    #[arg(long, value_name = "JID")]
    jid: Option<BareJid>,
    /// The server's address, such as 127.0.0.1:5347 [default for a component: that on Prosody, a port of the
    /// host's own on ejabberd; for an account DNS knows it]
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// Who may do everything; may be given several times
    #[arg(long, value_name = "JID")]
    admin: Vec<BareJid>,
    /// The shown name of the host
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where the agent keeps its state
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/skerry")]
    state: PathBuf,
    /// A file with certificate authorities to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with the secret or password, instead of a new one
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Where to write the configuration
    #[arg(long, value_name = "FILE", default_value = crate::CONFIG)]
    config: PathBuf,
    /// Write over what is there
    #[arg(long)]
    force: bool,
    /// Log in at once, without waiting for the server to be told
    #[arg(long)]
    check: bool,
}

impl Setup {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let asks = std::io::stdin().is_terminal();
        if self.config.exists() && !self.force {
            bail!(
                "{} is there already. --force writes over it; skerry-agent check --login tries it",
                self.config.display()
            );
        }
        let kind = self
            .server_kind
            .map_or_else(|| ask::choice("Which XMPP server is it", asks, "--server-kind"), Ok)?;
        let link =
            self.link.map_or_else(|| ask::choice("How should the agent be on it", asks, "--link"), Ok)?;
        let jid = match self.jid.clone() {
            Some(jid) => jid,
            None => ask::jid(&ask::jid_question(link), asks, "--jid", |jid| ask::fits(link, jid))?,
        };
        ask::fits(link, &jid).map_err(anyhow::Error::msg)?;
        let server = match (&self.server, link) {
            (None, LinkKind::Component) => Some(snippet::listener(kind, &jid)),
            (server, _) => server.clone(),
        };
        let admins = match self.admin.is_empty() {
            true => vec![ask::jid(
                "Your own address, to be the administrator (ann@example.org)",
                asks,
                "--admin",
                ask::fits_person,
            )?],
            false => self.admin.clone(),
        };
        let folder = self.config.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (secret_file, secret) = self.secret(folder)?;
        let snippet = Snippet { kind, link, jid: &jid, server: server.as_deref(), secret: &secret };
        let toml = snippet::agent_toml(&snippet, &self, &secret_file, &admins);
        write_private(&self.config, &toml, self.force)?;
        let config = Config::load(&self.config)?;
        println!("Wrote {}; the secret is in {}.\n", self.config.display(), secret_file.display());
        println!("{}", snippet.text(&secret_file));
        self.try_it(&config, asks)
    }

    /// The secret: a given one, that of an earlier setup, which the server may know already, or a new one in
    /// a file of its own.
    fn secret(&self, folder: &Path) -> anyhow::Result<(PathBuf, String)> {
        let file = self.secret_file.clone().unwrap_or_else(|| folder.join("secret"));
        let file = std::path::absolute(file)?;
        if self.secret_file.is_some() || file.exists() {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let secret = text.lines().next().unwrap_or_default().trim_end().to_owned();
            if secret.is_empty() {
                bail!("the first line of {} is empty, and the secret is to be there", file.display());
            }
            return Ok((file, secret));
        }
        let secret = URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; 24]>());
        write_private(&file, &format!("{secret}\n"), false)?;
        Ok((file, secret))
    }

    fn try_it(&self, config: &Config, asks: bool) -> anyhow::Result<()> {
        let again = format!("skerry-agent check --login --config {}", self.config.display());
        if !self.check {
            if !asks {
                println!("When the server knows of it, see whether it works with:\n  {again}");
                return Ok(());
            }
            ask::wait("Press Enter when that is done; I log in then.")?;
            while let Err(error) = check(config, true) {
                println!("\nNot yet: {error:#}\nTo try later:  {again}\n");
                ask::wait("Press Enter to try again, or Ctrl-C to leave it for now.")?;
            }
        } else {
            check(config, true)?;
        }
        println!("\nStart it with:  skerry-agent run --config {}", self.config.display());
        println!("Then add {} to your contacts and say hello.", config.link.jid);
        Ok(())
    }
}

/// Writes a file only its owner can read; never over another without being told so.
fn write_private(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    if force && path.exists() {
        std::fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} is there already; --force writes over it", path.display())
        }
        other => other.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{}", path.display()))
}

/// Checks a configuration, which was read without complaint, and when asked to, by logging in.
pub(crate) fn check(config: &Config, login: bool) -> anyhow::Result<()> {
    println!("{} is fine.", config.file.display());
    println!("{}", confine::Support::of_host());
    println!("{}", confine::of_users(config.drivers.guest_uids, &config.state));
    if login {
        let jid =
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(log_in(config))?;
        println!("The server let us in as {jid}.");
    }
    Ok(())
}

async fn log_in(config: &Config) -> anyhow::Result<String> {
    let mut link = config.link_config()?;
    link.reconnect = false;
    let mut link = Link::open(link);
    let first = tokio::time::timeout(LOGIN_MAX, link.events.recv()).await;
    let done = match first {
        Ok(Some(LinkEvent::Up { jid, .. })) => Ok(jid.to_string()),
        Ok(Some(LinkEvent::Refused(error))) => Err(anyhow::anyhow!("{error}. {}", advice(&error))),
        Ok(Some(LinkEvent::Down { why, .. })) => Err(anyhow::anyhow!(
            "the server cannot be reached: {why}. Is it running, and is link.server right?"
        )),
        Ok(_) => Err(anyhow::anyhow!("the server closed the connection and did not say why")),
        Err(_) => Err(anyhow::anyhow!("the server did not let us in within {LOGIN_MAX:?}")),
    };
    link.handle.close().await;
    done
}

/// What to do about it.
fn advice(error: &LoginError) -> &'static str {
    match error {
        LoginError::Credentials => "Is the secret in the server's configuration the one in link.secret_file?",
        LoginError::Component { .. } => {
            "Is the domain in the server's configuration, has the server read that (Prosody: restart it), and does no other agent use it?"
        }
        LoginError::NoMechanism { .. } => "Let the server offer SCRAM-SHA-1 or SCRAM-SHA-256.",
        LoginError::NoTls => "Give the server a certificate.",
        LoginError::Certificate { .. } => "If it is signed by an authority of your own, name it in link.ca.",
        _ => "The server's log may tell more.",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Wrapped {
        #[command(flatten)]
        setup: Setup,
    }

    #[test]
    fn a_second_setup_keeps_the_secret_that_the_server_knows() {
        let folder = tempfile::tempdir().unwrap();
        let setup = Wrapped::parse_from(["setup", "--force"]).setup;
        let (file, first) = setup.secret(folder.path()).unwrap();
        assert_eq!(first.len(), 32);
        assert_eq!(setup.secret(folder.path()).unwrap(), (file.clone(), first));
        std::fs::write(&file, "\n").unwrap();
        assert!(setup.secret(folder.path()).unwrap_err().to_string().contains("empty"));
    }
}
