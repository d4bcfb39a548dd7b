//! A network namespace of a test's own, so that nothing of this machine's network is touched.

use std::process::Command;

/// Runs a test in a network namespace of its own, where there are rights to make one; else says that it is
/// skipped. What is started from there is in it as well: threads and processes are made by this thread.
///
/// # Panics
/// When its loopback or its runtime cannot be had.
#[allow(clippy::expect_used)]
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
