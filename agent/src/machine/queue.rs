//! What stands in front of a machine: pure policy, no clock, no I/O.

use hypervisor_core::lifecycle::{Admission, Obstacle, Request, State, admit};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It begins now.
    Begin,
    /// The same is under way: wait for its end together.
    Join,
    /// What is under way is given up for it.
    Interrupt,
    /// It is so.
    AlreadySo,
    /// The obstacle.
    Refused(Obstacle),
}

/// What becomes of a request in `state` while `doing` is under way.
pub(crate) fn verdict(state: &State, doing: Option<Request>, request: Request) -> Verdict {
    if doing == Some(request) {
        return Verdict::Join;
    }
    match (admit(state, &request), doing) {
        (Admission::Accepted, None) => Verdict::Begin,
        (Admission::Accepted, Some(_)) => Verdict::Interrupt,
        (Admission::AlreadySo, _) => Verdict::AlreadySo,
        (Admission::Refused(obstacle), _) => Verdict::Refused(obstacle),
    }
}

/// Whether other orders wait until this is done: it is short, and what it leads to is not yet known.
pub(crate) fn is_exclusive(request: Request) -> bool {
    match request {
        Request::Kill | Request::Reset | Request::Pause | Request::Resume | Request::Delete => true,
        Request::Start | Request::Shutdown | Request::Reboot => false,
    }
}

/// Whether what the guest tells waits until this is done: the driver's answer says how it ended.
pub(crate) fn is_deaf(request: Request) -> bool {
    matches!(request, Request::Start | Request::Kill)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use hypervisor_core::lifecycle::Exit;

    use super::*;

    #[test]
    fn the_same_again_joins_and_a_kill_interrupts() {
        assert_eq!(verdict(&State::Stopped(Exit::Never), None, Request::Start), Verdict::Begin);
        assert_eq!(verdict(&State::Starting, Some(Request::Start), Request::Start), Verdict::Join);
        assert_eq!(verdict(&State::Starting, Some(Request::Start), Request::Kill), Verdict::Interrupt);
        assert_eq!(verdict(&State::Stopping, Some(Request::Shutdown), Request::Shutdown), Verdict::Join);
        assert_eq!(verdict(&State::Stopping, Some(Request::Shutdown), Request::Kill), Verdict::Interrupt);
        assert_eq!(verdict(&State::Running, Some(Request::Reboot), Request::Shutdown), Verdict::Interrupt);
        assert_eq!(verdict(&State::Running, None, Request::Start), Verdict::AlreadySo);
        assert!(matches!(verdict(&State::Running, None, Request::Delete), Verdict::Refused(_)));
    }
}
