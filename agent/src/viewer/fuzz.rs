//! What a fuzzer says in the place of a viewer of a screen.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::filter::{Filter, Odd};

/// All that goes on to the screen of what is said in pieces of one size, until it cannot be read.
fn passed(said: &[u8], pieces: usize, may_type: bool) -> (Vec<u8>, Option<Odd>) {
    let mut filter = Filter::new();
    let mut out = Vec::new();
    for piece in said.chunks(pieces.max(1)) {
        match filter.pass(piece, may_type) {
            Ok(bytes) => out.extend(bytes),
            Err(odd) => return (out, Some(odd)),
        }
    }
    (out, None)
}

/// A viewer (RFC 6143): who may only look says nothing else to the screen, however it is cut; and what goes
/// on is what a viewer that only looks would say.
pub fn viewer(data: &[u8]) {
    let [pieces, said @ ..] = data else { return };
    let pieces = usize::from(*pieces) + 1;
    for may_type in [true, false] {
        let (out, odd) = passed(said, pieces, may_type);
        let (by_one, odd_by_one) = passed(said, 1, may_type);
        // What was said in one piece with what cannot be read is lost with it.
        assert!(by_one.starts_with(&out) && odd == odd_by_one, "in pieces of {pieces}");
        assert!(out.len() <= said.len());
        let (again, odd) = passed(&by_one, pieces, may_type);
        assert!(odd.is_none() && again == by_one, "what went on says something else: {by_one:?}");
        let (looking, odd) = passed(&by_one, 1, false);
        assert!(odd.is_none() && (may_type || looking == by_one), "who may only look did more");
    }
}
