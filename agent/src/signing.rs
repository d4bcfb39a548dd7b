//! Signatures by the callers' own keys: what a policy marks so is not done because a server says who asks for
//! it, but because they signed it.
//!
//! Who may not do it unsigned gets a word that is good once, for a while, for them alone. The command comes
//! again with a signature of the text that says all of it, and that word
//! ([`skerry_stanzas::signature`]). The text is written here anew, from what would be done: a signature that
//! is not one of this very text is none. The words given out are kept in memory only: an agent that was
//! started anew knows none of them, so that nothing that was signed for an earlier one is good any more.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    signature::{About, Keys, On, Signed, Text, ToSign, arguments},
    words::parse,
};
use tokio::time::Instant;
use uuid::Uuid;
use xmpp_parsers::jid::BareJid;

use crate::{
    agent::Agent,
    approval::{Policy, Request},
    asked::{Asked, Target},
    dispatch::{Job, Ready},
};

/// How long a word is good: as long as a form waits for somebody to think.
const GOOD_FOR: Duration = Duration::from_secs(600);
/// The most words that one person has: of more the oldest goes.
const PER_PERSON_MAX: usize = 32;

/// A signature that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    /// As records keep it.
    pub(crate) signed: Signed,
    /// The request it consents to, when it does.
    pub(crate) request: Option<Uuid>,
}

/// A word that was given out.
struct Word {
    nonce: String,
    /// What is mixed into the marks of values that no record keeps.
    blind: String,
    until: Instant,
}

/// Whose keys are known, and the words given out.
#[derive(Default)]
pub(crate) struct Signing {
    keys: RwLock<Arc<Keys>>,
    words: Mutex<HashMap<BareJid, VecDeque<Word>>>,
}

impl Signing {
    /// The keys now in force.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these.
    pub(crate) fn change_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// The words that are still good. Only who has a key has any, so that there are only so many people.
    fn words(&self) -> MutexGuard<'_, HashMap<BareJid, VecDeque<Word>>> {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        words.retain(|_, theirs| {
            theirs.retain(|word| word.until > now);
            !theirs.is_empty()
        });
        words
    }

    /// A new word, and what is mixed into marks.
    fn give(&self, person: &BareJid) -> (String, String) {
        let fresh = || Uuid::new_v4().simple().to_string();
        let (nonce, blind) = (fresh(), fresh());
        let mut words = self.words();
        let theirs = words.entry(person.clone()).or_default();
        if theirs.len() >= PER_PERSON_MAX {
            theirs.pop_front();
        }
        let until = Instant::now() + GOOD_FOR;
        theirs.push_back(Word { nonce: nonce.clone(), blind: blind.clone(), until });
        (nonce, blind)
    }

    /// What goes with a word of theirs, if it is good.
    fn blind(&self, person: &BareJid, nonce: &str) -> Option<String> {
        let words = self.words();
        words.get(person)?.iter().find(|word| word.nonce == nonce).map(|word| word.blind.clone())
    }

    /// Uses a word up; false if another was quicker.
    fn take(&self, person: &BareJid, nonce: &str) -> bool {
        let mut words = self.words();
        let Some(theirs) = words.get_mut(person) else { return false };
        let at = theirs.iter().position(|word| word.nonce == nonce);
        at.and_then(|at| theirs.remove(at)).is_some()
    }
}

impl Agent {
    /// The signature of what is asked, where one is needed: by a policy, or since it consents to what was
    /// asked for with one. What cannot be done is refused before anybody is asked to sign it, or to agree.
    ///
    /// # Errors
    /// What stands in its way; [`Reason::Unsigned`] with what would have to be signed; that it is no
    /// signature of this by this person.
    pub(crate) async fn proof(
        &self,
        asked: &Asked,
        job: &Job,
        ready: &dyn Ready,
        policies: &[Policy],
    ) -> Result<Option<Proof>, Refusal> {
        let consent = self.consents_to(asked);
        if policies.is_empty() && consent.is_none() {
            return Ok(None);
        }
        ready.obstacle(self, job).await?;
        let why = match (policies.iter().find(|policy| policy.signed), &consent) {
            (Some(policy), _) => format!("the policy {} asks for it", policy.name),
            (None, Some(request)) => format!("{} was asked for with one", request.code),
            (None, None) => return Ok(None),
        };
        let person = asked.person();
        let given = asked.signature.as_ref();
        let known = given.and_then(|it| Some((it, self.inner.signing.blind(&person, &it.nonce)?)));
        let Some((signature, blind)) = known else {
            return Err(self.to_be_signed(asked, job, consent.as_ref(), &why));
        };
        let text = self.text(asked, job, consent.as_ref(), signature.nonce.clone(), &blind);
        let (keys, written) = (self.inner.signing.keys(), text.to_string());
        let by = keys.of(&person).find(|key| key.public.verifies(&written, &signature.bytes));
        let Some(key) = by else {
            tracing::warn!(caller = %asked.caller, command = text.command, "a signature that is none was given");
            return Err(Refusal::new(Reason::NotAllowed, "That signature is not yours, or not of this command.")
                .hint("\"skerry signing-key show\" shows your key; those the host knows, \"skerry-agent key list\" on it."));
        };
        if !self.inner.signing.take(&person, &signature.nonce) {
            return Err(self.to_be_signed(asked, job, consent.as_ref(), &why));
        }
        let signed = Signed::new(&text, &key.public, signature);
        Ok(Some(Proof { signed, request: consent.map(|request| request.id) }))
    }

    /// The request that this would consent to, where consents to it are signed, and theirs would count. Who
    /// has nothing to do with it does not learn here that there is one.
    fn consents_to(&self, asked: &Asked) -> Option<Request> {
        let person = asked.person();
        let find = |code: &str| {
            let request = self.inner.approvals.find(code)?.request;
            (request.signed && request.is_waiting()).then_some(request)
        };
        match asked.declaration.permission().as_str() {
            "host.approve" => {
                let request = find(&parse::<host::Approve>(&asked.argv).ok()?.code)?;
                let agreed = request.agreed.iter().any(|agreed| agreed.who == person);
                (!agreed && self.can_agree_to(&person, &request)).then_some(request)
            }
            "host.break-glass" => {
                let request = find(&parse::<host::BreakGlass>(&asked.argv).ok()?.code)?;
                self.can_do_without(&person, &request).then_some(request)
            }
            _ => None,
        }
    }

    /// What is to be signed for this to be done.
    fn text(&self, asked: &Asked, job: &Job, to: Option<&Request>, nonce: String, blind: &str) -> Text {
        let on = job.machine().ok().map(|machine| {
            let record = machine.record();
            On { name: record.name.to_string(), id: machine.card.id.to_string() }
        });
        Text {
            host: self.addresses().host().to_bare(),
            caller: asked.person(),
            command: asked.declaration.permission(),
            on,
            arguments: arguments(asked.declaration, &asked.argv, blind),
            about: to.and_then(about),
            nonce,
        }
    }

    /// No, but: with what would have to be signed, for who has a key here.
    fn to_be_signed(&self, asked: &Asked, job: &Job, to: Option<&Request>, why: &str) -> Refusal {
        let person = asked.person();
        let refusal = |text: String| Refusal::new(Reason::Unsigned, text);
        if self.inner.signing.keys().of(&person).next().is_none() {
            return refusal(format!(
                "That needs your signature ({why}), and this host knows no key of yours."
            ))
            .hint("Make one: skerry signing-key new. Who administers the host adds the line that it shows.");
        }
        let (nonce, blind) = self.inner.signing.give(&person);
        let text = self.text(asked, job, to, nonce, &blind).to_string();
        let hidden = asked.declaration.arguments().iter().any(|argument| !argument.recorded);
        refusal(format!("That needs your signature ({why}), which only the program skerry can give."))
            .hint(format!("Run: {}", typed(asked)))
            .sign(ToSign { text, blind: hidden.then_some(blind) })
    }

    /// Whether what somebody signed when they asked for it is still this, and by a key that is still theirs.
    pub(crate) fn is_still_signed(&self, request: &Request, words: &[String]) -> bool {
        let keys = self.inner.signing.keys();
        let Some(signed) = &request.accepted.signature else { return !request.signed };
        let (Some(text), Some(declaration)) = (signed.checked(&keys), request.declaration()) else {
            return false;
        };
        let on = text.on.as_ref().map(|on| on.id.clone());
        let theirs = request.is_by(&text.caller)
            && text.command == request.accepted.permission
            && on == request.machine.map(|id| id.to_string())
            && same(&text, &arguments(declaration, words, ""));
        let consents =
            request.emergency.iter().all(|one| request.has_signed(&one.by, one.signature.as_deref(), &keys));
        theirs && (consents || !request.signed)
    }
}

/// Whether these are the arguments of a text, as far as it can be told without what is mixed into marks.
fn same(text: &Text, given: &[(String, skerry_stanzas::signature::Given)]) -> bool {
    use skerry_stanzas::signature::Given::Hidden;
    let alike = |((one, was), (other, is)): (&(String, _), &(String, _))| {
        one == other && (was == is || matches!((was, is), (Hidden(_), Hidden(_))))
    };
    text.arguments.len() == given.len() && text.arguments.iter().zip(given).all(alike)
}

/// What a consent to a request is to: all of what its asker signed.
fn about(request: &Request) -> Option<About> {
    let asked = Text::parse(&request.accepted.signature.as_ref()?.text)?;
    Some(About {
        code: request.code.clone(),
        id: request.id.to_string(),
        by: asked.caller,
        command: asked.command,
        on: asked.on,
        arguments: asked.arguments,
        hash: request.hash.clone(),
    })
}

/// As it is typed in a shell, as far as that can be said in a line.
fn typed(asked: &Asked) -> String {
    let is_plain = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "@._:/-".contains(c))
    };
    let mut line = format!("skerry {}", asked.declaration.spoken());
    if let Target::Machine(name) = &asked.target {
        let name = name.to_string();
        line.push_str(&if is_plain(&name) { format!(" {name}") } else { format!(" {name:?}") });
    }
    let mut said = 0;
    for name in asked.declaration.positional {
        let prefix = format!("--{name}=");
        let values = asked.argv.iter().filter_map(|word| word.strip_prefix(&prefix));
        for value in values.filter(|value| is_plain(value)) {
            line.push_str(&format!(" {value}"));
            said += 1;
        }
    }
    if said < asked.argv.len() { line + " …" } else { line }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_word_is_good_once_for_one_person_and_for_a_while() {
        let signing = Signing::default();
        let (ann, eve) = (BareJid::new("ann@x").unwrap(), BareJid::new("eve@x").unwrap());
        let (one, blind) = signing.give(&ann);
        assert_eq!(signing.blind(&ann, &one), Some(blind));
        assert_eq!(signing.blind(&eve, &one), None);
        assert!(!signing.take(&eve, &one) && signing.take(&ann, &one));
        assert!(!signing.take(&ann, &one) && signing.blind(&ann, &one).is_none(), "it was used up");
        let (old, _) = signing.give(&ann);
        let (late, _) = signing.give(&eve);
        for _ in 0..PER_PERSON_MAX {
            signing.give(&ann);
        }
        assert!(signing.blind(&ann, &old).is_none(), "the oldest went");
        assert!(signing.blind(&eve, &late).is_some(), "and nobody else's");
        tokio::time::advance(GOOD_FOR).await;
        assert!(signing.blind(&eve, &late).is_none() && signing.words().is_empty());
    }
}
