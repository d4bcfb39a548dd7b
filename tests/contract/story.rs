//! The words the cases are told in.

use std::{
    collections::VecDeque,
    fmt::Debug,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use hypervisor_core::{
    driver::{Console, Driver, DriverError, DriverEvent, GuestEvent, Launch, Observed, Power},
    machine::MachineId,
};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use crate::bench::Bench;

/// One case on one driver.
pub struct Story {
    pub bench: Box<dyn Bench>,
    driver: Option<Arc<dyn Driver>>,
    events: mpsc::Receiver<DriverEvent>,
    /// Events that came while another machine's was waited for.
    earlier: VecDeque<DriverEvent>,
}

impl Story {
    pub async fn open(bench: Box<dyn Bench>) -> Self {
        let driver = bench.driver().await;
        let events = driver.events().expect("a new driver's events can be taken");
        Self { bench, driver: Some(driver), events, earlier: VecDeque::new() }
    }

    pub fn driver(&self) -> Arc<dyn Driver> {
        self.driver.clone().unwrap()
    }

    /// From now on it is told by another driver.
    pub fn goes_on_at(&mut self, driver: Arc<dyn Driver>) {
        self.events = driver.events().expect("a new driver's events can be taken");
        self.earlier.clear();
        self.driver = Some(driver);
    }

    /// The agent is restarted: the driver goes, and a new one comes, over the same guests.
    pub async fn restart(&mut self) {
        self.restart_after(async |_| {}).await;
    }

    /// As [`Story::restart`], with something that happens while there is no driver.
    pub async fn restart_after(&mut self, meanwhile: impl AsyncFnOnce(&dyn Bench)) {
        self.driver = None;
        meanwhile(&*self.bench).await;
        let driver = self.bench.driver().await;
        self.events = driver.events().expect("a new driver's events can be taken");
        self.earlier.clear();
        self.driver = Some(driver);
    }

    /// What is waited for must happen; when it has not after the bench's patience, it hangs.
    pub async fn happens<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        match tokio::time::timeout(self.bench.patience(), future).await {
            Ok(it) => it,
            Err(_) => panic!("{what}: has not happened after {:?}", self.bench.patience()),
        }
    }

    /// It must happen, and go well.
    pub async fn goes_well<T>(&self, what: &str, future: impl Future<Output = Result<T, DriverError>>) -> T {
        match self.happens(what, future).await {
            Ok(it) => it,
            Err(error) => panic!("{what}: {error} ({error:?})"),
        }
    }

    pub async fn start(&self, launch: &Launch) {
        self.goes_well("start", self.driver().start(launch)).await;
    }

    pub async fn kill(&self, id: MachineId) {
        self.goes_well("kill", self.driver().kill(id)).await;
    }

    pub async fn shutdown(&self, id: MachineId) {
        self.goes_well("shutdown", self.driver().shutdown(id)).await;
    }

    /// A new machine that runs.
    pub async fn running(&self) -> Launch {
        let launch = self.bench.launch();
        self.start(&launch).await;
        launch
    }

    /// A new machine that runs, and whose guest listens.
    pub async fn listening(&self) -> Launch {
        let launch = self.bench.launch();
        self.boot(&launch).await;
        launch
    }

    /// Starts it and waits until its guest listens. A driver without a console must have guests that
    /// listen at once.
    pub async fn boot(&self, launch: &Launch) {
        if self.driver().console().is_none() {
            return self.start(launch).await;
        }
        let sign = self.bench.ready_sign().as_bytes();
        let earlier = count(&self.tail(launch, TAIL_BYTES).await, sign);
        self.start(launch).await;
        self.shows_times(launch, sign, earlier + 1).await;
    }

    pub async fn observe(&self, launch: &Launch) -> Observed {
        self.goes_well("observe", self.driver().observe(launch)).await
    }

    pub async fn power(&self, launch: &Launch) -> Power {
        self.observe(launch).await.power
    }

    /// It is off, and nothing of it is left.
    pub async fn is_gone(&self, launch: &Launch) {
        let off = Observed { power: Power::Off, running_for: None, cpu_time: None, resident_bytes: None };
        assert_eq!(self.observe(launch).await, off);
        self.leaves_nothing(launch).await;
    }

    pub async fn leaves_nothing(&self, launch: &Launch) {
        assert_eq!(self.bench.leftovers(launch).await, Vec::<String>::new(), "left behind");
    }

    /// The next event of this machine.
    pub async fn event(&mut self, id: MachineId) -> GuestEvent {
        if let Some(at) = self.earlier.iter().position(|event| event.id == id) {
            return self.earlier.remove(at).unwrap().what;
        }
        let patience = self.bench.patience();
        loop {
            match tokio::time::timeout(patience, self.events.recv()).await {
                Ok(Some(event)) if event.id == id => return event.what,
                Ok(Some(event)) => self.earlier.push_back(event),
                Ok(None) => panic!("the driver's events ended"),
                Err(_) => panic!("no event has come after {patience:?}"),
            }
        }
    }

    /// Nothing was told of this machine, up to a reboot in a further run of it, which comes after
    /// anything late. Waiting for nothing by the clock would prove nothing.
    pub async fn told_nothing(&mut self, launch: &Launch) {
        self.boot(launch).await;
        self.goes_well("reboot", self.driver().reboot(launch.id)).await;
        assert_eq!(self.event(launch.id).await, GuestEvent::Rebooted, "told before the next run's reboot");
    }

    fn console_of<'a>(&self, driver: &'a Arc<dyn Driver>) -> &'a dyn Console {
        driver.console().expect("a case with a console is played on a driver that has one")
    }

    pub async fn tail(&self, launch: &Launch, bytes_max: usize) -> Vec<u8> {
        let driver = self.driver();
        self.goes_well("tail", self.console_of(&driver).tail(launch, bytes_max)).await
    }

    pub async fn types(&self, id: MachineId, bytes: &[u8]) {
        let driver = self.driver();
        self.goes_well("send", self.console_of(&driver).send(id, bytes)).await;
    }

    /// The console shows these bytes, or will.
    pub async fn shows(&self, launch: &Launch, needle: &[u8]) {
        self.shows_times(launch, needle, 1).await;
    }

    /// Its guest has come up this often by now, or will.
    pub async fn comes_up_times(&self, launch: &Launch, times: usize) {
        self.shows_times(launch, self.bench.ready_sign().as_bytes(), times).await;
    }

    async fn shows_times(&self, launch: &Launch, needle: &[u8], times: usize) {
        let driver = self.driver();
        let console = self.console_of(&driver);
        // Followed before it is read: what comes between is then seen twice, rather than not at all.
        let mut output = self.goes_well("follow", console.follow(launch.id)).await;
        let mut seen = self.tail(launch, TAIL_BYTES).await;
        let sought = async {
            while count(&seen, needle) < times {
                match output.recv().await {
                    Ok(more) => seen.extend(more),
                    Err(RecvError::Lagged(_)) => seen = console.tail(launch, TAIL_BYTES).await.unwrap(),
                    Err(RecvError::Closed) => break,
                }
            }
        };
        let in_time = tokio::time::timeout(self.bench.patience(), sought).await.is_ok();
        assert!(
            in_time && count(&seen, needle) >= times,
            "the console never showed {:?} ({times} times), but:\n{}",
            String::from_utf8_lossy(needle),
            String::from_utf8_lossy(&seen)
        );
    }
}

/// More than any guest here writes.
const TAIL_BYTES: usize = 1 << 20;

/// How often the needle is in the haystack.
pub fn count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| window == &needle).count()
}

/// Polls a future this often at most, then drops it: `None` if it was not done by then.
pub async fn cut<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(it) => Poll::Ready(Some(it)),
            // Cut off now rather than when it wakes: it may hang.
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// It was refused because the machine does not run.
pub fn not_running<T: Debug>(what: &str, result: Result<T, DriverError>) {
    assert!(matches!(result, Err(DriverError::NotRunning)), "{what} of one that is off: {result:?}");
}
