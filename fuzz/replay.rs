//! A fuzz target's body over its corpus, as a plain test: each input as it is, and many made of them.
//!
//! Every crate with targets takes this file in for its tests. What is made up here follows from the corpus
//! alone: a test that failed once fails again.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, path::Path};

/// The longest input that is made up, in bytes.
const BYTES_MAX: usize = 16 << 10;

/// Says what was fed when the body panicked.
struct Fed<'a>(&'a str, &'a [u8]);

impl Drop for Fed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: fed with b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

/// Feeds `body` with the corpus of `name`, and with `made_up` inputs that are made of it.
pub(crate) fn replay(name: &str, body: fn(&[u8]), made_up: usize) {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder =
        above.find_map(|top| Some(top.join("fuzz/corpus")).filter(|all| all.is_dir())).unwrap().join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    let feed = |input: &[u8]| {
        let _fed = Fed(name, input);
        body(input);
    };
    corpus.iter().for_each(|input| feed(input));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..made_up {
        let mut input = dice.pick(&corpus).clone();
        for _ in 0..=dice.below(4) {
            dice.change(&mut input, &corpus);
        }
        input.truncate(BYTES_MAX);
        feed(&input);
    }
}

/// Numbers that only look random (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A piece of `of`, of at most 64 bytes.
    fn piece<'a>(&mut self, of: &'a [u8]) -> &'a [u8] {
        let from = self.below(of.len() + 1);
        &of[from..from + self.below((of.len() - from).min(64) + 1)]
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.below(5) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = *self.pick(b"\0\xff\x7f\x80<>&\"'{}[]=,.:-09aA \n"),
            2 => drop(input.drain(at..at + self.below((input.len() - at).min(64) + 1))),
            3 => {
                let own = input.clone();
                input.splice(at..at, self.piece(&own).iter().copied());
            }
            _ => {
                let other = self.pick(corpus);
                input.splice(at..at, self.piece(other).iter().copied());
            }
        }
    }
}
