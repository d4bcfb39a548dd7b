//! What is done to the guest, on either side.

use std::{sync::Arc, time::Duration};

use hypervisor_core::{
    driver::{DriverError, migrate::Sent},
    handover::{Deed, Input, Pass},
};
use tokio::sync::watch;

use super::{super::SENT, Passage, TICK};
use crate::crash;

/// How long the source's hypervisor may take to see that all was sent, once the destination has it.
const SENT_MAX: Duration = Duration::from_secs(30);

impl Passage {
    pub(super) async fn act(&mut self, deed: Deed) -> Result<(), DriverError> {
        let (launch, runs) = (self.launch.clone(), self.runs());
        match deed {
            Deed::Prepare(pass) => self.begin_preparing(pass),
            Deed::Send(pass) => self.begin_sending(pass),
            Deed::Hold(_) => {
                let held = self.hold().await;
                self.next.push_back(match held {
                    Ok(sent) => {
                        self.measured = sent;
                        Input::Held
                    }
                    Err(why) => {
                        self.why = Some(why);
                        Input::Failed
                    }
                });
            }
            Deed::CallOff(_) => {
                self.stop_work().await;
                self.migrate()?.call_off(&launch, runs).await?;
            }
            Deed::Clear(_) => {
                self.stop_work().await;
                self.migrate()?.clear(&launch).await?;
            }
            Deed::Discard(_) => {
                self.stop_work().await;
                self.migrate()?.discard(&launch, &self.made).await?;
            }
            Deed::Continue(_) => {
                self.stop_work().await;
                let since = self.migrate()?.go_on(&launch, runs).await?;
                self.ran_since = Some(since.into());
            }
        }
        Ok(())
    }

    /// Whether the guest is to run when it goes on.
    pub(super) fn runs(&self) -> bool {
        self.row.about.offer.live && !self.row.about.offer.paused
    }

    /// What is under way is dropped, and undoes itself.
    async fn stop_work(&mut self) {
        if let Some(work) = self.work.take() {
            work.abort();
            let _ = work.await;
        }
    }

    fn begin(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.work = Some(tokio::spawn(work));
    }

    fn begin_preparing(&mut self, pass: Pass) {
        let arrival = self.arrival(pass);
        let networks = self.agent.inner.networks.clone();
        let (definition, had) = (&self.launch.definition, &self.row.about.offer.addresses);
        self.expected = Some(networks.expect(self.launch.id, &self.launch.name, definition, had));
        let (driver, tells, launch) = (Arc::clone(&self.driver), self.tells.clone(), self.launch.clone());
        let live = self.row.about.offer.live;
        self.begin(async move {
            // The addresses that it had are its own from here on, if they can be.
            if let Err(error) = networks.make().await {
                tracing::warn!(machine = %launch.name, %error, "its networks could not be made");
            }
            let prepared = match (driver.migrate(), arrival) {
                (Some(migrate), Ok(arrival)) => {
                    migrate.prepare(&arrival).await.map_err(|error| error.to_string())
                }
                (None, _) => Err("its driver cannot move machines".into()),
                (_, Err(why)) => Err(why),
            };
            crash::point("move-room-made");
            let (input, what) = match prepared {
                Ok(place) => (Input::Prepared, serde_json::to_string(&place).unwrap_or_default()),
                Err(why) => (Input::Failed, why),
            };
            let ready = input == Input::Prepared;
            let _ = tells.send((input, what)).await;
            if !ready {
                return;
            }
            if let Some(migrate) = driver.migrate().filter(|_| live) {
                let end = match migrate.received(&launch).await {
                    Ok(()) => (Input::Received, String::new()),
                    Err(error) => (Input::Failed, error.to_string()),
                };
                crash::point("move-all-here");
                let _ = tells.send(end).await;
            }
        });
    }

    /// All of a machine that does not run was sent: it is made sure of.
    pub(super) fn begin_settling(&mut self) {
        let (driver, tells, launch) = (Arc::clone(&self.driver), self.tells.clone(), self.launch.clone());
        self.begin(async move {
            let Some(migrate) = driver.migrate() else { return };
            let end = match migrate.settled(&launch).await {
                Ok(()) => (Input::Received, String::new()),
                Err(error) => (Input::Failed, error.to_string()),
            };
            crash::point("move-all-here");
            let _ = tells.send(end).await;
        });
    }

    fn begin_sending(&mut self, pass: Pass) {
        let departure = self.departure(pass);
        let (driver, tells) = (Arc::clone(&self.driver), self.tells.clone());
        let passing = self.options.passing.clone();
        let (end, sent) = watch::channel(None);
        self.sent = Some(sent);
        let (agent, peer, id) = (self.agent.clone(), self.row.peer.clone(), self.row.machine);
        self.begin(async move {
            let done = async {
                let departure = departure?;
                let migrate = driver.migrate().ok_or("its driver cannot move machines")?;
                let report = |passed| {
                    if let Some(passing) = &passing {
                        passing(passed);
                    }
                };
                migrate.send(&departure, &report).await.map_err(|error| error.to_string())?;
                Ok::<bool, String>(departure.live)
            };
            match done.await {
                Ok(live) => {
                    end.send_replace(Some(Ok(())));
                    crash::point("move-sent");
                    // Nothing else tells the destination.
                    while !live && agent.try_say(&peer, id, SENT, pass, String::new()).await.is_err() {
                        tokio::time::sleep(TICK).await;
                    }
                }
                Err(why) => {
                    end.send_replace(Some(Err(why.clone())));
                    let _ = tells.send((Input::Failed, why)).await;
                }
            }
        });
    }

    /// The guest stands still here, and all of it was sent.
    async fn hold(&mut self) -> Result<Sent, String> {
        if let Some(mut sent) = self.sent.clone() {
            let ended = tokio::time::timeout(SENT_MAX, sent.wait_for(Option::is_some)).await;
            match ended {
                Ok(Ok(end)) => end.clone().unwrap_or(Ok(()))?,
                _ => return Err("this host's hypervisor does not see the end of it".into()),
            }
        }
        let migrate = self.migrate().map_err(|error| error.to_string())?;
        migrate.hold(&self.launch, self.row.about.offer.live).await.map_err(|error| error.to_string())
    }
}
