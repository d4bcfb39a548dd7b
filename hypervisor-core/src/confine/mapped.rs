//! Mounts in which the files of one user are another's: a process without rights reads and writes its files
//! as their owner, and on the disk they stay whose they are (mount_setattr(2), "ID-mapped mounts").

use std::{
    ffi::{c_int, c_void},
    fs::{self, File},
    io, mem,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    ptr,
};

use nix::{
    libc,
    sys::{
        signal::{SigSet, SigmaskHow, Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use rustix::{
    fs::CWD,
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
};

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The process that makes a namespace of users needs no more stack than this.
const STACK_BYTES: usize = 16 << 10;
/// How long it lives if nobody ends it, in seconds.
const LIVES_MAX_S: i64 = 10;

/// Shows files as those of one user.
pub(super) struct Mapping {
    uid: u32,
    /// By whose the files are: who is who.
    known: Vec<(Owner, File)>,
}

impl Mapping {
    /// This user, whose only group has the same number.
    pub(super) fn to(uid: u32) -> Self {
        Self { uid, known: Vec::new() }
    }

    /// Shows a file, or all of a folder, at `place`: what is `owner`'s there is the user's, and what is
    /// others' is nobody's.
    ///
    /// # Errors
    /// The kernel (before Linux 5.12) or the file system knows of no such thing, or we may not.
    pub(super) fn show(
        &mut self,
        file: &File,
        place: &Path,
        owner: Owner,
        read_only: bool,
    ) -> io::Result<()> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(file, c"", flags)?;
        map(&tree, self.users(owner)?, read_only)?;
        Ok(move_mount(&tree, c"", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }

    /// The user's number.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    fn users(&mut self, owner: Owner) -> io::Result<&File> {
        let at = match self.known.iter().position(|(known, _)| *known == owner) {
            Some(at) => at,
            None => {
                self.known.push((owner, users(owner, self.uid)?));
                self.known.len() - 1
            }
        };
        self.known.get(at).map(|(_, users)| users).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[allow(unsafe_code)]
fn map(tree: &OwnedFd, users: &File, read_only: bool) -> io::Result<()> {
    let bounded = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP | if read_only { bounded } else { 0 },
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(users.as_raw_fd()).unwrap_or_default(),
    };
    // SAFETY: the path and the attributes live through the call, which is told how long the latter are.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let text = format!("its file system, or the kernel, does not show files as another user's ({error})");
    Err(io::Error::new(error.kind(), text))
}

/// A namespace of users in which `owner` is `uid` outside, and there is nobody else (user_namespaces(7)). It
/// is made with a process in it, and stays for as long as it is held or a mount has it.
fn users(owner: Owner, uid: u32) -> io::Result<File> {
    let process = InIt::start()?;
    let proc = Path::new("/proc").join(process.pid.to_string());
    fs::write(proc.join("uid_map"), format!("{} {uid} 1", owner.uid))?;
    fs::write(proc.join("gid_map"), format!("{} {uid} 1", owner.gid))?;
    File::open(proc.join("ns/user"))
}

/// A process that does nothing in a namespace of users of its own. It ends when this is dropped.
struct InIt {
    pid: Pid,
    stack: Vec<u8>,
}

impl InIt {
    #[allow(unsafe_code)]
    fn start() -> io::Result<Self> {
        let mut stack = vec![0_u8; STACK_BYTES];
        // The address of a stack is divisible by 16 (psABI).
        let top = stack.as_mut_ptr_range().end.map_addr(|end| end & !15);
        // No handler of ours runs in it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // It has our memory and not a copy of it, which would take a start its time. Its end is told to
        // nobody.
        let flags = libc::CLONE_NEWUSER | libc::CLONE_VM;
        // SAFETY: it runs on a stack of its own, freed only when it has ended, and touches no other memory.
        let pid = unsafe { libc::clone(wait, top.cast(), flags, ptr::null_mut()) };
        let failed = io::Error::last_os_error();
        let restored = before.thread_set_mask();
        if pid < 0 {
            return Err(failed);
        }
        let process = Self { pid: Pid::from_raw(pid), stack };
        restored?;
        Ok(process)
    }
}

impl Drop for InIt {
    fn drop(&mut self) {
        let ended = kill(self.pid, Signal::SIGKILL)
            .and_then(|()| waitpid(self.pid, Some(WaitPidFlag::__WALL)).map(drop));
        if ended.is_err() {
            // It may be on it still.
            mem::forget(mem::take(&mut self.stack));
        }
    }
}

/// What it does: waits to be ended, but not for ever, and not when the thread that made it is gone.
#[allow(unsafe_code)]
extern "C" fn wait(_: *mut c_void) -> c_int {
    let time = libc::timespec { tv_sec: LIVES_MAX_S, tv_nsec: 0 };
    // SAFETY: it touches no memory. It does not fail, so nor does it touch `errno`, which is the other
    // thread's.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: the time lives through the call, which no signal ends, since all are blocked.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, ptr::null_mut::<libc::timespec>()) };
    0
}
