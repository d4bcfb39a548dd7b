//! How a host goes on from what its journal holds.

use super::{Deed, Effect, Standing, Step, Word, say};
use Effect::{Do, Write};

/// What a host does when it comes back, from what it wrote last. What it had not written did not happen:
/// nothing was said of it.
pub fn recover(written: Standing) -> Step {
    match written {
        Standing::Away { .. } | Standing::Owner { .. } => Step::none(written),
        // Nobody was told that it is theirs: it stays here. Whether it had all been sent does not matter.
        Standing::Offered { pass } | Standing::Sending { pass } | Standing::Holding { pass } => {
            let next = Standing::Owner { epoch: pass.epoch - 1 };
            Step::to(next, [Do(Deed::CallOff(pass)), Write(next), say(Word::Abort, pass)])
        }
        Standing::HandedOver { pass } => Step::to(written, [say(Word::Commit, pass)]),
        // It was never said that all of it is here: what there is of it may be anything.
        Standing::Preparing { pass, known } | Standing::Prepared { pass, known } => {
            let next = Standing::Away { epoch: known };
            Step::to(next, [Do(Deed::Discard(pass)), Write(next), say(Word::Failed, pass)])
        }
        Standing::Received { pass, .. } => Step::to(written, [say(Word::Ready, pass)]),
        Standing::Dropping { pass, known } => {
            let next = Standing::Away { epoch: known };
            Step::to(next, [Do(Deed::Discard(pass)), Write(next)])
        }
        Standing::Taking { pass } => {
            let next = Standing::Owner { epoch: pass.epoch };
            Step::to(next, [Do(Deed::Continue(pass)), Write(next), say(Word::Taken, pass)])
        }
    }
}
