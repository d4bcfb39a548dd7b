//! One XMPP stream to a server that already exists, kept alive for ever.
//!
//! Only this crate knows tokio-xmpp's streams and TLS. The agent and `skerry` see a [`Link`]: a
//! handle to send and ask with, and a receiver of [`LinkEvent`]s.
//!
//! ```text
//! TCP / TLS → sieve (bounds each stanza before it is parsed) → XmlStream<_, Element> → session
//! session: stream management, IQ table, keep-alive → LinkEvent → agent / skerry
//! keeper: connect, back off, connect again
//! ```

pub mod config;
pub mod handle;

pub use config::{LinkConfig, Login, ServerAddress, Tls};
pub use handle::{Ask, Link, LinkEvent, LinkHandle, LoginError, SendError};
