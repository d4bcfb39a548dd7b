//! The few words minidom lacks for writing and reading elements briefly.

use minidom::{Element, rxml};

/// Sets an attribute, when there is a value. Names are ours: they are valid.
pub(crate) fn set(element: &mut Element, name: &'static str, value: Option<&str>) {
    let Some(value) = value else { return };
    let name = rxml::NcName::try_from(name).expect("invariant: attribute names are written in this crate");
    element.set_attr(rxml::Namespace::NONE, name, crate::safe::safe_value(value));
}

/// A child with text in it.
pub(crate) fn text_child(name: &str, namespace: &str, text: &str) -> Element {
    let mut child = Element::bare(name, namespace);
    child.append_text(crate::safe::safe_value(text));
    child
}
