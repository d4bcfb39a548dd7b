//! Descriptors that the process was given by whoever started it.
#![allow(unsafe_code)]

use std::{
    fs::File,
    os::fd::{FromRawFd, OwnedFd},
};

use crate::error::{Error, Result};

/// Takes over a descriptor that was inherited, by its number. Each is taken once.
///
/// # Errors
/// When there is none of that number.
pub fn inherited(number: i32) -> Result<File> {
    // SAFETY: a number that is no descriptor is refused by the call, which changes nothing.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number.max(3)) };
    rustix::io::fcntl_getfd(borrowed)
        .map_err(Error::at(format!("descriptor {number} was not handed over")))?;
    // SAFETY: it is there, and nothing else in this process has it: the plan names each once, before any was
    // opened.
    Ok(unsafe { OwnedFd::from_raw_fd(number.max(3)) }.into())
}
