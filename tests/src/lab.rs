//! A lab for a test: `skerry lab up` in a folder of its own, taken down when the test ends.

use std::{
    env,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{client::Client, namespace::Space};

/// What a test wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    server: &'static str,
    link: &'static str,
    driver: &'static str,
    hosts: u32,
    machines: u32,
    more: Vec<String>,
}

impl Wanted {
    /// A server (`prosody`, `ejabberd`) and a link (`component`, `single`): one host, no machine, the
    /// fake driver.
    pub fn new(server: &'static str, link: &'static str) -> Self {
        Self { server, link, driver: "fake", hosts: 1, machines: 0, more: Vec::new() }
    }

    /// So many hosts; none: the server alone.
    #[must_use]
    pub fn hosts(mut self, hosts: u32) -> Self {
        self.hosts = hosts;
        self
    }

    /// So many machines, spread over the hosts.
    #[must_use]
    pub fn machines(mut self, machines: u32) -> Self {
        self.machines = machines;
        self
    }

    /// Real guests. They need what `scripts/test` sets up: QEMU, and a guest in `SKERRY_GUEST` or
    /// build/guest.
    #[must_use]
    pub fn real_guests(mut self) -> Self {
        self.driver = "qemu";
        self
    }

    /// With these options of `skerry lab up` as well.
    #[must_use]
    pub(crate) fn with(mut self, options: Vec<String>) -> Self {
        self.more = options;
        self
    }

    /// Starts it; returns when all is ready.
    ///
    /// # Errors
    /// What `skerry lab up` said.
    pub async fn up(self) -> Result<Lab> {
        let folder = tempfile::Builder::new().prefix("skerry-").tempdir()?;
        let lab = Lab { folder, record: Record::default() };
        let (hosts, machines) = (self.hosts.to_string(), self.machines.to_string());
        let dir = lab.dir().display().to_string();
        let fixed = [
            "lab",
            "up",
            "--detach",
            "--dir",
            &dir,
            "--server",
            self.server,
            "--link",
            self.link,
            "--driver",
            self.driver,
            "--hosts",
            &hosts,
            "--machines",
            &machines,
        ];
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        skerry(&[&fixed[..], &more].concat()).await?;
        lab.read_again()
    }
}

/// `lab.json`, as far as tests need it. Unknown keys are let be, as any reader of it should.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Record {
    /// The server.
    pub server: Server,
    /// admin, operator, viewer and stranger, in this order.
    pub users: Vec<User>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The machines it was started with.
    pub machines: Vec<Machine>,
}

/// The server of a lab.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Server {
    /// `prosody` or `ejabberd`.
    pub kind: String,
    /// The domain of the accounts.
    pub domain: String,
    /// Where it listens.
    pub address: String,
    /// For clients, STARTTLS.
    pub port: u16,
    /// The authority its certificate is from.
    pub ca: PathBuf,
}

/// An account of a lab.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// Bare.
    pub jid: String,
    /// In plain text.
    pub password: String,
    /// On every host; `stranger` for the one without.
    pub role: String,
    /// For `skerry --config`.
    pub config: PathBuf,
}

/// A host of a lab.
#[derive(Clone, Debug, Deserialize)]
pub struct Host {
    /// Where it answers.
    pub jid: String,
    /// The agent's configuration.
    pub config: PathBuf,
    /// The agent.
    pub pid: i32,
    /// `kvm1` and so on.
    pub name: String,
}

/// A machine of a lab.
#[derive(Clone, Debug, Deserialize)]
pub struct Machine {
    /// Where it is asked.
    pub jid: String,
    /// Its name.
    pub name: String,
    /// Its host's address.
    pub host: String,
}

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    folder: tempfile::TempDir,
    /// What is in it.
    pub record: Record,
}

impl Lab {
    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The account with this role; `stranger` is the one without.
    pub fn user(&self, role: &str) -> &User {
        self.record.users.iter().find(|user| user.role == role).expect("a role the lab has")
    }

    /// Its first host.
    pub fn host(&self) -> &Host {
        self.record.hosts.first().expect("a lab with a host")
    }

    /// Logs in as the account with this role, and appears.
    ///
    /// # Errors
    /// The server does not let us in.
    pub async fn client(&self, role: &str) -> Result<Client> {
        Client::log_in(&self.record.server, self.user(role)).await
    }

    /// `skerry …` as the account with this role.
    ///
    /// # Errors
    /// It could not be run; what it answers, and with which code, is in the output.
    pub async fn skerry(&self, role: &str, arguments: &[&str]) -> Result<Output> {
        let config = self.user(role).config.display().to_string();
        run(&[&["--config", config.as_str()], arguments].concat()).await
    }

    /// The same, to be started by the test: for what stays.
    pub fn skerry_command(&self, role: &str, arguments: &[&str]) -> tokio::process::Command {
        let config = self.user(role).config.display().to_string();
        command(&[&["--config", config.as_str()], arguments].concat())
    }

    /// kill -9 for a part: `server`, or the name of a host, meaning its agent.
    ///
    /// # Errors
    /// What `skerry lab crash` said.
    pub async fn crash(&self, part: &str) -> Result<()> {
        skerry(&["lab", "crash", "--dir", &self.dir().display().to_string(), part]).await
    }

    /// Starts a part that was crashed, and waits until it is ready.
    ///
    /// # Errors
    /// What `skerry lab start` said.
    pub async fn start(&mut self, part: &str) -> Result<()> {
        self.start_with(part, &[]).await
    }

    /// The same, with something in its environment.
    ///
    /// # Errors
    /// What `skerry lab start` said.
    pub async fn start_with(&mut self, part: &str, environment: &[(&str, &str)]) -> Result<()> {
        let dir = self.dir().display().to_string();
        let mut command = command(&["lab", "start", "--dir", &dir, part]);
        command.envs(environment.iter().copied());
        succeed(command.output().await?)?;
        self.record = read(self.dir())?;
        Ok(())
    }

    /// Starts the agent of a host in another network: it reaches the server, and is reached by other hosts, at
    /// addresses of that network alone. The agent was crashed before, and told its addresses.
    ///
    /// # Errors
    /// What `skerry lab start` said.
    pub async fn start_within(&mut self, host: &str, space: &Space) -> Result<()> {
        let dir = self.dir().display().to_string();
        let [nsenter, within] = space.entered();
        let mut command = tokio::process::Command::new(nsenter);
        command.arg(within).arg(program("skerry")).args(["lab", "start", "--dir", &dir, host]);
        succeed(command.stdin(std::process::Stdio::null()).output().await?)?;
        self.record = read(self.dir())?;
        Ok(())
    }

    /// Takes it down; dropping it does the same, but tells nobody when that does not work.
    ///
    /// # Errors
    /// What `skerry lab down` said.
    pub async fn down(&self) -> Result<()> {
        skerry(&["lab", "down", "--dir", &self.dir().display().to_string()]).await
    }

    /// The lab's processes that run: every one has the lab's mark in its environment, or works in its
    /// folder should the mark have been lost.
    pub fn processes(&self) -> Vec<i32> {
        let id = std::fs::read_to_string(self.dir().join("lab.id")).unwrap_or_default();
        let mark = format!("SKERRY_LAB={}", id.trim());
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let at = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
                || at.starts_with(self.dir())
        };
        pids.filter(ours).collect()
    }

    fn read_again(mut self) -> Result<Self> {
        self.record = read(self.dir())?;
        Ok(self)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let dir = self.dir().display().to_string();
        let down =
            std::process::Command::new(program("skerry")).args(["lab", "down", "--dir", &dir]).output();
        // A failed test wants to be understood: its folder is gone, what was said in it need not be.
        if std::thread::panicking() {
            for host in &self.record.hosts {
                let log = host.config.with_file_name("agent.log");
                eprintln!("{}:\n{}", log.display(), std::fs::read_to_string(&log).unwrap_or_default());
            }
            eprintln!("down: {down:?}");
        }
    }
}

fn read(dir: &Path) -> Result<Record> {
    let text = std::fs::read_to_string(dir.join("lab.json")).context("lab.json is not there")?;
    serde_json::from_str(&text).context("lab.json is not what was promised")
}

/// A program of ours: beside the folder this test was built into.
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).unwrap_or(Path::new(".")).join(name)
}

/// `skerry …`, whatever it answers.
///
/// # Errors
/// It could not be run.
pub async fn run(arguments: &[&str]) -> Result<Output> {
    let mut command = command(arguments);
    let program = command.as_std().get_program().to_owned();
    let output = command.output().await;
    output.with_context(|| format!("{} (cargo build --workspace --bins makes it)", program.display()))
}

fn command(arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program("skerry"));
    command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    command
}

/// `skerry …`, which has to work.
async fn skerry(arguments: &[&str]) -> Result<()> {
    let output = run(arguments).await?;
    succeed(output).with_context(|| format!("skerry {}", arguments.join(" ")))
}

fn succeed(output: Output) -> Result<()> {
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(())
}
