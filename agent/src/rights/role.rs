//! Roles that can be granted: sets of permissions under a name. Some are built in, others are defined on a
//! host.

use std::collections::BTreeMap;

use skerry_stanzas::{
    command::{COMMANDS, Declaration, Effect, Object, Role},
    words::nearest,
};

/// The roles defined on this host: their names, and the permissions each holds.
pub(crate) type Defined = BTreeMap<String, Vec<String>>;

/// A role that every host has.
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// What who has it does.
    pub about: &'static str,
    holds: fn(&Declaration) -> bool,
}

impl BuiltIn {
    /// Whether it holds a command.
    pub fn holds(&self, declaration: &Declaration) -> bool {
        (self.holds)(declaration)
    }
}

/// The roles that every host has.
pub fn built_in_roles() -> &'static [BuiltIn] {
    BUILT_IN
}

/// The role that who makes a machine by a grant gets on it.
pub(crate) const OWNER: &str = "owner";

pub(crate) const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { name: "viewer", about: "looks at everything", holds: |it| it.role <= Role::Viewer },
    BuiltIn { name: "power", about: "starts, shuts down, reboots, and types on the console", holds: power },
    BuiltIn { name: "snapshot", about: "takes, reverts and deletes snapshots", holds: snapshot },
    BuiltIn {
        name: "editor",
        about: "power and snapshot, and the machine's disks and labels",
        holds: editor,
    },
    BuiltIn {
        name: OWNER,
        about: "all of a machine but what reaches into its host, and may grant the same to others",
        holds: owner,
    },
    BuiltIn { name: "operator", about: "runs machines", holds: |it| it.role <= Role::Operator },
    BuiltIn { name: "auditor", about: "looks at everything, also at who may do what", holds: auditor },
    BuiltIn { name: "admin", about: "everything", holds: |_| true },
];

/// What may be seen of a machine by whoever may do anything with it.
fn looks(it: &Declaration) -> bool {
    it.object == Object::Machine && it.role == Role::Viewer && it.effect == Effect::Read
}

fn power(it: &Declaration) -> bool {
    let power = ["start", "shutdown", "reboot", "pause", "resume", "send"];
    looks(it) || (it.object == Object::Machine && power.contains(&it.verb))
}

fn snapshot(it: &Declaration) -> bool {
    looks(it) || (it.object == Object::Machine && it.topic() == Some("snapshot"))
}

fn editor(it: &Declaration) -> bool {
    let edits = ["kill", "reset", "label", "autostart", "protect", "rename", "type", "key"];
    let disks = ["disk-list", "disk-create", "disk-resize", "disk-trim"];
    power(it)
        || snapshot(it)
        || (it.object == Object::Machine && (edits.contains(&it.verb) || disks.contains(&it.verb)))
}

/// Not what names files, networks or devices of the host (a definition can): that is the host's own.
fn owner(it: &Declaration) -> bool {
    let guest = ["exec", "file-read", "file-write", "password", "fsfreeze", "fsthaw"];
    let own = ["delete", "definition-list", "alert-add", "alert-remove"];
    let gives = ["grant", "deny", "revoke"];
    editor(it)
        || (it.object == Object::Machine && (guest.contains(&it.verb) || own.contains(&it.verb)))
        || (it.object == Object::Host && gives.contains(&it.verb))
}

fn auditor(it: &Declaration) -> bool {
    let of_audit = matches!(it.topic(), Some("audit" | "witness"));
    let of_rights = matches!(it.verb, "who-can" | "grant-export");
    it.effect == Effect::Read && (it.role == Role::Viewer || of_rights || of_audit)
}

fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|role| role.name == name)
}

/// Whether a role or permission holds a command.
pub(crate) fn holds(word: &str, declaration: &Declaration, defined: &Defined) -> bool {
    if let Some(role) = built_in(word) {
        return role.holds(declaration);
    }
    let permission = declaration.permission();
    word == permission || defined.get(word).is_some_and(|held| held.contains(&permission))
}

/// The permissions of a role or of a permission, in the order of the manual.
pub(crate) fn permissions(word: &str, defined: &Defined) -> Vec<String> {
    let held = COMMANDS.iter().filter(|declaration| holds(word, declaration, defined));
    held.map(Declaration::permission).collect()
}

/// The permissions of what a role is made of, in the order of the manual.
///
/// # Errors
/// The first word that is no role, permission or command: a sentence, and the nearest there is.
pub(crate) fn made_of(words: &[String], defined: &Defined) -> Result<Vec<String>, (String, Option<String>)> {
    let mut read_words = Vec::new();
    for word in words.iter().flat_map(|word| word.split(',')).filter(|word| !word.trim().is_empty()) {
        read_words.push(read(word, defined)?);
    }
    let held = |it: &&Declaration| read_words.iter().any(|word| holds(word, it, defined));
    Ok(COMMANDS.iter().filter(held).map(Declaration::permission).collect())
}

/// What is granted, in words that mean the same on another host: a role defined here is its permissions.
pub(crate) fn elsewhere(words: &[String], defined: &Defined) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in words {
        match defined.get(word) {
            Some(held) => all.extend(held.iter().cloned()),
            None => all.push(word.clone()),
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Those of such words that this host knows. What it does not know could be defined here some day, as
/// something else.
pub(crate) fn from_elsewhere(words: &[String]) -> Vec<String> {
    let known = |word: &&String| {
        built_in(word).is_some() || COMMANDS.iter().any(|declaration| declaration.permission() == **word)
    };
    words.iter().filter(known).cloned().collect()
}

/// The role on the whole host a word is, when it is one of those the configuration can give.
pub(crate) fn standing(word: &str) -> Option<Role> {
    [Role::Admin, Role::Operator, Role::Viewer].into_iter().find(|role| role.word() == word)
}

/// Reads one word of what is granted: a role, a permission, or a command, which is the permission of
/// machines, or of the host where machines have none of that name.
///
/// # Errors
/// A sentence, and the nearest there is.
pub(crate) fn read(word: &str, defined: &Defined) -> Result<String, (String, Option<String>)> {
    let word = word.trim().to_lowercase();
    if built_in(&word).is_some() || defined.contains_key(&word) {
        return Ok(word);
    }
    let verb = word.replace(' ', "-");
    let of = |object| {
        let is = |it: &&Declaration| it.verb == verb || it.aliases.contains(&word.as_str());
        COMMANDS.iter().filter(|it| it.object == object).find(is)
    };
    let exact = COMMANDS.iter().find(|it| it.permission() == word);
    if let Some(found) = exact.or_else(|| of(Object::Machine)).or_else(|| of(Object::Host)) {
        return Ok(found.permission());
    }
    let names = BUILT_IN.iter().map(|role| role.name).chain(defined.keys().map(String::as_str));
    let near = nearest(&word, names.chain(COMMANDS.iter().map(|it| it.verb))).map(str::to_owned);
    Err((format!("There is no role or command {:?}.", skerry_stanzas::safe::safe_line(&word, 40)), near))
}

/// Whether this can be the name of a role that is defined: no other word of what is granted is one.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = (1..=32).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let is_verb = |it: &Declaration| it.verb == name || it.aliases.contains(&name);
    fits && built_in(name).is_none() && !COMMANDS.iter().any(is_verb)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn held(role: &str) -> Vec<String> {
        permissions(role, &Defined::new())
    }

    #[test]
    fn each_role_of_a_machine_holds_the_one_before_it() {
        for [less, more] in
            [["power", "editor"], ["snapshot", "editor"], ["editor", "owner"], ["owner", "admin"]]
        {
            let (less, more) = (held(less), held(more));
            assert!(less.iter().all(|permission| more.contains(permission)), "{less:?} {more:?}");
            assert!(less.len() < more.len());
        }
    }

    #[test]
    fn nothing_an_owner_may_reaches_into_the_host() {
        let owner = held("owner");
        for reaches in
            ["define", "definition-revert", "disk-attach", "disk-move", "export", "migrate", "release"]
        {
            assert!(!owner.contains(&format!("machine.{reaches}")), "{reaches}");
        }
        let host: Vec<_> = owner.iter().filter(|permission| permission.starts_with("host.")).collect();
        assert_eq!(host, ["host.grant", "host.deny", "host.revoke"]);
    }

    #[test]
    fn every_word_a_role_is_made_of_is_a_command() {
        // A slip in one of the lists above would silently hold nothing.
        let source = include_str!("role.rs");
        let lists = source.split("#[cfg(test)]").next().unwrap().lines();
        let lists = lists.filter(|line| line.trim_start().starts_with("let ") && line.contains("= [\""));
        let mut words = 0;
        for list in lists {
            for word in list.split('"').skip(1).step_by(2) {
                assert!(COMMANDS.iter().any(|it| it.verb == word), "{word}");
                words += 1;
            }
        }
        assert!(words > 20, "{words}");
    }

    #[test]
    fn words_are_read_as_roles_permissions_and_commands() {
        let defined = Defined::from([("night".to_owned(), vec!["machine.start".to_owned()])]);
        let read = |word: &str| read(word, &defined);
        assert_eq!(read("Power").unwrap(), "power");
        assert_eq!(read("night").unwrap(), "night");
        assert_eq!(read("start").unwrap(), "machine.start");
        assert_eq!(read("snapshot take").unwrap(), "machine.snapshot-take");
        assert_eq!(read("host.create").unwrap(), "host.create");
        assert_eq!(read("create").unwrap(), "host.create");
        assert_eq!(read("shutdwon").unwrap_err().1.as_deref(), Some("shutdown"));
        assert_eq!(permissions("night", &defined), ["machine.start"]);
        assert!(is_name("night-shift"));
        for no in ["power", "start", "Night", "", "9am", "reboot"] {
            assert!(!is_name(no), "{no}");
        }
    }
}
