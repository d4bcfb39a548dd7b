//! What systemd is told: ready, how it goes, and signs of life. Without systemd nothing happens.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use skerry_agent::face::Face;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// The agent serves.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// How it goes, in a line.
pub(crate) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The configuration is read again; [`ready`] ends it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The agent is being stopped.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("saying goodbye")]);
}

/// Gives signs of life for as long as the faces' loop goes round: an agent that hangs is restarted.
pub(crate) async fn keep_watchdog_quiet(face: Arc<Face>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut clock = tokio::time::interval((limit / 3).max(Duration::from_millis(100)));
    loop {
        clock.tick().await;
        if face.went_round_within(limit.max(skerry_agent::face::ROUND_MAX)) {
            tell(&[NotifyState::Watchdog]);
        }
    }
}
