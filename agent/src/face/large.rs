//! Answers larger than a server takes in one stanza, as the list of a thousand machines from an account.

use minidom::Element;
use skerry_stanzas::ns;

use super::stanza::{Fault, tag};

/// Up to how many bytes of JSON an answer is surely small enough on every link.
const SMALL: usize = 48 * 1024;

/// The answer to a command with what it says for programs alone, when that is much: the same stands in it
/// three times, as words, as a form, and as JSON.
pub(super) fn without_repetition(answer: &Element) -> Option<Element> {
    let command = answer.get_child("command", ns::ADHOC)?;
    if command.get_child("json", ns::JSON)?.texts().map(str::len).sum::<usize>() <= SMALL {
        return None;
    }
    let mut shorter = answer.clone();
    let command = shorter.get_child_mut("command", ns::ADHOC)?;
    command.remove_child("x", ns::FORMS);
    command.remove_child("definition", ns::DEFINITION);
    if let Some(note) = command.remove_child("note", ns::ADHOC) {
        let words = "This is too much to be shown here. Ask for less: for example by state or label.";
        command.append_child(
            tag("note", ns::ADHOC).attr("type", note.attr("type").unwrap_or("info")).text(words).into(),
        );
    }
    Some(shorter)
}

/// Nothing shorter could be sent either.
pub(super) fn refusal() -> Fault {
    Fault::new("modify", "policy-violation")
        .text("The answer is too large to be sent. Ask for less: for example by state or label.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn answer(bytes: usize) -> Element {
        format!(
            "<iq xmlns='jabber:client' type='result' id='q'><command xmlns='{}' node='list'>\
             <note type='info'>Many.</note><x xmlns='{}' type='result'/><json xmlns='{}'>{}</json></command></iq>",
            ns::ADHOC,
            ns::FORMS,
            ns::JSON,
            "1".repeat(bytes)
        )
        .parse()
        .unwrap()
    }

    #[test]
    fn a_large_answer_is_left_with_what_programs_read() {
        assert_eq!(without_repetition(&answer(100)), None, "it fits");
        let shorter = without_repetition(&answer(SMALL + 1)).unwrap();
        let command = shorter.get_child("command", ns::ADHOC).unwrap();
        assert_eq!(command.get_child("json", ns::JSON).unwrap().text().len(), SMALL + 1);
        assert!(!command.has_child("x", ns::FORMS));
        assert!(command.get_child("note", ns::ADHOC).unwrap().text().contains("Ask for less"));
        assert_eq!(shorter.attr("id"), Some("q"));
    }
}
