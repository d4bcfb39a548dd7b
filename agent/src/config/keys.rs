//! Which keys there are, so that an unknown one is refused with the nearest known one.

use toml::{Table, Value};

const TOP: &[&str] = &[
    "name",
    "state",
    "link",
    "roles",
    "approval",
    "drivers",
    "trash",
    "images",
    "catalogues",
    "files",
    "network",
    "peers",
    "migration",
    "metrics",
    "prometheus",
    "audit",
    "log",
];
const IMAGE: &[&str] = &["kernel", "initrd", "cmdline", "disk", "about"];
const CATALOGUE: &[&str] = &["source", "key"];
const APPROVAL: &[&str] =
    &["what", "on", "need", "from", "within", "during", "except", "emergency", "reactions", "room", "signed"];
const SECTIONS: &[(&str, &[&str])] = &[
    ("link", &["kind", "jid", "server", "secret_file", "tls", "ca"]),
    ("roles", &["admin", "operator", "viewer"]),
    ("drivers", &["enabled", "default"]),
    ("trash", &["keep"]),
    ("files", &["allow", "import", "export"]),
    ("migration", &["listen", "ports"]),
    ("metrics", &["every", "history"]),
    ("prometheus", &["listen"]),
    ("network", &["by", "helper"]),
    ("audit", &["witnesses", "publish", "rows"]),
    ("log", &["format"]),
];

/// The first unknown key (with dots), and what to write instead.
pub(super) fn check(table: &Table) -> Result<(), (String, String)> {
    known("", table, TOP)?;
    for (section, keys) in SECTIONS {
        if let Some(Value::Table(inner)) = table.get(*section) {
            known(section, inner, keys)?;
        }
    }
    for (section, keys) in [("images", IMAGE), ("catalogues", CATALOGUE), ("approval", APPROVAL)] {
        let Some(Value::Table(named)) = table.get(section) else { continue };
        for (name, one) in named {
            if let Value::Table(one) = one {
                known(&format!("{section}.{name}"), one, keys)?;
            }
        }
    }
    if table.contains_key("link") {
        return Ok(());
    }
    Err(("link".into(), "is missing: it says how to reach the server; run skerry-agent setup".into()))
}

fn known(section: &str, table: &Table, keys: &[&str]) -> Result<(), (String, String)> {
    let Some(odd) = table.keys().find(|key| !keys.contains(&key.as_str())) else { return Ok(()) };
    let what = match nearest(odd, keys) {
        Some(near) => format!("there is no such key; did you mean {near}?"),
        None => format!("there is no such key; there are: {}", keys.join(", ")),
    };
    let key = if section.is_empty() { odd.clone() } else { format!("{section}.{odd}") };
    Err((key, what))
}

/// The nearest of `known`, when one is near enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .map(|(_, candidate)| candidate)
}
