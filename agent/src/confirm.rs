//! "Is that really meant?": questions put back before something is taken away.
//!
//! A question is bound to the person, the target, the exact words and a deadline. It is kept here and
//! not in the doors, so that no door can forget to ask.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use rand::RngExt;
use skerry_stanzas::refusal::{Reason, Refusal};
use xmpp_parsers::jid::BareJid;

use crate::asked::{Asked, Confirmation, Target};

/// How long a question waits for its answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// How many questions one person may have open.
pub(crate) const PER_PERSON_MAX: usize = 16;
/// How many questions may be open in all.
const ALL_MAX: usize = 4096;
/// No letters or digits that look like others.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

struct Pending {
    asked: Asked,
    confirmation: Confirmation,
}

/// The open questions, by person.
#[derive(Default)]
pub(crate) struct Confirmations {
    open: Mutex<HashMap<BareJid, Vec<Pending>>>,
}

impl Confirmations {
    fn open(&self, now: DateTime<Utc>) -> std::sync::MutexGuard<'_, HashMap<BareJid, Vec<Pending>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, pending| {
            pending.retain(|one| one.confirmation.deadline > now);
            !pending.is_empty()
        });
        open
    }

    /// Puts the question. The same words again get the same question, so a repeated stanza does not
    /// pile up questions.
    pub(crate) fn put(
        &self,
        asked: Asked,
        sentence: String,
        now: DateTime<Utc>,
    ) -> Result<Confirmation, Refusal> {
        let mut open = self.open(now);
        if open.values().map(Vec::len).sum::<usize>() >= ALL_MAX {
            return Err(too_many());
        }
        let pending = open.entry(asked.person()).or_default();
        if let Some(same) = pending.iter_mut().find(|one| same_words(&one.asked, &asked)) {
            if asked.because().is_some() {
                same.asked.argv = asked.argv;
            }
            return Ok(same.confirmation.clone());
        }
        // What is given together is asked in one question.
        let with =
            pending.iter().find(|one| asked.together.is_some() && one.asked.together == asked.together);
        let with = with.map(|one| one.confirmation.code.clone());
        let mut codes: Vec<&str> = pending.iter().map(|one| one.confirmation.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        if with.is_none() && codes.len() >= PER_PERSON_MAX {
            return Err(too_many());
        }
        let code = with.unwrap_or_else(|| fresh_code(|code| codes.contains(&code)));
        let confirmation = Confirmation { code, sentence, deadline: now + DEADLINE };
        pending.push(Pending { asked, confirmation: confirmation.clone() });
        Ok(confirmation)
    }

    /// Takes the question answered by `person` for `target`, which is then open no more: what was given
    /// together, all of it.
    pub(crate) fn take(
        &self,
        person: &BareJid,
        target: &Target,
        code: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Asked>, Refusal> {
        let mut open = self.open(now);
        let pending = open.get_mut(person);
        let fitting: Vec<&Pending> =
            pending.iter().flat_map(|pending| pending.iter()).filter(|one| one.fits(target, code)).collect();
        let one = fitting.first().map(|one| one.confirmation.code.clone());
        if fitting.iter().any(|other| Some(&other.confirmation.code) != one.as_ref()) {
            return Err(which(fitting.into_iter()));
        }
        match (pending, one) {
            (Some(pending), Some(code)) => {
                let fits = |one: &mut Pending| one.confirmation.code == code && one.fits(target, Some(&code));
                Ok(pending.extract_if(.., fits).map(|one| one.asked).collect())
            }
            _ => Err(Refusal::new(
                Reason::Lapsed,
                "There is nothing to confirm: it was done, declined, or its time ran out.",
            )
            .hint("Give the command again, if it is still meant.")),
        }
    }

    /// Puts a reason, a word of the one grammar, to what was asked, in the place of one that was given.
    pub(crate) fn explain(
        &self,
        person: &BareJid,
        target: &Target,
        code: &str,
        because: String,
        now: DateTime<Utc>,
    ) {
        let mut open = self.open(now);
        let pending = open.get_mut(person).into_iter().flatten();
        for one in pending.filter(|one| one.fits(target, Some(code))) {
            one.asked.argv.retain(|word| !is_reason(word));
            one.asked.argv.push(because.clone());
        }
    }

    /// Forgets the questions put to `person` for `target`.
    pub(crate) fn drop_for(
        &self,
        person: &BareJid,
        target: &Target,
        code: Option<&str>,
        now: DateTime<Utc>,
    ) -> bool {
        let mut open = self.open(now);
        let Some(pending) = open.get_mut(person) else { return false };
        let before = pending.len();
        pending.retain(|one| !one.fits(target, code));
        before != pending.len()
    }
}

impl Pending {
    /// A question put in a host's chat about one of its machines is answered there as well: the host
    /// stands for all its machines.
    fn fits(&self, target: &Target, code: Option<&str>) -> bool {
        (*target == Target::Host || self.asked.target == *target)
            && code.is_none_or(|code| code.eq_ignore_ascii_case(&self.confirmation.code))
    }
}

fn is_reason(word: &str) -> bool {
    word.starts_with("--because=")
}

/// The same request, whatever the reason that is given for it.
fn same_words(one: &Asked, other: &Asked) -> bool {
    let words = |asked: &'_ Asked| -> Vec<String> {
        asked.argv.iter().filter(|word| !is_reason(word)).cloned().collect()
    };
    one.target == other.target
        && words(one) == words(other)
        && one.declaration.permission() == other.declaration.permission()
}

/// Four characters a person can type.
pub(crate) fn fresh_code(taken: impl Fn(&str) -> bool) -> String {
    let mut rng = rand::rng();
    loop {
        let code: String = (0..4).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect();
        if !taken(&code) {
            return code;
        }
    }
}

fn too_many() -> Refusal {
    Refusal::new(Reason::Limit, "Too many questions are waiting for a yes or no.")
        .hint("Answer them first, or wait two minutes.")
}

fn which<'a>(pending: impl Iterator<Item = &'a Pending>) -> Refusal {
    let list: Vec<String> =
        pending.map(|one| format!("{}: {}", one.confirmation.code, one.confirmation.sentence)).collect();
    Refusal::new(Reason::BadRequest, "Which one do you mean?")
        .hint(format!("Say yes and its code.\n{}", list.join("\n")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use hypervisor_core::machine::MachineName;
    use skerry_stanzas::command::COMMANDS;
    use xmpp_parsers::jid::Jid;

    use super::*;
    use crate::asked::Door;

    fn kill(caller: &str, machine: &str) -> Asked {
        Asked {
            caller: Jid::new(caller).unwrap(),
            target: target(machine),
            declaration: COMMANDS.iter().find(|d| d.verb == "kill").unwrap(),
            argv: vec![],
            door: Door::Chat,
            key: None,
            hops: Vec::new(),
            together: None,
            signature: None,
            patience: Duration::from_secs(1),
        }
    }

    fn target(machine: &str) -> Target {
        Target::Machine(MachineName::new(machine).unwrap())
    }

    #[test]
    fn a_question_is_bound_to_person_target_code_and_deadline() {
        let open = Confirmations::default();
        let now = Utc::now();
        let ann = BareJid::new("ann@example.org").unwrap();
        let eve = BareJid::new("eve@example.org").unwrap();
        let question = open.put(kill("ann@example.org/a", "web1"), "?".into(), now).unwrap();
        let code = Some(question.code.as_str());
        assert!(open.take(&eve, &target("web1"), code, now).is_err(), "another person");
        assert!(open.take(&ann, &target("web2"), code, now).is_err(), "another machine");
        assert!(open.take(&ann, &target("web1"), Some("----"), now).is_err(), "another code");
        let late = now + DEADLINE + Duration::from_secs(1);
        assert!(open.put(kill("ann@example.org/a", "web2"), "?".into(), now).is_ok());
        assert!(open.take(&ann, &target("web1"), code, now).is_ok(), "the right one");
        assert!(open.take(&ann, &target("web1"), code, now).is_err(), "only once");
        assert_eq!(
            open.take(&ann, &target("web2"), None, late).unwrap_err().reason,
            Reason::Lapsed,
            "too late"
        );
    }

    #[test]
    fn the_same_words_get_the_same_question_and_their_number_is_bounded() {
        let open = Confirmations::default();
        let now = Utc::now();
        let first = open.put(kill("ann@example.org/a", "m0"), "?".into(), now).unwrap();
        assert_eq!(open.put(kill("ann@example.org/b", "m0"), "?".into(), now).unwrap().code, first.code);
        for n in 1..PER_PERSON_MAX {
            open.put(kill("ann@example.org/a", &format!("m{n}")), "?".into(), now).unwrap();
        }
        let over = open.put(kill("ann@example.org/a", "more"), "?".into(), now).unwrap_err();
        assert_eq!(over.reason, Reason::Limit);
        open.put(kill("bob@example.org/a", "m0"), "?".into(), now).unwrap();
    }

    #[test]
    fn what_is_given_together_is_one_question() {
        let open = Confirmations::default();
        let now = Utc::now();
        let ann = BareJid::new("ann@example.org").unwrap();
        let together = Some(skerry_stanzas::payload::Together { id: "a".into(), of: 40 });
        let mut codes = Vec::new();
        for n in 0..40 {
            let one = Asked { together: together.clone(), ..kill("ann@example.org/a", &format!("m{n}")) };
            codes.push(open.put(one, "?".into(), now).unwrap().code);
        }
        codes.dedup();
        assert_eq!(codes.len(), 1);
        open.put(kill("ann@example.org/a", "other"), "other".into(), now).unwrap();
        assert!(open.take(&ann, &Target::Host, None, now).is_err(), "two questions");
        assert_eq!(
            open.take(&ann, &target("m3"), Some(&codes[0]), now).unwrap().len(),
            1,
            "at the machine's own"
        );
        assert_eq!(open.take(&ann, &Target::Host, Some(&codes[0]), now).unwrap().len(), 39);
        assert_eq!(open.take(&ann, &Target::Host, None, now).unwrap().len(), 1);
    }

    #[test]
    fn several_open_questions_need_a_code_and_can_be_declined() {
        let open = Confirmations::default();
        let now = Utc::now();
        let ann = BareJid::new("ann@example.org").unwrap();
        open.put(kill("ann@example.org/a", "web1"), "cut web1".into(), now).unwrap();
        let second = open.put(kill("ann@example.org/a", "web2"), "cut web2".into(), now).unwrap();
        let which = open.take(&ann, &Target::Host, None, now).unwrap_err();
        assert!(which.sentence().contains(&format!("{}: cut web2", second.code)), "{which:?}");
        assert!(open.drop_for(&ann, &target("web1"), None, now));
        assert!(!open.drop_for(&ann, &target("web1"), None, now));
        assert!(open.take(&ann, &Target::Host, None, now).is_ok());
    }
}
