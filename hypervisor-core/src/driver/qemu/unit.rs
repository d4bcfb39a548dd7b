//! A systemd unit for each machine, where the agent itself is a system service.
//!
//! systemd ends all processes of a service with it, also those that went into the background. So QEMU
//! is not started by the agent but by systemd, as a transient service of its own, in the slice where
//! machines belong. Started elsewhere (by hand, in a test, in a container without systemd) the agent
//! starts QEMU itself.

use std::{io, path::Path};

use tokio::process::Command;

use super::process::{Process, begin_log};
use crate::machine::MachineId;

/// Whether this process is a system service that may start others.
pub(super) fn fits() -> bool {
    Path::new("/run/systemd/system").is_dir()
        && std::env::var_os("INVOCATION_ID").is_some()
        && nix::unistd::geteuid().is_root()
}

/// Starts a program for a machine in a unit of its own; `what` it is to the machine is in the unit's name,
/// `properties` are further ones of the unit.
pub(super) async fn spawn(
    what: &str,
    program: &Path,
    words: &[String],
    properties: &[String],
    id: MachineId,
    folder: &Path,
    errors: &Path,
) -> io::Result<Process> {
    begin_log(errors)?;
    let unit = format!("skerry-{what}-{id}.service");
    let started = Command::new("systemd-run")
        .args(run_words(&unit, program, words, properties, folder, errors))
        .output();
    let started = started.await?;
    if !started.status.success() {
        let said = String::from_utf8_lossy(&started.stderr).trim().to_owned();
        return Err(io::Error::other(format!("systemd-run: {said}")));
    }
    let shown = Command::new("systemctl").args(["show", "--property=MainPID", "--value", &unit]).output();
    let shown = shown.await?;
    let pid = String::from_utf8_lossy(&shown.stdout).trim().parse().unwrap_or(0);
    Process::open(pid)?.ok_or_else(|| {
        let said = std::fs::read_to_string(errors).unwrap_or_default();
        io::Error::other(format!("it ended at once: {}", said.trim()))
    })
}

/// What systemd-run is told. The unit goes when its process ends, however it ends.
fn run_words(
    unit: &str,
    program: &Path,
    words: &[String],
    properties: &[String],
    folder: &Path,
    errors: &Path,
) -> Vec<String> {
    let mut all: Vec<String> =
        ["--quiet", "--collect", "--no-ask-password", "--service-type=exec"].map(String::from).to_vec();
    all.push(format!("--unit={unit}"));
    all.push("--slice=machine.slice".into());
    all.push(format!("--description=Skerry machine {unit}"));
    all.push(format!("--working-directory={}", folder.display()));
    // A machine is not to be ended as a whole group at the first signal: QEMU is asked, and it flushes.
    all.push("--property=KillMode=mixed".into());
    all.push(format!("--property=StandardError=append:{}", errors.display()));
    all.extend(properties.iter().map(|property| format!("--property={property}")));
    all.push("--".into());
    all.push(program.display().to_string());
    // systemd would put variables into them.
    all.extend(words.iter().map(|word| word.replace('$', "$$")));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemu_is_the_main_process_of_a_transient_service() {
        let words = ["-append", "a=$b 5%"].map(String::from);
        let spelled = run_words(
            "skerry-machine-7.service",
            Path::new("qemu-system-x86_64"),
            &words,
            &["ReadOnlyPaths=/srv".into()],
            Path::new("/var/lib/skerry/machines/7"),
            Path::new("/var/lib/skerry/machines/7/qemu.log"),
        );
        let golden = "--quiet|--collect|--no-ask-password|--service-type=exec|--unit=skerry-machine-7.service|\
            --slice=machine.slice|--description=Skerry machine skerry-machine-7.service|\
            --working-directory=/var/lib/skerry/machines/7|--property=KillMode=mixed|\
            --property=StandardError=append:/var/lib/skerry/machines/7/qemu.log|\
            --property=ReadOnlyPaths=/srv|--|qemu-system-x86_64|-append|a=$$b 5%";
        assert_eq!(spelled.join("|"), golden);
    }
}
