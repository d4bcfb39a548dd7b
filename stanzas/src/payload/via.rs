//! What a request passed on its way to a host, as its sender says: `<via/>` in a `<command/>` or a
//! message. Nobody vouches for it; the server vouches for the sender alone.

use minidom::Element;

use crate::{element::set, ns, safe::safe_line};

/// How many are read of one request.
pub const VIAS_MAX: usize = 4;
/// How many characters of each word are kept.
const WORD_MAX: usize = 120;
const NAME: &str = "via";

/// One step of a request's way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// The program: `skerry`, or the name of a bot.
    pub by: String,
    /// Its version.
    pub version: Option<String>,
    /// The name of the computer it runs on.
    pub on: Option<String>,
    /// On whose behalf it asks: an address, or a name.
    pub behalf: Option<String>,
}

impl Via {
    /// The ones in an element, in their order, each word short and on one line; those without a name are
    /// left out.
    pub fn of(element: &Element) -> Vec<Self> {
        let found = element.children().filter(|child| child.is(NAME, ns::COMMAND)).take(VIAS_MAX);
        found.filter_map(Self::read).collect()
    }

    fn read(element: &Element) -> Option<Self> {
        let word = |name: &str| {
            let word = safe_line(element.attr(name)?.trim(), WORD_MAX);
            (!word.is_empty()).then_some(word)
        };
        Some(Self { by: word("by")?, version: word("version"), on: word("on"), behalf: word("for") })
    }
}

impl From<&Via> for Element {
    fn from(via: &Via) -> Self {
        let mut element = Element::bare(NAME, ns::COMMAND);
        let words = [("version", &via.version), ("on", &via.on), ("for", &via.behalf)];
        set(&mut element, "by", Some(&via.by));
        for (name, word) in words {
            set(&mut element, name, word.as_deref());
        }
        element
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_said_is_read_and_bounded() {
        let via = Via {
            by: "skerry".into(),
            version: Some("0.3".into()),
            on: Some("desk".into()),
            behalf: Some("eve@other.example".into()),
        };
        let mut command = Element::bare("command", ns::ADHOC);
        command.append_child(Element::from(&via));
        assert_eq!(Via::of(&command), [via]);
        let mut hostile = Element::bare("command", ns::ADHOC);
        for _ in 0..50 {
            let long = format!("a\n{}", "x".repeat(5000));
            hostile.append_child(Element::from(&Via { by: long, ..Via::default() }));
        }
        hostile.append_child(Element::bare("via", ns::COMMAND));
        let read = Via::of(&hostile);
        assert_eq!(read.len(), VIAS_MAX);
        assert!(read.iter().all(|via| via.by.chars().count() <= WORD_MAX + 1 && !via.by.contains('\n')));
    }
}
