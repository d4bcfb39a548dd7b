//! Message processing hints (XEP-0334): what servers need not keep.

use minidom::Element;

use crate::ns;

/// A hint to the servers on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Neither archive it nor keep it for later (§4.2).
    NoStore,
    /// Do not archive it for good (§4.1).
    NoPermanentStore,
    /// Do not copy it to other clients of the same person (§4.3).
    NoCopy,
    /// Archive it, whatever it looks like (§4.4).
    Store,
}

/// The element of a hint.
pub fn hint(hint: Hint) -> Element {
    let name = match hint {
        Hint::NoStore => "no-store",
        Hint::NoPermanentStore => "no-permanent-store",
        Hint::NoCopy => "no-copy",
        Hint::Store => "store",
    };
    Element::bare(name, ns::HINTS)
}
