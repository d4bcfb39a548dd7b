//! The daemon itself, as systemd sees it: signs of life, signals, the log, and that it is alone.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::Read,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long anything may take on a very slow machine. Nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon and the socket on which it tells systemd how it goes.
struct Daemon {
    child: Child,
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A configuration whose server is never there: nothing listens on the lowest port.
fn write_config(folder: &Path, viewer: &str, format: &str) -> PathBuf {
    let file = folder.join("agent.toml");
    std::fs::write(folder.join("secret"), "hush-hush\n").unwrap();
    let text = format!(
        "name = \"kvm1\"\nstate = {:?}\n[link]\nkind = \"component\"\njid = \"kvm1.example.org\"\n\
         server = \"127.0.0.1:1\"\nsecret_file = {:?}\n[roles]\nviewer = [{viewer}]\n\
         [drivers]\nenabled = [\"fake\"]\n[log]\nformat = \"{format}\"\n",
        folder.join("state"),
        folder.join("secret"),
    );
    std::fs::write(&file, text).unwrap();
    file
}

fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skerry-agent"));
    command.arg("run").arg("--config").arg(config).stderr(Stdio::piped());
    for variable in ["RUST_LOG", "JOURNAL_STREAM", "WATCHDOG_PID", "WATCHDOG_USEC", "NOTIFY_SOCKET"] {
        command.env_remove(variable);
    }
    command
}

impl Daemon {
    fn start(format: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let config = write_config(folder.path(), "", format);
        let mut command = command(&config);
        let child = command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "600000").spawn().unwrap();
        Self { child, socket, folder }
    }

    /// Waits for the message in which all of these are.
    fn tells(&self, what: &[&str]) {
        let mut buffer = [0; 4096];
        loop {
            let read = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{what:?}: {error}"));
            let message = String::from_utf8_lossy(&buffer[..read]);
            if what.iter().all(|what| message.contains(what)) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Ends it; its whole log.
    fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        self.tells(&["STOPPING=1"]);
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success(), "{log}");
        log
    }
}

#[test]
fn systemd_is_told_how_it_goes_from_start_to_stop() {
    let daemon = Daemon::start("text");
    daemon.tells(&["READY=1", "STATUS="]);
    // A server that is not there holds nothing up, and is said.
    daemon.tells(&["STATUS=not connected: ", "trying again"]);
    daemon.tells(&["WATCHDOG=1"]);

    write_config(daemon.folder.path(), "\"vera@example.org\"", "text");
    daemon.signal(Signal::SIGHUP);
    daemon.tells(&["RELOADING=1", "MONOTONIC_USEC="]);
    daemon.tells(&["READY=1", "configuration read again"]);

    write_config(daemon.folder.path(), "\"@@\"", "text");
    daemon.signal(Signal::SIGHUP);
    daemon.tells(&["RELOADING=1"]);
    daemon.tells(&["READY=1", "configuration not taken"]);
    daemon.tells(&["WATCHDOG=1"]);

    let log = daemon.stop();
    assert!(log.contains("the old one stays in force") && log.contains("the machines run on"), "{log}");
    assert!(!log.contains("hush-hush") && !log.contains('\u{1b}'), "{log}");
}

#[test]
fn the_log_is_json_on_request() {
    let daemon = Daemon::start("json");
    daemon.tells(&["READY=1"]);
    let log = daemon.stop();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |what: &str| lines.iter().any(|line| line["fields"]["message"] == what);
    assert!(said("the agent runs") && said("the agent was stopped; the machines run on"), "{log}");
}

#[test]
fn the_log_goes_to_standard_error_where_there_is_no_journal() {
    if Path::new("/run/systemd/journal/socket").exists() {
        return; // It goes there, and is no business of a test.
    }
    let daemon = Daemon::start("journald");
    daemon.tells(&["READY=1"]);
    let log = daemon.stop();
    assert!(log.contains("the agent runs"), "{log}");
}

#[test]
fn a_second_agent_on_the_same_state_is_refused_and_the_first_goes_on() {
    let daemon = Daemon::start("text");
    daemon.tells(&["READY=1"]);
    let second = command(&daemon.folder.path().join("agent.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("another agent (process {})", daemon.child.id())), "{said}");
    daemon.tells(&["WATCHDOG=1"]);
    daemon.stop();
}
