//! `skerry lab`: a whole private installation on loopback in one folder, for trying things, for bot
//! authors and for tests.
//!
//! An XMPP server of the distribution's, an agent for each host, accounts for the roles, and machines;
//! all as whoever runs it, all files in one folder, nothing outside of it touched. The parts: [`site`]
//! decides, [`tls`] [`server`] ([`prosody`], [`ejabberd`]) [`host`] write and start, [`part`] knows the
//! processes, [`record`] keeps what is there for those who come later (`lab.json`).

mod ejabberd;
mod guest;
mod host;
mod neighbours;
mod part;
mod people;
mod prosody;
mod record;
mod server;
mod site;
mod tls;

use std::{
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use self::{
    guest::Driver,
    neighbours::Neighbour,
    part::Part,
    record::{Inside, Record},
    site::{DOMAIN, Site, make_dir, write},
};

/// How long agents and guests may take to end by themselves before they are killed.
const END_MAX: Duration = Duration::from_secs(10);

/// The same for the server, which has nothing to lose: nobody is connected any more, and the next lab
/// starts with empty tables. ejabberd takes about ten seconds when it is left to.
const SERVER_END_MAX: Duration = Duration::from_secs(2);

/// A whole private installation on loopback in one folder: a server, hosts, machines
#[derive(Clone, Debug, clap::Args)]
pub struct LabArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Start a lab
    Up(Up),
    /// Stop a lab: all its processes end; its files stay until the next `up`
    Down(Where),
    /// End a part at once, as a crash would
    Crash(PartOf),
    /// Start a part that ended, with the same ports, accounts and state
    Start(PartOf),
}

#[derive(Clone, Debug, clap::Args)]
struct Where {
    /// The lab's folder
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
struct PartOf {
    #[command(flatten)]
    place: Where,
    /// `server`, or the name of a host: its agent
    #[arg(value_name = "PART")]
    part: String,
}

#[derive(Clone, Debug, clap::Args)]
struct Up {
    #[command(flatten)]
    place: Where,
    /// The XMPP server
    #[arg(long, value_enum, default_value = "prosody")]
    server: ServerKind,
    /// How the hosts are connected to it
    #[arg(long, value_enum, default_value = "component")]
    link: LinkKind,
    /// How many hosts
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(0..=100))]
    hosts: u32,
    /// How many machines, spread over the hosts
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    machines: u32,
    /// What runs the machines: real guests, pretended ones, or what is possible here
    #[arg(long, value_enum, default_value = "auto")]
    driver: DriverKind,
    /// The guest to run, as scripts/guest makes it; looked for in build/guest when not given
    #[arg(long, value_name = "DIR", env = "SKERRY_GUEST")]
    guest: Option<PathBuf>,
    /// The domain of the accounts; each host is below it
    #[arg(long, value_name = "DOMAIN", default_value = DOMAIN, value_parser = neighbours::domain_of_a_lab)]
    domain: String,
    /// Talk to the servers of other labs, and listen for them at this address of loopback, such as 127.0.5.1
    #[arg(long, value_name = "ADDRESS", value_parser = neighbours::loopback)]
    s2s: Option<Ipv4Addr>,
    /// The domain of another lab and its --s2s address; more than once for several
    #[arg(long = "neighbour", value_name = "DOMAIN=ADDRESS", requires = "s2s")]
    neighbours: Vec<Neighbour>,
    /// Return when all is ready, instead of staying until Ctrl-C
    #[arg(long)]
    detach: bool,
}

/// The servers a lab can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ServerKind {
    Prosody,
    Ejabberd,
}

impl ServerKind {
    fn name(self) -> &'static str {
        match self {
            ServerKind::Prosody => "Prosody",
            ServerKind::Ejabberd => "ejabberd",
        }
    }
}

/// How the hosts are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LinkKind {
    /// As components: every host a domain, every machine an address
    Component,
    /// Each host as one ordinary account
    Single,
    /// By turns: the first as a component, the second as an account
    Mixed,
}

/// What runs the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DriverKind {
    Auto,
    Qemu,
    Fake,
}

/// Carries out `skerry lab …`.
///
/// # Errors
/// What is missing or went wrong, in sentences for people, with the server's own words where it has any.
pub async fn run(args: LabArgs) -> Result<()> {
    match args.action {
        Action::Up(up) => start_lab(up).await,
        Action::Down(place) => down(&place.dir).await,
        Action::Crash(which) => crash(&which).await,
        Action::Start(which) => start_part(&which).await,
    }
}

async fn start_lab(up: Up) -> Result<()> {
    let dir = std::path::absolute(&up.place.dir)?;
    if let Some(there) = already_up(&dir)? {
        say(&there.told(&dir, "is up already"));
        return Ok(());
    }
    // A lab without hosts is a server with accounts, and wants no agent.
    let agent = if up.hosts == 0 { PathBuf::new() } else { agent_program()? };
    let (driver, remark) = Driver::choose(up.driver, up.guest.as_deref())?;
    if let Some(remark) = remark {
        eprintln!("lab: {remark}");
    }
    let id = clear(&dir).await?;
    // From here on something may run; whatever ends this early takes it down again.
    let started = tokio::select! {
        started = build(&dir, id, &up, &agent, &driver) => started,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    let record = match started {
        Ok(record) => record,
        Err(why) => {
            down(&dir).await?;
            return Err(why);
        }
    };
    say(&record.told(&dir, "is up"));
    if up.detach {
        return Ok(());
    }
    say("\nCtrl-C takes it down.");
    interrupted().await;
    down(&dir).await
}

/// Writes and starts everything.
async fn build(dir: &Path, id: String, up: &Up, agent: &Path, driver: &Driver) -> Result<Record> {
    let mut site = Site::plan(dir, id, up)?;
    make_dir(&site.tls())?;
    tls::write_certificates(&site)?;
    eprintln!("lab: starting {} …", site.server.name());
    let (part, child) = server::start(&mut site).await?;
    let mut inside = Inside { site, parts: vec![part], pids: vec![child.id()] };
    inside.write()?;
    make_dir(&inside.site.users_dir())?;
    record::write_user_configurations(&inside.site)?;
    for host in inside.site.hosts.clone() {
        eprintln!("lab: starting the agent of {} …", host.name);
        let part = host::prepare(&inside.site, &host, agent, driver)?;
        let child = host::start(&part, &inside.site.id).await?;
        inside.parts.push(part);
        inside.pids.push(child.id());
        inside.write()?;
    }
    if up.machines > 0 {
        eprintln!("lab: making {} …", if up.machines == 1 { "a machine" } else { "the machines" });
    }
    let machines = people::make_machines(&inside.site, up.machines).await?;
    people::make_contacts(&inside.site, &machines).await?;
    let record = Record::of(&inside, machines);
    record.write(dir)?;
    Ok(record)
}

/// The lab in this folder, when there is one and all of it runs.
fn already_up(dir: &Path) -> Result<Option<Record>> {
    let (Ok(record), Ok(inside)) = (Record::read(dir), Inside::read(dir)) else { return Ok(None) };
    let ended: Vec<&str> = inside.ended().map(|part| part.name.as_str()).collect();
    match ended[..] {
        [] => Ok(Some(record)),
        _ if ended.len() == inside.parts.len() => Ok(None),
        _ => bail!(
            "the lab in {dir} is up, but {ended} is not running. `skerry lab start --dir {dir} {first}` starts \
             it again, `skerry lab down --dir {dir}` takes the lab down.",
            dir = dir.display(),
            ended = ended.join(", "),
            first = ended[0],
        ),
    }
}

/// Makes the folder empty for a new lab, and gives the lab an id. Only what an earlier lab left is
/// taken away: a folder with anything else in it is refused.
async fn clear(dir: &Path) -> Result<String> {
    if dir.join(record::ID).exists() {
        down(dir).await?;
        for folder in ["tls", "server", "users", "hosts"] {
            match std::fs::remove_dir_all(dir.join(folder)) {
                Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                    return Err(why).with_context(|| format!("{} cannot be emptied", dir.display()));
                }
                _ => {}
            }
        }
    } else if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} has something else in it: a lab wants a folder of its own", dir.display());
    }
    make_dir(dir)?;
    let id = site::secret(16);
    write(&dir.join(record::ID), &format!("{id}\n"))?;
    Ok(id)
}

/// Ends every process of the lab: agents, so that they can say goodbye, then guests and whatever else,
/// then the server.
async fn down(dir: &Path) -> Result<()> {
    let Ok(id) = std::fs::read_to_string(dir.join(record::ID)) else {
        eprintln!("lab: there is no lab in {}", dir.display());
        return Ok(());
    };
    let id = id.trim();
    let (server, agents) = match Inside::read(dir) {
        Ok(inside) => inside.server_and_agents(),
        Err(_) => (None, Vec::new()),
    };
    part::end(&agents, id, END_MAX).await?;
    let mut guests = part::all(id);
    guests.retain(|pid| !server.is_some_and(|server| part::belongs(*pid, server)));
    part::end(&guests, id, END_MAX).await?;
    // Twice: what was just being started while we looked shows itself in the second look.
    for _ in 0..2 {
        part::end(&part::all(id), id, SERVER_END_MAX).await?;
    }
    let _ = std::fs::remove_file(dir.join(record::LAB));
    Ok(())
}

async fn crash(which: &PartOf) -> Result<()> {
    let inside = Inside::read(&which.place.dir)?;
    let (_, pid) = inside.part(&which.part)?;
    part::signal(pid, &inside.site.id, Signal::SIGKILL)?;
    match part::gone(&[pid], &inside.site.id, END_MAX).await {
        true => Ok(()),
        false => bail!("process {pid} does not end"),
    }
}

async fn start_part(which: &PartOf) -> Result<()> {
    let dir = &which.place.dir;
    let mut inside = Inside::read(dir)?;
    let (part, pid) = inside.part(&which.part)?;
    let part: Part = part.clone();
    if part::runs(pid, &inside.site.id) {
        bail!("{} is running", part.name);
    }
    let child = match part.name.as_str() {
        record::SERVER => {
            let started = server::resume(&inside.site, &part).await;
            started.map_err(|failure| anyhow::anyhow!(failure.told(inside.site.server, &part)))?
        }
        _ => host::start(&part, &inside.site.id).await?,
    };
    inside.set_pid(&part.name, child.id());
    inside.write()?;
    let mut record = Record::read(dir)?;
    record.set_pids(&inside);
    record.write(dir)
}

/// To stdout. A reader that went away (`lab up | head -1`) has seen what it wanted.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Ctrl-C, or a polite request to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// The agent beside this program, or in `PATH`.
fn agent_program() -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("skerry-agent");
    if beside.is_file() {
        return Ok(beside);
    }
    program("skerry-agent").with_context(|| {
        format!("skerry-agent is neither beside {} nor in PATH", beside.with_file_name("skerry").display())
    })
}

/// A program in `PATH`, or where servers and their tools are when `PATH` is an ordinary user's.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}
