//! The one loop of the faces: what comes from the link, what the agent announces, and the clock.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use skerry_link::LinkEvent;
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{Face, entity::Entity, lock, nodes::Node};
use crate::address::Addresses;

/// How long one round of the loop may take when all is well.
pub const ROUND_MAX: Duration = Duration::from_secs(60);
/// On an account nobody knows who listens, and the server lets us say little: no sooner than this.
const PEP_METRICS_EVERY: Duration = Duration::from_secs(60);

/// How often rooms whose people have rights are asked for their lists.
const ROOMS_EVERY: Duration = Duration::from_secs(15);

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
        let every = self.agent.config().metrics.every;
        let mut clock = interval_at(Instant::now() + every, every);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks: u32 = 0;
        let publisher = tokio::spawn({
            let face = Arc::clone(self);
            async move { face.publish_by_pep().await }
        });
        let heads = tokio::spawn(Arc::clone(self).tell_heads());
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
                    self.tick(ticks);
                }
            }
        };
        publisher.abort();
        heads.abort();
        ended
    }

    async fn happened(self: &Arc<Self>, event: LinkEvent) {
        match event {
            LinkEvent::Stanza(stanza) => self.take(stanza).await,
            LinkEvent::Up { jid, resumed } => {
                self.set_own_address(jid);
                match resumed {
                    false => self.logged_in().await,
                    true => self.learn_circles().await,
                }
            }
            LinkEvent::Down { .. } => {
                self.contacts().nobody_here();
                self.out_of_rooms();
            }
            // Told to the log by whoever runs us.
            _ => {}
        }
    }

    /// Goes on where the link broke: who is in rooms and groups may have changed meanwhile.
    async fn learn_circles(&self) {
        self.return_to_rooms().await;
        if !self.addresses().is_component() {
            self.apply_roles_to_roster().await;
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
        self.out_of_rooms();
        self.show_all_presences().await;
        self.settle_rooms().await;
        *lock(&self.shown) = self.host_sentence();
        self.tell_head_again().await;
        if self.addresses().is_component() {
            return;
        }
        self.pep.logged_in();
        self.pep.publish(Node::State, "host", self.host_state());
        for seen in self.agent.machines() {
            self.pep.publish(Node::State, seen.name.as_str(), self.machine_state(&seen));
        }
    }

    fn tick(self: &Arc<Self>, ticks: u32) {
        self.sessions.sweep();
        let rooms = ROOMS_EVERY.as_secs_f64() / self.agent.config().metrics.every.as_secs_f64();
        if ticks.is_multiple_of((rooms.ceil() as u32).max(1)) {
            self.look_into_rooms();
        }
        let each = PEP_METRICS_EVERY.as_secs_f64() / self.agent.config().metrics.every.as_secs_f64();
        let due = match self.addresses().is_component() {
            true => self.is_listened_to(Entity::Host, Node::Metrics),
            false => ticks.is_multiple_of((each.ceil() as u32).max(1)),
        };
        // Beside the loop: a driver that is slow to answer keeps nobody else waiting.
        if due && !self.measuring.swap(true, Ordering::AcqRel) {
            let measuring = Measuring(Arc::clone(self));
            tokio::spawn(async move {
                let face = &measuring.0;
                match face.addresses().is_component() {
                    true => face.publish_current(Entity::Host, Node::Metrics).await,
                    false => face.pep.publish(Node::Metrics, "current", face.metrics().await),
                }
            });
        }
    }
}

/// While it is measured what is used, to be published.
struct Measuring(Arc<Face>);

impl Drop for Measuring {
    fn drop(&mut self) {
        self.0.measuring.store(false, Ordering::Release);
    }
}
