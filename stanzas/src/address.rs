//! A machine's name as the local part of an address, and back (XEP-0106).

use xmpp_parsers::jid::{BareJid, Jid, NodePart};

/// The characters an address cannot hold as they are, and what stands for each (XEP-0106 §4.1).
const ESCAPED: [(char, &str); 10] = [
    (' ', "\\20"),
    ('"', "\\22"),
    ('&', "\\26"),
    ('\'', "\\27"),
    ('/', "\\2f"),
    (':', "\\3a"),
    ('<', "\\3c"),
    ('>', "\\3e"),
    ('@', "\\40"),
    ('\\', "\\5c"),
];

/// Why a name cannot be in an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// XEP-0106 §4.2: nothing escaped begins or ends with a space.
    #[error("a name in an address neither begins nor ends with a space")]
    SpaceAtEdge,
    /// Empty, over 1,023 bytes, or with characters no address takes (RFC 7622 §3.3).
    #[error("it cannot be the local part of an address")]
    LocalPart,
    /// An address writes it otherwise (capitals small, ß as ss: RFC 7622 §3.3): it would be another
    /// machine's address, and nobody could tell from the address what it is called.
    #[error("in an address it is written {0:?}: take that for a name")]
    Altered(String),
}

/// The name escaped. A backslash is escaped only where it would otherwise begin an escape sequence.
///
/// # Errors
/// It begins or ends with a space.
pub fn escape(name: &str) -> Result<String, AddressError> {
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err(AddressError::SpaceAtEdge);
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for (at, c) in name.char_indices() {
        match ESCAPED.iter().find(|(character, _)| *character == c) {
            Some(_) if c == '\\' && sequence(&name[at..]).is_none() => escaped.push(c),
            Some((_, code)) => escaped.push_str(code),
            None => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// The name an escaped local part stands for. What is no escape sequence is left as it is.
///
/// # Errors
/// It begins or ends with an escaped space.
pub fn unescape(local: &str) -> Result<String, AddressError> {
    let mut name = String::with_capacity(local.len());
    let mut rest = local;
    while let Some(c) = rest.chars().next() {
        match sequence(rest) {
            Some(character) => {
                name.push(character);
                rest = &rest[3..];
            }
            None => {
                name.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err(AddressError::SpaceAtEdge);
    }
    Ok(name)
}

/// The character whose escape sequence `text` begins with.
fn sequence(text: &str) -> Option<char> {
    ESCAPED.iter().find(|(_, code)| text.starts_with(code)).map(|(character, _)| *character)
}

/// The address of a machine at the component whose domain is `host`'s.
///
/// # Errors
/// The name cannot be in an address, or not as it is. What this takes, [`name_of`] gives back.
pub fn machine_jid(name: &str, host: &BareJid) -> Result<BareJid, AddressError> {
    let node = escape(name)?;
    let node = NodePart::new(&node).map_err(|_| AddressError::LocalPart)?;
    match unescape(node.as_str())? {
        written if written == name => Ok(BareJid::from_parts(Some(&node), host.domain())),
        written => Err(AddressError::Altered(written)),
    }
}

/// How an address writes this name: what would be taken instead of one that is [`AddressError::Altered`].
/// None where no address can write it.
pub fn written(name: &str) -> Option<String> {
    unescape(NodePart::new(&escape(name).ok()?).ok()?.as_str()).ok()
}

/// The name in a machine's address; none in a host's, or where it cannot be one.
pub fn name_of(jid: &Jid) -> Option<String> {
    unescape(jid.node()?.as_str()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    /// The examples of XEP-0106 §3 and §5, and the awkward ones of its tables.
    const EXAMPLES: [(&str, &str); 21] = [
        ("space cadet", "space\\20cadet"),
        ("call me \"ishmael\"", "call\\20me\\20\\22ishmael\\22"),
        ("at&t guy", "at\\26t\\20guy"),
        ("d'artagnan", "d\\27artagnan"),
        ("/.fanboy", "\\2f.fanboy"),
        ("::foo::", "\\3a\\3afoo\\3a\\3a"),
        ("<foo>", "\\3cfoo\\3e"),
        ("user@host", "user\\40host"),
        ("c:\\net", "c\\3a\\net"),
        ("c:\\\\net", "c\\3a\\\\net"),
        ("c:\\cool stuff", "c\\3a\\cool\\20stuff"),
        ("c:\\5commas", "c\\3a\\5c5commas"),
        ("\\3and\\2is\\5@example.com", "\\5c3and\\2is\\5\\40example.com"),
        ("\\2plus\\2is\\4", "\\2plus\\2is\\4"),
        ("foo\\bar", "foo\\bar"),
        ("foob\\41r", "foob\\41r"),
        ("\\5c", "\\5c5c"),
        ("\\5c5c", "\\5c5c5c"),
        ("a\\/b", "a\\\\2fb"),
        ("a\\", "a\\"),
        ("tréville@musketeers.lit", "tréville\\40musketeers.lit"),
    ];

    #[test]
    fn names_are_escaped_as_the_xep_does() {
        for (name, local) in EXAMPLES {
            assert_eq!(escape(name).as_deref(), Ok(local));
            assert_eq!(unescape(local).as_deref(), Ok(name));
        }
    }

    #[test]
    fn spaces_at_the_edges_are_refused() {
        for name in [" a", "a ", " "] {
            assert_eq!(escape(name), Err(AddressError::SpaceAtEdge));
        }
        for local in ["\\20a", "a\\20", "\\20"] {
            assert_eq!(unescape(local), Err(AddressError::SpaceAtEdge));
        }
    }

    #[test]
    fn machines_have_addresses() {
        let host = BareJid::new("kvm1.example.org").unwrap();
        let jid = machine_jid("build box", &host).unwrap();
        assert_eq!(jid.as_str(), "build\\20box@kvm1.example.org");
        assert_eq!(name_of(&jid.into()).as_deref(), Some("build box"));
        assert_eq!(name_of(&host.clone().into()), None);
        for (name, written) in [("größer", "grösser"), ("Web1", "web1"), ("ﬁle", "file"), ("web①", "web1")]
        {
            assert_eq!(machine_jid(name, &host), Err(AddressError::Altered(written.into())));
        }
        assert_eq!(machine_jid("", &host), Err(AddressError::LocalPart));
        assert_eq!(machine_jid(&"a".repeat(1024), &host), Err(AddressError::LocalPart));
        assert_eq!(machine_jid("a\u{0}b", &host), Err(AddressError::LocalPart));
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "[a-z0-9\\\\ \"&'/:<>@cef]{1,20}") {
            prop_assume!(name.trim_matches(' ') == name);
            prop_assert_eq!(unescape(&escape(&name).unwrap()).unwrap(), name);
        }

        #[test]
        fn every_address_tells_its_name(name in "\\PC{1,12}") {
            let host = BareJid::new("kvm1.example.org").unwrap();
            if let Ok(jid) = machine_jid(&name, &host) {
                prop_assert_eq!(name_of(&jid.into()), Some(name));
            }
        }
    }
}
