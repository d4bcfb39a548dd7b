//! What went wrong, for a person and for a script: one sentence, a hint, and an exit code by kind.

use std::process::ExitCode;

use skerry_link::{Ask, LoginError, SendError};
use skerry_stanzas::refusal::{Reason, Refusal};

/// The kinds of failure; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A machine, a host or a server said no, or it did not work (1).
    Refused,
    /// The command line or the configuration is not right (2).
    Usage,
    /// The caller has no right to it, or could not log in (3).
    NotAllowed,
    /// The server, the host or the machine cannot be reached (4).
    Unreachable,
    /// A defect of ours, here or in the agent (5).
    Internal,
    /// Ctrl-C (130, as shells have it).
    Interrupted,
    /// `exec`: the command in the guest was not run, or its end is not known (255, as ssh has it).
    NotRun,
    /// `exec`: the command in the guest ended with this code, or 128 and the signal that ended it.
    Ended(u8),
    /// Whoever read our output went away (0: `skerry list | head -1` is no failure).
    OutputClosed,
}

impl Kind {
    /// The exit code; docs and tests hold it.
    pub const fn code(self) -> u8 {
        match self {
            Kind::OutputClosed => 0,
            Kind::Refused => 1,
            Kind::Usage => 2,
            Kind::NotAllowed => 3,
            Kind::Unreachable => 4,
            Kind::Internal => 5,
            Kind::Interrupted => 130,
            Kind::NotRun => 255,
            Kind::Ended(code) => code,
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// One sentence.
    pub text: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// What a step of `skerry` gives.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure of one sentence.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), hint: None }
    }

    /// The command line or the configuration is not right.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Kind::Usage, text)
    }

    /// Something or somebody cannot be reached.
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, text)
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Tells it on stderr, when there is something to tell, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // Who pressed Ctrl-C knows it; what goes on all the same is told.
        let interrupted = self.kind == Kind::Interrupted && self.hint.is_none();
        let known = interrupted || matches!(self.kind, Kind::Ended(_));
        if !known && self.kind != Kind::OutputClosed {
            eprintln!("skerry: {}", self.text);
            if let Some(hint) = &self.hint {
                eprintln!("  {}", hint.replace('\n', "\n  "));
            }
        }
        ExitCode::from(self.kind.code())
    }
}

/// The kind of a reason; the codes are those of [`Reason::exit_code`].
pub const fn kind(reason: Reason) -> Kind {
    match reason.exit_code() {
        1 => Kind::Refused,
        2 => Kind::Usage,
        3 => Kind::NotAllowed,
        4 => Kind::Unreachable,
        _ => Kind::Internal,
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { kind: kind(refusal.reason), text: refusal.text, hint: refusal.hint }
    }
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        let text = format!("cannot log in: {error}");
        match error {
            LoginError::Credentials => Self::new(Kind::NotAllowed, text)
                .hint("Check `jid` and how the password is kept in the configuration (skerry --help)."),
            LoginError::Certificate { .. } => Self::unreachable(text).hint(
                "If the server has a certificate of its own making, name its authority: ca = \"FILE\".",
            ),
            LoginError::NoTls => Self::unreachable(text)
                .hint("If the port wants TLS from the first byte, set tls = \"direct\"."),
            _ => Self::unreachable(text),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self::unreachable(error.to_string())
    }
}

impl From<Ask> for Failure {
    fn from(error: Ask) -> Self {
        match error {
            Ask::NotSent(error) => error.into(),
            Ask::Refused(iq) => crate::wire::refused(&iq),
            other => Self::unreachable(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => {
                Self::new(Kind::OutputClosed, "the reader of our output went away")
            }
            std::io::ErrorKind::Interrupted => Self::new(Kind::Interrupted, "interrupted"),
            _ => Self::new(Kind::Internal, format!("the terminal or a file: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_code_the_manual_promises() {
        let codes = [
            (Kind::OutputClosed, 0),
            (Kind::Refused, 1),
            (Kind::Usage, 2),
            (Kind::NotAllowed, 3),
            (Kind::Unreachable, 4),
            (Kind::Internal, 5),
            (Kind::Interrupted, 130),
            (Kind::NotRun, 255),
            (Kind::Ended(3), 3),
        ];
        for (kind, code) in codes {
            assert_eq!(kind.code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_words_and_gets_its_kind() {
        for (reason, kind) in [
            (Reason::NotAllowed, Kind::NotAllowed),
            (Reason::BadRequest, Kind::Usage),
            (Reason::Conflict, Kind::Refused),
            (Reason::NotFound, Kind::Refused),
            (Reason::Unavailable, Kind::Unreachable),
            (Reason::Internal, Kind::Internal),
        ] {
            let failure = Failure::from(Refusal::new(reason, "No.").hint("Try later."));
            assert_eq!(failure, Failure::new(kind, "No.").hint("Try later."));
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(failure.kind.code(), 0);
    }

    #[test]
    fn a_wrong_password_is_not_an_unreachable_server() {
        assert_eq!(Failure::from(LoginError::Credentials).kind, Kind::NotAllowed);
        assert_eq!(Failure::from(LoginError::NoTls).kind, Kind::Unreachable);
    }
}
