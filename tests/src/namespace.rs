//! Network namespaces: a test's own, so that nothing of this machine's network is touched, and others beside it,
//! each held by a process that sleeps in it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test without it cannot go on")]

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
};

/// Runs a test in a network namespace of its own, where there are rights to make one; else says that it is
/// skipped. What is started from there is in it as well: threads and processes are made by this thread.
///
/// # Panics
/// When its loopback or its runtime cannot be had.
pub fn inside(test: impl Future<Output = ()>) {
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("skipped: a network of one's own takes root");
        return;
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.is_ok_and(|up| up.success()), "its loopback could not be had");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

/// Runs `ip` in this thread's namespace.
///
/// # Panics
/// When it complains.
#[track_caller]
pub fn ip(line: &str) -> String {
    run(&format!("ip {line}")).unwrap_or_else(|said| panic!("ip {line}: {said}"))
}

/// Runs a line of a shell in this thread's namespace.
///
/// # Errors
/// What it complained of.
///
/// # Panics
/// When there is no shell.
pub fn run(line: &str) -> Result<String, String> {
    let done = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(said(&done.stdout)) } else { Err(said(&done.stdout) + &said(&done.stderr)) }
}

/// Another namespace. It is gone when this is dropped and nothing runs in it any more.
#[derive(Debug)]
pub struct Space(Child);

impl Space {
    /// One with a loopback of its own and nothing else.
    ///
    /// # Panics
    /// When it cannot be had.
    #[allow(clippy::new_without_default, reason = "a new namespace is not a default one")]
    pub fn new() -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--", "sh", "-c", "ip link set lo up; echo in; exec sleep 1000"]);
        let mut holder = holder.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        // Its word that it is in it.
        let mut word = [0; 3];
        holder.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
        Self(holder)
    }

    /// The number of the process that holds it.
    pub fn holder(&self) -> u32 {
        self.0.id()
    }

    /// Links its `eth0` with an interface of this name in this thread's namespace. `more` is for `eth0`, as `ip`
    /// takes it.
    #[track_caller]
    pub fn linked(&self, interface: &str, more: &str) {
        ip(&format!("link add {interface} type veth peer name eth0 {more} netns {}", self.holder()));
    }

    /// Runs a line of a shell in it, which has to succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        self.tries(line).unwrap_or_else(|said| panic!("{line}: {said}"))
    }

    /// Runs a line of a shell in it.
    ///
    /// # Errors
    /// What it complained of.
    pub fn tries(&self, line: &str) -> Result<String, String> {
        let entered = self.entered();
        run(&format!("{} sh -c '{}'", entered.join(" "), line.replace('\'', "'\\''")))
    }

    /// The words before those of a program that is to run in it.
    pub fn entered(&self) -> [String; 2] {
        ["nsenter".into(), format!("--net=/proc/{}/ns/net", self.holder())]
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
