//! Devices of a host that machines can be given: functions on PCI, and what is plugged in by USB.
//!
//! A definition names a device only; what the name means on a host is that host's [`Mapping`]. What the
//! host has is read from sysfs ([`Tree::look`]); what a machine gets is decided purely ([`choose`]); and
//! [`Tree::take`] and [`Tree::give_back`] change drivers by sysfs. What the host itself uses
//! ([`Tree::host_uses`]) is handed over on an explicit word alone. docs/design/ says why so.

mod binding;
mod choice;
mod in_use;
mod mapping;
mod names;
mod place;
mod pretended;
mod tree;

pub use self::{
    binding::BindError,
    choice::{Lent, Loan, Obstacle, choose},
    in_use::HostUse,
    mapping::{Mapping, Missing},
    names::Names,
    place::{Id, PciAddress, PlaceError, UsbPort},
    tree::{Pci, Seen, Tree, Usb},
};
