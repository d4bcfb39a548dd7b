//! Last message correction (XEP-0308).

use minidom::Element;

use crate::{element::set, ns};

/// The element that makes a message replace the one whose `id` attribute was `id` (§3). Always the id
/// of the first version, however often it is corrected.
pub fn replace(id: &str) -> Element {
    let mut element = Element::bare("replace", ns::CORRECT);
    set(&mut element, "id", Some(id));
    element
}

/// The id of the message that `message` replaces.
pub fn replaced(message: &Element) -> Option<&str> {
    message.get_child("replace", ns::CORRECT)?.attr("id").filter(|id| !id.is_empty())
}
