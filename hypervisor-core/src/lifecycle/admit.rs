//! What may be asked of a machine in each state.

use super::{Admission, Obstacle, Request, State};
use Admission::{Accepted, AlreadySo, Refused};

/// What the queue says to a request in this state.
///
/// A delete of a failed machine, and a start of one, begin by killing what may be left of it.
pub fn admit(state: &State, request: &Request) -> Admission {
    match request {
        Request::Start => start(state),
        Request::Shutdown => shutdown(state),
        Request::Kill => kill(state),
        Request::Reboot => reboot(state),
        Request::Reset => reset(state),
        Request::Pause => pause(state),
        Request::Resume => resume(state),
        Request::Delete => delete(state),
    }
}

fn start(state: &State) -> Admission {
    match state {
        State::Stopped(_) | State::Saved | State::Failed(_) => Accepted,
        State::Starting | State::Running => AlreadySo,
        // A start that woke a paused machine would be a second word for resume.
        State::Paused => Refused(Obstacle::Paused),
        State::Stopping => Refused(Obstacle::Stopping),
        State::Migrating(_) => Refused(Obstacle::Migrating),
    }
}

fn shutdown(state: &State) -> Admission {
    match state {
        State::Stopped(_) | State::Stopping => AlreadySo,
        State::Starting => Refused(Obstacle::Starting),
        State::Running => Accepted,
        State::Paused => Refused(Obstacle::Paused),
        State::Saved => Refused(Obstacle::NotRunning),
        State::Migrating(_) => Refused(Obstacle::Migrating),
        State::Failed(_) => Refused(Obstacle::Failed),
    }
}

/// What runs, half runs or may run can be killed. A saved machine has no power to cut, and what it
/// remembers is not thrown away in passing; a migrating one has two ends, and killing one would not do.
fn kill(state: &State) -> Admission {
    match state {
        State::Stopped(_) => AlreadySo,
        State::Starting | State::Running | State::Paused | State::Stopping | State::Failed(_) => Accepted,
        State::Saved => Refused(Obstacle::NotRunning),
        State::Migrating(_) => Refused(Obstacle::Migrating),
    }
}

fn reboot(state: &State) -> Admission {
    match state {
        State::Running => Accepted,
        State::Stopped(_) | State::Saved => Refused(Obstacle::NotRunning),
        State::Starting => Refused(Obstacle::Starting),
        State::Paused => Refused(Obstacle::Paused),
        State::Stopping => Refused(Obstacle::Stopping),
        State::Migrating(_) => Refused(Obstacle::Migrating),
        State::Failed(_) => Refused(Obstacle::Failed),
    }
}

fn reset(state: &State) -> Admission {
    match state {
        State::Running | State::Paused => Accepted,
        State::Stopped(_) | State::Saved => Refused(Obstacle::NotRunning),
        State::Starting => Refused(Obstacle::Starting),
        State::Stopping => Refused(Obstacle::Stopping),
        State::Migrating(_) => Refused(Obstacle::Migrating),
        State::Failed(_) => Refused(Obstacle::Failed),
    }
}

fn pause(state: &State) -> Admission {
    match state {
        State::Running => Accepted,
        State::Paused => AlreadySo,
        State::Stopped(_) | State::Saved => Refused(Obstacle::NotRunning),
        State::Starting => Refused(Obstacle::Starting),
        State::Stopping => Refused(Obstacle::Stopping),
        State::Migrating(_) => Refused(Obstacle::Migrating),
        State::Failed(_) => Refused(Obstacle::Failed),
    }
}

fn resume(state: &State) -> Admission {
    match state {
        State::Paused => Accepted,
        State::Running => AlreadySo,
        // Start is the word for these: memory is not there to run on with.
        State::Stopped(_) | State::Saved => Refused(Obstacle::NotPaused),
        State::Starting => Refused(Obstacle::Starting),
        State::Stopping => Refused(Obstacle::Stopping),
        State::Migrating(_) => Refused(Obstacle::Migrating),
        State::Failed(_) => Refused(Obstacle::Failed),
    }
}

fn delete(state: &State) -> Admission {
    match state {
        State::Stopped(_) | State::Saved | State::Failed(_) => Accepted,
        State::Running | State::Paused => Refused(Obstacle::StillRunning),
        State::Starting => Refused(Obstacle::Starting),
        State::Stopping => Refused(Obstacle::Stopping),
        State::Migrating(_) => Refused(Obstacle::Migrating),
    }
}
