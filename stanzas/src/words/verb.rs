//! Which command a word means.

use super::nearest;
use crate::{
    command::{COMMANDS, Declaration},
    refusal::{Reason, Refusal},
};

/// What a word turned out to be.
#[derive(Debug)]
pub enum Verb<'a> {
    /// This command.
    Known(&'a Declaration),
    /// A word that means one thing in one tool and another in the next: the question to ask back.
    Ambiguous(String),
    /// No command of these.
    Unknown {
        /// The verb most likely meant.
        nearest: Option<&'static str>,
    },
}

/// Words that mean two things, and the question each deserves. They are no aliases on purpose.
const AMBIGUOUS: &[(&str, &str)] = &[
    (
        "destroy",
        "destroy means two things: libvirt's cuts the power and keeps the machine (here: kill), other \
         tools' takes the machine away (here: delete). Which do you mean: kill or delete?",
    ),
    (
        "suspend",
        "suspend means two things: libvirt's holds the machine still and keeps its memory (here: pause), \
         other tools' saves its memory to disk and stops it (not offered here). Do you mean pause, or \
         shutdown?",
    ),
];

/// Which of the commands `offered` a word means, by verb or alias; capitals do not matter.
pub fn find_verb<'a>(offered: &[&'a Declaration], word: &str) -> Verb<'a> {
    let word = word.to_lowercase();
    let by_verb = offered.iter().find(|declaration| declaration.verb == word);
    let by_alias = || offered.iter().find(|declaration| declaration.aliases.contains(&word.as_str()));
    if let Some(declaration) = by_verb.or_else(by_alias) {
        return Verb::Known(declaration);
    }
    if let Some((_, question)) = AMBIGUOUS.iter().find(|(ambiguous, _)| *ambiguous == word) {
        return Verb::Ambiguous((*question).into());
    }
    let of_topic: Vec<String> = offered
        .iter()
        .filter(|declaration| declaration.topic() == Some(word.as_str()))
        .map(|declaration| declaration.spoken())
        .collect();
    if !of_topic.is_empty() {
        return Verb::Ambiguous(format!("{word} what? There is: {}.", of_topic.join(", ")));
    }
    let spoken: Vec<(&'static str, &'static str)> = offered
        .iter()
        .flat_map(|declaration| {
            std::iter::once(declaration.verb)
                .chain(declaration.aliases.iter().copied())
                .map(|word| (word, declaration.verb))
        })
        .collect();
    let close = nearest(&word, spoken.iter().map(|(word, _)| *word));
    Verb::Unknown {
        nearest: close
            .and_then(|close| spoken.iter().find(|(word, _)| *word == close))
            .map(|(_, verb)| *verb),
    }
}

/// A verb of two words as the one it is: `snapshot take` becomes `snapshot-take`. It is the first in what
/// was said, or follows what is no verb itself: a machine's name, `help`.
pub fn joined(said: Vec<String>) -> Vec<String> {
    let known = |word: &str| {
        COMMANDS.iter().any(|declaration| declaration.verb == word || declaration.aliases.contains(&word))
    };
    let at = said.first().map_or(0, |first| usize::from(said.len() > 2 && !known(&first.to_lowercase())));
    for at in 0..=at {
        if let [first, second, ..] = &said[at.min(said.len())..] {
            let one = format!("{first}-{second}").to_lowercase();
            if known(&one) {
                let mut words = said;
                words.splice(at..at + 2, [one]);
                return words;
            }
        }
    }
    said
}

/// The refusal for a word that is no command.
pub fn unknown_verb(word: &str, nearest: Option<&str>) -> Refusal {
    let word = crate::safe::safe_line(word, 40);
    let refusal = Refusal::new(Reason::NotFound, format!("I do not know the command \"{word}\"."));
    match nearest {
        Some(verb) => {
            let verb = verb.replacen('-', " ", 1);
            refusal.hint(format!("Did you mean {verb}? Write help to see what there is."))
        }
        None => refusal.hint("Write help to see what there is."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::command::{COMMANDS, Object};

    fn of(object: Object) -> Vec<&'static Declaration> {
        COMMANDS.iter().filter(|declaration| declaration.object == object).collect()
    }

    #[track_caller]
    fn assert_known(word: &str, verb: &str) {
        match find_verb(&of(Object::Machine), word) {
            Verb::Known(declaration) => assert_eq!(declaration.verb, verb),
            other => panic!("{word}: {other:?}"),
        }
    }

    #[test]
    fn verbs_and_aliases_are_found_whatever_their_capitals() {
        assert_known("start", "start");
        assert_known("Start", "start");
        assert_known("poweroff", "shutdown");
        assert_known("STOP", "shutdown");
        assert_known("freeze", "pause");
    }

    #[test]
    fn words_with_two_meanings_are_asked_back() {
        for (word, choices) in [("destroy", ["kill", "delete"]), ("Suspend", ["pause", "shutdown"])] {
            let Verb::Ambiguous(question) = find_verb(&of(Object::Machine), word) else {
                panic!("{word} is taken to mean one thing")
            };
            for choice in choices {
                assert!(question.contains(choice), "{question}");
            }
        }
    }

    #[test]
    fn a_verb_of_two_words_is_one() {
        let joined = |line: &str| joined(line.split(' ').map(str::to_owned).collect()).join("|");
        assert_eq!(joined("Image List"), "image-list");
        assert_eq!(joined("image list x"), "image-list|x");
        assert_eq!(joined("help image list"), "help|image-list");
        assert_eq!(joined("web1 force off now"), "web1|force-off|now");
        assert_eq!(joined("send force off"), "send|force|off", "what a guest is sent is not ours to read");
        assert_eq!(joined("image"), "image");
        assert_eq!(joined(""), "");
    }

    #[test]
    fn a_topic_alone_is_asked_back() {
        let Verb::Ambiguous(question) = find_verb(&of(Object::Host), "Image") else { panic!() };
        assert!(question.starts_with("image what? There is: image list, "), "{question}");
    }

    #[track_caller]
    fn assert_nearest(word: &str, verb: Option<&str>) {
        match find_verb(&of(Object::Machine), word) {
            Verb::Unknown { nearest } => assert_eq!(nearest, verb, "{word}"),
            other => panic!("{word}: {other:?}"),
        }
    }

    #[test]
    fn slips_of_the_keyboard_are_answered_with_the_verb_meant() {
        assert_nearest("strat", Some("start"));
        assert_nearest("shutdwon", Some("shutdown"));
        assert_nearest("poewroff", Some("shutdown"));
        assert_nearest("kil", Some("kill"));
        assert_nearest("hatl", Some("shutdown"));
        assert_nearest("what", None);
        assert_nearest("helo", None);
        assert_nearest("bake", None);
        assert_nearest("x", None);
        assert_nearest("lab", None);
        assert_eq!(nearest("xlsx", ["ls"]), None, "nothing of it is left");
        assert_nearest("", None);
    }

    #[test]
    fn an_unknown_word_is_quoted_bounded() {
        let refusal = unknown_verb(&"\u{202e}x".repeat(500), Some("start"));
        assert!(refusal.text.len() < 200 && !refusal.text.contains('\u{202e}'));
        assert!(refusal.sentence().contains("Did you mean start?"));
    }
}
