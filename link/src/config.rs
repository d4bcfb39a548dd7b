//! How to reach a server and who to be there.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use xmpp_parsers::jid::{BareJid, Jid};

/// Who to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Login {
    /// An external component (XEP-0114): every address of its domain is ours. Plain TCP, so only
    /// over loopback or a tunnel.
    Component {
        /// The component's domain.
        domain: BareJid,
        /// The secret shared with the server.
        secret: SecretString,
    },
    /// An ordinary account (RFC 6120): TLS, SCRAM, stream management.
    Account {
        /// The account; a resource, when there is one, is asked for.
        jid: Jid,
        /// Its password.
        password: SecretString,
    },
}

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// As DNS says for the domain (SRV of RFC 6120 and XEP-0368; else the domain and port 5222).
    Dns,
    /// Exactly here: host name or address, and port.
    At(String, u16),
}

/// How the stream is protected. There is no "do not verify".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS, required (RFC 6120 §5).
    StartTls,
    /// TLS from the first byte (XEP-0368).
    Direct,
    /// None: components only, on loopback or a tunnel.
    None,
}

/// A link's configuration.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Who to be.
    pub login: Login,
    /// Where the server is.
    pub server: ServerAddress,
    /// How the stream is protected.
    pub tls: Tls,
    /// A PEM file of certificate authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Silence after which the server is asked for a sign of life.
    pub silence_max: Duration,
    /// How long it may take to answer that, and how long a connection may take to come up.
    pub answer_max: Duration,
    /// Whether to come back after a break. `skerry`'s one-shot commands do not.
    pub reconnect: bool,
    /// The largest stanza taken in, in bytes; larger ones are refused without being held.
    pub stanza_bytes_max: usize,
}

impl LinkConfig {
    /// A configuration with the usual limits: 60 s of silence, 15 s for an answer, 1 MiB a stanza.
    pub fn new(login: Login) -> Self {
        let tls = match login {
            Login::Component { .. } => Tls::None,
            Login::Account { .. } => Tls::StartTls,
        };
        Self {
            login,
            server: ServerAddress::Dns,
            tls,
            ca: None,
            silence_max: Duration::from_secs(60),
            answer_max: Duration::from_secs(15),
            reconnect: true,
            stanza_bytes_max: 1 << 20,
        }
    }
}
