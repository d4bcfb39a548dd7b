//! What the rest of the house sees of a link.

use std::time::Duration;

use minidom::Element;
use tokio::sync::mpsc;
use xmpp_parsers::jid::Jid;

use crate::LinkConfig;

/// A link: keep the handle to send, read the events. Dropping the receiver closes it.
pub struct Link {
    /// To send and ask with; cheap to clone.
    pub handle: LinkHandle,
    /// What happens. Must be read: 1,024 events are held, then the server is no longer read from.
    pub events: mpsc::Receiver<LinkEvent>,
}

/// What happens on a link, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkEvent {
    /// Logged in. When not `resumed`, the server knows nothing of us: presence has to be sent again.
    Up {
        /// Our address, with the resource the server gave.
        jid: Jid,
        /// Whether the stream before this one was resumed (XEP-0198 §5), nothing lost.
        resumed: bool,
    },
    /// A stanza: `iq`, `message` or `presence` in the namespace `jabber:client`, whatever the stream.
    /// Answers to [`LinkHandle::ask`] do not come here, nor stanzas the sieve refused.
    Stanza(Element),
    /// The stream broke; it is being mended.
    Down {
        /// Why, for the log.
        why: String,
        /// When the next try is made; `None` when there is none.
        retry_in: Option<Duration>,
    },
    /// The server does not want us (wrong password or secret, certificate not trusted). Told each
    /// time; with `reconnect` it is tried again, more and more slowly.
    Refused(LoginError),
}

/// Why a login did not work: each is something a person can mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// Wrong password or secret, or no such account.
    #[error("the server refused the password (or there is no such account)")]
    Credentials,
    /// The server offers no way to log in that we take: SCRAM over TLS.
    #[error("the server offers no safe way to log in (SCRAM); it offers: {offered}")]
    NoMechanism {
        /// What it offers.
        offered: String,
    },
    /// The server offers no TLS.
    #[error("the server offers no TLS")]
    NoTls,
    /// The certificate is not trusted, or is for another name.
    #[error("the server's certificate is not trusted: {why}")]
    Certificate {
        /// What is wrong with it.
        why: String,
    },
    /// Somebody else is connected as this component, or the domain is not set up.
    #[error("the server refused this component: {why}")]
    Component {
        /// What it said.
        why: String,
    },
    /// Anything else it said while logging in.
    #[error("the server said: {why}")]
    Other {
        /// What it said.
        why: String,
    },
}

/// Why a stanza was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The link is closed for good.
    #[error("the link is closed")]
    Closed,
    /// The link is down just now (and has no memory of what it could not send).
    #[error("not connected to the server")]
    Down,
}

/// Why an IQ got no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ask {
    /// It was not sent, or the link broke before an answer came.
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The answer was an error: the whole `<iq type='error'/>`.
    #[error("refused")]
    Refused(Box<Element>),
}

/// To send and ask with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    /// To the session.
    pub(crate) orders: mpsc::Sender<crate::handle::Order>,
}

/// What the session is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// placeholder
    Nothing,
}

impl Link {
    /// Starts to connect, in a task of its own, and keeps at it. Returns at once.
    pub fn open(_config: LinkConfig) -> Link {
        unreachable!("spine")
    }
}

impl LinkHandle {
    /// Sends a stanza; waits while the queue is full. On a component link and before the first login
    /// a stanza that cannot be sent now is refused with [`SendError::Down`]; with stream management it
    /// is kept and resent on resumption.
    ///
    /// # Errors
    /// The link is down or closed.
    pub async fn send(&self, _stanza: Element) -> Result<(), SendError> {
        unreachable!("spine")
    }

    /// Sends an `iq` of type get or set (its `id` is set here when it has none) and waits for its
    /// answer, matched by peer and id (RFC 6120 §8.1.3). The result is the whole `<iq/>`.
    ///
    /// # Errors
    /// Not sent, timed out, or answered with an error.
    pub async fn ask(&self, _iq: Element, _patience: Duration) -> Result<Element, Ask> {
        unreachable!("spine")
    }

    /// Says goodbye (unavailable presence is the caller's to send first), closes the stream, and
    /// returns when it is closed, within 5 s.
    pub async fn close(&self) {
        unreachable!("spine")
    }
}
