//! What Tab offers in a talk: the verbs of the other side, their arguments, the answers on offer.

use std::sync::{Arc, Mutex, PoisonError};

use reedline::{Completer, CompletionResult, Span, Suggestion};
use skerry_stanzas::{
    command::{
        COMMANDS, Declaration, Object,
        argument::{Argument, Takes},
    },
    words,
};

/// Offers of the last message, shared with the talk.
pub(super) type Offers = Arc<Mutex<Vec<String>>>;

/// Completes a line of a talk with an object of this kind.
pub(super) struct Words {
    object: Object,
    offers: Offers,
}

impl Words {
    pub(super) fn new(object: Object, offers: Offers) -> Self {
        Self { object, offers }
    }

    /// The words that may stand where the cursor is, with what they do.
    fn candidates(&self, before: &[&str]) -> Vec<(String, String)> {
        let own = || COMMANDS.iter().filter(|declaration| declaration.object == self.object);
        match before {
            [] => {
                let offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let offers = offers.into_iter().map(|offer| (offer, "an answer".to_owned()));
                let help = ("help".to_owned(), "What can be said here".to_owned());
                offers.chain(own().map(|d| (d.spoken(), d.about().to_owned()))).chain([help]).collect()
            }
            ["help"] => own().map(|d| (d.spoken(), d.about().to_owned())).collect(),
            [topic] | ["help", topic] if own().any(|d| d.topic() == Some(*topic)) => {
                let below = own().filter(|d| d.topic() == Some(*topic));
                below.map(|d| (d.verb[topic.len() + 1..].to_owned(), d.about().to_owned())).collect()
            }
            _ => {
                let before: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
                let before = words::joined(before);
                let verb = before.first().map(String::as_str).unwrap_or_default();
                own()
                    .find(|d| d.verb == verb || d.aliases.contains(&verb))
                    .map(|declaration| arguments(declaration, &before))
                    .unwrap_or_default()
            }
        }
    }
}

fn arguments(declaration: &Declaration, before: &[String]) -> Vec<(String, String)> {
    let given =
        |name: &str| before.iter().any(|word| word.trim_start_matches('-').split('=').next() == Some(name));
    declaration
        .arguments()
        .iter()
        .filter(|argument| argument.many || !given(&argument.name))
        .flat_map(spelled)
        .collect()
}

fn spelled(argument: &Argument) -> Vec<(String, String)> {
    let about = argument.help.clone();
    match &argument.takes {
        Takes::Switch => vec![(format!("--{}", argument.name), about)],
        Takes::Choice(choices) => {
            choices.iter().map(|choice| (format!("{}={choice}", argument.name), about.clone())).collect()
        }
        _ => vec![(format!("{}=", argument.name), about)],
    }
}

impl Completer for Words {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let line = line.get(..pos).unwrap_or(line);
        let start = line.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let begun = &line[start..];
        let before: Vec<&str> = line[..start].split_whitespace().collect();
        let suggestions: Vec<Suggestion> = self
            .candidates(&before)
            .into_iter()
            .filter(|(word, _)| word.starts_with(begun))
            .map(|(value, about)| Suggestion {
                append_whitespace: !value.ends_with('='),
                value,
                description: Some(about),
                span: Span::new(start, pos),
                ..Suggestion::default()
            })
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(object: Object, line: &str) -> Vec<String> {
        let offers = Arc::new(Mutex::new(vec!["yes ab12".to_owned()]));
        let result = Words::new(object, offers).complete(line, line.len());
        result.suggestions().iter().map(|suggestion| suggestion.value.clone()).collect()
    }

    #[test]
    fn verbs_come_first() {
        assert_eq!(offered(Object::Machine, "sta"), ["start", "status", "stats"]);
        assert_eq!(offered(Object::Host, "cr"), ["create"]);
        assert!(offered(Object::Machine, "").contains(&"help".to_owned()));
    }

    #[test]
    fn answers_on_offer_are_offered() {
        assert_eq!(offered(Object::Machine, "y"), ["yes ab12"]);
    }

    #[test]
    fn then_their_arguments_each_once() {
        assert_eq!(offered(Object::Host, "create web1 linux m"), ["memory="]);
        assert_eq!(offered(Object::Host, "create memory=1G m"), Vec::<String>::new());
        assert_eq!(offered(Object::Machine, "autostart "), ["set=on", "set=off"]);
        assert_eq!(offered(Object::Host, "create --st"), ["--start"]);
    }

    #[test]
    fn help_takes_a_verb() {
        assert_eq!(offered(Object::Machine, "help ki"), ["kill"]);
        assert!(offered(Object::Host, "help im").contains(&"image list".to_owned()));
    }

    #[test]
    fn a_topic_takes_its_second_word() {
        assert!(offered(Object::Host, "im").contains(&"image list".to_owned()));
        assert_eq!(offered(Object::Host, "image l"), ["list"]);
    }
}
