//! The life of a machine in words: one for programs, a short sentence for people.

use super::{Admission, Cause, Exit, Obstacle, Request, Side, State, Wanted};

/// The most of a cause that is shown in a sentence, in characters: a contact list's line is short.
const CAUSE_CHARS_MAX: usize = 160;

impl State {
    /// The word for it, for programs: the same for every way of being stopped, or of failing.
    pub const fn word(&self) -> &'static str {
        match self {
            State::Stopped(_) => "stopped",
            State::Starting => "starting",
            State::Running => "running",
            State::Paused => "paused",
            State::Saved => "saved",
            State::Stopping => "stopping",
            State::Migrating(_) => "migrating",
            State::Failed(_) => "failed",
        }
    }

    /// Whether there is a guest, whatever it does.
    pub const fn has_guest(&self) -> bool {
        match self {
            State::Running | State::Paused | State::Stopping | State::Migrating(_) => true,
            State::Stopped(_) | State::Starting | State::Saved | State::Failed(_) => false,
        }
    }

    /// A short plain sentence, for a contact list. It is one line, whatever a cause holds.
    pub fn sentence(&self) -> String {
        match self {
            State::Stopped(Exit::Never) => "Off: never started yet".into(),
            State::Stopped(Exit::Asked) => "Off".into(),
            State::Stopped(Exit::ByGuest) => "Off: the guest shut itself down".into(),
            State::Stopped(Exit::Killed) => "Off: its power was cut".into(),
            State::Stopped(Exit::Found) => "Off: it stopped while nobody watched".into(),
            State::Starting => "Starting".into(),
            State::Running => "Running".into(),
            State::Paused => "Paused".into(),
            State::Saved => "Saved: start wakes it".into(),
            State::Stopping => "Shutting down".into(),
            State::Migrating(Side::Source) => "Moving to another host".into(),
            State::Migrating(Side::Destination) => "Arriving from another host".into(),
            State::Failed(cause) => format!("Failed: {}", cause.line()),
        }
    }
}

impl Cause {
    /// It in one line of bounded length: part of it may be a guest's doing.
    fn line(&self) -> String {
        let mut line: String =
            self.0.chars().take(CAUSE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.0.chars().nth(CAUSE_CHARS_MAX).is_some() {
            line.push('…');
        }
        line
    }
}

impl Wanted {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Wanted::Running => "running",
            Wanted::Stopped => "stopped",
            Wanted::Paused => "paused",
        }
    }
}

impl Request {
    /// All of them.
    pub const ALL: [Request; 8] = [
        Request::Start,
        Request::Shutdown,
        Request::Kill,
        Request::Reboot,
        Request::Reset,
        Request::Pause,
        Request::Resume,
        Request::Delete,
    ];

    /// The word for it: the command's verb.
    pub const fn word(self) -> &'static str {
        match self {
            Request::Start => "start",
            Request::Shutdown => "shutdown",
            Request::Kill => "kill",
            Request::Reboot => "reboot",
            Request::Reset => "reset",
            Request::Pause => "pause",
            Request::Resume => "resume",
            Request::Delete => "delete",
        }
    }
}

impl Obstacle {
    /// What to do about it, in a sentence.
    pub const fn hint(self) -> &'static str {
        match self {
            Obstacle::NotRunning => "Start it first.",
            Obstacle::StillRunning => "Shut it down first, or kill it.",
            Obstacle::Starting => "Wait until it runs, or kill it.",
            Obstacle::Stopping => "Wait until it is off, or kill it.",
            Obstacle::Paused => "Resume it first.",
            Obstacle::NotPaused => "Start it instead.",
            Obstacle::Migrating => "Wait until it has moved.",
            Obstacle::Failed => "Start it again, or kill it to clear away what is left.",
        }
    }
}

impl Admission {
    /// Whether it will be done.
    pub fn accepted(&self) -> bool {
        matches!(self, Admission::Accepted)
    }
}
