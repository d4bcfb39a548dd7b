//! The one loop of the faces: what comes from the link, what the agent announces, and the clock.

use std::{future::Future, sync::Arc, time::Duration};

use skerry_link::LinkEvent;
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{Face, entity::Entity, lock, nodes::Node};
use crate::address::Addresses;

/// How often metrics are published, where somebody listens.
const METRICS_EVERY: Duration = Duration::from_secs(10);
/// How long one round of the loop may take when all is well.
pub const ROUND_MAX: Duration = Duration::from_secs(60);
/// On an account nobody knows who listens, and the server lets us say little.
const PEP_METRICS_EVERY: u32 = 6;

/// Why the faces ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// They were asked to.
    Stopped,
    /// The link is closed for good.
    LinkClosed,
}

impl Face {
    /// Serves until `stop`, or until the link is closed for good. When stopped it has said goodbye to
    /// everybody.
    pub async fn serve(
        self: &Arc<Self>,
        mut events: mpsc::Receiver<LinkEvent>,
        told: impl Fn(&LinkEvent),
        stop: impl Future<Output = ()>,
    ) -> Ended {
        let mut announcements = self.agent.announcements();
        let mut clock = interval_at(Instant::now() + METRICS_EVERY, METRICS_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks: u32 = 0;
        let publisher = tokio::spawn({
            let face = Arc::clone(self);
            async move { face.publish_by_pep().await }
        });
        tokio::pin!(stop);
        let ended = loop {
            *lock(&self.round) = Instant::now();
            tokio::select! {
                () = &mut stop => {
                    self.say_goodbye().await;
                    break Ended::Stopped;
                }
                event = events.recv() => match event {
                    Some(event) => {
                        told(&event);
                        self.happened(event).await;
                    }
                    None => break Ended::LinkClosed,
                },
                announced = announcements.recv() => match announced {
                    Ok(announcement) => self.announce(announcement).await,
                    Err(RecvError::Lagged(missed)) => {
                        tracing::info!(missed, "announcements were missed: all is shown anew");
                        self.announce_all().await;
                    }
                    Err(RecvError::Closed) => break Ended::Stopped,
                },
                _ = clock.tick() => {
                    ticks = ticks.wrapping_add(1);
                    self.tick(ticks).await;
                }
            }
        };
        publisher.abort();
        ended
    }

    async fn happened(self: &Arc<Self>, event: LinkEvent) {
        match event {
            LinkEvent::Stanza(stanza) => self.take(stanza).await,
            LinkEvent::Up { jid, resumed } => {
                self.set_own_address(jid);
                if !resumed {
                    self.logged_in().await;
                }
            }
            LinkEvent::Down { .. } => self.contacts().nobody_here(),
            // Told to the log by whoever runs us.
            _ => {}
        }
    }

    /// The server may give an account another resource than the one asked for.
    fn set_own_address(&self, jid: xmpp_parsers::jid::Jid) {
        if let Ok(mut addresses) = self.addresses.write()
            && let Addresses::Single { host } = &mut *addresses
            && *host != jid
        {
            tracing::warn!(%jid, "the server gave us another resource than the one asked for");
            *host = jid;
        }
    }

    /// The server knows nothing of us: everything is shown anew.
    async fn logged_in(&self) {
        self.forget_upload_service();
        self.show_all_presences().await;
        *lock(&self.shown) = self.host_sentence();
        if self.addresses().is_component() {
            return;
        }
        self.pep.logged_in();
        self.pep.publish(Node::State, "host", self.host_state());
        for seen in self.agent.machines() {
            self.pep.publish(Node::State, seen.name.as_str(), self.machine_state(&seen));
        }
    }

    async fn tick(&self, ticks: u32) {
        self.sessions.sweep();
        if self.addresses().is_component() {
            if self.is_listened_to(Entity::Host, Node::Metrics) {
                self.publish_current(Entity::Host, Node::Metrics).await;
            }
        } else if ticks.is_multiple_of(PEP_METRICS_EVERY) {
            self.pep.publish(Node::Metrics, "current", self.metrics().await);
        }
    }
}
