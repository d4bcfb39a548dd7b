//! What a message means: a command, help, a greeting, yes or no. No I/O: what it reads is decided by
//! what is there and what this person may do.

use hypervisor_core::machine::MachineName;
use skerry_stanzas::{
    command::{COMMANDS, Declaration, Object},
    help::{self, At},
    refusal::{Reason, Refusal},
    words::{self, Verb},
};
use xmpp_parsers::jid::BareJid;

use super::Words;
use crate::{asked::Target, face::Face};

const GREETINGS: &[&str] = &[
    "hello",
    "hi",
    "hey",
    "hallo",
    "moin",
    "salut",
    "hola",
    "yo",
    "good morning",
    "good evening",
    "good afternoon",
    "good day",
];
const THANKS: &[&str] = &["thanks", "thank you", "thx", "danke", "merci"];

/// An answer to a question that was put.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whether it is meant.
    pub(super) yes: bool,
    /// About whom: what was written to, or the machine that was named.
    pub(super) target: Target,
    /// The question's code, when it was given.
    pub(super) code: Option<String>,
}

/// What was said.
pub(super) enum Said {
    /// This command, on this.
    Command {
        /// Which.
        declaration: &'static Declaration,
        /// On what.
        target: Target,
        /// With these words.
        argv: Vec<String>,
    },
    /// This command, on each of these.
    Each {
        /// Which.
        declaration: &'static Declaration,
        /// On what.
        machines: Vec<MachineName>,
        /// With these words.
        argv: Vec<String>,
    },
    /// This command, which cannot be: why not is said, and noted.
    Refused {
        /// Which.
        declaration: &'static Declaration,
        /// On what.
        target: Target,
        /// Why not.
        refusal: Refusal,
        /// The same, said.
        words: Words,
    },
    /// Yes or no to a question.
    Answer(Answer),
    /// Nothing to be done but to say this.
    Words(Words),
}

impl From<Refusal> for Said {
    fn from(refusal: Refusal) -> Self {
        Said::Words(Words::new(refusal.sentence()))
    }
}

fn declared(object: Object) -> Vec<&'static Declaration> {
    COMMANDS.iter().filter(|declaration| declaration.object == object).collect()
}

/// The command of this object a word means, when it means one.
fn known(object: Object, word: &str) -> Option<&'static Declaration> {
    match words::find_verb(&declared(object), word) {
        Verb::Known(declaration) => COMMANDS.iter().find(|d| d.permission() == declaration.permission()),
        _ => None,
    }
}

impl Face {
    /// Reads a message to `target`.
    pub(super) fn read(&self, person: &BareJid, target: &Target, body: &str) -> Said {
        let mut lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
        let (Some(line), rest) = (lines.next(), lines.next()) else {
            return Said::Words(Words::new("Say help to see what I can do.").buttons(["help"]));
        };
        let plain = line.to_lowercase();
        let plain = plain.trim_end_matches(['!', '.', '?', ',']).trim();
        if GREETINGS.contains(&plain) {
            return Said::Words(self.greeting(person, target));
        }
        if THANKS.contains(&plain) {
            return Said::Words(Words::new("You are welcome."));
        }
        if rest.is_some() {
            return Said::Words(Words::new("One command a message, please: I read only single lines."));
        }
        let words = match words::split(line) {
            Ok(words) => words::joined(words),
            Err(error) => return Refusal::from(error).into(),
        };
        let Some(first) = words.first() else {
            return Said::Words(Words::new("Say help to see what I can do.").buttons(["help"]));
        };
        if let Some(answer) = self.yes_or_no(person, target, &words) {
            return Said::Answer(answer);
        }
        match first.to_lowercase().as_str() {
            "help" | "?" | "commands" => {
                Said::Words(self.help(person, target, words.get(1).map(String::as_str)))
            }
            _ => match target {
                Target::Machine(_) => self.read_for_machine(person, target, &words),
                Target::Host => self.read_for_host(person, &words),
            },
        }
    }

    /// `yes`, `no`, each with the question's code or without. A host is told of which machine, when that
    /// is said: `web2 yes`, `yes web2`. A machine's name is a name also where it could be a code: the
    /// answer then reaches less, not more.
    fn yes_or_no(&self, person: &BareJid, target: &Target, words: &[String]) -> Option<Answer> {
        let (before, yes, after) = match words {
            [word, rest @ ..] if let Some(yes) = yes_or_no(word) => (None, yes, rest),
            [name, word, rest @ ..] if *target == Target::Host => {
                (Some(self.machine_named(person, name)?), yes_or_no(word)?, rest)
            }
            _ => return None,
        };
        let named =
            |word: &String| (*target == Target::Host).then(|| self.machine_named(person, word)).flatten();
        let (name, code) = match (before, after) {
            (None, [word, rest @ ..]) if let Some(name) = named(word) => (Some(name), rest),
            (name, rest) => (name, rest),
        };
        let target = name.map_or_else(|| target.clone(), Target::Machine);
        (code.len() <= 1).then(|| Answer { yes, target, code: code.first().cloned() })
    }

    fn greeting(&self, person: &BareJid, target: &Target) -> Words {
        let whom = person.node().map(|node| format!(" {}", node.as_str())).unwrap_or_default();
        let text = match target {
            Target::Host => format!(
                "Hello{whom}, I am {}, a host of machines: {}. Say help to see what I can do.",
                self.host_name,
                match self.agent.may_follow(person, target) {
                    true => self.host_sentence(),
                    false => format!("{} yours", self.agent.machines_for(person).len()),
                }
            ),
            Target::Machine(name) => {
                let sentence = self.agent.machine(name).map(|seen| seen.sentence).unwrap_or_default();
                format!("Hello{whom}, I am {name}. {}. Say help to see what I can do.", in_words(&sentence))
            }
        };
        Words::new(text).buttons(["help", "status"])
    }

    fn help(&self, person: &BareJid, target: &Target, about: Option<&str>) -> Words {
        let offered = self.agent.offered(person, target);
        let machines = match target {
            Target::Host => self.agent.offered_on_any(person),
            Target::Machine(_) => Vec::new(),
        };
        let Some(word) = about else {
            return Words::new(help::overview(&offered, &machines));
        };
        let own = match target {
            Target::Host => Object::Host,
            Target::Machine(_) => Object::Machine,
        };
        if let Some(declaration) = known(own, word) {
            return Words::new(help::about(declaration, At::Own));
        }
        if let (Target::Host, Some(declaration)) = (target, known(Object::Machine, word)) {
            let names = self.agent.machines_for(person);
            let machine = names.first().map_or("web1", |seen| seen.name.as_str());
            return Words::new(help::about(declaration, At::Host { machine }));
        }
        match words::find_verb(&self.permitted_at(person, target), word) {
            Verb::Ambiguous(question) => Words::new(question),
            Verb::Unknown { nearest } => Words::new(words::unknown_verb(word, nearest).sentence()),
            Verb::Known(declaration) => Words::new(help::about(declaration, At::Own)),
        }
    }

    fn read_for_machine(&self, person: &BareJid, target: &Target, said: &[String]) -> Said {
        let Some((verb, rest)) = said.split_first() else { return Said::Words(Words::new("?")) };
        match known(Object::Machine, verb) {
            Some(declaration) => command(declaration, target.clone(), rest),
            None => unknown(verb, &self.permitted_at(person, target)),
        }
    }

    /// What is asked of a machine that is not there for this person is refused, and noted as that, whether
    /// there is one or not.
    fn read_for_host(&self, person: &BareJid, said: &[String]) -> Said {
        match (self.read_line_for_host(person, said), asked_of_unseen(said)) {
            (Said::Words(words), Some((declaration, name))) => {
                let refusal = Refusal::new(Reason::NotFound, format!("There is no machine {name} here."));
                Said::Refused { declaration, target: Target::Machine(name), refusal, words }
            }
            (said, _) => said,
        }
    }

    /// In the host's chat the machine is named first or last: `web1 start`, `start web1`.
    fn read_line_for_host(&self, person: &BareJid, said: &[String]) -> Said {
        let Some((first, rest)) = said.split_first() else { return Said::Words(Words::new("?")) };
        if let Some(name) = self.machine_named(person, first) {
            let verb = rest.first().map_or("status", String::as_str);
            if let Some(declaration) = known(Object::Machine, verb) {
                return command(declaration, Target::Machine(name), rest.get(1..).unwrap_or_default());
            }
            if known(Object::Host, first).is_none() {
                return unknown(verb, &self.permitted_at(person, &Target::Machine(name)));
            }
        }
        let host = known(Object::Host, first);
        if host.is_none()
            && let Some(words) = self.called_now(person, first)
        {
            return Said::Words(words);
        }
        if let Some(declaration) = known(Object::Machine, first) {
            let (named, because) = rest.split_at(until_because(declaration, rest));
            if let Some(several) = self.several(person, declaration, named, because) {
                return several;
            }
            if let Some((name, mut others)) = self.machine_in(person, named) {
                others.extend_from_slice(because);
                return command(declaration, Target::Machine(name), &others);
            }
            let ends = [named.last(), named.first()];
            if let Some(words) = ends.into_iter().flatten().find_map(|word| self.called_now(person, word)) {
                return Said::Words(words);
            }
            if host.is_none() {
                return self.which_machine(person, declaration, named);
            }
        }
        match host {
            Some(declaration) => command(declaration, Target::Host, rest),
            None => match (rest.first(), self.nearest_machine(person, first)) {
                // `wbe1 start`: the verb is right, the name is not.
                (Some(verb), Some(near)) if known(Object::Machine, verb).is_some() => {
                    missing(first, Some(near))
                }
                _ => unknown(first, &self.permitted_at(person, &Target::Host)),
            },
        }
    }

    /// What a word is looked up in: all this person may say to this target, also what makes no sense
    /// to say now. Why not is the machine's to say.
    fn permitted_at(&self, person: &BareJid, target: &Target) -> Vec<&'static Declaration> {
        let machines = self.agent.permitted(person, Object::Machine);
        match target {
            Target::Machine(_) => machines,
            Target::Host => {
                let mut all = self.agent.permitted(person, Object::Host);
                all.extend(machines);
                all
            }
        }
    }

    /// The machine a word names; `@` in front of it does not matter.
    pub(super) fn machine_named(&self, person: &BareJid, word: &str) -> Option<MachineName> {
        let name = MachineName::new(word.trim_start_matches('@').to_lowercase()).ok()?;
        let known = self.agent.knows(person, &Target::Machine(name.clone()));
        self.agent.machine(&name).filter(|_| known).map(|seen| seen.name)
    }

    /// What is said to a name that a machine had, here or before it moved, until somebody else has it.
    fn called_now(&self, person: &BareJid, word: &str) -> Option<Words> {
        let old = MachineName::new(word.trim_start_matches('@').to_lowercase()).ok()?;
        let target = Target::Machine(old.clone());
        if !self.agent.may_follow(person, &Target::Host) && !self.agent.knows(person, &target) {
            return None;
        }
        match self.renamed(&old) {
            Some(Target::Machine(new)) => Some(Words::new(format!("{old} is called {new} now."))),
            Some(Target::Host) => None,
            None => self.agent.where_it_went(&old).map(Words::new),
        }
    }

    /// The machine among the words after a verb, last or first, and the other words.
    fn machine_in(&self, person: &BareJid, words: &[String]) -> Option<(MachineName, Vec<String>)> {
        let last = words.len().checked_sub(1)?;
        [last, 0].into_iter().find_map(|at| {
            let name = self.machine_named(person, &words[at])?;
            let others = words.iter().enumerate().filter(|(n, _)| *n != at);
            Some((name, others.map(|(_, word)| word.clone()).collect()))
        })
    }

    pub(super) fn nearest_machine(&self, person: &BareJid, word: &str) -> Option<String> {
        let machines = self.agent.machines_for(person);
        let names = machines.iter().map(|seen| seen.name.as_str());
        words::nearest(word.trim_start_matches('@'), names).map(str::to_owned)
    }

    /// A machine's command without a machine.
    fn which_machine(&self, person: &BareJid, declaration: &Declaration, rest: &[String]) -> Said {
        let verb = declaration.spoken();
        if let Some(word) = rest.last().filter(|word| !word.contains('=') && !word.starts_with("--")) {
            return missing(word, self.nearest_machine(person, word));
        }
        let machines = self.agent.machines_for(person);
        if machines.is_empty() {
            return Said::Words(Words::new("There are no machines here yet. Say help create to make one."));
        }
        let choices: Vec<String> =
            machines.iter().take(5).map(|seen| format!("{verb} {}", seen.name)).collect();
        let example = choices.first().cloned().unwrap_or_default();
        let words = Words::new(format!("Which machine? Write {example}, for example, or list to see all."));
        Said::Words(words.buttons(choices.iter().map(String::as_str)))
    }
}

/// How many of the words come before the reason, which may name machines as well.
fn until_because(declaration: &Declaration, words: &[String]) -> usize {
    let takes = declaration.because().filter(|_| !declaration.rest);
    let because =
        takes.and_then(|because| words.iter().position(|word| because.name.eq_ignore_ascii_case(word)));
    because.unwrap_or(words.len())
}

/// What is asked of which machine, as far as the words say, where none of that name is to be seen.
fn asked_of_unseen(said: &[String]) -> Option<(&'static Declaration, MachineName)> {
    let name = |word: &String| MachineName::new(word.trim_start_matches('@').to_lowercase()).ok();
    let (first, rest) = said.split_first()?;
    if let Some(declaration) = known(Object::Machine, first) {
        let named = &rest[..until_because(declaration, rest)];
        let word = named.last().filter(|word| !word.contains('=') && !word.starts_with("--"))?;
        return Some((declaration, name(word)?));
    }
    Some((known(Object::Machine, rest.first()?)?, name(first)?))
}

fn yes_or_no(word: &str) -> Option<bool> {
    match word.trim_end_matches(['!', '.', ',']).to_lowercase().as_str() {
        "yes" | "y" => Some(true),
        "no" | "n" => Some(false),
        _ => None,
    }
}

fn command(declaration: &'static Declaration, target: Target, rest: &[String]) -> Said {
    match words::arguments(declaration, rest) {
        Ok(argv) => Said::Command { declaration, target, argv },
        Err(refusal) => {
            let words = Words::new(refusal.sentence());
            Said::Refused { declaration, target, refusal, words }
        }
    }
}

fn unknown(word: &str, permitted: &[&Declaration]) -> Said {
    match words::find_verb(permitted, word) {
        Verb::Ambiguous(question) => Said::Words(Words::new(question)),
        Verb::Unknown { nearest: Some(verb) } => {
            let words = Words::new(words::unknown_verb(word, Some(verb)).sentence());
            Said::Words(words.buttons([verb, "help"]))
        }
        _ => {
            let near = words::nearest(word, ["help"]);
            Said::Words(Words::new(words::unknown_verb(word, near).sentence()).buttons(["help"]))
        }
    }
}

pub(super) fn missing(word: &str, near: Option<String>) -> Said {
    let word = skerry_stanzas::safe::safe_line(word, 40);
    let refusal = Refusal::new(Reason::NotFound, format!("There is no machine {word} here."));
    match near {
        Some(near) => refusal.hint(format!("Did you mean {near}?")).into(),
        None => refusal.hint("Say list to see which there are.").into(),
    }
}

/// A state's sentence as the machine itself would say it.
fn in_words(sentence: &str) -> String {
    let mut chars = sentence.chars();
    let first = chars.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
    format!("I am {first}{}", chars.as_str())
}
