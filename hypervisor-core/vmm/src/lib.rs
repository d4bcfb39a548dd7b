//! A monitor for Linux microVMs on KVM: one small process a machine.
//!
//! ```text
//!  skerry-agent                    skerry-vmm, one for each machine
//!  ------------                    -----------------------------------------------------------
//!   plan (JSON) ──────────────────▶ main ── plan ── parts: files, taps, /dev/kvm, opened once
//!                                    │
//!   control.sock ◀── control ──────▶ monitor (thread main): Go, Hold, Press, Reset, End
//!                                    │  makes a machine of the parts; anew after a reset
//!                                    ▼
//!                       ┌──────── machine ────────────────────────────────────┐
//!                       │  cpu 0 … cpu n (a thread each)                       │
//!                       │   KVM_RUN ── gate: run, hold, end                    │
//!                       │     │ exits: ports and addresses                     │
//!                       │     ▼                                                │
//!                       │    bus ──▶ serial, power, i8042, events, panic       │
//!                       │     └────▶ virtio transport (registers)              │
//!                       │                     ▲ ring: what the driver asks      │
//!                       │  disk 0, nic 0, entropy … (a thread each)             │
//!                       │     ioeventfd ──▶ served ──▶ block, net, entropy     │
//!                       │     irqfd ◀────── ring.tell                          │
//!                       └──────────────────────────────────────────────────────┘
//!                                    │ what the guest writes
//!   console.sock, console.log ◀── console (a thread): kept, shown, typed into
//! ```
//!
//! What the guest does is hostile. A queue that makes no sense stops its device, an address where nobody is
//! reads as ones, and no answer takes longer than what was asked.

pub mod acpi;
pub mod boot;
pub mod bus;
pub mod calls;
pub mod console;
pub mod control;
pub mod cpu;
pub mod descriptor;
pub mod devices;
pub mod ending;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod kvm;
pub mod layout;
pub mod machine;
pub mod memory;
pub mod monitor;
pub mod plan;
pub mod unpack;
pub mod virtio;
pub mod wake;
pub mod worker;
