//! One XMPP stream to a server that already exists, kept alive for ever.
//!
//! Only this crate knows tokio-xmpp's streams and TLS. The agent and `skerry` see a [`Link`]: a
//! handle to send and ask with, and a receiver of [`LinkEvent`]s.
//!
//! ```text
//! connect (dns) → tls → sieve: bounds each stanza before it is parsed → wire: XmlStream<_, Element>
//! account (sasl) or component: logs in on it
//! session: turn (reads and writes), sm (XEP-0198), iq (who waits for what), pulse (signs of life)
//!          → outlet → LinkEvent → agent / skerry
//! keeper: connects, backs off, connects again
//! ```
//!
//! Beside the stream two hosts may open a way straight to each other ([`direct`]).

mod account;
pub mod address;
mod backoff;
mod component;
pub mod config;
mod connect;
pub mod direct;
mod dns;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod handle;
mod iq;
mod keeper;
mod names;
mod outgoing;
mod outlet;
mod pulse;
pub mod reply;
mod sasl;
mod session;
mod shown;
mod sieve;
mod sm;
#[cfg(test)]
mod tests;
mod tls;
mod turn;
mod wire;

pub use config::{LinkConfig, Login, ServerAddress, Tls};
pub use handle::{Ask, Link, LinkEvent, LinkHandle, LoginError, SendError};
pub use tls::{https, web};
