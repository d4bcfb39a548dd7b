//! How a run of a machine ends, told once by whoever sees it first.

use std::sync::{Mutex, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use crate::{
    error::{Error, Result},
    wake::wake,
};

/// How.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest shut down.
    Halted,
    /// It wants to begin anew.
    Reset,
    /// Its kernel panicked.
    Panicked,
    /// It cannot go on, and why.
    Crashed(String),
}

impl Ending {
    /// Whether it ended as a guest ends that wants to.
    ///
    /// # Errors
    /// When it did not: how.
    pub fn well(self) -> Result<()> {
        match self {
            Ending::Halted | Ending::Reset => Ok(()),
            Ending::Panicked => Err(Error::new("the guest's kernel panicked")),
            Ending::Crashed(why) => Err(Error::new(why)),
        }
    }
}

/// Where it is told. The first word counts: what follows is that the rest breaks off.
#[derive(Debug)]
pub struct Endings {
    ending: Mutex<Option<Ending>>,
    /// Readable when there is a word.
    pub told: EventFd,
}

impl Endings {
    /// Nothing told yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> Result<Self> {
        Ok(Self { ending: Mutex::default(), told: wake()? })
    }

    /// Tells it.
    pub fn tell(&self, ending: Ending) {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(ending);
        // Full of words nobody read: then there is one to read.
        let _ = self.told.write(1);
    }

    /// What was told, once.
    pub fn take(&self) -> Option<Ending> {
        let _ = self.told.read();
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
