//! Machines with one thing wrong each: all of them are found out.

use super::{
    super::{Deed, Effect, Input, Message, Pass, Standing, Step, Word, recover, step},
    REAL, Rules, graph,
    world::{ANY, World},
};

/// What is found of a machine.
fn found(rules: Rules) -> &'static str {
    found_from(rules, World::first(1, ANY))
}

fn found_from(rules: Rules, start: World) -> &'static str {
    let graph = match graph::explore(rules, start) {
        Ok(graph) => graph,
        Err(found) => return found.what,
    };
    match graph.ends_with_one_owner_that_runs().and_then(|()| graph.ends_without_a_link()) {
        Ok(()) => "nothing",
        Err(found) => found.what,
    }
}

fn heard(input: Input, word: Word) -> Option<Pass> {
    match input {
        Input::Heard(message) if message.word == word => Some(message.pass),
        _ => None,
    }
}

fn say(word: Word, pass: Pass) -> Effect {
    Effect::Say(Message { word, pass })
}

#[test]
fn a_source_that_says_it_before_it_is_written() {
    fn broken(standing: Standing, input: Input) -> Step {
        let mut step = step(standing, input);
        if matches!(step.next, Standing::HandedOver { .. }) {
            step.effects.reverse();
        }
        step
    }
    assert_eq!(found(Rules { step: broken, ..REAL }), "both take it for their own");
}

#[test]
fn a_source_that_hands_over_without_looking_whether_the_guest_stands_still() {
    fn broken(standing: Standing, input: Input) -> Step {
        match (standing, heard(input, Word::Ready)) {
            (Standing::Sending { pass }, Some(ready)) if pass == ready => {
                step(Standing::Holding { pass }, Input::Held)
            }
            _ => step(standing, input),
        }
    }
    assert_eq!(found(Rules { step: broken, ..REAL }), "a host runs what its journal does not call its own");
}

#[test]
fn a_source_that_takes_it_back_when_it_hears_nothing() {
    fn broken(standing: Standing, input: Input) -> Step {
        match (standing, input) {
            (Standing::HandedOver { pass }, Input::GiveUp) => step(Standing::Holding { pass }, Input::GiveUp),
            _ => step(standing, input),
        }
    }
    assert_eq!(found(Rules { step: broken, ..REAL }), "a host runs what its journal does not call its own");
}

#[test]
fn a_source_that_comes_back_and_runs_what_it_handed_over() {
    fn broken(written: Standing) -> Step {
        match written {
            Standing::HandedOver { pass } => {
                let call_off = Effect::Do(Deed::CallOff(pass));
                Step { next: written, effects: vec![call_off, say(Word::Commit, pass)] }
            }
            _ => recover(written),
        }
    }
    assert_eq!(
        found(Rules { recover: broken, ..REAL }),
        "a host runs what its journal does not call its own"
    );
}

#[test]
fn a_source_that_comes_back_and_forgets_to_let_the_guest_run_on() {
    fn broken(written: Standing) -> Step {
        let mut step = recover(written);
        step.effects.retain(|effect| !matches!(effect, Effect::Do(Deed::CallOff(_))));
        step
    }
    assert_eq!(found(Rules { recover: broken, ..REAL }), "it does not end with one owner that runs");
}

#[test]
fn a_source_that_clears_away_before_it_is_taken() {
    fn broken(standing: Standing, input: Input) -> Step {
        let mut step = step(standing, input);
        if let Standing::HandedOver { pass } = step.next {
            step.effects.push(Effect::Do(Deed::Clear(pass)));
            step.next = Standing::Away { epoch: pass.epoch };
            step.effects.push(Effect::Write(step.next));
        }
        step
    }
    assert_eq!(found(Rules { step: broken, ..REAL }), "nobody has it");
}

#[test]
fn a_source_that_answers_for_what_it_knows_nothing_of() {
    fn broken(written: Standing) -> Step {
        match written {
            // Its journal is not what it was: a disk put back, say.
            Standing::HandedOver { pass } => recover(Standing::Offered { pass }),
            _ => recover(written),
        }
    }
    assert_eq!(
        found(Rules { recover: broken, ..REAL }),
        "a host runs what its journal does not call its own"
    );
}

#[test]
fn a_destination_that_does_not_wait_for_the_source() {
    fn broken(standing: Standing, input: Input) -> Step {
        match (standing, input) {
            (Standing::Prepared { pass, known }, Input::Received) => {
                let commit = Input::Heard(Message { word: Word::Commit, pass });
                step(Standing::Received { pass, known }, commit)
            }
            _ => step(standing, input),
        }
    }
    assert_eq!(found(Rules { step: broken, ..REAL }), "both take it for their own");
}

#[test]
fn a_destination_in_doubt_that_loses_patience_and_throws_it_away() {
    fn broken(standing: Standing, input: Input) -> Step {
        match (standing, input) {
            (Standing::Received { pass, known }, Input::GiveUp) => {
                step(Standing::Prepared { pass, known }, Input::GiveUp)
            }
            _ => step(standing, input),
        }
    }
    assert_eq!(found(Rules { step: broken, ..REAL }), "nobody has it");
}

#[test]
fn a_destination_in_doubt_that_loses_patience_and_runs_it() {
    fn broken(standing: Standing, input: Input) -> Step {
        match (standing, input) {
            (Standing::Received { pass, .. }, Input::GiveUp) => {
                step(standing, Input::Heard(Message { word: Word::Commit, pass }))
            }
            _ => step(standing, input),
        }
    }
    assert_eq!(found(Rules { step: broken, ..REAL }), "both take it for their own");
}

#[test]
fn a_destination_that_says_it_has_all_before_that_is_written() {
    fn broken(standing: Standing, input: Input) -> Step {
        let mut step = step(standing, input);
        if matches!(step.next, Standing::Received { .. }) {
            step.effects.retain(|effect| !matches!(effect, Effect::Write(_)));
        }
        step
    }
    assert_eq!(found(Rules { step: broken, ..REAL }), "nobody has it");
}

#[test]
fn a_destination_that_runs_it_before_that_is_written() {
    fn broken(standing: Standing, input: Input) -> Step {
        let mut step = step(standing, input);
        if matches!(step.effects.first(), Some(Effect::Write(Standing::Taking { .. }))) {
            step.effects.swap(0, 1);
        }
        step
    }
    assert_eq!(found(Rules { step: broken, ..REAL }), "a host runs what its journal does not call its own");
}

#[test]
fn a_destination_that_never_asks() {
    fn broken(standing: Standing, input: Input) -> Step {
        match (standing, input) {
            (Standing::Received { .. }, Input::Tick) => Step { next: standing, effects: vec![] },
            _ => step(standing, input),
        }
    }
    fn silent(written: Standing) -> Step {
        match written {
            Standing::Received { .. } => Step { next: written, effects: vec![] },
            _ => recover(written),
        }
    }
    let rules = Rules { step: broken, recover: silent };
    assert_eq!(found(rules), "it does not end with one owner that runs");
}

#[test]
fn hosts_that_do_not_look_which_attempt_is_meant() {
    fn broken(standing: Standing, input: Input) -> Step {
        match (standing.pass(), input) {
            (Some(pass), Input::Heard(Message { word, .. })) => {
                step(standing, Input::Heard(Message { word, pass }))
            }
            _ => step(standing, input),
        }
    }
    let found = found_from(Rules { step: broken, ..REAL }, World::first(2, 0));
    assert_ne!(found, "nothing");
}
