//! Who may do what. The one place where a [`Permit`] is made.
//!
//! A right is a command's permission (`machine.start`). The built-in roles hold the rights whose
//! declared role is theirs or lower; the configuration gives roles to bare addresses or whole
//! domains. Whoever has no role may do nothing and see nothing: the answer to a stranger is the same
//! whether a machine exists or not.

use skerry_stanzas::{
    command::{Declaration, Role},
    refusal::{Reason, Refusal},
};
use xmpp_parsers::jid::{BareJid, Jid};

use crate::asked::Target;

/// The right of one caller to one command on one target. Only [`Roles::permit`] makes one, so
/// whatever takes a permit cannot be reached without.
#[derive(Clone, Debug)]
pub struct Permit {
    caller: Jid,
    role: Role,
    rule: String,
    declaration: &'static Declaration,
    target: Target,
}

impl Permit {
    /// Who asks.
    pub fn caller(&self) -> &Jid {
        &self.caller
    }
    /// Who asks, without a resource.
    pub fn person(&self) -> BareJid {
        self.caller.to_bare()
    }
    /// The role that gives the right.
    pub fn role(&self) -> Role {
        self.role
    }
    /// The rule that gives the role, in words.
    pub fn rule(&self) -> &str {
        &self.rule
    }
    /// Which command.
    pub fn declaration(&self) -> &'static Declaration {
        self.declaration
    }
    /// On what.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// To whom a rule gives a role.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    Person(BareJid),
    /// Every account of a domain, but not the domain itself.
    Domain(BareJid),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    role: Role,
    whom: Whom,
}

impl Rule {
    fn fits(&self, person: &BareJid) -> bool {
        match &self.whom {
            Whom::Person(someone) => someone == person,
            Whom::Domain(domain) => person.node().is_some() && person.domain() == domain.domain(),
        }
    }

    /// The rule as it stands in the configuration.
    fn text(&self) -> String {
        let whom = match &self.whom {
            Whom::Person(jid) | Whom::Domain(jid) => jid,
        };
        format!("roles.{} names {whom}", self.role.word())
    }
}

/// What decides about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The role the person has.
    pub role: Option<Role>,
    /// Why, in words.
    pub rule: String,
}

/// The rules of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
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
                let whom = whom(text).ok_or_else(|| {
                    (role, format!("{text:?} is no address; write \"ann@example.org\" or \"example.org\""))
                })?;
                rules.push(Rule { role, whom });
            }
        }
        Ok(Self { rules })
    }

    /// The rule that gives this person the highest role: rules stand highest role first.
    fn rule(&self, person: &BareJid) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.fits(person))
    }

    /// The person's role, and the rule that gives it.
    pub fn role(&self, person: &BareJid) -> Option<(Role, String)> {
        self.rule(person).map(|rule| (rule.role, rule.text()))
    }

    /// Whether a person would be allowed a command.
    pub fn allows(&self, person: &BareJid, declaration: &Declaration) -> bool {
        self.rule(person).is_some_and(|rule| rule.role >= declaration.role)
    }

    /// Whether a person would be allowed a command, and by which rule.
    pub fn decide(&self, person: &BareJid, declaration: &Declaration) -> Decision {
        let permission = declaration.permission();
        match self.rule(person) {
            None => Decision { allowed: false, role: None, rule: format!("no rule names {person}") },
            Some(rule) => {
                let allowed = self.allows(person, declaration);
                let rule_text = rule.text();
                let words = if allowed { "allows" } else { "does not allow" };
                let text = format!(
                    "{rule_text}: {} {words} {permission}{}",
                    rule.role.word(),
                    if allowed {
                        String::new()
                    } else {
                        format!(", which needs {}", declaration.role.word())
                    }
                );
                Decision { allowed, role: Some(rule.role), rule: text }
            }
        }
    }

    /// The right to a command, or why not. Looks at nothing but who asks and for what: not at the
    /// arguments, and not at whether the target exists.
    ///
    /// # Errors
    /// [`Reason::NotAllowed`].
    pub fn permit(
        &self,
        caller: &Jid,
        declaration: &'static Declaration,
        target: &Target,
    ) -> Result<Permit, Refusal> {
        let person = caller.to_bare();
        let decision = self.decide(&person, declaration);
        match decision {
            Decision { allowed: true, role: Some(role), rule } => {
                Ok(Permit { caller: caller.clone(), role, rule, declaration, target: target.clone() })
            }
            Decision { role: None, .. } => {
                Err(Refusal::new(Reason::NotAllowed, format!("You ({person}) have no role on this host."))
                    .hint("Ask whoever runs it to add you to [roles] of the agent's configuration."))
            }
            Decision { role: Some(role), .. } => Err(Refusal::new(
                Reason::NotAllowed,
                format!(
                    "\"{}\" needs the role {}; yours is {}.",
                    declaration.spoken(),
                    declaration.role.word(),
                    role.word()
                ),
            )
            .hint("Ask an admin of this host.")),
        }
    }
}

/// Reads "ann@example.org" or "example.org".
fn whom(text: &str) -> Option<Whom> {
    let jid = Jid::new(text).ok()?;
    if jid.resource().is_some() {
        return None;
    }
    let bare = jid.to_bare();
    Some(if bare.node().is_some() { Whom::Person(bare) } else { Whom::Domain(bare) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use skerry_stanzas::command::COMMANDS;

    use super::*;

    fn lists(of: [&str; 3]) -> Result<Roles, (Role, String)> {
        let [admin, operator, viewer] = of.map(|one| vec![one.to_owned()]);
        Roles::new([(Role::Admin, &admin), (Role::Operator, &operator), (Role::Viewer, &viewer)])
    }

    fn roles() -> Roles {
        lists(["ann@example.org", "otto@example.org", "example.org"]).unwrap()
    }

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    #[test]
    fn every_command_is_refused_to_a_stranger_and_allowed_to_an_admin() {
        let target = Target::Host;
        for stranger in ["eve@elsewhere.org", "example.org", "ann@sub.example.org", "ann@elsewhere.org"] {
            for declaration in COMMANDS {
                let refusal = roles().permit(&jid(stranger), declaration, &target).unwrap_err();
                assert_eq!(refusal.reason, Reason::NotAllowed, "{stranger} {declaration:?}");
            }
        }
        for declaration in COMMANDS {
            roles().permit(&jid("ann@example.org/phone"), declaration, &target).unwrap();
        }
    }

    #[test]
    fn a_role_holds_the_rights_of_the_ones_below_and_none_above() {
        for (person, role) in [("otto@example.org", Role::Operator), ("vera@example.org", Role::Viewer)] {
            for declaration in COMMANDS {
                let allowed = roles().permit(&jid(person), declaration, &Target::Host).is_ok();
                assert_eq!(allowed, declaration.role <= role, "{person} {declaration:?}");
            }
        }
    }

    #[test]
    fn the_rule_that_decides_is_named() {
        let start = COMMANDS.iter().find(|d| d.verb == "start").unwrap();
        let rule = |person: &str| roles().decide(&jid(person).to_bare(), start).rule;
        assert_eq!(
            rule("otto@example.org"),
            "roles.operator names otto@example.org: operator allows machine.start"
        );
        assert_eq!(
            rule("vera@example.org"),
            "roles.viewer names example.org: viewer does not allow machine.start, which needs operator"
        );
        assert_eq!(rule("eve@elsewhere.org"), "no rule names eve@elsewhere.org");
    }

    #[test]
    fn a_resource_or_nonsense_is_no_rule() {
        for odd in ["ann@example.org/phone", "@@", ""] {
            assert_eq!(lists(["ann@example.org", "otto@example.org", odd]).unwrap_err().0, Role::Viewer);
        }
    }
}
