//! What a PC has besides virtio: a serial port, a way to reset it, and what ACPI needs.

pub mod events;
pub mod panic;
pub mod power;
pub mod serial;
