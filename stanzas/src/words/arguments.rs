//! The words after a verb, as `--name=value` words of the one grammar.

use super::{WORDS_MAX, WordsError, nearest};
use crate::{
    command::{
        COMMANDS, Declaration,
        argument::{Argument, Takes},
    },
    refusal::{Reason, Refusal},
    safe::safe_line,
};

/// The longest value of an argument, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 4096;
/// The longest value of one that takes several lines, in bytes.
const LINES_BYTES_MAX: usize = 64 * 1024;

/// Reads the words after a verb: bare ones in the order of [`Declaration::positional`], `key=value`,
/// `--key value`, `--key=value`, switches (`--start`, `start=yes`), many-valued arguments given
/// again and again, words of [`Declaration::spoken_arguments`] (`to otto until friday`), and the reason
/// (`because the disk is full`), which is all that follows. After `--` every word is bare. The result is
/// safe for clap: values that begin with dashes stay values.
///
/// # Errors
/// What cannot be read, naming the argument and the nearest one there is.
pub fn arguments(declaration: &Declaration, words: &[String]) -> Result<Vec<String>, Refusal> {
    let known = declaration.arguments();
    let mut reader = Reader { declaration, known, bare: 0, out: Vec::new() };
    if words.len() > WORDS_MAX {
        return Err(WordsError::TooMany.into());
    }
    let mut left = words;
    while let [word, rest @ ..] = left {
        if word == "--" {
            reader.all_bare(rest)?;
            break;
        }
        if reader.begins_rest(word) {
            reader.all_bare(left)?;
            break;
        }
        left = rest;
        if let Some((argument, value)) = reader.begins_spoken(word, rest) {
            left = &rest[value.len()..];
            reader.say(argument, value)?;
            continue;
        }
        if reader.begins_sentence(word) {
            let more = reader.until_spoken(rest, false);
            left = &rest[more.len()..];
            reader.take_bare(&[std::slice::from_ref(word), more].concat().join(" "))?;
            continue;
        }
        match word.strip_prefix("--") {
            Some(option) => {
                if reader.option(option, rest.first())? {
                    left = &rest[1..];
                }
            }
            None => reader.word(word)?,
        }
    }
    Ok(reader.out)
}

struct Reader<'a> {
    declaration: &'a Declaration,
    known: &'a [Argument],
    /// How many bare words were taken.
    bare: usize,
    out: Vec<String>,
}

impl<'a> Reader<'a> {
    fn find(&self, key: &str) -> Option<&'a Argument> {
        self.declaration.all_arguments().find(|argument| argument.name.eq_ignore_ascii_case(key))
    }

    /// Whether a word says that a reason follows, of a command that takes one as everything does.
    fn is_because(&self, word: &str) -> bool {
        self.declaration.because().is_some_and(|because| because.name.eq_ignore_ascii_case(word))
    }

    /// Whether from this word on all is one text, as with `send uname -a`.
    fn begins_rest(&self, word: &str) -> bool {
        if !self.declaration.rest || self.bare + 1 != self.declaration.positional.len() {
            return false;
        }
        match key_value(word) {
            // A slip in an option must not be typed into somebody's console: `word` refuses it.
            Some((key, _)) => self.find(key).is_none() && self.nearest(key).is_none(),
            None => !word.starts_with('-') || word == "-",
        }
    }

    /// The argument this word introduces, and the words that are its value: up to an option, or to the next
    /// such word; the last of them is a text, in which such words are words (`because he is on call`).
    fn begins_spoken<'b>(&self, word: &str, rest: &'b [String]) -> Option<(&'a Argument, &'b [String])> {
        if self.is_because(word) {
            return Some((self.declaration.because()?, self.until_spoken(rest, true)));
        }
        let spoken = self.declaration.spoken_arguments;
        let is = |word: &str, name: &str| name.eq_ignore_ascii_case(word);
        let name = *spoken.iter().find(|name| is(word, name))?;
        let argument = self.find(name)?;
        if argument.takes == Takes::Switch {
            return Some((argument, &rest[..0]));
        }
        let text = spoken.last() == Some(&name) && self.declaration.because().is_none();
        Some((argument, self.until_spoken(rest, text)))
    }

    /// The words up to an option, and unless it is a text up to a word that introduces an argument.
    fn until_spoken<'b>(&self, words: &'b [String], text: bool) -> &'b [String] {
        let introduces = |word: &String| {
            let mut spoken = self.declaration.spoken_arguments.iter();
            self.is_because(word) || spoken.any(|name| name.eq_ignore_ascii_case(word))
        };
        let ends = |word: &String| {
            (!text && introduces(word))
                || word.starts_with("--")
                || key_value(word).is_some_and(|(key, _)| self.find(key).is_some())
        };
        let end = words.iter().position(ends);
        &words[..end.unwrap_or(words.len())]
    }

    /// Whether from this word on all is one value, as in `grant power, snapshot to otto on web1`: where
    /// several arguments are said as words, and one stands before them.
    fn begins_sentence(&self, word: &str) -> bool {
        let Declaration { spoken_arguments, positional, .. } = self.declaration;
        spoken_arguments.len() > 1
            && self.bare + 1 == positional.len()
            && !word.starts_with('-')
            && key_value(word).is_none()
    }

    fn say(&mut self, argument: &Argument, value: &[String]) -> Result<(), Refusal> {
        if argument.takes == Takes::Switch {
            return self.give(argument, "yes");
        }
        if value.is_empty() {
            let text = format!("\"{}\" what?", argument.name);
            let hint = format!("Write {} {}.", argument.name, argument.placeholder);
            return Err(Refusal::new(Reason::BadRequest, text).hint(hint).field(&argument.name));
        }
        self.give(argument, &value.join(" "))
    }

    fn all_bare(&mut self, words: &[String]) -> Result<(), Refusal> {
        if self.declaration.rest && self.bare + 1 == self.declaration.positional.len() {
            let many = self.declaration.positional.last().and_then(|last| self.find(last));
            return match many.filter(|argument| argument.many) {
                // Word by word, as they were quoted.
                Some(argument) => words.iter().try_for_each(|word| self.give(argument, word)),
                None if words.is_empty() => Ok(()),
                None => self.take_bare(&words.join(" ")),
            };
        }
        words.iter().try_for_each(|word| self.take_bare(word))
    }

    /// `--key`, `--key=value`, `--key value`; whether the next word was used up.
    fn option(&mut self, option: &str, next: Option<&String>) -> Result<bool, Refusal> {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        };
        let argument = self.find(key).ok_or_else(|| self.unknown(key, value))?;
        if let Some(value) = value {
            self.give(argument, value)?;
            return Ok(false);
        }
        if argument.takes == Takes::Switch {
            self.give(argument, "yes")?;
            return Ok(false);
        }
        let next_is_option = |next: &String| {
            next.starts_with("--") || key_value(next).is_some_and(|(k, _)| self.find(k).is_some())
        };
        match next {
            Some(next) if !(argument.may_be_empty && next_is_option(next)) => {
                self.give(argument, next)?;
                Ok(true)
            }
            _ if argument.may_be_empty => {
                self.give(argument, "")?;
                Ok(false)
            }
            _ => Err(Refusal::new(Reason::BadRequest, format!("{} needs a value.", argument.name))
                .hint(format!("Write {}={}.", argument.name, argument.placeholder))
                .field(&argument.name)),
        }
    }

    /// `key=value`, or a bare word.
    fn word(&mut self, word: &str) -> Result<(), Refusal> {
        if let Some((key, value)) = key_value(word) {
            let argument = self.find(key).ok_or_else(|| self.unknown(key, Some(value)))?;
            return self.give(argument, value);
        }
        let mut chars = word.chars();
        if self.secret().is_none()
            && chars.next() == Some('-')
            && chars.next().is_some_and(char::is_alphabetic)
        {
            let hint = match self.declaration.rest {
                true => {
                    format!(
                        "To give it as text, write {} -- {}",
                        self.declaration.spoken(),
                        safe_line(word, 40)
                    )
                }
                false => "Arguments have long names only, such as --name value or name=value.".into(),
            };
            return Err(
                Refusal::new(Reason::BadRequest, format!("I cannot read {}.", quoted(word))).hint(hint)
            );
        }
        self.take_bare(word)
    }

    fn take_bare(&mut self, word: &str) -> Result<(), Refusal> {
        if let Some(argument) =
            self.declaration.person.filter(|_| word.contains('@')).and_then(|n| self.find(n))
        {
            return self.give(argument, word);
        }
        let positional = self.declaration.positional;
        let name = match positional.get(self.bare) {
            Some(name) => name,
            None => match positional.last().filter(|last| self.find(last).is_some_and(|a| a.many)) {
                Some(last) => last,
                None => return Err(self.too_much(word)),
            },
        };
        self.bare += 1;
        match self.find(name) {
            Some(argument) => self.give(argument, word),
            None => Err(self.too_much(word)),
        }
    }

    fn give(&mut self, argument: &Argument, value: &str) -> Result<(), Refusal> {
        if argument.takes == Takes::Secret {
            return Err(self.said_a_secret(argument));
        }
        self.out.extend(canonical(argument, value)?);
        Ok(())
    }

    /// What is typed is kept: by servers, by shells, on screens. A secret is asked for by a form, or by a
    /// program that does not show it.
    fn said_a_secret(&self, argument: &Argument) -> Refusal {
        let text =
            format!("A {} is not given in words, which are kept where others read them.", argument.name);
        Refusal::new(Reason::BadRequest, text)
            .hint("If that was one, choose another, and give it in the form of the command, or to skerry when it asks.")
            .field(&argument.name)
    }

    fn secret(&self) -> Option<&'a Argument> {
        self.known.iter().find(|argument| argument.takes == Takes::Secret)
    }

    fn nearest(&self, key: &str) -> Option<&'a str> {
        nearest(key, self.known.iter().map(|argument| argument.name.as_str()))
    }

    fn unknown(&self, key: &str, value: Option<&str>) -> Refusal {
        if let Some(secret) = self.secret() {
            return self.said_a_secret(secret);
        }
        let verb = self.declaration.spoken();
        let key = safe_line(key, 40);
        let refusal =
            Refusal::new(Reason::BadRequest, format!("{verb} has no argument {}.", quoted(&key))).field(&key);
        if let Some(instead) = self.instead()
            && (key == instead.verb || instead.arguments().iter().any(|argument| argument.name == key))
        {
            let words = safe_line(value.unwrap_or_default(), 40);
            return refusal.hint(format!("Did you mean {} {words}?", instead.spoken()));
        }
        if let Some(near) = self.nearest(&key) {
            return refusal.hint(format!("Did you mean --{near}?"));
        }
        match (value, self.declaration.positional.get(self.bare).or(self.declaration.positional.last())) {
            (Some(value), Some(name)) => refusal.hint(format!(
                "If it is the value of {name}, write {name}={}.",
                quoted(&format!("{key}={}", safe_line(value, 40)))
            )),
            _ => refusal.hint(format!("Write help {verb} to see what it takes.")),
        }
    }

    fn too_much(&self, word: &str) -> Refusal {
        if let Some(secret) = self.secret() {
            return self.said_a_secret(secret);
        }
        let verb = self.declaration.spoken();
        let refusal = Refusal::new(Reason::BadRequest, format!("{verb} has no use for {}.", quoted(word)));
        if let Some(argument) = self.find(word) {
            let how = match argument.takes {
                Takes::Switch => format!("--{}", argument.name),
                _ => format!("{}={}", argument.name, argument.placeholder),
            };
            return refusal.hint(format!("Did you mean {how}?")).field(&argument.name);
        }
        match self.instead() {
            Some(instead) => {
                refusal.hint(format!("Did you mean {} {}?", instead.spoken(), safe_line(word, 40)))
            }
            None => refusal.hint(format!("Write help {verb} to see what it takes.")),
        }
    }

    /// The command whose words these may be.
    fn instead(&self) -> Option<&'static Declaration> {
        let verb = self.declaration.instead?;
        COMMANDS.iter().find(|other| other.object == self.declaration.object && other.verb == verb)
    }
}

/// A word as it is quoted in an answer: safe, and not long.
fn quoted(word: &str) -> String {
    format!("\"{}\"", safe_line(word, 40))
}

/// `key=value`, when the key looks like the name of an argument.
fn key_value(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(key, _)| {
        key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

/// One value as a word for clap; nothing for a switch that is off.
///
/// # Errors
/// It is too long, has a line break or another control character in it, or is not yes or no for a switch.
pub(crate) fn canonical(argument: &Argument, value: &str) -> Result<Option<String>, Refusal> {
    let refuse = |text: String| Refusal::new(Reason::BadRequest, text).field(&argument.name);
    let name = &argument.name;
    let lines = argument.takes == Takes::Lines;
    let bytes_max = if lines { LINES_BYTES_MAX } else { VALUE_BYTES_MAX };
    if value.len() > bytes_max {
        return Err(refuse(format!("{name} is too long: at most {bytes_max} bytes.")));
    }
    if lines {
        if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(refuse(format!("{name} must be text without control characters.")));
        }
        return Ok(Some(format!("--{name}={}", value.replace("\r\n", "\n"))));
    }
    if value.chars().any(char::is_control) {
        return Err(refuse(format!("{name} must be one line without control characters.")));
    }
    if argument.takes != Takes::Switch {
        return Ok(Some(format!("--{name}={value}")));
    }
    match value.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "1" => Ok(Some(format!("--{name}"))),
        "no" | "off" | "false" | "0" => Ok(None),
        _ => Err(refuse(format!("{name} must be yes or no, not {}.", quoted(value)))),
    }
}

#[cfg(test)]
#[path = "arguments/tests.rs"]
mod tests;
