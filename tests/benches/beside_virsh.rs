//! What a start and a list cost, beside QEMU started by hand and beside libvirt, all in one run.
//!
//! `cargo bench -p skerry-tests --bench beside_virsh`, with Debian's libvirt-daemon-driver-qemu and
//! libvirt-clients (scripts/test installs them for `bench`), and a guest made by scripts/guest. All guests
//! run in software (TCG), so that the three have the same to do wherever this runs.
//!
//! - A start until the guest's processor runs (QMP has answered `cont`): by the agent, journal and store
//!   included; by hand, with the very arguments the agent gave QEMU; by `virsh start`, as a process and within
//!   one virsh.
//! - A list of 100 machines that are defined: by the agent, and by `virsh list --all`, both ways.
//! - One look at what a machine uses: by the driver, and by `virsh domstats`.
//! - A look at a thousand machines of the fake driver, as Prometheus asks for it.

#[path = "beside_virsh/virsh.rs"]
mod virsh;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hypervisor_core::{
    driver::{
        Driver, Launch,
        fake::Fake,
        qemu::{Acceleration, Config as Qemus, Keeper, Qemu},
    },
    machine::MachineName,
};
use skerry_agent::{
    agent::Agent,
    asked::{Answer, Asked, Door, Target},
    config::{Config, PrometheusListen},
    prometheus::Prometheus,
};
use skerry_stanzas::command::{COMMANDS, Declaration, Object};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
};
use xmpp_parsers::jid::Jid;

use self::virsh::Libvirt;

/// Starts of each kind.
const STARTS: usize = 15;
/// Between two starts.
const REST: Duration = Duration::from_millis(250);
/// Machines in a list.
const LISTED: usize = 100;
/// Lists of each kind.
const LISTS: usize = 200;
/// Looks of each kind.
const LOOKS: usize = 200;
/// Fake machines.
const MANY: usize = 1000;
const ANN: &str = "ann@example.org/bench";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("skerry-bench-").tempdir()?;
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/guest").canonicalize();
    let guest = guest.context("there is no guest: run scripts/guest")?;
    let libvirt = Libvirt::begin(folder.path(), &guest)?;
    let qemu = Arc::new(Qemu::new(Qemus {
        acceleration: Acceleration::Tcg,
        keeper: Keeper::Nobody,
        ..Qemus::default()
    }));
    let agent = agent(&folder.path().join("agent"), &guest, Arc::<Qemu>::clone(&qemu)).await?;
    starts(&agent, &libvirt, folder.path()).await?;
    looks(&agent, &qemu, &libvirt).await?;
    lists(&agent, &libvirt).await?;
    agent.close().await;
    many(&folder.path().join("many"), &guest).await
}

async fn agent(folder: &Path, guest: &Path, driver: Arc<dyn Driver>) -> Result<Agent> {
    std::fs::create_dir_all(folder)?;
    let (secret, name) = (folder.join("secret"), driver.name());
    std::fs::write(&secret, "s3cret\n")?;
    let cmdline = std::fs::read_to_string(guest.join("cmdline"))?;
    let text = format!(
        "name = \"bench\"\nstate = {:?}\n[link]\nkind = \"component\"\njid = \"kvm1.example.org\"\n\
         server = \"127.0.0.1:1\"\nsecret_file = {secret:?}\n[roles]\nadmin = [\"ann@example.org\"]\n\
         [drivers]\nenabled = [\"{name}\"]\n[images.linux]\nkernel = {:?}\ninitrd = {:?}\ncmdline = {:?}\n",
        folder.join("state"),
        guest.join("vmlinuz"),
        guest.join("initrd.img"),
        cmdline.trim(),
    );
    let config = Config::parse(&text, &folder.join("agent.toml"))?;
    Ok(Agent::open(config, vec![driver]).await?)
}

fn declaration(object: Object, verb: &str) -> Result<&'static Declaration> {
    COMMANDS.iter().find(|one| one.object == object && one.verb == verb).context("no such command")
}

/// Gives a command, of the host or of web1, and waits for its end; what takes something away is meant.
async fn give(agent: &Agent, object: Object, verb: &str, argv: &[String]) -> Result<serde_json::Value> {
    let target = match object {
        Object::Host => Target::Host,
        Object::Machine => Target::Machine(MachineName::new("web1")?),
    };
    let asked = Asked {
        caller: Jid::new(ANN)?,
        target: target.clone(),
        declaration: declaration(object, verb)?,
        argv: argv.to_vec(),
        door: Door::Adhoc,
        key: None,
        patience: Duration::from_secs(120),
        hops: Vec::new(),
        together: None,
        signature: None,
    };
    let answer = match agent.ask(asked, None).await {
        Answer::Confirm(question) => {
            let code = Some(question.code.as_str());
            agent.confirm(&Jid::new(ANN)?, &target, code, Door::Adhoc, None, None).await
        }
        answer => answer,
    };
    match answer {
        Answer::Done { json, .. } => Ok(json),
        other => bail!("{verb}: {other:?}"),
    }
}

/// Before each start: what the one before it left to be cleared away, by libvirt not least, weighs on none.
async fn rest() {
    tokio::time::sleep(REST).await;
}

/// The three in turn, so that a busy machine weighs on all alike.
async fn starts(agent: &Agent, libvirt: &Libvirt, folder: &Path) -> Result<()> {
    let argv = ["--name=web1", "--image=linux", "--memory=128M"].map(str::to_owned);
    give(agent, Object::Host, "create", &argv).await?;
    give(agent, Object::Machine, "start", &[]).await?;
    let words = words_of_qemu(agent)?;
    give(agent, Object::Machine, "kill", &[]).await?;
    libvirt.define("web1")?;
    let (mut ours, mut plain, mut once, mut within) = (vec![], vec![], vec![], vec![]);
    for round in 0..STARTS {
        rest().await;
        let begun = Instant::now();
        give(agent, Object::Machine, "start", &[]).await?;
        ours.push(begun.elapsed());
        give(agent, Object::Machine, "kill", &[]).await?;
        rest().await;
        plain.push(by_hand(&words, &folder.join(format!("plain-{round}"))).await?);
        rest().await;
        once.push(libvirt.timed(&["start", "web1"])?);
        libvirt.timed(&["destroy", "web1"])?;
        rest().await;
        within.push(libvirt.timed_within("start web1", "destroy web1")?);
    }
    let [ours, plain, once, within] = [ours, plain, once, within].map(median);
    println!(
        "start: agent {ours:.1?}, by hand {plain:.1?}, virsh start {once:.1?}, within one virsh {within:.1?}"
    );
    println!("start: agent / by hand {:.3}", ours.as_secs_f64() / plain.as_secs_f64());
    println!("start: agent / virsh start {:.3}", ours.as_secs_f64() / once.as_secs_f64());
    println!("start: agent / start within one virsh {:.3}", ours.as_secs_f64() / within.as_secs_f64());
    Ok(())
}

/// What the agent started QEMU with.
fn words_of_qemu(agent: &Agent) -> Result<Vec<String>> {
    let seen = agent.machine(&MachineName::new("web1")?).context("there is no web1")?;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let words = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if words.contains(&seen.id.to_string()) {
            return Ok(words.split_terminator('\0').map(str::to_owned).collect());
        }
    }
    bail!("QEMU does not run")
}

/// The same by hand: until QMP has answered that the guest runs.
async fn by_hand(words: &[String], folder: &Path) -> Result<Duration> {
    std::fs::create_dir(folder)?;
    let begun = Instant::now();
    let mut child = tokio::process::Command::new(&words[0])
        .args(&words[1..])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let socket = folder.join("qmp.sock");
    let stream = loop {
        match UnixStream::connect(&socket).await {
            Ok(stream) => break stream,
            Err(_) if begun.elapsed() < Duration::from_secs(30) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    lines.next_line().await?;
    for command in ["qmp_capabilities", "cont"] {
        writer.write_all(format!("{{\"execute\": \"{command}\"}}\n").as_bytes()).await?;
        while !lines.next_line().await?.context("QEMU left")?.contains("\"return\"") {}
    }
    let time = begun.elapsed();
    child.kill().await?;
    Ok(time)
}

/// What one machine that runs uses.
async fn looks(agent: &Agent, qemu: &Qemu, libvirt: &Libvirt) -> Result<()> {
    give(agent, Object::Machine, "start", &[]).await?;
    libvirt.timed(&["start", "web1"])?;
    let seen = agent.machine(&MachineName::new("web1")?).context("there is no web1")?;
    let folder = agent.config().state.join("machines").join(seen.id.to_string());
    let definition =
        hypervisor_core::definition::Definition::new(1, 128, hypervisor_core::definition::Boot::Disk);
    let networks = hypervisor_core::driver::Networks::default();
    let devices = Default::default();
    let launch =
        Launch { id: seen.id, name: "web1".into(), definition, folder, own: vec![], networks, devices };
    let numbers = qemu.numbers().context("QEMU counts nothing")?;
    let mut ours = Vec::new();
    for _ in 0..LOOKS {
        let begun = Instant::now();
        numbers.read(&launch).await?;
        ours.push(begun.elapsed());
    }
    let theirs = libvirt.each_within("domstats web1", LOOKS)?;
    let ours = median(ours);
    println!("look at one: driver {ours:.2?}, domstats within one virsh {theirs:.2?}");
    println!("look at one: driver / domstats {:.3}", ours.as_secs_f64() / theirs.as_secs_f64());
    give(agent, Object::Machine, "kill", &[]).await?;
    libvirt.timed(&["destroy", "web1"]).map(drop)
}

/// A hundred that are defined.
async fn lists(agent: &Agent, libvirt: &Libvirt) -> Result<()> {
    for number in 2..=LISTED {
        let name = format!("web{number}");
        give(agent, Object::Host, "create", &[format!("--name={name}"), "--image=linux".into()]).await?;
        libvirt.define(&name)?;
    }
    let mut ours = Vec::new();
    for _ in 0..LISTS {
        let begun = Instant::now();
        let list = give(agent, Object::Host, "list", &[]).await?;
        ours.push(begun.elapsed());
        ensure!(
            list["machines"].as_array().is_some_and(|machines| machines.len() == LISTED),
            "not all are listed"
        );
    }
    let (mut once, mut empty) = (Vec::new(), Vec::new());
    for _ in 0..LISTS / 10 {
        once.push(libvirt.timed(&["list", "--all"])?);
        empty.push(libvirt.timed(&["uri"])?);
    }
    let within = libvirt.each_within("list --all", LISTS)?;
    let [ours, once, empty] = [ours, once, empty].map(median);
    println!(
        "list of {LISTED}: agent {ours:.2?}, within one virsh {within:.2?}, virsh list {once:.2?} (uri: {empty:.2?})"
    );
    println!("list: agent / within one virsh {:.3}", ours.as_secs_f64() / within.as_secs_f64());
    Ok(())
}

/// What it costs to be listened to, with a thousand machines.
async fn many(folder: &Path, guest: &Path) -> Result<()> {
    let agent = agent(folder, guest, Arc::new(Fake::new())).await?;
    for number in 0..MANY {
        let argv = [format!("--name=m{number}"), "--image=linux".into(), "--start".into()];
        give(&agent, Object::Host, "create", &argv).await?;
    }
    let prometheus = Prometheus::listen(&PrometheusListen::Tcp(([127, 0, 0, 1], 0).into())).await?;
    let address = prometheus.address()?;
    let serving = tokio::spawn(prometheus.serve(agent.clone()));
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..10 {
        // Looks are shared for a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        times.push(begun.elapsed());
        bytes = page.len();
    }
    serving.abort();
    println!(
        "{MANY} fake machines: looked at and shown to Prometheus in {:.1?}, {bytes} bytes",
        median(times)
    );
    agent.close().await;
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A folder that an ordinary user can look into.
fn open_to_all(folder: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    Ok(folder.to_owned())
}
