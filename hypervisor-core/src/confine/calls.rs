//! System calls that neither the agent nor anything it starts has any use for, and that are of use to whoever
//! breaks into one of them: refused for good, for this process and all its children (seccomp(2)).

use std::{collections::BTreeMap, io};

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// What is refused everywhere.
const NEVER: &[libc::c_long] = &[
    // Another kernel, or more of this one.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    // What other processes have in their memory.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    // Keys of the kernel's.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The host as a whole.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    // File systems of other kinds than are there: virtiofsd binds folders, by mount(2).
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
];

/// What only this processor has.
#[cfg(target_arch = "x86_64")]
const NEVER_HERE: &[libc::c_long] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[libc::c_long] = &[];

/// Refuses them, for this thread and whatever it starts, with `EPERM`. It takes away as well what a set-uid
/// program would give (`no_new_privs`).
///
/// # Errors
/// The kernel has no filters for system calls, or this processor is not known here.
pub fn refuse_calls() -> io::Result<()> {
    seccompiler::apply_filter(&filter(never()).map_err(io::Error::other)?).map_err(io::Error::other)
}

/// Refuses this thread, and what it starts, to make a file a program with its owner's rights: what it writes
/// is root's on the disk, and somebody of the host may find it there. New files get no such mode where none
/// are made (landlock).
///
/// # Errors
/// The kernel has no filters for system calls, or this processor is not known here.
pub(super) fn refuse_rights_of_owners() -> io::Result<()> {
    let filter = owners().and_then(filter).map_err(io::Error::other)?;
    seccompiler::apply_filter(&filter).map_err(io::Error::other)
}

/// By the call: when it is refused; always, if nothing is said.
type Refused = BTreeMap<i64, Vec<SeccompRule>>;

fn never() -> Refused {
    NEVER.iter().chain(NEVER_HERE).map(|call| (*call, Vec::new())).collect()
}

fn owners() -> Result<Refused, seccompiler::BackendError> {
    // With the argument that is the mode. The last is fchmodat2(2).
    let mut calls = vec![(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (452, 2)];
    #[cfg(target_arch = "x86_64")]
    calls.push((libc::SYS_chmod, 1));
    let rule = |argument, bit: libc::mode_t| {
        let has = SeccompCmpOp::MaskedEq(bit.into());
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, has, bit.into())?])
    };
    let one =
        |(call, argument)| Ok((call, vec![rule(argument, libc::S_ISUID)?, rule(argument, libc::S_ISGID)?]));
    calls.into_iter().map(one).collect()
}

fn filter(refused: Refused) -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let action = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(refused, SeccompAction::Allow, action, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use nix::{errno::Errno, unistd::sethostname};

    use super::*;

    #[test]
    fn what_nobody_needs_is_refused_also_to_what_is_started() {
        let own = nix::unistd::gethostname().unwrap();
        let tried = std::thread::spawn(move || {
            refuse_calls().unwrap();
            let child =
                std::process::Command::new("sh").args(["-c", "grep Seccomp: /proc/self/status"]).output();
            (sethostname(&own), child.unwrap().stdout)
        });
        let (refused, child) = tried.join().unwrap();
        assert_eq!(refused, Err(Errno::EPERM));
        assert_eq!(String::from_utf8_lossy(&child).trim(), "Seccomp:\t2");
        // It was that thread's alone.
        let ours = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(ours.contains("Seccomp:\t0"), "{ours}");
    }

    #[test]
    fn no_file_becomes_a_program_with_its_owners_rights() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk");
        std::fs::write(&file, "#!/bin/sh").unwrap();
        let script = "chmod 755 disk && ! chmod 4755 disk && ! chmod 2755 disk && stat -c %a disk";
        let tried = std::thread::scope(|scope| {
            let run = || {
                refuse_rights_of_owners().unwrap();
                let mut shell = std::process::Command::new("sh");
                shell.args(["-c", script]).current_dir(folder.path()).output().unwrap()
            };
            scope.spawn(run).join().unwrap()
        });
        assert_eq!(String::from_utf8_lossy(&tried.stdout).trim(), "755", "{tried:?}");
    }

    #[test]
    fn each_call_is_named_once() {
        let all: std::collections::BTreeSet<_> = NEVER.iter().chain(NEVER_HERE).collect();
        assert_eq!(all.len(), NEVER.len() + NEVER_HERE.len());
    }
}
