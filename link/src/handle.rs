//! What the rest of the house sees of a link.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
    time::Duration,
};

use minidom::Element;
use tokio::sync::{Semaphore, mpsc, oneshot};
use xmpp_parsers::jid::Jid;

use crate::{
    LinkConfig, Login,
    iq::{Asked, UNDER_WAY_MAX},
    keeper::Keeper,
    names,
    outgoing::Customs,
    outlet,
};

/// How many orders wait for the session.
const QUEUE: usize = 256;
/// The longest [`LinkHandle::close`] takes.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A link: keep the handle to send, read the events. Dropping the receiver closes it.
pub struct Link {
    /// To send and ask with; cheap to clone.
    pub handle: LinkHandle,
    /// What happens. Must be read: 1,024 events (or 8 MiB of them) are held, then the server is no longer
    /// read from until there is room again; and then answers to [`LinkHandle::ask`] wait as well. The last
    /// event of a link that is closed is followed by the end of the channel.
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
    /// The server would have closed the stream over it.
    #[error("this stanza cannot be sent: {why}")]
    Unsendable {
        /// What is wrong with it.
        why: String,
    },
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
    orders: mpsc::Sender<Order>,
    pub(crate) shared: Arc<Shared>,
}

/// What the session is told.
#[derive(Debug)]
pub(crate) enum Order {
    Send(Element),
    Ask(Element, Asked),
    Close(oneshot::Sender<()>),
}

/// What handles and session both see.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Whether a stanza can be taken now: sent, or kept for the session that will be resumed.
    pub(crate) taking: AtomicBool,
    customs: Customs,
    /// The places for IQs under way.
    places: Arc<Semaphore>,
    /// What sets the ids of this link apart from those of any other.
    prefix: u64,
    next_id: AtomicU64,
}

impl Shared {
    /// The id of the pings by which the link itself asks for a sign of life.
    pub(crate) fn life_id(&self) -> String {
        format!("life-{:x}", self.prefix)
    }

    /// Whether an IQ is such a ping that came back to us, or its answer.
    pub(crate) fn is_sign_of_life(&self, iq: &Element) -> bool {
        iq.attr("id").is_some_and(|id| id.starts_with("life-") && id == self.life_id())
    }
}

impl Link {
    /// Starts to connect, in a task of its own, and keeps at it. Returns at once.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(config: LinkConfig) -> Link {
        let (handle, ordered) = LinkHandle::new(&config);
        let (told, events) = mpsc::channel(outlet::CHANNEL);
        tokio::spawn(Keeper::new(config, ordered, told, handle.shared.clone()).keep());
        Link { handle, events }
    }
}

impl LinkHandle {
    /// A handle, and where its orders come out.
    pub(crate) fn new(config: &LinkConfig) -> (Self, mpsc::Receiver<Order>) {
        let (orders, ordered) = mpsc::channel(QUEUE);
        let customs = match &config.login {
            Login::Component { domain, .. } => Customs::component(domain.clone()),
            Login::Account { .. } => Customs::account(),
        };
        let shared = Shared {
            taking: AtomicBool::new(false),
            customs,
            places: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            prefix: rand::random(),
            next_id: AtomicU64::new(0),
        };
        (Self { orders, shared: Arc::new(shared) }, ordered)
    }

    /// Sends a stanza; waits while the queue is full. On a component link and before the first login
    /// a stanza that cannot be sent now is refused with [`SendError::Down`]; with stream management it
    /// is kept and resent on resumption.
    ///
    /// `Ok` says that it is on its way, not that it arrived: without stream management, what was on its
    /// way when the stream broke is lost. After a session that could not be resumed, messages that may be
    /// lost are sent once more (so they may arrive twice), unless their type is error or headline;
    /// presence and IQs are not.
    ///
    /// `from` is filled in on a component link and left out on an account; characters that XML cannot
    /// carry become U+FFFD.
    ///
    /// # Errors
    /// The link is down or closed, or the server would not take such a stanza.
    pub async fn send(&self, stanza: Element) -> Result<(), SendError> {
        let stanza = self.shared.customs.admit(stanza)?;
        self.order(Order::Send(stanza)).await
    }

    /// Sends an `iq` of type get or set (its `id` is set here when it has none) and waits for its
    /// answer, matched by peer and id (RFC 6120 §8.1.3). The result is the whole `<iq/>`.
    ///
    /// Answers come while [`Link::events`] is not read, until the events held reach their bound (see
    /// there). Of more than 4,096 IQs at once the further ones wait for their turn, within their patience.
    ///
    /// # Errors
    /// Not sent, timed out, or answered with an error.
    pub async fn ask(&self, mut iq: Element, patience: Duration) -> Result<Element, Ask> {
        if iq.attr("id").is_none_or(str::is_empty) {
            let count = self.shared.next_id.fetch_add(1, Relaxed);
            names::set(&mut iq, "id", &format!("{:x}-{count:x}", self.shared.prefix));
        }
        if iq.name() != "iq" || !matches!(iq.attr("type"), Some("get" | "set")) {
            let why = "only an iq of type get or set has an answer".to_owned();
            return Err(SendError::Unsendable { why }.into());
        }
        let iq = self.shared.customs.admit(iq)?;
        let asking = async {
            let place = self.shared.places.clone().acquire_owned().await.map_err(|_| SendError::Closed)?;
            let (answer, answered) = oneshot::channel();
            self.order(Order::Ask(iq, Asked { answer, place })).await?;
            answered.await.map_err(|_| SendError::Closed)?
        };
        tokio::time::timeout(patience, asking).await.map_err(|_| Ask::TimedOut(patience))?
    }

    /// Says goodbye (unavailable presence is the caller's to send first), closes the stream, and
    /// returns when it is closed, within 5 s.
    pub async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        let closing = async {
            if self.orders.send(Order::Close(closed)).await.is_ok() {
                let _ = wait.await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_MAX, closing).await;
    }

    async fn order(&self, order: Order) -> Result<(), SendError> {
        if !self.shared.taking.load(Acquire) {
            return Err(match self.orders.is_closed() {
                true => SendError::Closed,
                false => SendError::Down,
            });
        }
        self.orders.send(order).await.map_err(|_| SendError::Closed)
    }
}
