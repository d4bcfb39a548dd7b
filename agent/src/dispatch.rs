//! The one way of a command: permit → parse → what it is about → confirmation → journal → handler →
//! journal → answer.

mod approved;
mod jobs;
mod limits;
pub(crate) mod notes;
mod refused;
mod repeats;
mod runner;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use hypervisor_core::lifecycle::Request;
use skerry_stanzas::{
    command::{Declaration, Effect, Object},
    refusal::{Reason, Refusal},
    reply::{JOB, PERCENT, Reply, UNDER_WAY},
};
use tokio::sync::mpsc;
use tracing::Instrument;
use uuid::Uuid;

use self::{
    jobs::Going,
    repeats::{Claim, Running},
    runner::Runner,
};
pub(crate) use self::{
    jobs::Jobs,
    limits::{Limits, Slot, share},
    repeats::Repeats,
    runner::Ready,
};
use crate::{
    agent::Agent,
    approval::Policy,
    asked::{Answer, Asked, Target},
    crash, handler,
    journal::{self, Accepted, Outcome, Repeated},
    machine::{
        Ending, Machine, Record,
        queue::{Verdict, verdict},
        task, wording,
    },
    reference,
    rights::Permit,
    signing::Proof,
};

/// How long a command that says how far it is may take before who asked is told so.
const LONG: Duration = Duration::from_secs(2);

/// A command that is carried out: who may, under which number, on what.
pub(crate) struct Job {
    /// The right to it.
    pub(crate) permit: Permit,
    /// Its number, also in the journal when it is journalled.
    pub(crate) id: Uuid,
    machine: Option<Arc<Machine>>,
    /// The signature it needed.
    pub(crate) proof: Option<Proof>,
    progress: Option<mpsc::Sender<String>>,
    going: Arc<Going>,
    /// Its end is in the journal.
    closed: Arc<AtomicBool>,
    /// It takes nothing away as things are, so nobody was asked whether it is meant.
    pub(crate) unasked: bool,
}

impl Job {
    /// The machine it is about.
    pub(crate) fn machine(&self) -> Result<&Arc<Machine>, Refusal> {
        let missing = || Refusal::new(Reason::BadRequest, "That is asked of a machine, not of the host.");
        self.machine.as_ref().ok_or_else(missing)
    }

    /// Who asks, for records.
    pub(crate) fn by(&self) -> String {
        self.permit.person().to_string()
    }

    /// Where whoever waits hears how it goes.
    pub(crate) fn progress(&self) -> Option<mpsc::Sender<String>> {
        self.progress.clone()
    }

    /// Its end, for whoever stores what it does: nothing may come after that.
    pub(crate) fn ending<R: Reply>(
        &self,
        reply: impl FnOnce(&Record) -> R + Send + Sync + 'static,
    ) -> Ending {
        let outcome = Box::new(move |record: &Record| {
            let reply = reply(record);
            Outcome::Done { text: reply.text(), json: serde_json::json!(reply) }
        });
        Ending { entry: self.id, outcome, written: Arc::clone(&self.closed) }
    }

    /// A note in a machine's folder, for an agent that comes after this one: it is removed when the command
    /// is closed in the journal, and not before.
    pub(crate) fn until_closed(&self, note: std::path::PathBuf) {
        self.going.notes.put(note);
    }

    /// Tells whoever waits how it goes. Who does not read misses it.
    pub(crate) fn say(&self, text: String) {
        self.going.say(&text);
        if let Some(progress) = &self.progress {
            let _ = progress.try_send(text);
        }
    }

    /// Tells how much of it is done, when that has changed by a whole percent: `doing: 45 %`.
    pub(crate) fn reach(&self, doing: &str, done: u64, of: u64) {
        let percent = u128::from(done.min(of)) * 100 / u128::from(of.max(1));
        let percent = u8::try_from(percent).unwrap_or(100);
        let sentence = format!("{doing}: {percent} %");
        if self.going.reach(percent, &sentence) {
            self.say(sentence);
        }
    }

    /// Does work that leaves nothing when it is dropped, and can be called off meanwhile
    /// (`job cancel`). After it the job goes to its end.
    ///
    /// # Errors
    /// Those of the work; or that it was called off.
    pub(crate) async fn unless_called_off<T>(
        &self,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        self.going.unless_called_off(work).await
    }
}

impl Agent {
    /// Permit, parse, confirm, journal, run. What is refused is noted by [`Agent::dispatch`].
    async fn try_dispatch(
        &self,
        asked: Asked,
        progress: Option<mpsc::Sender<String>>,
        confirmed: bool,
    ) -> Result<Answer, Refusal> {
        let declaration = asked.declaration;
        let permit = self.permit(&asked.caller, declaration, &asked.target)?;
        let ready = Runner::of(declaration)?.parse(&asked.argv)?;
        let patience = asked.patience;
        let id = Uuid::now_v7();
        let going = self.going_on(id, declaration, &asked);
        let (machine, proof, closed, unasked) = (None, None, Arc::default(), false);
        let mut job =
            Job { permit, id, machine, proof, progress, going: Arc::clone(&going), closed, unasked };
        if declaration.effect == Effect::Read {
            let slot = self.inner.reads.take(&asked.person())?;
            job.machine = self.subject(declaration, &asked.target)?;
            return Ok(self.run_read(ready, job, slot, patience).await);
        }
        let mut accepted = accepted(&asked, &job, ready.as_ref());
        let slot = match self.inner.jobs.take(&asked.person()) {
            Ok(slot) => slot,
            Err(refusal) => return self.heard_again(&accepted, patience).await.unwrap_or(Err(refusal)),
        };
        if let Some(open) = self.asked_before(&accepted) {
            drop(slot);
            return Ok(self.wait_for_request(open, asked.key.as_ref(), patience).await);
        }
        let claim = match self.inner.repeats.claim(&accepted, &going) {
            Ok(claim) => claim,
            Err(running) => return Ok(wait_on(running, patience).await),
        };
        // Before it is looked for: what was deleted is not there any more, and had its answer.
        if let Some(answer) = self.answered_before(&accepted).await? {
            return Ok(answer);
        }
        job.machine = self.subject(declaration, &asked.target)?;
        accepted.machine = accepted.machine.or(job.machine.as_ref().map(|machine| machine.card.id.0));
        let takes_away =
            declaration.effect == Effect::Destroy && self.needs_yes(&job)? && ready.asks(self, &job);
        if takes_away || declaration.effect == Effect::Change {
            let policies = self.policies_for(&asked, job.machine.as_ref());
            job.proof = self.proof(&asked, &job, ready.as_ref(), &policies).await?;
            accepted.signature = job.proof.as_ref().map(|proof| proof.signed.clone());
            if policies.iter().any(Policy::makes_wait) {
                return self.put_request(&asked, &job, accepted, ready.as_ref(), policies).await;
            }
        }
        // Who signed what will be done has read it.
        if takes_away && !confirmed && job.proof.is_none() {
            ready.obstacle(self, &job).await?;
            let sentence = ready.warning(self, &job);
            let confirmation = self.inner.confirmations.put(asked, sentence, chrono::Utc::now())?;
            return Ok(Answer::Confirm(confirmation));
        }
        job.unasked = declaration.effect == Effect::Destroy && !takes_away;
        self.accept(job.id, accepted).await?;
        Ok(self.set_going(ready, job, slot, claim, patience).await)
    }

    /// Sets what was accepted going, and waits for its end as long as its caller does.
    async fn set_going(
        &self,
        ready: Box<dyn Ready>,
        job: Job,
        slot: Slot,
        claim: Claim,
        patience: Duration,
    ) -> Answer {
        let running = claim.running();
        let waiting = self.under_way(&job);
        let (hears, going) = (job.progress.is_some(), Arc::clone(&job.going));
        self.start_job(ready, job, slot, claim, None);
        // Who hears nothing meanwhile is told how far it is, if it says so, and asks again.
        let news = async {
            match hears {
                true => std::future::pending().await,
                false => {
                    tokio::time::sleep(LONG).await;
                    going.farther(None).await;
                }
            }
        };
        wait(running, waiting, patience, news).await
    }

    /// Looks whether a command could be carried out as far as it is said, and does nothing.
    pub(crate) async fn look_over(&self, asked: Asked) -> Result<(), Refusal> {
        let request = asked.clone();
        let looked = self.look_at_it(asked).await;
        if let Err(refusal) = looked.as_ref()
            && refusal.reason == Reason::NotAllowed
        {
            self.note_refused(&request, refusal).await;
        }
        looked
    }

    async fn look_at_it(&self, asked: Asked) -> Result<(), Refusal> {
        let declaration = asked.declaration;
        let permit = self.permit(&asked.caller, declaration, &asked.target)?;
        let _slot = self.inner.reads.take(&asked.person())?;
        let ready = Runner::of(declaration)?.parse(&asked.argv)?;
        let id = Uuid::now_v7();
        let machine = self.subject(declaration, &asked.target)?;
        let going = self.going_on(id, declaration, &asked);
        let (proof, progress, closed, unasked) = (None, None, Arc::default(), false);
        ready.obstacle(self, &Job { permit, id, machine, proof, progress, going, closed, unasked }).await
    }

    fn going_on(&self, id: Uuid, declaration: &Declaration, asked: &Asked) -> Arc<Going> {
        let machine = match &asked.target {
            Target::Machine(name) => Some(name.to_string()),
            Target::Host => None,
        };
        Arc::new(self.inner.going.begin(id, declaration, machine, asked.person()))
    }

    /// The machine a command is about, once it is sure that it can be asked of it.
    fn subject(&self, declaration: &Declaration, target: &Target) -> Result<Option<Arc<Machine>>, Refusal> {
        match (declaration.object, target) {
            (Object::Host, Target::Host) => Ok(None),
            (Object::Machine, Target::Machine(name)) => {
                let machine =
                    self.inner.machines.find(name).map_err(|refusal| match self.where_it_went(name) {
                        Some(went) => Refusal::new(Reason::NotFound, went),
                        None => refusal,
                    })?;
                if !handler::can(&machine, declaration) {
                    let driver = machine.card.driver.name();
                    return Err(Refusal::new(
                        Reason::NotSupported,
                        format!("The driver {driver} cannot {} {name}.", declaration.spoken()),
                    )
                    .hint("\"drivers\" shows what each can do."));
                }
                Ok(Some(machine))
            }
            (Object::Machine, Target::Host) => Err(Refusal::new(
                Reason::BadRequest,
                format!("Which machine? \"{}\" is asked of a machine.", declaration.spoken()),
            )
            .hint("\"list\" shows the machines there are.")),
            (Object::Host, Target::Machine(_)) => Err(Refusal::new(
                Reason::BadRequest,
                format!("\"{}\" is asked of the host, not of a machine.", declaration.spoken()),
            )),
        }
    }

    /// Whether a destroying command would take anything away. What cannot be done at all is refused
    /// before anybody is asked whether it is meant.
    fn needs_yes(&self, job: &Job) -> Result<bool, Refusal> {
        let Some(machine) = &job.machine else { return Ok(true) };
        let record = machine.record();
        if record.protected {
            return Err(task::protected(&record));
        }
        let Some(request) = handler::request_of(job.permit.declaration()) else { return Ok(true) };
        match verdict(&record.state, None, request) {
            Verdict::Refused(obstacle) => Err(wording::obstacle(&record.name, request, obstacle)),
            Verdict::AlreadySo => Ok(request == Request::Delete),
            Verdict::Begin | Verdict::Join | Verdict::Interrupt => Ok(true),
        }
    }

    /// Written and synced before anything is done.
    async fn accept(&self, id: Uuid, accepted: Accepted) -> Result<(), Refusal> {
        crash::point("before-accepted");
        self.inner.store.run(move |connection| journal::accept(connection, id, &accepted)).await?;
        crash::point("accepted");
        self.inner.audit.written();
        Ok(())
    }

    /// Runs a journalled command in a task of its own, which outlives whoever asked.
    fn start_job(&self, ready: Box<dyn Ready>, job: Job, slot: Slot, claim: Claim, request: Option<String>) {
        let agent = self.clone();
        let id = job.id;
        let span = span(&job);
        let permission = job.permit.declaration().permission();
        let (going, closed) = (Arc::clone(&job.going), Arc::clone(&job.closed));
        let listed = self.inner.going.list(Arc::clone(&going));
        let work = async move {
            let outcome = agent.run_caught(ready, job).await;
            agent.count(&permission, &outcome);
            crash::point("before-close");
            let stored =
                agent.store_end(id, &outcome, closed.load(Ordering::SeqCst), request.is_some()).await;
            crash::point("closed");
            agent.inner.audit.written();
            match stored {
                Ok(()) => going.notes.remove(),
                Err(error) => tracing::error!(%id, %error, "the journal's entry stays open"),
            }
            claim.ended(outcome.clone());
            drop((slot, listed));
            if let Some(code) = request {
                agent.request_is_over(&code, outcome).await;
            }
        };
        tokio::spawn(work.instrument(span));
    }

    /// Runs a command that only looks: no journal, and a repetition looks again. So it needs no task
    /// that outlives its caller, and is given up when it takes too long.
    async fn run_read(&self, ready: Box<dyn Ready>, job: Job, slot: Slot, patience: Duration) -> Answer {
        let waiting = self.under_way(&job);
        let span = span(&job);
        let permission = job.permit.declaration().permission();
        let work = self.run_caught(ready, job).instrument(span);
        let outcome = tokio::time::timeout(patience, work).await;
        drop(slot);
        match outcome {
            Ok(outcome) => {
                self.count(&permission, &outcome);
                outcome.answer()
            }
            Err(_) => waiting(),
        }
    }

    /// A panic in a handler ends that command, under a reference, and nothing else.
    async fn run_caught(&self, ready: Box<dyn Ready>, job: Job) -> Outcome {
        match AssertUnwindSafe(ready.run(self.clone(), job)).catch_unwind().await {
            Ok(Ok((text, json))) => Outcome::Done { text, json },
            Ok(Err(refusal)) => Outcome::Refused(refusal),
            Err(panic) => {
                let reference = reference::fresh();
                let said = reference::panic_text(panic.as_ref());
                tracing::error!(%reference, %said, "a handler panicked");
                Outcome::Refused(reference::answer("That did not work", &reference))
            }
        }
    }

    /// What is answered when the end takes longer than the caller waits. Programs see it by
    /// [`UNDER_WAY`], and ask again with the same key to wait for the end.
    fn under_way(&self, job: &Job) -> impl FnOnce() -> Answer + use<> {
        let agent = self.clone();
        let (machine, going) = (job.machine.clone(), Arc::clone(&job.going));
        move || match machine {
            Some(machine) => {
                let record = machine.record();
                let sentence =
                    format!("{} \"{}\" is under way.", wording::is(&record.name, &record.state), going.what);
                let changed = agent.changed(&record, sentence);
                going_on(changed.text(), serde_json::json!(changed), &going)
            }
            None => going_on_still(&going),
        }
    }
}

/// Waits for the end of a job, as long as the caller waits. The job goes on regardless.
async fn wait(
    mut running: Running,
    under_way: impl FnOnce() -> Answer,
    patience: Duration,
    news: impl Future<Output = ()>,
) -> Answer {
    let end = async {
        tokio::select! {
            biased;
            ended = running.outcome.wait_for(Option::is_some) => Ok(ended.map(|outcome| outcome.clone())),
            () = news => Err(()),
        }
    };
    match tokio::time::timeout(patience, end).await.unwrap_or(Err(())) {
        Ok(Ok(outcome)) => outcome.map_or_else(under_way, Outcome::answer),
        Ok(Err(_)) => Answer::Refused(
            Refusal::new(Reason::Unavailable, "That was given up.").hint("Try again in a moment."),
        ),
        Err(()) => under_way(),
    }
}

/// The same for what somebody asked for before.
async fn wait_on(running: Running, patience: Duration) -> Answer {
    let going = Arc::clone(&running.going);
    let (_, percent) = going.told();
    wait(running, || going_on_still(&going), patience, going.farther(percent)).await
}

/// The first answer again.
fn before(repeated: Repeated) -> Answer {
    match repeated {
        Repeated::Ended(outcome) => outcome.answer(),
        Repeated::Open => {
            Outcome::Unknown { text: "That was accepted; how it ended is not known.".into() }.answer()
        }
    }
}

/// Not yet done: the same answer as ever, and marked, with how far it is when that is known.
fn going_on(text: String, mut json: serde_json::Value, going: &Going) -> Answer {
    if let Some(object) = json.as_object_mut() {
        object.insert(UNDER_WAY.into(), true.into());
        if !going.code.is_empty() {
            object.insert(JOB.into(), going.code.clone().into());
        }
        if let (_, Some(percent)) = going.told() {
            object.insert(PERCENT.into(), percent.into());
        }
    }
    Answer::Done { text, json }
}

/// The newest it said itself, when it did.
fn going_on_still(going: &Going) -> Answer {
    let (said, _) = going.told();
    let sentence = match said.is_empty() {
        true => format!("\"{}\" is under way.", going.what),
        false => said,
    };
    going_on(sentence.clone(), serde_json::json!({ "sentence": sentence }), going)
}

fn accepted(asked: &Asked, job: &Job, ready: &dyn Ready) -> Accepted {
    Accepted {
        caller: asked.caller.to_string(),
        rule: job.permit.rule().into(),
        door: asked.door,
        permission: asked.declaration.permission(),
        machine: handler::makes_machine(asked.declaration).then_some(job.id),
        name: match &asked.target {
            Target::Machine(name) => Some(name.to_string()),
            Target::Host => None,
        },
        args: ready.args(),
        key: asked.key.clone(),
        because: asked.because().map(str::to_owned),
        hops: asked.hops.clone(),
        signature: None,
    }
}

fn span(job: &Job) -> tracing::Span {
    let permit = &job.permit;
    let permission = permit.declaration().permission();
    tracing::info_span!("command", %permission, caller = %permit.caller(), job = %job.id)
}
