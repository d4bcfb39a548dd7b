//! Which system calls each thread may make; any other ends the process, and with it the machine.
//!
//! Who breaks out of a device has these, in the bounds that the agent has put around the process
//! (docs/design/0016-confined-guests.md). A thread's are those of the process, less what it does not need: a
//! filter cannot be taken off, only another put on
//! ([seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html)).

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::error::{Error, Result};

/// What any thread does: memory, locks, the time, its signal, its end.
const ANY: [i64; 27] = [
    // The allocator, and stacks of threads that come and go.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mremap,
    // Locks, and what the C library does as a thread begins and ends.
    libc::SYS_futex,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // A name for the thread, and this filter.
    libc::SYS_prctl,
    libc::SYS_seccomp,
    // The time, and random numbers for the tables of the standard library.
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    // Events that wake others; what is complained of.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    // A panic ends the process by a signal to itself.
    libc::SYS_getpid,
    libc::SYS_tgkill,
];
/// What a processor's thread does besides: KVM_RUN and what else is asked of KVM.
const CPU: [i64; 1] = [libc::SYS_ioctl];
/// What serves devices and the console: their files and sockets, which are open.
const SERVER: [i64; 15] = [
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_fallocate,
    // Who watches the console.
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_ioctl,
    libc::SYS_fcntl,
];
/// What the monitor does: it makes machines of open files, and talks to its agent.
const MONITOR: [i64; 15] = [
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_epoll_create1,
    libc::SYS_eventfd2,
    libc::SYS_rt_sigaction,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_geteuid,
    // How long a file is, and where in it a bzImage is read.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_preadv,
    // The limits of a thread's stack.
    libc::SYS_prlimit64,
    libc::SYS_getrlimit,
];

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// The process as a whole, and its first thread: what it may, no other may more.
    Monitor,
    /// A processor.
    Cpu,
    /// Devices, or the console.
    Server,
}

fn filter(thread: Thread) -> Result<BpfProgram> {
    let more: &[&[i64]] = match thread {
        Thread::Monitor => &[&CPU, &SERVER, &MONITOR],
        Thread::Cpu => &[&CPU],
        Thread::Server => &[&SERVER],
    };
    let calls = ANY.iter().chain(more.iter().copied().flatten());
    let rules: BTreeMap<i64, Vec<_>> = calls.map(|call| (*call, Vec::new())).collect();
    let filter =
        SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, TargetArch::x86_64);
    filter.and_then(BpfProgram::try_from).map_err(Error::at("a filter of system calls"))
}

/// From now on this thread, and those it begins, make no other calls.
///
/// # Errors
/// What the system says: a kernel without seccomp.
pub fn bound(thread: Thread) -> Result<()> {
    apply_filter(&filter(thread)?).map_err(Error::at("a filter of system calls"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_thread_may_run_programs_open_files_or_reach_others() {
        let nobody = [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_open,
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_ptrace,
            libc::SYS_kill,
            libc::SYS_process_vm_writev,
            libc::SYS_mount,
            libc::SYS_bpf,
        ];
        let all = [&ANY[..], &CPU, &SERVER, &MONITOR].concat();
        assert!(nobody.iter().all(|call| !all.contains(call)));
        for thread in [Thread::Monitor, Thread::Cpu, Thread::Server] {
            assert!(filter(thread).unwrap().len() > ANY.len());
        }
    }
}
