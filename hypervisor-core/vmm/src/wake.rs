//! What wakes a loop of events.

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::error::{Error, Result};

/// One that nobody waits on yet, and that nobody waits for.
///
/// # Errors
/// What the system says.
pub fn wake() -> Result<EventFd> {
    EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(Error::at("an event"))
}
