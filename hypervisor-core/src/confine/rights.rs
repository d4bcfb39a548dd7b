//! What of root's rights a process keeps (capabilities(7)).

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};
use serde::{Deserialize, Serialize};

use super::user::Claim;

/// A right of root's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Files of any owner (CAP_DAC_OVERRIDE).
    AnyFile,
    /// The same, where it has no user of its own: to that, its files are shown as its own.
    OthersFiles,
    /// Owners and modes of files (CAP_CHOWN, CAP_FOWNER). Whoever has it is no user of its own: what it makes
    /// would be that user's.
    FileOwners,
    /// Ports below 1024 (CAP_NET_BIND_SERVICE).
    LowPorts,
    /// Interfaces of networks (CAP_NET_ADMIN).
    Networks,
    /// Memory that stays where it is, as much as it likes (CAP_IPC_LOCK).
    LockedMemory,
    /// Memory of its own that comes only when it is used, also by the kernel (userfaultfd(2),
    /// CAP_SYS_PTRACE).
    MemoryOnDemand,
}

impl Right {
    fn capabilities(self) -> CapabilitySet {
        match self {
            Right::AnyFile | Right::OthersFiles => CapabilitySet::DAC_OVERRIDE,
            Right::FileOwners => CapabilitySet::CHOWN | CapabilitySet::FOWNER,
            Right::LowPorts => CapabilitySet::NET_BIND_SERVICE,
            Right::Networks => CapabilitySet::NET_ADMIN,
            Right::LockedMemory => CapabilitySet::IPC_LOCK,
            Right::MemoryOnDemand => CapabilitySet::SYS_PTRACE,
        }
    }
}

/// This thread has no others of root's rights from now on, and what it starts gets none by any program:
/// root's own exec does not bring back what was given away once there is `no_new_privs`. If it claimed a
/// user, it is that one.
pub(super) fn keep(rights: &[Right], user: Option<Claim>) -> io::Result<()> {
    set_no_new_privs(true)?;
    let wanted = rights.iter().filter(|right| user.is_none() || **right != Right::OthersFiles);
    let wanted = wanted.map(|right| right.capabilities()).fold(CapabilitySet::empty(), |all, one| all | one);
    let is_root_no_more = user.is_some();
    if let Some(user) = user {
        // Else they are all lost with root's number.
        set_keep_capabilities(true)?;
        user.become_it()?;
    }
    let has = capabilities(None)?;
    let permitted = has.permitted & wanted;
    // Those of an ordinary user's program: they go over an exec only if they are inheritable, and ambient.
    let inheritable = if is_root_no_more { permitted } else { has.inheritable & permitted };
    set_capabilities(None, CapabilitySets { effective: permitted, permitted, inheritable })?;
    if is_root_no_more {
        for one in permitted.iter() {
            configure_capability_in_ambient_set(one, true)?;
        }
    }
    Ok(())
}
