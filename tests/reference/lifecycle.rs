//! docs/lifecycle.md: what may be asked of a machine, and what becomes of it.

use hypervisor_core::lifecycle::{Admission, Cause, Event, Exit, Request, Side, State, admit, next};

const INTRODUCTION: &str = "\
# The life of a machine

This page is written by a test from the code that decides (`hypervisor-core/src/lifecycle/`): see
`tests/reference.rs`.

## What may be asked

Each row is what a machine is, each column what is asked of it. **yes**: it will be done. *so*: it is so
already, or on its way. Otherwise the obstacle, and below what to do about it.
";

const EVENTS: &str = "
## What becomes of it

Each row is what happened, each column what the machine was. `·`: it changes nothing. `✗`: it cannot be; the
machine is then looked at. Being looked at makes of a machine what is seen, with one exception: when one
that is stopped, saved or failed is found not running, it stays what it was, for that says more.
";

/// One of each kind of state; how one stopped makes no difference to what may be asked of it.
fn states() -> Vec<State> {
    vec![
        State::Stopped(Exit::Never),
        State::Starting,
        State::Running,
        State::Paused,
        State::Saved,
        State::Stopping,
        State::Migrating(Side::Source),
        State::Migrating(Side::Destination),
        State::Failed(cause()),
    ]
}

fn cause() -> Cause {
    Cause("…".into())
}

fn events() -> Vec<(&'static str, Event)> {
    vec![
        ("a start was accepted", Event::StartAccepted),
        ("it has started", Event::Started),
        ("it could not be started", Event::StartFailed(cause())),
        ("a shutdown was accepted", Event::ShutdownAccepted),
        ("the guest did not shut down in time", Event::ShutdownTimedOut),
        ("it was paused", Event::PausedNow),
        ("it was resumed", Event::ResumedNow),
        ("the guest halted", Event::GuestHalted),
        ("the guest rebooted, or was reset", Event::GuestRebooted),
        ("it was killed", Event::KilledNow),
        ("it crashed", Event::Crashed(cause())),
        ("it was found running", Event::Observed(Box::new(State::Running))),
        ("it was found paused", Event::Observed(Box::new(State::Paused))),
        ("it was found not running", Event::Observed(Box::new(State::Stopped(Exit::Found)))),
    ]
}

fn name(state: &State) -> String {
    match state {
        State::Migrating(Side::Source) => "migrating (away)".into(),
        State::Migrating(Side::Destination) => "migrating (here)".into(),
        other => other.word().into(),
    }
}

fn becomes(state: &State) -> String {
    match state {
        State::Stopped(Exit::Never) => "stopped (never ran)".into(),
        State::Stopped(Exit::Asked) => "stopped (asked)".into(),
        State::Stopped(Exit::ByGuest) => "stopped (by guest)".into(),
        State::Stopped(Exit::Killed) => "stopped (killed)".into(),
        State::Stopped(Exit::Found) => "stopped (found)".into(),
        other => name(other),
    }
}

fn row(cells: impl IntoIterator<Item = String>) -> String {
    format!("| {} |\n", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

fn head(cells: Vec<String>) -> String {
    let rule = row(cells.iter().map(|_| "---".to_owned()));
    row(cells) + &rule
}

/// The page.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned() + "\n";
    let verbs = Request::ALL.iter().map(|request| request.word().to_owned());
    page += &head(std::iter::once(String::new()).chain(verbs).collect());
    let mut obstacles = Vec::new();
    for state in states() {
        let cells = Request::ALL.iter().map(|request| match admit(&state, request) {
            Admission::Accepted => "**yes**".to_owned(),
            Admission::AlreadySo => "*so*".to_owned(),
            Admission::Refused(obstacle) => {
                if !obstacles.contains(&obstacle) {
                    obstacles.push(obstacle);
                }
                obstacle.to_string()
            }
        });
        page += &row(std::iter::once(name(&state)).chain(cells));
    }
    page += "\n";
    page += &head(vec!["obstacle".into(), "what to do".into()]);
    for obstacle in obstacles {
        page += &row([obstacle.to_string(), obstacle.hint().to_owned()]);
    }
    page += EVENTS;
    page += "\n";
    page += &head(std::iter::once(String::new()).chain(states().iter().map(name)).collect());
    for (words, event) in events() {
        let cells = states().into_iter().map(|state| match next(&state, &event) {
            Ok(after) if after == state => "·".to_owned(),
            Ok(after) => becomes(&after),
            Err(_) => "✗".to_owned(),
        });
        page += &row(std::iter::once(words.to_owned()).chain(cells));
    }
    page += "\n## What people read\n\n";
    page += &head(vec!["state".into(), "in a contact list".into()]);
    let exits = [Exit::Never, Exit::Asked, Exit::ByGuest, Exit::Killed, Exit::Found].map(State::Stopped);
    for state in exits.into_iter().chain(states().into_iter().skip(1)) {
        page += &row([becomes(&state), state.sentence()]);
    }
    page
}
