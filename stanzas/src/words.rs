//! The one grammar of the chat, of the shell of `skerry`, and of completion.
//!
//! ```text
//! text ── split ──▸ words ── find_verb ──▸ declaration ── arguments ──▸ --name=value … ── parse ──▸ C
//! ```
//! Forms join at the third step ([`crate::form::argv()`]). Pure: no clock, no state.

mod arguments;
mod parse;
mod split;
mod verb;

pub use arguments::arguments;
pub(crate) use arguments::canonical;
pub use parse::parse;
pub use split::{TEXT_BYTES_MAX, WORDS_MAX, WordsError, split};
pub use verb::{Verb, find_verb, joined, unknown_verb};

/// Of `candidates`, the one most likely meant by `word`: at most two slips of the keyboard away, one
/// for words of up to four letters: two of four are another word (`what` is no slip for `halt`).
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let slips_max = if word.chars().count() <= 4 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(slips, candidate)| *slips <= slips_max && *slips < candidate.chars().count())
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}
