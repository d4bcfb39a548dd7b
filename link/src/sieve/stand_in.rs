//! What takes the place of a stanza that was not let through.
//!
//! A stanza of the same kind, with the addresses, id and type of the refused one as far as they are sane,
//! and one child that says what was wrong. It is counted by stream management like the one it stands for,
//! and lets the session answer an IQ instead of leaving its sender to wait.

use minidom::Element;

use super::examiner::Flaw;

/// The namespace of the child of a stand-in. It never leaves this process; a peer who writes it itself
/// gets its own stanza refused.
const NS: &str = "urn:skerry:refused-by-sieve";

/// The longest JID (RFC 7622 §3.1); ids and types are far shorter.
const ATTRIBUTE_MAX: usize = 3_071;
/// How much of a first tag is looked at.
pub(crate) const HEAD_MAX: usize = 16_384;

/// The stand-in for an element whose first tag (or the beginning of it) is `head`, with what is sane of
/// its attributes, and the plain one without any. `None` when the element was no stanza.
pub(crate) fn stand_ins(head: &[u8], flaw: Flaw) -> Option<[Vec<u8>; 2]> {
    let head = &head[..head.len().min(HEAD_MAX)];
    let name = head.strip_prefix(b"<")?;
    let end = name.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>'))?;
    let (name, rest) = name.split_at(end);
    let local = name.rsplit(|byte| *byte == b':').next()?;
    let kind = ["iq", "message", "presence"].into_iter().find(|kind| kind.as_bytes() == local)?;
    let dressed = format!("<{kind}{}><refused xmlns='{NS}' why='{}'/></{kind}>", sane(rest), flaw.word());
    let plain = format!("<{kind}><refused xmlns='{NS}' why='{}'/></{kind}>", flaw.word());
    Some([dressed.into_bytes(), plain.into_bytes()])
}

/// What was wrong with the stanza that this one stands for, if it is a stand-in.
pub(crate) fn flaw_of(stanza: &Element) -> Option<Flaw> {
    Flaw::from_word(stanza.get_child("refused", NS)?.attr("why")?)
}

/// `from`, `to`, `id` and `type` of a tag, as they were written.
fn sane(mut tag: &[u8]) -> String {
    let mut kept = String::new();
    let mut seen = Vec::new();
    while let Some((name, value, rest)) = attribute(tag) {
        tag = rest;
        let known = ["from", "to", "id", "type"].into_iter().find(|known| known.as_bytes() == name);
        let (Some(known), Ok(value)) = (known, std::str::from_utf8(value)) else { continue };
        let plain = value.chars().all(|ch| !ch.is_control() && ch != '<');
        if plain && value.len() <= ATTRIBUTE_MAX && !seen.contains(&known) {
            seen.push(known);
            // A value may hold the other quote, bare.
            let quote = if value.contains('\'') { '"' } else { '\'' };
            kept.push_str(&format!(" {known}={quote}{value}{quote}"));
        }
    }
    kept
}

/// The first attribute of the rest of a tag: name, value without quotes, and what follows.
fn attribute(tag: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = tag.iter().position(|byte| *byte == b'=')?;
    let (name, rest) = (tag[..equals].trim_ascii(), tag[equals + 1..].trim_ascii_start());
    let quote = *rest.first().filter(|byte| matches!(byte, b'\'' | b'"'))?;
    let end = rest[1..].iter().position(|byte| *byte == quote)?;
    Some((name, &rest[1..=end], &rest[end + 2..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn dressed(head: &str) -> Option<String> {
        stand_ins(head.as_bytes(), Flaw::TooDeep).map(|[dressed, _]| String::from_utf8(dressed).unwrap())
    }

    #[test]
    fn sane_addresses_are_kept_and_nothing_else() {
        let head =
            "<iq xml:lang='en' type = 'get'\n id=\"a'b\" from='ann@example.org/x' odd='a=\"b\"' to='k'>";
        let child = format!("<refused xmlns='{NS}' why='too-deep'/>");
        assert_eq!(
            dressed(head).unwrap(),
            format!("<iq type='get' id=\"a'b\" from='ann@example.org/x' to='k'>{child}</iq>")
        );
        let long = format!("<message id='{}' to='b'>", "i".repeat(9_000));
        assert_eq!(dressed(&long).unwrap(), format!("<message to='b'>{child}</message>"));
        let cut = format!("<c:presence to='b' id='{}", "i".repeat(90_000));
        assert_eq!(dressed(&cut).unwrap(), format!("<presence to='b'>{child}</presence>"));
        assert_eq!(dressed("<stream:features>"), None);
        assert_eq!(dressed("<iq"), None);
    }
}
