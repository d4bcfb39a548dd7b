//! What machines are said to be and to have done, in plain words.

use hypervisor_core::{
    driver::{DriverError, Plea},
    lifecycle::{Event, Exit, Obstacle, Request, Side, State},
    machine::MachineName,
};
use skerry_stanzas::refusal::{Reason, Refusal};

/// The state in a sentence: "web1 is running."
pub(crate) fn is(name: &MachineName, state: &State) -> String {
    match state {
        State::Stopped(Exit::Never) => format!("{name} is stopped; it has not run yet."),
        State::Stopped(Exit::Asked | Exit::Found) => format!("{name} is stopped."),
        State::Stopped(Exit::ByGuest) => format!("{name} is stopped: the guest shut itself down."),
        State::Stopped(Exit::Killed) => format!("{name} is stopped: its power was cut."),
        State::Starting => format!("{name} is starting."),
        State::Running => format!("{name} is running."),
        State::Paused => format!("{name} is paused."),
        State::Saved => format!("{name} is saved to disk."),
        State::Stopping => format!("{name} is shutting down."),
        State::Migrating(Side::Source) => format!("{name} is moving to another host."),
        State::Migrating(Side::Destination) => format!("{name} is coming from another host."),
        State::Failed(cause) => format!("{name} has failed: {}", stopped(&cause.0)),
    }
}

/// "web1 was already running."
pub(crate) fn was_already(name: &MachineName, state: &State) -> String {
    match state {
        State::Starting => format!("{name} is starting already."),
        State::Stopping => format!("{name} is shutting down already."),
        other => format!("{name} was already {}.", other.word()),
    }
}

/// It was so when it was asked for, and is not any more: nobody was asked whether it is meant.
pub(crate) fn not_so_any_more(name: &MachineName, state: &State) -> Refusal {
    let text = format!("{} That is new: nothing was done.", is(name, state));
    Refusal::new(Reason::Conflict, text).hint("Ask again, if it is still meant.")
}

/// With a full stop at its end.
fn stopped(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.into() } else { format!("{text}.") }
}

/// Every word a state can have.
pub(crate) const STATE_WORDS: &[&str] =
    &["stopped", "starting", "running", "paused", "saved", "stopping", "migrating", "failed"];

/// What an event is called in the log, and the sentence for it.
pub(crate) fn happened(name: &MachineName, event: &Event, after: &State) -> (&'static str, String) {
    match event {
        Event::StartAccepted => ("machine.starting", format!("{name} is starting.")),
        Event::Started => ("machine.started", format!("{name} is running.")),
        Event::StartFailed(cause) => {
            ("machine.start-failed", format!("{name} could not be started: {}", stopped(&cause.0)))
        }
        Event::ShutdownAccepted => ("machine.stopping", format!("{name} was asked to shut down.")),
        Event::ShutdownTimedOut => {
            ("machine.shutdown-timed-out", format!("{name} did not shut down and runs on."))
        }
        Event::PausedNow => ("machine.paused", format!("{name} is paused.")),
        Event::ResumedNow => ("machine.resumed", format!("{name} runs on.")),
        Event::GuestHalted => ("machine.stopped", is(name, after)),
        Event::GuestRebooted => ("machine.rebooted", format!("{name} rebooted.")),
        Event::KilledNow => ("machine.killed", format!("The power of {name} was cut.")),
        Event::Crashed(cause) => ("machine.crashed", format!("{name} crashed: {}", stopped(&cause.0))),
        Event::Observed(_) => ("machine.observed", is(name, after)),
    }
}

/// "No" to a request, with what to do next.
pub(crate) fn obstacle(name: &MachineName, request: Request, obstacle: Obstacle) -> Refusal {
    let text = format!("{name} cannot be {}: {obstacle}.", participle(request));
    Refusal::new(Reason::Conflict, text).hint(obstacle.hint())
}

/// "… cannot be started".
fn participle(request: Request) -> &'static str {
    match request {
        Request::Start => "started",
        Request::Shutdown => "shut down",
        Request::Kill => "killed",
        Request::Reboot => "rebooted",
        Request::Reset => "reset",
        Request::Pause => "paused",
        Request::Resume => "resumed",
        Request::Delete => "deleted",
    }
}

/// What a driver's error is to the caller: what they can mend is said, the rest gets a reference.
pub(crate) fn driver_said(name: &MachineName, request: Request, error: DriverError) -> Refusal {
    let what = participle(request);
    match error {
        DriverError::NotRunning | DriverError::AlreadyRunning | DriverError::Unfit(_) => {
            Refusal::new(Reason::Conflict, stopped(&format!("{name} could not be {what}: {error}")))
        }
        DriverError::TimedOut { .. } => {
            Refusal::new(Reason::Unavailable, stopped(&format!("{name} could not be {what}: {error}")))
                .hint(format!("\"status {name}\" shows how it is now."))
        }
        other => crate::reference::internal(&format!("{name} could not be {what}"), &other),
    }
}

/// The cause of a failure, as it is kept and shown.
pub(crate) fn cause(error: &DriverError) -> String {
    error.to_string()
}

/// While a guest that was asked does not do it.
pub(crate) fn asked_again(name: &MachineName, plea: Plea) -> String {
    let (done, what) = match plea {
        Plea::Shutdown => ("shut down", "shut down"),
        Plea::Reboot => ("rebooted", "reboot"),
    };
    format!("{name} has not {done} yet; it may still be booting. It was asked again to {what}.")
}

/// "it is running."
pub(crate) fn it_is(state: &State) -> String {
    format!("it is {}.", state.word())
}
