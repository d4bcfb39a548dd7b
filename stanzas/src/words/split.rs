//! A line of text into words, quoted as in a shell, and as phones type it.

use crate::refusal::{Reason, Refusal};

/// The longest line taken, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// The most words of a line.
pub const WORDS_MAX: usize = 256;

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordsError {
    /// A quotation mark has no partner.
    #[error("The quotation mark {0} is opened and never closed.")]
    Unclosed(char),
    /// A backslash at the very end escapes nothing.
    #[error("The line ends with a backslash.")]
    TrailingBackslash,
    /// More than [`TEXT_BYTES_MAX`].
    #[error("That is too long: at most {TEXT_BYTES_MAX} bytes can be read.")]
    TooLong,
    /// More than [`WORDS_MAX`].
    #[error("Those are too many words: at most {WORDS_MAX} can be read.")]
    TooMany,
}

impl From<WordsError> for Refusal {
    fn from(error: WordsError) -> Self {
        let refusal = Refusal::new(Reason::BadRequest, error.to_string());
        match error {
            WordsError::Unclosed(quote) => {
                refusal.hint(format!("Close it, or write \\{quote} for the character itself."))
            }
            WordsError::TrailingBackslash => refusal.hint("Write \\\\ for a backslash."),
            WordsError::TooLong | WordsError::TooMany => refusal,
        }
    }
}

/// Splits a line into words. Quoting is the shell's (`'…'`, `"…"`, backslash); “…”, „…“ and ‘…’ are
/// quotation marks too, and a dash — or – in front of a word is `--`: phones type them unasked.
///
/// # Errors
/// A quotation mark or backslash without a partner; over a limit.
pub fn split(text: &str) -> Result<Vec<String>, WordsError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(WordsError::TooLong);
    }
    let words = shlex::split(&straighten(text)?).ok_or(WordsError::TrailingBackslash)?;
    if words.len() > WORDS_MAX {
        return Err(WordsError::TooMany);
    }
    Ok(words)
}

/// The same line with typewriter quotes and dashes, and without the shell's comments: a `#` is a
/// character like any other.
fn straighten(text: &str) -> Result<String, WordsError> {
    let mut straight = String::with_capacity(text.len() + 8);
    // The open quotation mark as it was typed, and the one that closes it.
    let mut open: Option<(char, char)> = None;
    let mut at_word_start = true;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match open {
            None => match c {
                '\\' => {
                    straight.push(c);
                    straight.extend(chars.next());
                }
                '"' | '\'' => {
                    open = Some((c, c));
                    straight.push(c);
                }
                '“' | '”' | '„' => {
                    open = Some((c, '"'));
                    straight.push('"');
                }
                '‘' | '‚' => {
                    open = Some((c, '\''));
                    straight.push('\'');
                }
                // Nobody opens with it: it is the apostrophe of "web's".
                '’' => straight.push('’'),
                '—' | '–' if at_word_start && chars.peek().is_some_and(|next| next.is_alphabetic()) => {
                    straight.push_str("--");
                }
                '#' => straight.push_str("\\#"),
                _ => straight.push(c),
            },
            Some((typed, straight_quote)) if closes(typed, c) => {
                open = None;
                straight.push(straight_quote);
            }
            Some((_, '"')) if c == '\\' => {
                straight.push(c);
                straight.extend(chars.next());
            }
            // Inside quotes of the other shape a straight one would end them too early.
            Some((typed, '"')) if c == '"' && typed != '"' => straight.push_str("\\\""),
            Some((typed, '\'')) if c == '\'' && typed != '\'' => straight.push_str("'\\''"),
            Some(_) => straight.push(c),
        }
        at_word_start = open.is_none() && c.is_whitespace();
    }
    match open {
        Some((typed, _)) => Err(WordsError::Unclosed(typed)),
        None => Ok(straight),
    }
}

/// Whether `c` closes the quotation that `open` began. German closes with “ what English opens with.
fn closes(open: char, c: char) -> bool {
    match open {
        '“' | '”' => matches!(c, '”' | '“' | '"'),
        '„' => matches!(c, '“' | '”' | '"'),
        '‘' | '‚' => matches!(c, '’' | '‘' | '\''),
        straight => c == straight,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[track_caller]
    fn assert_split(text: &str, words: &[&str]) {
        assert_eq!(split(text).unwrap(), words, "{text}");
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_split("", &[]);
        assert_split("  start   web1 \n", &["start", "web1"]);
        assert_split(
            "define note=\"two words\" cmdline='a \"b\"'",
            &["define", "note=two words", "cmdline=a \"b\""],
        );
        assert_split(r#"console "say \"hi\"" a\ b"#, &["console", "say \"hi\"", "a b"]);
        assert_split("define note=\"\"", &["define", "note="]);
    }

    #[test]
    fn a_number_sign_is_no_comment() {
        assert_split("console # ls #2", &["console", "#", "ls", "#2"]);
        assert_split("label '#a' \"#b\"", &["label", "#a", "#b"]);
    }

    #[test]
    fn what_phones_type_is_understood() {
        assert_split("define note=“two words”", &["define", "note=two words"]);
        assert_split("define note=„zwei Worte“", &["define", "note=zwei Worte"]);
        assert_split("define note=‘two words’", &["define", "note=two words"]);
        assert_split("create web1 linux —start", &["create", "web1", "linux", "--start"]);
        assert_split("create web1 linux –memory 1G", &["create", "web1", "linux", "--memory", "1G"]);
        // Mixed pairs: a phone opens curly and a keyboard closes straight.
        assert_split("define note=“two words\"", &["define", "note=two words"]);
    }

    #[test]
    fn apostrophes_and_dashes_inside_words_stay() {
        assert_split("define note=“it’s web's”", &["define", "note=it’s web's"]);
        assert_split("define note=it’s", &["define", "note=it’s"]);
        assert_split("define note=‘say \"hi\"’", &["define", "note=say \"hi\""]);
        assert_split("define note=a—b", &["define", "note=a—b"]);
        assert_split("define note=\"—x\"", &["define", "note=—x"]);
        assert_split("console — –", &["console", "—", "–"]);
    }

    #[test]
    fn what_is_left_open_is_named() {
        assert_eq!(split("define note=\"two"), Err(WordsError::Unclosed('"')));
        assert_eq!(split("define note=it's"), Err(WordsError::Unclosed('\'')));
        assert_eq!(split("define note=“two"), Err(WordsError::Unclosed('“')));
        assert_eq!(split("define note=x\\"), Err(WordsError::TrailingBackslash));
        let refusal = Refusal::from(WordsError::Unclosed('\''));
        assert!(refusal.sentence().contains("never closed") && refusal.sentence().contains("\\'"));
    }

    #[test]
    fn lines_are_bounded() {
        assert_eq!(split(&"a".repeat(TEXT_BYTES_MAX)).unwrap().len(), 1);
        assert_eq!(split(&"a".repeat(TEXT_BYTES_MAX + 1)), Err(WordsError::TooLong));
        assert_eq!(split(&"a ".repeat(WORDS_MAX)).unwrap().len(), WORDS_MAX);
        assert_eq!(split(&"a ".repeat(WORDS_MAX + 1)), Err(WordsError::TooMany));
    }
}
