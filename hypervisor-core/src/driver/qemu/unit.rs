//! A systemd unit for each machine, where the agent itself is a system service.
//!
//! systemd ends all processes of a service with it, also those that went into the background. So QEMU
//! is not started by the agent but by systemd, as a transient service of its own, in the slice where
//! machines belong. Started elsewhere (by hand, in a test, in a container without systemd) the agent
//! starts QEMU itself.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::{
    folder::Folder,
    process::{Process, begin_log},
};
use crate::{confine::Bounds, machine::MachineId};

/// What else systemd keeps a program from that has no business with its host's kernel. Its threads are
/// counted (pids.max), far above what a guest can need; its memory is not: a bound that kills a guest which
/// does nothing but use what it was given is none.
pub(super) const HARDENED: [&str; 7] = [
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "LockPersonality=yes",
    "RestrictSUIDSGID=yes",
    "TasksMax=4096",
];

/// A program, as it is started in a unit.
pub(super) struct Unit<'a> {
    /// What it is to the machine: in the unit's name.
    pub(super) what: &'a str,
    pub(super) program: &'a Path,
    pub(super) words: &'a [String],
    /// Further properties of the unit.
    pub(super) properties: Vec<String>,
    /// What takes bounds upon itself and then becomes the program, and these bounds: systemd itself starts it
    /// with none of ours.
    pub(super) bounds: Option<(&'a Launcher, &'a Bounds)>,
    /// Where it works.
    pub(super) folder: &'a Folder,
    /// Its standard error.
    pub(super) errors: PathBuf,
}

/// A program that, with the words `confined --bounds BOUNDS -- PROGRAM WORDS…`, calls [`run_confined`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher(
    /// Where it is.
    pub PathBuf,
);

/// Takes the bounds upon this process, which has one thread, and becomes the program.
///
/// # Errors
/// The bounds are none, the kernel refuses them, or there is no such program: it returns only then.
pub fn run_confined(bounds: &str, program: &[OsString]) -> io::Error {
    let become_it = || -> io::Result<std::convert::Infallible> {
        let bounds: Bounds = serde_json::from_str(bounds)?;
        let (program, words) = program.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        bounds.take()?;
        Err(std::process::Command::new(program).args(words).exec())
    };
    match become_it() {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// Whether this process is a system service that may start others.
pub(super) fn fits() -> bool {
    Path::new("/run/systemd/system").is_dir()
        && std::env::var_os("INVOCATION_ID").is_some()
        && nix::unistd::geteuid().is_root()
}

/// Starts a program for a machine in a unit of its own.
pub(super) async fn spawn(id: MachineId, unit: Unit<'_>) -> io::Result<Process> {
    begin_log(&unit.errors)?;
    let name = format!("skerry-{}-{id}.service", unit.what);
    let started = Command::new("systemd-run").args(unit.run_words(&name)?).output();
    let started = started.await?;
    if !started.status.success() {
        let said = String::from_utf8_lossy(&started.stderr).trim().to_owned();
        return Err(io::Error::other(format!("systemd-run: {said}")));
    }
    let shown = Command::new("systemctl").args(["show", "--property=MainPID", "--value", &name]).output();
    let shown = shown.await?;
    let pid = String::from_utf8_lossy(&shown.stdout).trim().parse().unwrap_or(0);
    Process::open(pid)?.ok_or_else(|| {
        let said = std::fs::read_to_string(&unit.errors).unwrap_or_default();
        io::Error::other(format!("it ended at once: {}", said.trim()))
    })
}

impl Unit<'_> {
    /// What systemd-run is told. The unit goes when its process ends, however it ends.
    fn run_words(&self, name: &str) -> io::Result<Vec<String>> {
        let mut all: Vec<String> =
            ["--quiet", "--collect", "--no-ask-password", "--service-type=exec"].map(String::from).to_vec();
        all.push(format!("--unit={name}"));
        all.push("--slice=machine.slice".into());
        all.push(format!("--description=Skerry machine {name}"));
        all.push(format!("--working-directory={}", self.folder.path().display()));
        // A machine is not to be ended as a whole group at the first signal: QEMU is asked, and it flushes.
        all.push("--property=KillMode=mixed".into());
        all.push(format!("--property=StandardError=append:{}", self.errors.display()));
        all.extend(self.properties.iter().map(|property| format!("--property={property}")));
        all.push("--".into());
        let mut program: Vec<String> = Vec::new();
        if let Some((Launcher(launcher), bounds)) = self.bounds {
            let bounds = serde_json::to_string(bounds)?;
            program.extend([launcher.display().to_string(), "confined".into(), "--bounds".into(), bounds]);
            program.push("--".into());
        }
        program.push(self.program.display().to_string());
        // systemd would put variables into them.
        all.extend(program.iter().chain(self.words).map(|word| word.replace('$', "$$")));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::confine::{May, Right};

    fn unit<'a>(
        words: &'a [String],
        bounds: Option<(&'a Launcher, &'a Bounds)>,
        folder: &'a Folder,
    ) -> Unit<'a> {
        Unit {
            what: "machine",
            program: Path::new("qemu-system-x86_64"),
            words,
            properties: vec!["ReadOnlyPaths=/srv".into()],
            bounds,
            folder,
            errors: folder.within("qemu.log"),
        }
    }

    #[test]
    fn qemu_is_the_main_process_of_a_transient_service() {
        let words = ["-append", "a=$b 5%"].map(String::from);
        let folder = Folder::new(Path::new("/var/lib/skerry/machines/7"));
        let spelled = unit(&words, None, &folder).run_words("skerry-machine-7.service").unwrap();
        let golden = "--quiet|--collect|--no-ask-password|--service-type=exec|--unit=skerry-machine-7.service|\
            --slice=machine.slice|--description=Skerry machine skerry-machine-7.service|\
            --working-directory=/var/lib/skerry/machines/7|--property=KillMode=mixed|\
            --property=StandardError=append:/var/lib/skerry/machines/7/qemu.log|\
            --property=ReadOnlyPaths=/srv|--|qemu-system-x86_64|-append|a=$$b 5%";
        assert_eq!(spelled.join("|"), golden);
    }

    #[test]
    fn what_systemd_starts_bounds_itself_before_it_is_qemu() {
        let folder = Folder::new(Path::new("/var/lib/skerry/machines/7"));
        let mut bounds = Bounds::default();
        bounds.may(May::Write, "/srv/$HOME.raw").keeps(Right::LowPorts);
        let launcher = Launcher("/usr/bin/skerry-agent".into());
        let words = ["-S".to_owned()];
        let spelled = unit(&words, Some((&launcher, &bounds)), &folder).run_words("x").unwrap();
        let (_, program) = spelled.split_at(spelled.iter().position(|word| word == "--").unwrap() + 1);
        let golden = r#"/usr/bin/skerry-agent|confined|--bounds|{"files":[["/srv/$$HOME.raw","write"]],"rights":["low-ports"]}|--|qemu-system-x86_64|-S"#;
        assert_eq!(program.join("|"), golden);
        let given = program[3].replace("$$", "$");
        assert_eq!(serde_json::from_str::<Bounds>(&given).unwrap(), bounds, "it is what systemd makes of it");
    }

    #[test]
    fn bounds_that_are_none_start_nothing() {
        let program = ["/bin/true".into()];
        assert!(run_confined("7", &program).to_string().contains("invalid type"));
    }
}
