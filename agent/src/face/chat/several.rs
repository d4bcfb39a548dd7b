//! Several machines in one line of a host's chat: `shutdown web1 web2`, `kill label:web`.

use hypervisor_core::machine::MachineName;
use skerry_stanzas::{command::Declaration, payload::Together, refusal::Refusal, words};
use xmpp_parsers::jid::BareJid;

use super::{Message, Said, Words, asked, reading};
use crate::{
    asked::{Asked, Target},
    face::{Face, stanza::fresh_id},
    together,
};

/// What a word begins with that means all machines with a label.
const LABEL: &str = "label:";

impl Face {
    /// The machines that are named after a verb, when it is several: none for a command that has another use
    /// for words. Those of a label are those this person may see.
    pub(super) fn several(
        &self,
        person: &BareJid,
        declaration: &'static Declaration,
        named: &[String],
        because: &[String],
    ) -> Option<Said> {
        let bare = named.iter().position(|word| word.contains('=') || word.starts_with("--"));
        let (names, given) = named.split_at(bare.unwrap_or(named.len()));
        let names: Vec<&str> =
            names.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty()).collect();
        let is_several = names.len() > 1 || names.iter().any(|name| name.starts_with(LABEL));
        if !declaration.positional.is_empty() || !is_several {
            return None;
        }
        let mut machines: Vec<MachineName> = Vec::new();
        for name in names {
            let found = match name.strip_prefix(LABEL) {
                Some(label) => self.labelled(person, label),
                None => self.machine_named(person, name).into_iter().collect(),
            };
            if found.is_empty() {
                return Some(match name.strip_prefix(LABEL) {
                    Some(label) => {
                        let label = skerry_stanzas::safe::safe_line(label, 40);
                        Said::Words(Words::new(format!("No machine here has the label {label}.")))
                    }
                    None => reading::missing(name, self.nearest_machine(person, name)),
                });
            }
            machines.extend(found.into_iter().filter(|one| !machines.contains(one)).collect::<Vec<_>>());
        }
        let given: Vec<String> = given.iter().chain(because).cloned().collect();
        Some(match words::arguments(declaration, &given) {
            Ok(argv) => Said::Each { declaration, machines, argv },
            Err(refusal) => refused(declaration, refusal),
        })
    }

    fn labelled(&self, person: &BareJid, label: &str) -> Vec<MachineName> {
        let seen = self.agent.machines_for(person);
        seen.into_iter()
            .filter(|seen| seen.labels.iter().any(|own| own == label))
            .map(|seen| seen.name)
            .collect()
    }
}

/// What a message asks of each of several machines.
pub(super) fn asked_of_each(
    message: &Message,
    declaration: &'static Declaration,
    machines: Vec<MachineName>,
    argv: &[String],
) -> Vec<Asked> {
    let together = Together { id: fresh_id(), of: u16::try_from(machines.len()).unwrap_or(u16::MAX) };
    let each = machines.into_iter().map(|name| {
        let asked = asked(message, declaration, Target::Machine(name), argv.to_vec());
        let key = asked.key.as_ref().map(|key| together::key_of(key, &asked.target));
        Asked { key, together: Some(together.clone()), ..asked }
    });
    each.collect()
}

fn refused(declaration: &'static Declaration, refusal: Refusal) -> Said {
    let words = Words::new(refusal.sentence());
    Said::Refused { declaration, target: Target::Host, refusal, words }
}
