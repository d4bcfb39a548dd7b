//! Keeps a link up: connects, logs in, runs the session, and after each break comes back.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use crate::{
    LinkConfig, LinkEvent, Login, LoginError, ServerAddress, account,
    backoff::Backoff,
    component, connect,
    handle::{Order, Shared},
    session::{End, LoggedIn, Session, decline},
    sm::Ticket,
    wire::Setback,
};

/// A session that was up so long was of use.
const STAYED: Duration = Duration::from_secs(30);
/// How often in a row the server may send us elsewhere.
const DETOURS_MAX: usize = 3;

/// The task behind a link.
pub(crate) struct Keeper {
    session: Session,
    orders: mpsc::Receiver<Order>,
    backoff: Backoff,
    /// Where the server sent us, for the next try.
    elsewhere: Option<ServerAddress>,
    detours: usize,
}

impl Keeper {
    pub(crate) fn new(
        config: LinkConfig,
        orders: mpsc::Receiver<Order>,
        told: mpsc::Sender<LinkEvent>,
        shared: Arc<Shared>,
    ) -> Self {
        let session = Session::new(Arc::new(config), told, shared);
        Self { session, orders, backoff: Backoff::new(), elsewhere: None, detours: 0 }
    }

    /// Until the link is closed, nobody reads its events, or (without `reconnect`) it broke.
    pub(crate) async fn keep(mut self) {
        let closed = self.until_closed().await;
        self.session.forget();
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            decline(order);
        }
        if let Some(closed) = closed {
            let _ = closed.send(());
        }
        self.session.outlet.finish().await;
    }

    /// Who wants to know that it is closed, if anybody.
    async fn until_closed(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            let end = match self.connect().await {
                Ok(login) => self.run(login).await,
                Err(end) => end,
            };
            self.session.interrupted();
            let wait = match end {
                End::Closed(done) => return Some(done),
                End::Unheard => return None,
                End::Setback(setback) => self.tell(setback)?,
            };
            match self.rest(wait).await {
                None => {}
                Some(End::Closed(done)) => return Some(done),
                Some(_) => return None,
            }
        }
    }

    async fn run(&mut self, login: LoggedIn) -> End {
        let (began, resumed) = (Instant::now(), login.resumed.is_some());
        self.detours = 0;
        let end = self.session.run(login, &mut self.orders).await;
        // Resuming alone is no progress: what broke the stream may be what was resumed.
        if began.elapsed() >= STAYED || (resumed && self.session.ticket().is_some()) {
            self.backoff.reset();
        }
        end
    }

    /// One try, during which orders are taken or refused.
    async fn connect(&mut self) -> Result<LoggedIn, End> {
        let attempt = log_in(self.session.config.clone(), self.elsewhere.take(), self.session.ticket());
        self.meanwhile(attempt).await?.map_err(End::Setback)
    }

    /// Waits before the next try.
    async fn rest(&mut self, wait: Duration) -> Option<End> {
        self.meanwhile(time::sleep(wait)).await.err()
    }

    /// Does something while there is no session, and what there is to do without one.
    async fn meanwhile<T>(&mut self, task: impl Future<Output = T>) -> Result<T, End> {
        tokio::pin!(task);
        let unheard = self.session.outlet.unheard();
        tokio::pin!(unheard);
        let mut orderable = true;
        loop {
            let room = self.session.has_room();
            tokio::select! {
                done = &mut task => return Ok(done),
                order = self.orders.recv(), if orderable && room => match order {
                    Some(order) => if let Some(end) = self.session.take_order_down(order) {
                        return Err(end);
                    },
                    None => orderable = false,
                },
                () = self.session.outlet.drain() => {}
                () = &mut unheard => return Err(End::Unheard),
            }
        }
    }

    /// Tells a setback, and how long to wait before the next try; `None` when there is none.
    fn tell(&mut self, setback: Setback) -> Option<Duration> {
        let reconnect = self.session.config.reconnect;
        let is_account = matches!(self.session.config.login, Login::Account { .. });
        let why = match setback {
            Setback::Refused(error) => {
                let wait = match error {
                    // Perhaps it is our own connection of before, which the server has not missed yet.
                    LoginError::Component { ref why } if why.contains("conflict") => {
                        self.backoff.after_break()
                    }
                    _ => self.backoff.after_refusal(),
                };
                tracing::warn!(%error, "the server refused us");
                self.session.outlet.tell(LinkEvent::Refused(error), 0);
                return reconnect.then_some(wait);
            }
            Setback::Elsewhere(host) => {
                self.elsewhere = connect::other_host(&host).filter(|_| is_account);
                self.detours += 1;
                if self.elsewhere.is_some() && self.detours <= DETOURS_MAX {
                    return Some(Duration::ZERO);
                }
                self.elsewhere = None;
                format!("the server sends us on, to {host:?}")
            }
            Setback::Broken(why) => why,
        };
        let retry_in = reconnect.then(|| self.backoff.after_break());
        tracing::info!(why, ?retry_in, "the link is down");
        self.session.outlet.tell(LinkEvent::Down { why, retry_in }, 0);
        retry_in
    }
}

async fn log_in(
    config: Arc<LinkConfig>,
    elsewhere: Option<ServerAddress>,
    ticket: Option<Ticket>,
) -> Result<LoggedIn, Setback> {
    match &config.login {
        Login::Component { domain, secret } => {
            let wire = component::log_in(&config, domain.as_str(), secret).await?;
            Ok(LoggedIn::component(wire, domain.clone()))
        }
        Login::Account { jid, password } => {
            account::log_in(&config, jid, password, elsewhere.as_ref(), ticket).await
        }
    }
}
