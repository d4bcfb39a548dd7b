//! What the faces need of a link, so that tests can stand in for the server.

use std::time::Duration;

use async_trait::async_trait;
use minidom::Element;
use skerry_link::{Ask, LinkHandle, SendError};

/// Where stanzas go.
#[async_trait]
pub trait Wire: Send + Sync + 'static {
    /// Sends a stanza; waits while the link's queue is full.
    ///
    /// # Errors
    /// The link is down or closed.
    async fn send(&self, stanza: Element) -> Result<(), SendError>;

    /// Sends an `iq` of type get or set and waits for its answer.
    ///
    /// # Errors
    /// Not sent, timed out, or answered with an error.
    async fn ask(&self, iq: Element, patience: Duration) -> Result<Element, Ask>;
}

#[async_trait]
impl Wire for LinkHandle {
    async fn send(&self, stanza: Element) -> Result<(), SendError> {
        LinkHandle::send(self, stanza).await
    }

    async fn ask(&self, iq: Element, patience: Duration) -> Result<Element, Ask> {
        LinkHandle::ask(self, iq, patience).await
    }
}
