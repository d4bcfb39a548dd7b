//! What a fuzzer feeds this crate with, and what has to hold whatever it makes up: see `scripts/fuzz`.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::definition::{Definition, Rule, differences, firewall, say_nic};
pub use crate::{
    driver::qemu::fuzz::{guest_agent, luggage, qmp},
    image::fuzz::images,
    network::fuzz::skerry_net,
};

/// A sentence for people: one line or a few, not long, and nothing but text.
pub(crate) fn is_said(said: &str) {
    assert!(!said.is_empty() && said.len() <= 2000, "{} bytes: {said}", said.len());
    assert!(!said.contains(|c: char| c.is_control()), "no text: {said:?}");
}

/// A definition that a person wrote. What is taken is read back as the same from what it is written as, by
/// people and by the store; what is not is told in a sentence.
pub fn definition(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let definition = match Definition::from_toml(text) {
        Ok(definition) => definition,
        Err(error) => return is_said(&error.to_string()),
    };
    let toml = definition.to_toml();
    assert_eq!(Definition::from_toml(&toml).as_ref(), Ok(&definition), "{toml}");
    let stored = serde_json::to_string(&definition).unwrap();
    let stored: Definition = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored, definition);
    assert!(differences(&definition, &stored).is_empty());
    let mut named = definition.clone();
    named.name_all();
    named.check().unwrap_or_else(|error| panic!("with names for all it cannot be: {error}"));
    for change in differences(&definition, &Definition::new(1, 512, definition.boot.clone())) {
        assert!(!change.words.contains(char::is_control), "{:?}", change.words);
    }
    // The last word of its note is said of its NICs, and is a rule of its firewall.
    let Some(word) = definition.note.as_deref().and_then(|note| note.lines().last()) else { return };
    let mut changed = definition.clone();
    match say_nic(&mut changed.nics, word) {
        Ok(()) => drop(changed.check().map_err(|error| is_said(&error.to_string()))),
        Err(error) => is_said(&error.to_string().replace(char::is_control, "")),
    }
    if let Ok(rule) = word.parse::<Rule>() {
        assert_eq!(rule.to_string().parse(), Ok(rule.clone()));
        firewall::put(&mut changed.firewall, rule, None);
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn definition() {
        replay("definition", super::definition, 1500);
    }

    #[test]
    fn images() {
        replay("images", super::images, 1500);
    }

    #[test]
    fn skerry_net() {
        replay("skerry_net", super::skerry_net, 1500);
    }

    #[test]
    fn guest_agent() {
        replay("guest_agent", super::guest_agent, 1000);
    }

    #[test]
    fn qmp() {
        replay("qmp", super::qmp, 1000);
    }

    #[test]
    fn luggage() {
        replay("luggage", super::luggage, 300);
    }
}
