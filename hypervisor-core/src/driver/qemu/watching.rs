//! The task that watches one machine: what QEMU tells unasked, and the end of its process.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, time::timeout};

use super::{
    Slot, beside,
    qmp::Event,
    running::{Ending, Running, now},
    words,
};
use crate::{
    driver::{DriverEvent, GuestEvent, Power},
    machine::MachineId,
};

/// Resets within this time are one: Linux tries several ways to reboot, one after the other, and
/// SeaBIOS resets the machine once more when it finds that it was not switched off, also after a reset
/// of ours. Four within 65 ms were seen.
const ONE_REBOOT: Duration = Duration::from_secs(2);
/// How long the last events may take to come through once the process has ended.
const LAST_EVENTS_MAX: Duration = Duration::from_secs(5);

/// Where events go.
#[derive(Clone)]
pub(super) struct Teller(pub(super) mpsc::Sender<DriverEvent>);

impl Teller {
    fn tell(&self, id: MachineId, what: GuestEvent) {
        tracing::debug!(machine = %id, ?what, "told");
        if let Err(lost) = self.0.try_send(DriverEvent { id, what }) {
            tracing::error!(%lost, "an event of a machine was lost: nobody takes them");
        }
    }
}

/// Watches until the process has ended, clears away what is left, and tells how it ended.
pub(super) async fn watch(
    running: Arc<Running>,
    mut events: mpsc::Receiver<Event>,
    teller: Teller,
    slot: Arc<Slot>,
) {
    let mut connected = true;
    loop {
        tokio::select! {
            biased;
            event = events.recv(), if connected => match event {
                Some(event) => heard(&running, &event, &teller).await,
                None => connected = false,
            },
            ended = running.process.ended() => {
                if let Err(error) = ended {
                    tracing::error!(machine = %running.id, %error, "its process cannot be watched");
                }
                break;
            }
        }
    }
    // The process is gone, so its socket ends: after what was still in it.
    let rest = async {
        while let Some(event) = events.recv().await {
            heard(&running, &event, &teller).await;
        }
    };
    if timeout(LAST_EVENTS_MAX, rest).await.is_err() {
        tracing::warn!(machine = %running.id, "QEMU's control socket outlives its process");
    }
    beside::end(&running.folder).await;
    end(&running, &teller, &slot);
}

fn end(running: &Arc<Running>, teller: &Teller, slot: &Slot) {
    let how = running.process.how_it_ended();
    let (ending, silent) = {
        let expected = running.expected();
        (expected.ending.clone(), expected.killed || expected.crashed.is_some())
    };
    let what = match ending {
        Some(Ending::Halted) => GuestEvent::Halted,
        Some(Ending::Crashed(cause)) => GuestEvent::Crashed(cause),
        None => GuestEvent::Crashed(words::vanished(how, &running.folder.errors())),
    };
    running.folder.clear();
    let cause = match &what {
        GuestEvent::Crashed(cause) if !silent => Some(cause.clone()),
        _ => None,
    };
    slot.left(running, cause);
    running.gone.send_replace(true);
    if !silent {
        teller.tell(running.id, what);
    }
}

async fn heard(running: &Running, event: &Event, teller: &Teller) {
    tracing::debug!(machine = %running.id, event = event.name, about = %event.about, "QEMU tells");
    match event.name.as_str() {
        "RESET" => heard_reset(running, event, teller),
        "STOP" | "RESUME" if running.expected().snapped => {}
        "STOP" => heard_stop(running, teller).await,
        "RESUME" => heard_resume(running, teller).await,
        "SHUTDOWN" => heard_shutdown(running, event),
        "WATCHDOG" => heard_watchdog(running, event),
        "GUEST_PANICKED" => {
            running.expected().ending = Some(Ending::Crashed(words::panicked()));
        }
        "MIGRATION" | "JOB_STATUS_CHANGE" | "DEVICE_DELETED" | "DEVICE_UNPLUG_GUEST_ERROR" => {
            // Nobody may wait for it.
            let _ = running.told.send(event.clone());
        }
        _ => {}
    }
}

fn heard_reset(running: &Running, event: &Event, teller: &Teller) {
    // A guest that rebooted in its own way has done what it was asked.
    no_reboot_wanted(running);
    let told = {
        let mut expected = running.expected();
        let before = expected.reset_at.replace(Instant::now());
        if !event.by_guest() && expected.own_resets > 0 {
            expected.own_resets -= 1;
            false
        } else {
            before.is_none_or(|before| before.elapsed() > ONE_REBOOT)
        }
    };
    running.resets.send_modify(|resets| *resets += 1);
    if told {
        teller.tell(running.id, GuestEvent::Rebooted);
    }
}

fn heard_shutdown(running: &Running, event: &Event) {
    let mut expected = running.expected();
    if expected.ending.is_some() {
        return;
    }
    expected.ending = Some(match event.reason() {
        "guest-shutdown" => Ending::Halted,
        "" if event.by_guest() => Ending::Halted,
        reason => Ending::Crashed(words::ended_by(reason)),
    });
}

/// The guest hangs. What is done about it QEMU does itself, and tells; but that it ends now is told by
/// nothing else.
fn heard_watchdog(running: &Running, event: &Event) {
    tracing::warn!(machine = %running.id, about = %event.about, "its watchdog was not fed");
    if event.about["action"] == "poweroff" {
        running.expected().ending = Some(Ending::Crashed(words::unfed()));
    }
}

/// It ran on; whether it still does, its status says.
async fn heard_resume(running: &Running, teller: &Teller) {
    let _held = running.holding.lock().await;
    if !matches!(running.power().await, Ok(Power::Running)) {
        return;
    }
    let was_paused = std::mem::replace(&mut running.expected().paused, false);
    if was_paused {
        teller.tell(running.id, GuestEvent::Resumed);
    }
}

/// It stands still: by whose doing, its status says.
async fn heard_stop(running: &Running, teller: &Teller) {
    let _held = running.holding.lock().await;
    let status = match running.power().await {
        Ok(power) => power,
        // It ends, and that is told elsewhere.
        Err(_) => return,
    };
    if running.expected().killed {
        return;
    }
    match status {
        Power::Running => {}
        Power::Paused => {
            let was_paused = std::mem::replace(&mut running.expected().paused, true);
            if !was_paused {
                teller.tell(running.id, GuestEvent::Paused);
            }
        }
        Power::Off => stands_shut_down(running, teller).await,
        Power::Crashed(cause) if cause == words::panicked() => {
            // Whoever started it wants it kept for a look.
            running.expected().crashed = Some(cause.clone());
            teller.tell(running.id, GuestEvent::Crashed(cause));
        }
        Power::Crashed(_) => {
            running.expected().ending = Some(Ending::Crashed(running.processor_failed()));
            if let Err(error) = running.process.kill() {
                tracing::error!(machine = %running.id, %error, "QEMU failed and could not be ended");
            }
        }
    }
}

/// The guest has shut down, and QEMU stays: for a reboot that was asked for, or because whoever
/// started it wanted that.
pub(super) async fn stands_shut_down(running: &Running, teller: &Teller) {
    let wanted = no_reboot_wanted(running).is_some_and(|until| now() < until);
    if wanted {
        running.expected().ending = None;
    }
    let done = if wanted {
        running.reboot_on().await
    } else {
        running.expected().ending = Some(Ending::Halted);
        running.qmp.ask("quit", None).await.map(|_| ())
    };
    match done {
        Ok(()) if wanted => teller.tell(running.id, GuestEvent::Rebooted),
        Ok(()) => {}
        Err(error) => tracing::error!(machine = %running.id, %error, "it stands shut down"),
    }
}

/// Forgets that a reboot was wanted, and says until when.
fn no_reboot_wanted(running: &Running) -> Option<u64> {
    running.reboot_wanted(None).unwrap_or_else(|error| {
        tracing::warn!(machine = %running.id, %error, "a reboot cannot be noted as done");
        None
    })
}
