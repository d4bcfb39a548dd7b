//! What crosses the wire: payloads, forms, and the one declaration of every command.
//!
//! No I/O, no clock, no tokio. [`command`] holds the declarations, from which the ad-hoc node, the
//! chat verb, the `skerry` sub-command, the permission, the journal record and the manual all come.

pub mod address;
pub mod adhoc;
pub mod audit;
pub mod command;
mod element;
pub mod form;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod help;
pub mod natural;
pub mod ns;
pub mod payload;
pub mod refusal;
pub mod reply;
pub mod safe;
pub mod signature;
pub mod styling;
pub mod words;
