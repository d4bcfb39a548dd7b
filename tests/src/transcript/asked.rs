//! Which commands a transcript asks for.

use std::{collections::BTreeSet, path::Path};

use anyhow::Context;
use minidom::Element;
use skerry_stanzas::{
    command::{COMMANDS, Object},
    ns, words,
};

use super::{
    parse,
    script::{Line, Script},
};

/// The permissions of all commands that somebody asks for in a transcript, by form or in a chat.
///
/// # Errors
/// It cannot be read.
pub fn asked(path: &Path) -> anyhow::Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let script = Script::parse(&text)?;
    let mut found = BTreeSet::new();
    for (_, line) in &script.lines {
        let Line::Sends(_, xml) = line else { continue };
        // Hostile ones may be no XML at all.
        let Ok(stanza) = parse(xml) else { continue };
        found.extend(permission(&stanza));
    }
    Ok(found)
}

fn permission(stanza: &Element) -> Option<String> {
    let at_machine = stanza.attr("to")?.split_once('@').is_some_and(|(_, domain)| domain.contains("kvm1"));
    if let Some(command) = stanza.get_child("command", ns::ADHOC) {
        let node = command.attr("node")?;
        let verb = node.rsplit('/').next().unwrap_or(node);
        let object = if at_machine || node.contains('/') { Object::Machine } else { Object::Host };
        return known(object, verb);
    }
    let said = words::joined(words::split(&stanza.get_child("body", ns::CLIENT)?.text()).ok()?);
    let (first, second) = (said.first()?, said.get(1));
    let other = second.and_then(|second| known(Object::Machine, second));
    match at_machine {
        true => known(Object::Machine, first).or(other),
        // At a host a machine is named first, or last.
        false => known(Object::Host, first).or(other).or_else(|| known(Object::Machine, first)),
    }
}

fn known(object: Object, word: &str) -> Option<String> {
    let mut of = COMMANDS.iter().filter(|declaration| declaration.object == object);
    let found = of.find(|declaration| declaration.verb == word || declaration.aliases.contains(&word));
    found.map(|declaration| declaration.permission())
}
