//! From a declaration to the code that carries it out. A command in the list without a
//! [`Handle`] does not compile.

use futures::future::BoxFuture;
use skerry_stanzas::{
    command::{Command, Declaration, Object, host, machine},
    each_command,
    refusal::{Reason, Refusal},
    reply::Reply,
    words,
};

use super::Job;
use crate::{agent::Agent, handler::Handle};

/// A parsed command, ready to run.
pub(crate) trait Ready: Send + Sync {
    /// Its arguments, for the journal.
    fn args(&self) -> serde_json::Value;
    /// What stands in its way, looked at before anything is done.
    fn obstacle<'a>(&'a self, agent: &'a Agent, job: &'a Job) -> BoxFuture<'a, Result<(), Refusal>>;
    /// Whether who gives it is asked at all.
    fn asks(&self, agent: &Agent, job: &Job) -> bool;
    /// What exactly it will do, for the question whether it is meant.
    fn warning(&self, agent: &Agent, job: &Job) -> String;
    /// Carries it out: the answer for people, and for programs.
    fn run(
        self: Box<Self>,
        agent: Agent,
        job: Job,
    ) -> BoxFuture<'static, Result<(String, serde_json::Value), Refusal>>;
}

struct Parsed<C>(C);

impl<C: Command> Ready for Parsed<C>
where
    Agent: Handle<C>,
{
    fn args(&self) -> serde_json::Value {
        serde_json::to_value(&self.0).unwrap_or_default()
    }

    fn obstacle<'a>(&'a self, agent: &'a Agent, job: &'a Job) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(agent.obstacle(job, &self.0))
    }

    fn asks(&self, agent: &Agent, job: &Job) -> bool {
        agent.asks(job, &self.0)
    }

    fn warning(&self, agent: &Agent, job: &Job) -> String {
        agent.warning(job, &self.0)
    }

    fn run(
        self: Box<Self>,
        agent: Agent,
        job: Job,
    ) -> BoxFuture<'static, Result<(String, serde_json::Value), Refusal>> {
        Box::pin(async move {
            let room = match agent.has_quotas() {
                true => agent.room(agent.takes(&job, &self.0).await?).await?,
                false => None,
            };
            let reply = agent.handle(&job, self.0).await?;
            let json = serde_json::to_value(&reply)
                .map_err(|error| crate::reference::internal("The answer could not be written", &error))?;
            let said = room.map(|room| room.said()).unwrap_or_default();
            Ok((reply.text() + &said, json))
        })
    }
}

type Parse = fn(&[String]) -> Result<Box<dyn Ready>, Refusal>;

/// How to parse one command.
pub(super) struct Runner {
    object: Object,
    verb: &'static str,
    parse: Parse,
}

impl Runner {
    const fn make<C: Command>() -> Self
    where
        Agent: Handle<C>,
    {
        Self {
            object: C::OBJECT,
            verb: C::VERB,
            parse: |argv| Ok(Box::new(Parsed(words::parse::<C>(argv)?))),
        }
    }

    /// The one for a declaration.
    pub(super) fn of(declaration: &Declaration) -> Result<&'static Self, Refusal> {
        RUNNERS
            .iter()
            .find(|runner| runner.object == declaration.object && runner.verb == declaration.verb)
            .ok_or_else(|| Refusal::new(Reason::NotFound, format!("There is no command {declaration:?}.")))
    }

    /// Reads the arguments.
    pub(super) fn parse(&self, argv: &[String]) -> Result<Box<dyn Ready>, Refusal> {
        (self.parse)(argv)
    }
}

macro_rules! runners {
    ($($command:ty),* $(,)?) => { &[$(Runner::make::<$command>()),*] };
}

static RUNNERS: &[Runner] = each_command!(runners);
