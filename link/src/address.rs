//! Addresses, read so that nobody is taken for another.
//!
//! Servers and this program need not agree on what an address is once it is normalised. Stringprep stands on
//! Unicode 3.2, and lets a server pass what is newer as it is (RFC 3454 §7.2): Prosody does. The tables here
//! are newer, and make the same letters of it as of what looks like it: `ᵃnn@example.org`, who is somebody,
//! would be read as `ann@example.org`, who is somebody else. A server by PRECIS (RFC 7622) has `strauß` and
//! `strauss` for two people, stringprep for one.

use xmpp_parsers::jid::Jid;

/// An address that a server wrote: it is normal already (RFC 6120 §8.1.2.1, RFC 7622 §3), and so to the
/// letter what is read of it. `None` where it is no address, or would be read as another one.
pub fn given(text: &str) -> Option<Jid> {
    Jid::new(text).ok().filter(|jid| jid.as_str() == text)
}

/// An address that a person wrote, capitals and all. `None` where it is no address, or would be another one
/// when it is written and read again.
pub fn typed(text: &str) -> Option<Jid> {
    Jid::new(text).ok().and_then(|jid| given(jid.as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn nobody_is_taken_for_another() {
        for same in
            ["ann@example.org", "kvm1.example.org/agent", "日本@例え.jp/x", "ops@rooms.example.org/Ann B"]
        {
            assert_eq!(given(same).unwrap().to_string(), same);
        }
        // Letters that are newer than Unicode 3.2, small and capital; what stringprep folds and PRECIS does not.
        for other in ["ᵃnn@example.org", "ᴬnn@example.org", "strauß@example.org", "ops@rooms.example.org/ᵃnn"]
        {
            assert!(Jid::new(other).is_ok_and(|read| read.as_str() != other), "{other} is read as another");
            assert_eq!(given(other), None, "{other}");
        }
        assert_eq!(given("ann@@example.org"), None);
    }

    #[test]
    fn what_is_typed_may_have_capitals_and_stays_what_it_is() {
        assert_eq!(typed("Ann@Example.ORG").unwrap().to_string(), "ann@example.org");
        // A capital is made of it, and a small letter of that.
        assert_eq!(typed("3\u{3f9}n"), None);
        assert_eq!(typed("ᴬnn@example.org"), None);
    }
}
