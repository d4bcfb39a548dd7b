//! Waiting for a guest that was asked, and asking it again.
//!
//! A guest that boots does not listen, and what it was asked then is lost: nobody can tell, so it is
//! asked again while the caller waits, soon at first and then ever less often. Soon, because a boot
//! takes seconds; less often, because a guest that has heard is busy, and one that will not listen
//! does not begin to by being pestered. What asking again does to a guest that has heard, each driver
//! answers for: [`Driver::ask_again`](hypervisor_core::driver::Driver::ask_again).

use std::{sync::Arc, time::Duration};

use hypervisor_core::{
    driver::{Driver, DriverError, Plea},
    lifecycle::Request,
    machine::MachineId,
};
use tokio::time::{Instant, sleep_until};

use super::doing::End;
/// After how long a guest is asked a second time …
const PAUSE_FIRST: Duration = Duration::from_secs(3);
/// … and the longest it is left alone from then on, each pause being twice the one before.
const PAUSE_MAX: Duration = Duration::from_secs(24);

/// A guest that was asked for something and has not done it.
pub(super) struct Asking {
    /// For what.
    pub(super) plea: Plea,
    /// None: as good as never.
    deadline: Option<Instant>,
    pause: Duration,
}

impl Asking {
    /// From now on, if the request is one that asks the guest.
    pub(super) fn of(request: Request, wait: Duration) -> Option<Self> {
        let plea = match request {
            Request::Shutdown => Plea::Shutdown,
            Request::Reboot => Plea::Reboot,
            Request::Start | Request::Kill | Request::Reset => return None,
            Request::Pause | Request::Resume | Request::Delete => return None,
        };
        Some(Self { plea, deadline: Instant::now().checked_add(wait), pause: PAUSE_FIRST })
    }

    /// Waits until it is time to ask again, and does; or until the time is over. What the guest does
    /// meanwhile ends this from outside.
    pub(super) async fn wait(mut self, driver: Arc<dyn Driver>, id: MachineId) -> End {
        let again = Instant::now() + self.pause;
        if let Some(deadline) = self.deadline.filter(|deadline| *deadline <= again) {
            sleep_until(deadline).await;
            return End::TimedOut;
        }
        sleep_until(again).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        match driver.ask_again(id, self.plea).await {
            // One that does not run any more has done it, and says so itself.
            Ok(()) | Err(DriverError::NotRunning) => {}
            Err(error) => {
                tracing::warn!(machine = %id, %error, "could not be asked again");
            }
        }
        End::NotYet(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypervisor_core::{
        definition::{Boot, Definition},
        driver::{GuestEvent, Launch, fake::Fake},
    };

    use super::*;

    const WAIT: Duration = Duration::from_secs(90);

    async fn running() -> (Arc<Fake>, MachineId) {
        let fake = Arc::new(Fake::new());
        let definition = Definition::new(1, 64, Boot::Disk);
        let id = MachineId::fresh();
        let networks = hypervisor_core::driver::Networks::default();
        let launch = Launch {
            id,
            name: "web1".into(),
            definition,
            folder: "/nowhere".into(),
            own: Vec::new(),
            networks,
            devices: Default::default(),
        };
        fake.start(&launch).await.unwrap();
        (fake, id)
    }

    /// When it was asked again, in seconds, until it was given up.
    async fn asked_at(fake: &Arc<Fake>, id: MachineId, request: Request, wait: Duration) -> Vec<u64> {
        let mut asking = Asking::of(request, wait).unwrap();
        let (before, mut at) = (Instant::now(), Vec::new());
        while let End::NotYet(on) = asking.wait(Arc::clone(fake) as Arc<dyn Driver>, id).await {
            asking = on;
            at.push(before.elapsed().as_secs());
        }
        at.push(before.elapsed().as_secs());
        at
    }

    #[tokio::test(start_paused = true)]
    async fn a_deaf_guest_is_asked_ever_less_often_until_the_time_is_over() {
        let (fake, id) = running().await;
        fake.faults().deaf(id, true);
        fake.shutdown(id).await.unwrap();
        assert_eq!(asked_at(&fake, id, Request::Shutdown, WAIT).await, [3, 9, 21, 45, 69, 90]);
        let short = asked_at(&fake, id, Request::Reboot, Duration::from_secs(3)).await;
        assert_eq!(short, [3], "there is no time to ask again");
        assert!(Asking::of(Request::Kill, WAIT).is_none());
        assert!(Asking::of(Request::Shutdown, Duration::MAX).unwrap().deadline.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_listens_later_hears_it_once() {
        let (fake, id) = running().await;
        let mut events = fake.events().unwrap();
        fake.faults().deaf_for(id, 2);
        fake.faults().guests_take(Duration::from_secs(30));
        fake.reboot(id).await.unwrap();
        // It hears at the ninth second, and takes until the thirty-ninth: asked meanwhile and after.
        asked_at(&fake, id, Request::Reboot, WAIT).await;
        assert_eq!(events.try_recv().unwrap().what, GuestEvent::Rebooted);
        assert!(events.try_recv().is_err(), "one reboot was asked for");
    }
}
