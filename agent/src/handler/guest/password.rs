//! The password of a user of the guest. It is in no log, no journal, no event and no answer.

use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::PasswordSet,
    safe::safe_line,
};

use super::{Handle, agent_of, said};
use crate::{agent::Agent, dispatch::Job};

impl Handle<machine::Password> for Agent {
    async fn handle(&self, job: &Job, command: machine::Password) -> Result<PasswordSet, Refusal> {
        let machine = job.machine()?;
        let agent = agent_of(machine)?;
        let name = machine.record().name.to_string();
        let Some(password) = command.password.as_ref().map(|password| password.reveal()) else {
            let user = safe_line(&command.user, 40);
            return Err(Refusal::new(
                Reason::BadRequest,
                "A password is not said in a chat, which servers keep.",
            )
            .hint(format!("Fill in the form of the command password, or use: skerry password {name} {user}"))
            .field("password"));
        };
        // What the guest's chpasswd would take for another line, or for another user.
        if password.is_empty() || password.chars().any(char::is_control) {
            let text = "A password has at least one character, and none that is not to be seen.";
            return Err(Refusal::new(Reason::BadRequest, text).field("password"));
        }
        let user = command.user.trim();
        if user.is_empty() || user.contains([':', '\n', '\0']) {
            return Err(Refusal::new(Reason::BadRequest, "That is no name of a user.").field("user"));
        }
        agent
            .set_password(machine.card.id, user, password, command.hashed)
            .await
            .map_err(|error| said(machine, error))?;
        Ok(PasswordSet { name, user: safe_line(user, 40) })
    }
}
