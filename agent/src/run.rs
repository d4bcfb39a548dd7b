//! `skerry-agent run`: everything put together, from the first breath to the last.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use hypervisor_core::{
    confine,
    driver::{
        Driver,
        fake::Fake,
        qemu::{self, Launcher, Qemu, Trimmer},
    },
};
use nix::fcntl::{Flock, FlockArg};
use skerry_agent::{
    agent::Agent,
    config::Config,
    face::{Ended, Face, Wire},
    prometheus::Prometheus,
};
use skerry_link::{Link, LinkEvent};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{logs, notify};

/// Two threads: one that waits for a disk does not keep a ping waiting. More would cost memory and
/// give a daemon that mostly waits nothing.
const THREADS: usize = 2;
/// What the last writes may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Runs the daemon until it is told to stop.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    logs::begin(config.log.format);
    // Before there is a second thread: each begins with what the one before it has.
    match confine::refuse_calls() {
        Ok(()) => tracing::info!("system calls that nothing here needs are refused from now on"),
        Err(error) => tracing::warn!(%error, "system calls that nothing here needs are not refused"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("skerry")
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(serve(config))
}

/// Is the trimmer of a daemon, in place of one.
pub(crate) fn trim_logs(folder: &Path) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(qemu::trim_logs(folder)).context("cannot bound the logs of machines")
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let lock = lock(&config.state)?;
    let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let hangup = listen(SignalKind::hangup())?;
    let link = config.link_config()?;
    let drivers = drivers(&config)?;
    let file = config.file.clone();
    let agent = Agent::open(config, drivers).await?;
    let Link { handle, events } = Link::open(link);
    let wire: Arc<dyn Wire> = Arc::new(handle.clone());
    let face = Face::new(agent.clone(), wire).await.context("cannot read what is kept of contacts")?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), machines = agent.machines().len(), "the agent runs");
    notify::ready("connecting");
    let watchdog = tokio::spawn(notify::keep_watchdog_quiet(Arc::clone(&face)));
    let reloads = tokio::spawn(reload_on(hangup, file, agent.clone(), Arc::clone(&face)));
    let numbers = answer_prometheus(&agent).await;
    let told = agent.clone();
    let serving = tokio::spawn({
        let face = Arc::clone(&face);
        async move { face.serve(events, |event| tell(&told, event), stop(terminate, interrupt)).await }
    });
    let ended = serving.await;
    notify::stopping();
    watchdog.abort();
    if let Some(task) = numbers {
        task.abort();
    }
    reloads.abort();
    handle.close().await;
    let closing = async {
        face.close().await;
        agent.close().await;
    };
    if tokio::time::timeout(CLOSE_MAX, closing).await.is_err() {
        tracing::error!("the last writes took too long");
    }
    drop(lock);
    match ended {
        Ok(Ended::Stopped) => {
            tracing::info!("the agent was stopped; the machines run on");
            Ok(())
        }
        Ok(Ended::LinkClosed) => bail!("the link to the server was closed for good"),
        Err(defect) => bail!("the agent had a defect, and ends rather than run on half: {defect}"),
    }
}

/// Answers Prometheus where the configuration says so. The machines matter more: an agent that cannot, goes
/// on.
async fn answer_prometheus(agent: &Agent) -> Option<tokio::task::JoinHandle<()>> {
    let place = agent.config().prometheus.place().ok().flatten()?;
    match Prometheus::listen(&place).await {
        Ok(prometheus) => {
            tracing::info!(?place, "Prometheus is answered");
            Some(tokio::spawn(prometheus.serve(agent.clone())))
        }
        Err(error) => {
            tracing::error!(?place, %error, "Prometheus cannot be answered there; all else goes on");
            None
        }
    }
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot listen to signals")
}

async fn stop(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Two agents never share a folder: the lock is the system's, and gone with the process.
fn lock(folder: &Path) -> anyhow::Result<Flock<File>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("agent.lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)
                .and_then(|()| lock.rewind())
                .and_then(|()| write!(lock, "{}", std::process::id()))?;
            Ok(lock)
        }
        Err((mut file, _)) => {
            let mut holder = String::new();
            let _unreadable_is_empty = file.read_to_string(&mut holder);
            bail!("another agent (process {holder}) uses {}; stop it first", folder.display())
        }
    }
}

/// The drivers the configuration names.
fn drivers(config: &Config) -> anyhow::Result<Vec<Arc<dyn Driver>>> {
    let mut drivers: Vec<Arc<dyn Driver>> = Vec::new();
    for name in &config.drivers.enabled {
        drivers.push(match name.as_str() {
            "qemu" => Arc::new(Qemu::new(qemu::Config {
                trimmer: Trimmer::Process { folder: config.state.clone() },
                launcher: launcher(),
                users: config.drivers.guest_uids,
                machines: config.state.clone(),
                ..qemu::Config::default()
            })),
            "fake" => {
                let world = config.state.join("fake.json");
                Arc::new(Fake::persistent(&world).with_context(|| format!("cannot use {}", world.display()))?)
            }
            other => bail!("there is no driver {other:?}; drivers.enabled may name \"qemu\" and \"fake\""),
        });
        if let Some(driver) = drivers.last() {
            let probe = driver.probe();
            tracing::info!(driver = driver.name(), usable = probe.usable, why = %probe.why, "driver");
        }
    }
    Ok(drivers)
}

/// This program, where its newest version is: systemd starts it by its path.
fn launcher() -> Option<Launcher> {
    let own = std::env::current_exe().ok()?;
    let own = own.to_str()?;
    Some(Launcher(own.strip_suffix(" (deleted)").unwrap_or(own).into()))
}

/// SIGHUP: the configuration is read again. A wrong one changes nothing.
async fn reload_on(mut hangup: Signal, file: std::path::PathBuf, agent: Agent, face: Arc<Face>) {
    while hangup.recv().await.is_some() {
        notify::reloading();
        match Config::load(&file).and_then(|config| agent.reload(config)) {
            Ok(waiting) if waiting.is_empty() => notify::ready("configuration read again"),
            Ok(waiting) => {
                let keys = waiting.join(", ");
                tracing::warn!(keys, "these take effect when the agent is started again");
                notify::ready(&format!("configuration read again; for {keys} start me again"));
            }
            Err(error) => {
                tracing::error!(%error, "the configuration is wrong: the old one stays in force");
                notify::ready(&format!("configuration not taken: {error}"));
            }
        }
        face.apply_roles().await;
    }
}

/// The link's news, for the log and for systemd.
fn tell(agent: &Agent, event: &LinkEvent) {
    match event {
        LinkEvent::Up { jid, resumed } => {
            agent.linked(true);
            tracing::info!(%jid, resumed, "connected");
            notify::status(&format!("connected as {jid}"));
        }
        LinkEvent::Down { why, retry_in } => {
            agent.linked(false);
            let again = retry_in.map_or(String::new(), |wait| format!("; trying again in {wait:.0?}"));
            tracing::warn!(why, "not connected{again}");
            notify::status(&format!("not connected: {why}{again}"));
        }
        LinkEvent::Refused(error) => {
            tracing::error!(%error, "the server does not let us in; skerry-agent check --login tells more");
            notify::status(&format!("the server does not let us in: {error}"));
        }
        _ => {}
    }
}
