//! What each event makes of a machine.
//!
//! Events come from two sides, the agent's own doing and the guest's, and may cross. Where they can,
//! the later one changes nothing ([`Step::Stays`]); where they cannot, it is [`Unexpected`].

use super::{Cause, Event, Exit, Side, State, Unexpected};
use Step::{Becomes, Impossible, Stays};

/// What one event does.
enum Step {
    Becomes(State),
    Stays,
    Impossible,
}

/// The state after an event. One that is legal but changes nothing gives the same state.
///
/// # Errors
/// When the event cannot be in this state.
pub fn next(state: &State, event: &Event) -> Result<State, Unexpected> {
    let step = match event {
        Event::StartAccepted => start_accepted(state),
        Event::Started => started(state),
        Event::StartFailed(cause) => start_failed(state, cause),
        Event::ShutdownAccepted => shutdown_accepted(state),
        Event::ShutdownTimedOut => shutdown_timed_out(state),
        Event::PausedNow => paused_now(state),
        Event::ResumedNow => resumed_now(state),
        Event::GuestHalted => guest_halted(state),
        Event::GuestRebooted => guest_rebooted(state),
        Event::KilledNow => killed_now(state),
        Event::Crashed(cause) => crashed(state, cause),
        Event::Observed(seen) => observed(state, seen),
    };
    match step {
        Becomes(state) => Ok(state),
        Stays => Ok(state.clone()),
        Impossible => Err(Unexpected { state: state.clone(), event: event.clone() }),
    }
}

/// Never two starts at once: the second would not have been admitted.
fn start_accepted(state: &State) -> Step {
    match state {
        State::Stopped(_) | State::Saved | State::Failed(_) => Becomes(State::Starting),
        State::Starting | State::Running | State::Paused | State::Stopping | State::Migrating(_) => {
            Impossible
        }
    }
}

/// Somebody may have paused it, or it was observed, before the driver's word came.
fn started(state: &State) -> Step {
    match state {
        State::Starting => Becomes(State::Running),
        State::Running | State::Paused => Stays,
        State::Stopped(_) | State::Saved | State::Stopping | State::Migrating(_) | State::Failed(_) => {
            Impossible
        }
    }
}

/// A start that was killed fails as well: it is stopped by then. The first cause of a failure is kept.
fn start_failed(state: &State, cause: &Cause) -> Step {
    match state {
        State::Starting => Becomes(State::Failed(cause.clone())),
        State::Stopped(_) | State::Failed(_) => Stays,
        State::Running | State::Paused | State::Saved | State::Stopping | State::Migrating(_) => Impossible,
    }
}

fn shutdown_accepted(state: &State) -> Step {
    match state {
        State::Running => Becomes(State::Stopping),
        State::Stopping => Stays,
        State::Stopped(_)
        | State::Starting
        | State::Paused
        | State::Saved
        | State::Migrating(_)
        | State::Failed(_) => Impossible,
    }
}

/// It may have stopped just in time, or been paused or observed meanwhile.
fn shutdown_timed_out(state: &State) -> Step {
    match state {
        State::Stopping => Becomes(State::Running),
        State::Stopped(_) | State::Running | State::Paused | State::Failed(_) => Stays,
        State::Starting | State::Saved | State::Migrating(_) => Impossible,
    }
}

/// A migration holds the guest still by itself, at its end.
fn paused_now(state: &State) -> Step {
    match state {
        State::Starting | State::Running | State::Stopping => Becomes(State::Paused),
        State::Paused | State::Migrating(_) => Stays,
        State::Stopped(_) | State::Saved | State::Failed(_) => Impossible,
    }
}

/// A driver may let a guest run on as the last step of its start.
fn resumed_now(state: &State) -> Step {
    match state {
        State::Paused => Becomes(State::Running),
        State::Starting | State::Running | State::Stopping | State::Migrating(_) => Stays,
        State::Stopped(_) | State::Saved | State::Failed(_) => Impossible,
    }
}

/// The halt may cross with a start's end, a pause or a kill.
fn guest_halted(state: &State) -> Step {
    match state {
        State::Stopping => Becomes(State::Stopped(Exit::Asked)),
        State::Starting | State::Running | State::Paused | State::Migrating(Side::Source) => {
            Becomes(State::Stopped(Exit::ByGuest))
        }
        State::Stopped(_) | State::Failed(_) => Stays,
        State::Saved | State::Migrating(Side::Destination) => Impossible,
    }
}

/// A guest that was asked to shut down and reboots instead is still asked: the deadline stands.
fn guest_rebooted(state: &State) -> Step {
    match state {
        State::Starting | State::Running | State::Paused | State::Stopping | State::Migrating(_) => Stays,
        State::Stopped(_) | State::Saved | State::Failed(_) => Impossible,
    }
}

/// Wherever there may have been power, it is off now.
fn killed_now(state: &State) -> Step {
    match state {
        State::Starting
        | State::Running
        | State::Paused
        | State::Stopping
        | State::Migrating(_)
        | State::Failed(_) => Becomes(State::Stopped(Exit::Killed)),
        State::Stopped(_) | State::Saved => Stays,
    }
}

/// A late word of a process that was killed changes nothing, and the first cause is kept.
fn crashed(state: &State, cause: &Cause) -> Step {
    match state {
        State::Starting | State::Running | State::Paused | State::Stopping | State::Migrating(_) => {
            Becomes(State::Failed(cause.clone()))
        }
        State::Stopped(_) | State::Failed(_) => Stays,
        State::Saved => Impossible,
    }
}

/// What is seen is so. "It does not run" is less than what is known of one that does not.
fn observed(state: &State, seen: &State) -> Step {
    match (state, seen) {
        (State::Stopped(_) | State::Saved | State::Failed(_), State::Stopped(Exit::Found)) => Stays,
        (
            State::Stopped(_)
            | State::Starting
            | State::Running
            | State::Paused
            | State::Saved
            | State::Stopping
            | State::Migrating(_)
            | State::Failed(_),
            seen,
        ) => Becomes(seen.clone()),
    }
}
