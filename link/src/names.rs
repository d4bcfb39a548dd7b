//! Names of attributes and elements as minidom wants them.

use minidom::{
    Element,
    rxml::{Namespace, NcName},
};

/// The name of an attribute that stands in this crate's source.
pub(crate) fn attr(name: &'static str) -> NcName {
    NcName::try_from(name).expect("invariant: attribute names in the source are names")
}

/// Sets an attribute without a namespace.
pub(crate) fn set(element: &mut Element, name: &'static str, value: &str) {
    element.set_attr(Namespace::NONE, attr(name), value);
}

/// An element in `namespace` with attributes.
pub(crate) fn element(name: &str, namespace: &str, attributes: &[(&'static str, &str)]) -> Element {
    let mut element = Element::bare(name, namespace);
    for (name, value) in attributes {
        set(&mut element, name, value);
    }
    element
}
