//! Requests that were asked for together: each is carried out by itself, but people are asked about all of
//! them at once, by one code, and hear at once what became of them. Alone, a request is a group of itself.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use skerry_stanzas::{payload::Together, reply::RequestLine, safe::safe_line};
use xmpp_parsers::jid::BareJid;

use super::{
    Approvals, Open,
    request::{Request, hex},
};
use crate::confirm;

/// The most that are asked about at once: all of it has to fit in a message.
const MEMBERS_MAX: u16 = 64;
/// How long the next of several may take before those that are there are asked about.
const GATHERED_WITHIN: TimeDelta = TimeDelta::seconds(2);
/// How many codes are remembered.
const CODES_MAX: usize = 1024;
/// So much of what will be done is shown of each of several.
const EFFECT_CHARS_MAX: usize = 200;
/// So much of somebody's name is in the code of what they asked for on several hosts.
const NAME_CHARS_MAX: usize = 8;

/// Several that are asked for together. Once people may have seen them, none is added any more: what is
/// agreed to is what was shown. Their code is not given to others so soon.
pub(crate) struct Gathering {
    by: BareJid,
    together: Together,
    members: u16,
    /// Nobody is asked before, unless all are there.
    until: DateTime<Utc>,
    /// More may come.
    open: bool,
}

/// `7f3a` of `7f3a.2`.
pub(crate) fn group_of(code: &str) -> &str {
    code.split_once('.').map_or(code, |(group, _)| group)
}

fn number_of(code: &str) -> u16 {
    code.split_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or_default()
}

/// The code that every host gives to what one person asks for together: it names them, so that nobody
/// else's has it.
fn code_of(by: &BareJid, id: &str) -> String {
    let name = by.node().map(|node| node.as_str()).unwrap_or_default();
    let name = name.chars().filter(char::is_ascii_alphanumeric).take(NAME_CHARS_MAX).collect::<String>();
    let digest = hex(&Sha256::new().chain_update(by.as_str()).chain_update([0]).chain_update(id).finalize());
    format!("{}-{}", name.to_lowercase(), &digest[..4])
}

impl Approvals {
    /// A code for a request that somebody makes.
    pub(super) fn fresh_code(&self, by: &BareJid, together: Option<&Together>) -> String {
        let open = self.open();
        let mut gathering = self.gathering();
        let taken = |code: &str, gathering: &BTreeMap<String, Gathering>| {
            open.keys().any(|other| group_of(other) == code) || gathering.contains_key(code)
        };
        let Some(together) = together else {
            return confirm::fresh_code(|code| taken(code, &gathering));
        };
        let until = Utc::now() + GATHERED_WITHIN;
        let more = |one: &Gathering| one.open && one.members < MEMBERS_MAX;
        let same = |one: &Gathering| more(one) && one.by == *by && one.together == *together;
        if let Some((code, one)) = gathering.iter_mut().find(|(_, one)| same(one)) {
            one.members += 1;
            one.until = until;
            return format!("{code}.{}", one.members);
        }
        let named = code_of(by, &together.id);
        let code = match taken(&named, &gathering) {
            false => named,
            true => confirm::fresh_code(|code| taken(code, &gathering)),
        };
        if gathering.len() >= CODES_MAX {
            let oldest = gathering.iter().min_by_key(|(_, one)| one.until).map(|(code, _)| code.clone());
            oldest.and_then(|code| gathering.remove(&code));
        }
        let first = Gathering { by: by.clone(), together: together.clone(), members: 1, until, open: true };
        gathering.insert(code.clone(), first);
        format!("{code}.1")
    }

    /// From when on people can be asked about it: none, if that is now. Then nothing is added any more.
    pub(super) fn gathered(&self, group: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut gathering = self.gathering();
        let one = gathering.get_mut(group)?;
        one.open &= one.members < one.together.of.min(MEMBERS_MAX) && now < one.until;
        one.open.then_some(one.until)
    }

    /// Somebody answered: nothing is added any more.
    pub(super) fn gather_no_more(&self, code: &str) {
        if let Some(one) = self.gathering().get_mut(group_of(&code.trim().to_lowercase())) {
            one.open = false;
        }
    }

    /// The requests that are meant by a code: one, or all of several.
    pub(crate) fn meant_by(&self, code: &str) -> Vec<Open> {
        let code = code.trim().to_lowercase();
        let meant = |own: &str| own == code || group_of(own) == code;
        let mut all: Vec<Open> =
            self.open().iter().filter(|(own, _)| meant(own)).map(|(_, open)| open.clone()).collect();
        all.sort_by_key(|open| number_of(&open.request.code));
        all
    }

    /// All requests, those together that belong together.
    pub(crate) fn groups(&self) -> Vec<Vec<Open>> {
        let mut groups: BTreeMap<String, Vec<Open>> = BTreeMap::new();
        for (code, open) in self.open().iter() {
            groups.entry(group_of(code).to_owned()).or_default().push(open.clone());
        }
        for group in groups.values_mut() {
            group.sort_by_key(|open| number_of(&open.request.code));
        }
        groups.into_values().collect()
    }
}

/// `web1`, `web1 and web2`, `web1, web2 and web3`.
pub(crate) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}

/// Each once, in the order in which they came first.
pub(super) fn unlike<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

/// What people call them all.
pub(crate) fn code(all: &[Request]) -> String {
    all.first().map(|one| group_of(&one.code).to_owned()).unwrap_or_default()
}

/// `kill db1`; `kill web1, web2 and web3`; `kill web1 and delete web2`.
pub(crate) fn command(all: &[Request]) -> String {
    let verbs = unlike(all.iter().map(Request::verb));
    match verbs.as_slice() {
        [verb] if all.len() > 1 => {
            let names: Vec<String> =
                all.iter().filter_map(|one| one.accepted.name.as_ref().map(ToString::to_string)).collect();
            format!("{verb} {}", listed(&names))
        }
        _ => listed(&all.iter().map(Request::command).collect::<Vec<_>>()),
    }
}

/// What exactly will be done: a line each.
pub(crate) fn effect(all: &[Request]) -> String {
    match all {
        [one] => one.effect.clone(),
        all => {
            let line =
                |one: &Request| format!("- {}: {}", one.command(), safe_line(&one.effect, EFFECT_CHARS_MAX));
            all.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

/// As they are shown: one line for all of them; none for none. `missing` is whose consent any of them needs.
pub(crate) fn line(
    all: &[Request],
    missing: Vec<String>,
    now: DateTime<Utc>,
    sentence: String,
) -> Option<RequestLine> {
    let (first, rest) = all.split_first()?;
    let mut line = first.line(missing, now, sentence);
    line.code = code(all);
    if rest.is_empty() {
        return Some(line);
    }
    let lines: Vec<RequestLine> = rest.iter().map(|one| one.line(Vec::new(), now, String::new())).collect();
    line.what = command(all);
    line.machine = None;
    line.effect = effect(all);
    line.hash = hashes(all);
    line.agreed = unlike(line.agreed.into_iter().chain(lines.iter().flat_map(|one| one.agreed.clone())));
    line.not_before = lines.iter().map(|one| one.not_before).chain([line.not_before]).flatten().max();
    line.until = lines.iter().map(|one| one.until).chain([line.until]).min()?;
    Some(line)
}

/// The beginning of a hash over all of theirs.
fn hashes(all: &[Request]) -> String {
    let mut digest = Sha256::new();
    all.iter().for_each(|one| digest.update(&one.hash));
    hex(&digest.finalize()).chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn ann() -> BareJid {
        BareJid::new("ann@example.org").unwrap()
    }

    fn together(id: &str, of: u16) -> Together {
        Together { id: id.into(), of }
    }

    #[test]
    fn what_belongs_together_has_one_code_on_every_host() {
        let (one, other) = (Approvals::default(), Approvals::default());
        let together = together("5e1f", 3);
        let code = one.fresh_code(&ann(), Some(&together));
        assert_eq!(code, other.fresh_code(&ann(), Some(&together)));
        assert!(code.starts_with("ann-") && code.ends_with(".1"), "{code}");
        let group = group_of(&code).to_owned();
        assert_eq!(one.fresh_code(&ann(), Some(&together)), format!("{group}.2"));
        let eve = BareJid::new("eve@example.org").unwrap();
        assert!(!one.fresh_code(&eve, Some(&together)).starts_with(&group), "not who says the same words");
        let alone = one.fresh_code(&ann(), None);
        assert_eq!((alone.len(), group_of(&alone)), (4, alone.as_str()));
    }

    #[test]
    fn nothing_is_added_to_what_people_may_have_seen() {
        let approvals = Approvals::default();
        let now = Utc::now();
        let two = together("a", 2);
        let group = group_of(&approvals.fresh_code(&ann(), Some(&two))).to_owned();
        let until = approvals.gathered(&group, now).unwrap();
        approvals.fresh_code(&ann(), Some(&two));
        assert_eq!(approvals.gathered(&group, now), None, "all are there");
        assert_ne!(group_of(&approvals.fresh_code(&ann(), Some(&two))), group, "one more is another");
        let more = together("b", 9);
        let group = group_of(&approvals.fresh_code(&ann(), Some(&more))).to_owned();
        assert!(approvals.gathered(&group, now).is_some());
        assert_eq!(approvals.gathered(&group, until + GATHERED_WITHIN), None, "the others do not come");
        let answered = together("c", 9);
        let code = approvals.fresh_code(&ann(), Some(&answered));
        approvals.gather_no_more(&code);
        assert_eq!(approvals.gathered(group_of(&code), now), None);
    }

    #[test]
    fn a_group_is_bounded() {
        let approvals = Approvals::default();
        let many = together("a", 1000);
        let codes: Vec<String> =
            (0..=MEMBERS_MAX).map(|_| approvals.fresh_code(&ann(), Some(&many))).collect();
        let groups = unlike(codes.iter().map(|code| group_of(code)));
        assert_eq!(groups.len(), 2, "{groups:?}");
    }

    #[test]
    fn names_are_listed_as_people_do() {
        let words = |some: &[&str]| listed(&some.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&["a"]), "a");
        assert_eq!(words(&["a", "b"]), "a and b");
        assert_eq!(words(&["a", "b", "c"]), "a, b and c");
    }
}
