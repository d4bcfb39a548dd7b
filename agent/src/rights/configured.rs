//! The roles of the configuration: who has each on the whole host.

use skerry_stanzas::command::Role;
use xmpp_parsers::jid::BareJid;

use super::Whom;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) role: Role,
    pub(crate) whom: Whom,
}

impl Rule {
    /// The rule as it stands in the configuration.
    pub(crate) fn text(&self) -> String {
        format!("roles.{} names {}", self.role.word(), self.whom)
    }
}

/// The rules of the configuration, highest role first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    rules: Vec<Rule>,
}

impl Roles {
    /// Reads the rules: who has each role, highest role first.
    ///
    /// # Errors
    /// The role with the first one that is no address, and what to write.
    pub fn new(lists: [(Role, &Vec<String>); 3]) -> Result<Self, (Role, String)> {
        let mut rules = Vec::new();
        for (role, list) in lists {
            for text in list {
                let whom = Whom::address(text).ok_or_else(|| {
                    (role, format!("{text:?} is no address; write \"ann@example.org\" or \"example.org\""))
                })?;
                rules.push(Rule { role, whom });
            }
        }
        Ok(Self { rules })
    }

    /// The rule that gives this person the highest role.
    pub(crate) fn rule(&self, person: &BareJid) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.whom.fits(person))
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Rule] {
        &self.rules
    }
}
