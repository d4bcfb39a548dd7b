//! The hash that stands for a disco#info result (XEP-0115 §5.1).
//!
//! Made here and not by xmpp-parsers: version 0.23 sorts what already ends in `<`, so that a feature
//! which begins with the whole of another (`…/pubsub` and `…/pubsub#subscribe`) comes before it. No
//! client arrives at the same hash then: each takes ours for a forgery and asks every machine anew.

use base64::{Engine, engine::general_purpose::STANDARD};
use minidom::Element;
use sha1::{Digest, Sha1};
use xmpp_parsers::{
    data_forms::{DataForm, FieldType},
    disco::{DiscoInfoResult, Identity},
};

/// The hash by SHA-1 of a disco#info result; `None` when it is none.
pub(super) fn ver(info: &Element) -> Option<String> {
    let info = DiscoInfoResult::try_from(info.clone()).ok()?;
    let mut forms: Vec<_> = info.extensions.iter().filter_map(form).collect();
    forms.sort();
    let words = sorted(info.identities.iter().map(identity))
        .into_iter()
        .chain(sorted(info.features.iter().cloned()))
        .chain(forms.into_iter().flatten());
    let mut hash = Sha1::new();
    for word in words {
        hash.update(word);
        hash.update("<");
    }
    Some(STANDARD.encode(hash.finalize()))
}

/// In the order of their bytes (i;octet of RFC 4790).
fn sorted(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut words: Vec<_> = words.collect();
    words.sort_unstable();
    words
}

fn identity(identity: &Identity) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}/{}/{}", identity.category, identity.type_, of(&identity.lang), of(&identity.name))
}

/// The words of a form: its FORM_TYPE, then each field and its values. A form whose FORM_TYPE is not
/// there, or not hidden, does not count.
fn form(form: &DataForm) -> Option<Vec<String>> {
    const TYPE: Option<&str> = Some("FORM_TYPE");
    let type_ = form.fields.iter().find(|field| field.var.as_deref() == TYPE)?;
    if type_.type_ != FieldType::Hidden {
        return None;
    }
    let mut words = vec![type_.values.first()?.clone()];
    let mut fields: Vec<_> = form.fields.iter().filter(|field| field.var.as_deref() != TYPE).collect();
    fields.sort_by_key(|field| &field.var);
    for field in fields {
        words.extend(field.var.clone());
        words.extend(sorted(field.values.iter().cloned()));
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[track_caller]
    fn assert_ver(expected: &str, inside: &str) {
        let query = format!("<query xmlns='http://jabber.org/protocol/disco#info'>{inside}</query>");
        assert_eq!(ver(&query.parse().unwrap()).as_deref(), Some(expected));
    }

    const FEATURES: &str = "<feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='http://jabber.org/protocol/muc'/>";

    #[test]
    fn the_simple_example_of_the_standard() {
        let inside = format!("<identity category='client' name='Exodus 0.9.1' type='pc'/>{FEATURES}");
        assert_ver("QgayPKawpkPSDYmwT/WM94uAlu0=", &inside);
    }

    #[test]
    fn the_complex_example_of_the_standard() {
        let inside = format!(
            "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
             <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>{FEATURES}\
             <x xmlns='jabber:x:data' type='result'>\
             <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
             <field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>\
             <field var='software'><value>Psi</value></field>\
             <field var='software_version'><value>0.11</value></field>\
             <field var='os'><value>Mac</value></field>\
             <field var='os_version'><value>10.5.1</value></field></x>"
        );
        assert_ver("q07IKJEyjvHSyhy//CH0CxmKi8w=", &inside);
    }

    /// What Gajim 1.7.3 and slixmpp make of it, too.
    #[test]
    fn a_feature_that_begins_like_another_comes_after_it() {
        assert_ver(
            "IhpgqXeI3YZDBbyh5EJ5iA5aJbk=",
            "<identity category='client' type='bot'/><feature var='vcard-temp'/>\
             <feature var='vcard-temp:x:update'/>",
        );
    }
}
