//! Pages of docs/ that are written by tests: compared as a rule, written anew when told to.

use std::{env, fs, path::Path};

use anyhow::{Context, bail};

/// Set to anything, the pages are written anew instead of compared.
pub const BLESS: &str = "SKERRY_BLESS";

/// Holds a page of the repository (`docs/lifecycle.md`) to what it should be.
///
/// # Errors
/// When it differs: where first, and how to write it anew.
pub fn golden(page: &str, expected: &str) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    if env::var_os(BLESS).is_some() {
        return fs::write(&path, expected).with_context(|| format!("writing {page}"));
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found == expected {
        return Ok(());
    }
    let (line, is, should_be) = first_difference(&found, expected);
    bail!(
        "{page} is not what the code says. It differs first in line {line}:\n\
         \x20 it is      {is:?}\n\
         \x20 should be  {should_be:?}\n\
         If the code is right, write it anew and look at the difference:\n\
         \x20 {BLESS}=1 cargo nextest run -p skerry-tests --test reference && git diff docs/"
    )
}

/// The first line, counted from one, in which two texts differ, and both of it; a text that is over
/// has empty lines.
fn first_difference<'a>(one: &'a str, other: &'a str) -> (usize, &'a str, &'a str) {
    let (mut ones, mut others) = (one.split('\n'), other.split('\n'));
    let mut line = 0;
    loop {
        line += 1;
        match (ones.next(), others.next()) {
            (Some(one), Some(other)) if one == other => {}
            (one, other) => return (line, one.unwrap_or_default(), other.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), (2, "b", "c"));
        assert_eq!(first_difference("a", "a\nb"), (2, "", "b"));
        assert_eq!(first_difference("", "a"), (1, "", "a"));
    }

    #[test]
    fn a_page_that_differs_says_how_to_mend_it() {
        if env::var_os(BLESS).is_none() {
            let error = golden("docs/no-such-page.md", "# Something\n").unwrap_err().to_string();
            assert!(error.contains("docs/no-such-page.md") && error.contains("SKERRY_BLESS=1"), "{error}");
        }
    }
}
