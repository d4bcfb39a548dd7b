//! The commands of a machine's life: each is a request to the task that owns it.

use std::time::Duration;

use hypervisor_core::lifecycle::Request;
use skerry_stanzas::{command::machine, refusal::Refusal, reply::Changed};

use super::Handle;
use crate::{
    agent::Agent,
    dispatch::Job,
    machine::{
        Do, Order, Record,
        queue::{Verdict, verdict},
        task, wording,
    },
};

impl Agent {
    /// Asks it of the machine, and waits for its end.
    pub(super) async fn request(
        &self,
        job: &Job,
        request: Request,
        wait: Duration,
    ) -> Result<Changed, Refusal> {
        let machine = job.machine()?;
        let before = machine.record();
        if let (Verdict::Begin | Verdict::Interrupt, Some(meanwhile)) =
            (verdict(&before.state, None, request), meanwhile(&before, request))
        {
            job.say(meanwhile);
        }
        let (by, progress, unasked) = (Some(job.by()), job.progress(), job.unasked);
        let agent = self.clone();
        let ending = Some(job.ending(move |record| agent.changed(record, done(record, request))));
        let report = machine
            .order(|reply| Order::Do(Do { request, wait, by, unasked, progress, ending, reply }))
            .await?;
        let sentence = match report.already {
            true => wording::was_already(&report.record.name, &report.record.state),
            false => done(&report.record, request),
        };
        Ok(self.changed(&report.record, sentence))
    }
}

/// What is said while it takes time.
fn meanwhile(record: &Record, request: Request) -> Option<String> {
    let name = &record.name;
    match request {
        Request::Start => Some(format!("{name} is starting.")),
        Request::Shutdown => Some(format!("{name} is shutting down.")),
        Request::Reboot => Some(format!("{name} is rebooting.")),
        Request::Kill | Request::Reset | Request::Pause | Request::Resume | Request::Delete => None,
    }
}

/// What is said when it is done.
fn done(record: &Record, request: Request) -> String {
    let name = &record.name;
    match request {
        Request::Shutdown => format!("{name} has shut down."),
        Request::Kill => format!("{name} is stopped: its power was cut."),
        Request::Reboot => format!("{name} has rebooted."),
        Request::Reset => format!("{name} was reset."),
        Request::Resume => format!("{name} is running again."),
        Request::Start | Request::Pause | Request::Delete => wording::is(name, &record.state),
    }
}

macro_rules! requests {
    ($($command:ident $(($wait:ident))?;)*) => { $(
        impl Handle<machine::$command> for Agent {
            async fn handle(&self, job: &Job, _command: machine::$command) -> Result<Changed, Refusal> {
                #[allow(unused_mut, unused_assignments)]
                let mut wait = task::WAIT;
                $( wait = _command.$wait; )?
                self.request(job, Request::$command, wait).await
            }
        }
    )* };
}

requests! { Start; Shutdown (wait); Reboot (wait); Pause; Resume; }

impl Handle<machine::Kill> for Agent {
    async fn handle(&self, job: &Job, _command: machine::Kill) -> Result<Changed, Refusal> {
        self.request(job, Request::Kill, task::WAIT).await
    }

    fn warning(&self, job: &Job, _command: &machine::Kill) -> String {
        format!("This cuts the power of {}: what its guest has not saved is lost.", named(job))
    }
}

impl Handle<machine::Reset> for Agent {
    async fn handle(&self, job: &Job, _command: machine::Reset) -> Result<Changed, Refusal> {
        self.request(job, Request::Reset, task::WAIT).await
    }

    fn warning(&self, job: &Job, _command: &machine::Reset) -> String {
        format!("This resets {} at once: what its guest has not saved is lost.", named(job))
    }
}

/// The name of the machine a job is about.
pub(super) fn named(job: &Job) -> String {
    job.machine().map_or_else(|_| "the host".into(), |machine| machine.record().name.to_string())
}
