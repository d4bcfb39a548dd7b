//! Which files a thread reaches: landlock(7), as much of it as the kernel has.

use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};

use super::{May, Support};

/// The newest rights of files that are known here; a kernel without them is asked for fewer.
const KNOWN: ABI = ABI::V6;

/// The kernel's version of it (landlock_create_ruleset(2)).
#[allow(unsafe_code)]
pub(super) fn support() -> Support {
    const VERSION: u32 = 1;
    // SAFETY: asked for the version there is no set of rules, and nothing of ours is touched.
    let version = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_landlock_create_ruleset,
            std::ptr::null::<nix::libc::c_void>(),
            0_usize,
            VERSION,
        )
    };
    i32::try_from(version).ok().filter(|version| *version > 0).map_or(Support::Missing, Support::Landlock)
}

/// This thread reaches nothing else from now on. What is not there is left out.
pub(super) fn bound(files: &[(PathBuf, May)]) -> io::Result<()> {
    restrict(files).map(drop).map_err(io::Error::other)
}

fn restrict(files: &[(PathBuf, May)]) -> Result<RestrictionStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        // Nothing outside of it gets a signal of it, or is found by an abstract socket.
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    for (path, may) in files {
        // Going through is not bounded: it takes no rule.
        let Some((fd, is_folder)) = open(path).ok().filter(|_| *may != May::Pass) else { continue };
        let access = if is_folder { access(*may) } else { access(*may) & AccessFs::from_file(KNOWN) };
        rules = rules.add_rule(PathBeneath::new(fd.as_fd(), access))?;
    }
    rules.restrict_self()
}

/// The file itself, without reading it.
fn open(path: &Path) -> io::Result<(OwnedFd, bool)> {
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).open(path)?;
    let is_folder = file.metadata()?.is_dir();
    Ok((file.into(), is_folder))
}

fn access(may: May) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read | AccessFs::WriteFile | AccessFs::Truncate;
    match may {
        May::Pass => BitFlags::EMPTY,
        May::Read => read,
        May::Run => read | AccessFs::Execute,
        May::Listen => read | AccessFs::MakeSock | AccessFs::RemoveFile,
        May::Write => write,
        May::Fill => {
            let make = AccessFs::MakeReg | AccessFs::MakeDir | AccessFs::Refer;
            write | make | AccessFs::RemoveFile | AccessFs::RemoveDir
        }
        May::Drive => write | AccessFs::IoctlDev,
    }
}
