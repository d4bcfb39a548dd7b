//! Random lives, against a model that knows less, and so can be believed.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::{prelude::*, sample::select};

use super::*;

/// Each state once, with each exit and side.
fn states() -> Vec<State> {
    let exits = [Exit::Never, Exit::Asked, Exit::ByGuest, Exit::Killed, Exit::Found];
    let mut states: Vec<State> = exits.into_iter().map(State::Stopped).collect();
    states.extend([
        State::Starting,
        State::Running,
        State::Paused,
        State::Saved,
        State::Stopping,
        State::Migrating(Side::Source),
        State::Migrating(Side::Destination),
        State::Failed(cause()),
    ]);
    states
}

fn cause() -> Cause {
    Cause("a cable was pulled".into())
}

/// Everything that can happen, but for being looked at.
fn happenings() -> Vec<Event> {
    vec![
        Event::StartAccepted,
        Event::Started,
        Event::StartFailed(cause()),
        Event::ShutdownAccepted,
        Event::ShutdownTimedOut,
        Event::PausedNow,
        Event::ResumedNow,
        Event::GuestHalted,
        Event::GuestRebooted,
        Event::KilledNow,
        Event::Crashed(cause()),
    ]
}

fn observations() -> impl Iterator<Item = Event> {
    states().into_iter().map(|state| Event::Observed(Box::new(state)))
}

/// What somebody, or the machine, does next.
#[derive(Clone, Debug)]
enum Deed {
    Asked(Request),
    Happened(Event),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let happened: Vec<Event> = happenings().into_iter().chain(observations()).collect();
    let deed = prop_oneof![
        3 => select(Request::ALL.to_vec()).prop_map(Deed::Asked),
        2 => select(happened).prop_map(Deed::Happened),
    ];
    prop::collection::vec(deed, 1..60)
}

/// The event by which an accepted request begins, if it does by one.
fn beginning(request: Request) -> Option<Event> {
    match request {
        Request::Start => Some(Event::StartAccepted),
        Request::Shutdown => Some(Event::ShutdownAccepted),
        Request::Kill => Some(Event::KilledNow),
        Request::Pause => Some(Event::PausedNow),
        Request::Resume => Some(Event::ResumedNow),
        Request::Reboot | Request::Reset | Request::Delete => None,
    }
}

/// What the model knows of a machine: whether a start is under way, whether a guest was asked to stop.
#[derive(Debug, Default)]
struct Model {
    start_under_way: bool,
    stop_asked: bool,
}

impl Model {
    fn after(&mut self, event: &Event) {
        match event {
            Event::StartAccepted => {
                assert!(!self.start_under_way, "two starts at once");
                self.start_under_way = true;
            }
            Event::ShutdownAccepted => self.stop_asked = true,
            Event::GuestRebooted | Event::ResumedNow => {}
            Event::Started => self.start_under_way = false,
            Event::StartFailed(_)
            | Event::ShutdownTimedOut
            | Event::PausedNow
            | Event::GuestHalted
            | Event::KilledNow
            | Event::Crashed(_) => *self = Self::default(),
            Event::Observed(seen) => {
                self.start_under_way = **seen == State::Starting;
                self.stop_asked = **seen == State::Stopping;
            }
        }
    }
}

proptest! {
    #[test]
    fn no_two_starts_at_once_and_no_stop_is_lost(deeds in deeds()) {
        let mut state = State::Stopped(Exit::Never);
        let mut model = Model::default();
        for deed in deeds {
            let event = match deed {
                Deed::Asked(request) => match admit(&state, &request) {
                    Admission::Accepted => match beginning(request) {
                        Some(event) => event,
                        None => continue,
                    },
                    Admission::AlreadySo | Admission::Refused(_) => continue,
                },
                // Only the queue accepts; a guest does not.
                Deed::Happened(Event::StartAccepted | Event::ShutdownAccepted) => continue,
                Deed::Happened(event) => event,
            };
            let Ok(after) = next(&state, &event) else {
                let ours = Event::StartAccepted == event || Event::ShutdownAccepted == event;
                let always = matches!(event, Event::KilledNow | Event::Observed(_));
                prop_assert!(!ours && !always, "{:?} is unexpected in {:?}", event, state);
                continue;
            };
            model.after(&event);
            prop_assert_eq!(after == State::Starting, model.start_under_way, "{:?} {:?}", state, event);
            prop_assert_eq!(after == State::Stopping, model.stop_asked, "{:?} {:?}", state, event);
            if event == Event::KilledNow {
                prop_assert!(matches!(after, State::Stopped(_) | State::Saved), "killed, and {after:?}");
            }
            state = after;
        }
    }

    #[test]
    fn a_cause_never_breaks_the_line(cause in any::<String>()) {
        let sentence = State::Failed(Cause(cause)).sentence();
        prop_assert!(!sentence.chars().any(char::is_control));
        prop_assert!(sentence.chars().count() <= 170);
    }
}

#[test]
fn an_accepted_kill_ends_stopped_or_failed_whatever_crosses_it() {
    for state in states() {
        if admit(&state, &Request::Kill) != Admission::Accepted {
            continue;
        }
        for crossing in happenings() {
            // An event that cannot be leaves the state as it was.
            let crossed = next(&state, &crossing).unwrap_or(state.clone());
            let killed = next(&crossed, &Event::KilledNow).unwrap();
            assert!(
                matches!(killed, State::Stopped(_) | State::Failed(_)),
                "{state:?} {crossing:?} {killed:?}"
            );
            let late = next(&killed, &crossing);
            let accepted_anew = crossing == Event::StartAccepted;
            if let Ok(late) = late {
                let down = matches!(late, State::Stopped(_) | State::Failed(_));
                assert!(down || accepted_anew, "{killed:?} {crossing:?} {late:?}");
            }
        }
    }
}

#[test]
fn what_is_accepted_can_begin() {
    for state in states() {
        for request in Request::ALL {
            if let (Admission::Accepted, Some(event)) = (admit(&state, &request), beginning(request)) {
                assert!(next(&state, &event).is_ok(), "{request:?} is accepted in {state:?}");
            }
        }
    }
}

#[test]
fn being_looked_at_is_always_legal() {
    for state in states() {
        for seen in states() {
            let after = next(&state, &Event::Observed(Box::new(seen.clone()))).unwrap();
            let knows_better = matches!(state, State::Stopped(_) | State::Saved | State::Failed(_));
            let expected = if seen == State::Stopped(Exit::Found) && knows_better { &state } else { &seen };
            assert_eq!(&after, expected);
        }
    }
}

#[test]
fn the_words_of_a_contact_list() {
    assert_eq!(State::Running.sentence(), "Running");
    assert_eq!(State::Stopped(Exit::Asked).sentence(), "Off");
    assert_eq!(State::Failed(Cause("no\nroom".into())).sentence(), "Failed: no room");
    let words: std::collections::BTreeSet<_> = states().iter().map(State::word).collect();
    assert_eq!(words.len(), 8);
    for state in states() {
        assert!(!state.sentence().ends_with('.'), "{state:?}");
    }
}
