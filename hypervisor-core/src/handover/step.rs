//! What each input makes of a standing.

use super::{Deed, Effect, Input, Message, Pass, Standing, Step, Word, say};
use Effect::{Do, Write};

/// What an input makes of a standing, and what is to be done for it.
pub fn step(standing: Standing, input: Input) -> Step {
    match input {
        Input::Move(attempt) => match standing {
            Standing::Owner { epoch } => {
                let pass = Pass { attempt, epoch: epoch + 1 };
                let next = Standing::Offered { pass };
                Step::to(next, [Write(next), say(Word::Offer, pass)])
            }
            _ => Step::none(standing),
        },
        Input::Heard(Message { word, pass }) => match word {
            Word::Offer | Word::Commit | Word::Abort => as_destination(standing, word, pass),
            Word::Accept | Word::Refuse | Word::Failed | Word::Ask | Word::Ready | Word::Taken => {
                as_source(standing, word, pass)
            }
        },
        Input::Prepared => match standing {
            Standing::Preparing { pass, known } => {
                Step::to(Standing::Prepared { pass, known }, [say(Word::Accept, pass)])
            }
            _ => Step::none(standing),
        },
        Input::Received => match standing {
            Standing::Prepared { pass, known } => {
                let next = Standing::Received { pass, known };
                Step::to(next, [Write(next), say(Word::Ready, pass)])
            }
            _ => Step::none(standing),
        },
        Input::Held => match standing {
            // The point of no return.
            Standing::Holding { pass } => {
                let next = Standing::HandedOver { pass };
                Step::to(next, [Write(next), say(Word::Commit, pass)])
            }
            _ => Step::none(standing),
        },
        Input::Failed => failed(standing),
        Input::GiveUp => given_up(standing),
        Input::Kept => match standing {
            // Of a new epoch: what the other host may still hear of this one is outdated.
            Standing::HandedOver { pass } => {
                let next = Standing::Owner { epoch: pass.epoch + 1 };
                Step::to(next, [Write(next), Do(Deed::CallOff(pass)), say(Word::Abort, pass)])
            }
            _ => Step::none(standing),
        },
        Input::Tick => ticked(standing),
    }
}

/// What the destination says.
fn as_source(standing: Standing, word: Word, pass: Pass) -> Step {
    match standing {
        Standing::Offered { pass: own }
        | Standing::Sending { pass: own }
        | Standing::Holding { pass: own }
            if own == pass =>
        {
            leaving(standing, word, pass)
        }
        Standing::HandedOver { pass: own } if own == pass => match word {
            Word::Ready | Word::Failed | Word::Ask => Step::to(standing, [say(Word::Commit, pass)]),
            Word::Taken => {
                let next = Standing::Away { epoch: pass.epoch };
                Step::to(next, [Do(Deed::Clear(pass)), Write(next)])
            }
            _ => Step::none(standing),
        },
        // Another attempt than the present one: it came to nothing, or its end is known to both. A host that
        // knows less than who asks says nothing: it may have forgotten that it handed the machine over.
        _ => match word {
            Word::Accept | Word::Ask | Word::Ready if knows(standing, pass) => {
                Step::to(standing, [say(Word::Abort, pass)])
            }
            _ => Step::none(standing),
        },
    }
}

/// Whether this host knows enough to say that an attempt which is not its present one came to nothing.
fn knows(standing: Standing, pass: Pass) -> bool {
    if standing.owns() { standing.epoch() + 1 >= pass.epoch } else { standing.epoch() >= pass.epoch }
}

fn leaving(standing: Standing, word: Word, pass: Pass) -> Step {
    match (standing, word) {
        (Standing::Offered { .. }, Word::Accept) => {
            Step::to(Standing::Sending { pass }, [Do(Deed::Send(pass))])
        }
        (Standing::Sending { .. }, Word::Ready) => {
            Step::to(Standing::Holding { pass }, [Do(Deed::Hold(pass))])
        }
        (_, Word::Refuse | Word::Failed) => called_off(pass),
        // Once more, or too late.
        _ => Step::none(standing),
    }
}

/// The guest is let go on first: from here on this host says nothing but that it keeps the machine. The
/// journal still has the attempt then, so that a crash in between ends in the same.
fn called_off(pass: Pass) -> Step {
    let next = Standing::Owner { epoch: pass.epoch - 1 };
    Step::to(next, [Do(Deed::CallOff(pass)), Write(next), say(Word::Abort, pass)])
}

/// What the source says.
fn as_destination(standing: Standing, word: Word, pass: Pass) -> Step {
    match word {
        Word::Offer => offered(standing, pass),
        Word::Commit => match standing {
            Standing::Received { pass: own, .. } if own == pass => {
                let next = Standing::Taking { pass };
                let owner = Standing::Owner { epoch: pass.epoch };
                let taken = say(Word::Taken, pass);
                Step::to(owner, [Write(next), Do(Deed::Continue(pass)), Write(owner), taken])
            }
            _ if standing.epoch() >= pass.epoch => Step::to(standing, [say(Word::Taken, pass)]),
            _ => Step::none(standing),
        },
        Word::Abort => match standing {
            Standing::Preparing { pass: own, known } | Standing::Prepared { pass: own, known }
                if own == pass =>
            {
                Step::to(Standing::Away { epoch: known }, discarded(pass, known))
            }
            // After a crash it must not seem as if it were all there still.
            Standing::Received { pass: own, known } if own == pass => {
                let [discard, write] = discarded(pass, known);
                let dropping = Write(Standing::Dropping { pass, known });
                Step::to(Standing::Away { epoch: known }, [dropping, discard, write])
            }
            _ => Step::none(standing),
        },
        _ => Step::none(standing),
    }
}

fn offered(standing: Standing, pass: Pass) -> Step {
    match standing {
        Standing::Away { epoch } if pass.epoch > epoch => {
            let next = Standing::Preparing { pass, known: epoch };
            Step::to(next, [Write(next), Do(Deed::Prepare(pass))])
        }
        Standing::Prepared { pass: own, .. } if own == pass => Step::to(standing, [say(Word::Accept, pass)]),
        Standing::Preparing { pass: own, .. } | Standing::Received { pass: own, .. } if own == pass => {
            Step::none(standing)
        }
        // It is here, or on its way from here, or known to be further.
        _ => Step::to(standing, [say(Word::Refuse, pass)]),
    }
}

fn discarded(pass: Pass, known: u64) -> [Effect; 2] {
    [Do(Deed::Discard(pass)), Write(Standing::Away { epoch: known })]
}

fn failed(standing: Standing) -> Step {
    match standing {
        Standing::Offered { pass } | Standing::Sending { pass } | Standing::Holding { pass } => {
            called_off(pass)
        }
        Standing::Preparing { pass, known } | Standing::Prepared { pass, known } => let_go(pass, known),
        // Its guest is lost here. If the source still has it, it keeps it; else it is ours, to start anew.
        Standing::Received { pass, .. } => Step::to(standing, [say(Word::Failed, pass)]),
        Standing::Away { .. }
        | Standing::Owner { .. }
        | Standing::HandedOver { .. }
        | Standing::Dropping { .. }
        | Standing::Taking { .. } => Step::none(standing),
    }
}

/// Before it has all of it, the destination may let go by itself.
fn let_go(pass: Pass, known: u64) -> Step {
    let [discard, write] = discarded(pass, known);
    Step::to(Standing::Away { epoch: known }, [discard, write, say(Word::Failed, pass)])
}

fn given_up(standing: Standing) -> Step {
    match standing {
        Standing::Offered { pass } | Standing::Sending { pass } | Standing::Holding { pass } => {
            called_off(pass)
        }
        Standing::Preparing { pass, known } | Standing::Prepared { pass, known } => let_go(pass, known),
        // Past the point of no return, or not ours to decide.
        Standing::HandedOver { .. } | Standing::Received { .. } | Standing::Taking { .. } => {
            Step::none(standing)
        }
        Standing::Away { .. } | Standing::Owner { .. } | Standing::Dropping { .. } => Step::none(standing),
    }
}

fn ticked(standing: Standing) -> Step {
    match standing {
        Standing::Offered { pass } => Step::to(standing, [say(Word::Offer, pass)]),
        Standing::HandedOver { pass } => Step::to(standing, [say(Word::Commit, pass)]),
        Standing::Prepared { pass, .. } => Step::to(standing, [say(Word::Ask, pass)]),
        Standing::Received { pass, .. } => Step::to(standing, [say(Word::Ready, pass)]),
        Standing::Away { .. }
        | Standing::Owner { .. }
        | Standing::Sending { .. }
        | Standing::Holding { .. }
        | Standing::Preparing { .. }
        | Standing::Dropping { .. }
        | Standing::Taking { .. } => Step::none(standing),
    }
}
