//! Bounds of a process: which system calls it may make. docs/design/0016-confined-guests.md.

mod calls;

pub use self::calls::refuse_calls;
