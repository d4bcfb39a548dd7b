//! Waits for the end of a command. The host answers when it is done, or after a while with "under way";
//! the same request is then sent again, which the host knows by its id: it runs nothing twice, and answers
//! with the outcome once there is one, also after a restart of its agent.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    call::{Reply, Sent},
    failure::{Failure, Kind, Outcome},
    plan::Planned,
    progress::Progress,
    session::Session,
};

/// How long is waited beyond what the command itself says.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// How long a host that went away is asked for again: an agent's restart takes a few seconds.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// How long until the next try after one that found the host away, or an answer that came at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until the command has ended, and gives its outcome.
///
/// # Errors
/// It did not end well, or not in time; or its host is gone.
pub async fn until_ended(
    planned: &Planned,
    mut sent: Sent,
    session: &Session,
    progress: &Progress,
) -> Outcome<Reply> {
    let until = Instant::now() + WAIT_MAX + planned.call.own_wait();
    let mut seen = Instant::now();
    while sent.reply.is_under_way() {
        let asked = Instant::now();
        match planned.call.again(session, &sent).await? {
            Some(reply) => {
                sent.reply = reply;
                seen = Instant::now();
                progress.tell(planned, &sent.reply.text, sent.reply.percent());
            }
            None if seen.elapsed() > AWAY_MAX => return Err(given_up(planned, "its host is gone")),
            None => progress.tell(planned, &format!("{}: waiting for its host", planned.who), None),
        }
        if !sent.reply.is_under_way() {
            break;
        }
        // A request has its own time, and ends by itself.
        if Instant::now() > until && sent.reply.request().is_none() {
            return Err(given_up(planned, "it takes too long"));
        }
        if asked.elapsed() < PAUSE {
            sleep(PAUSE).await;
        }
    }
    Ok(sent.reply)
}

fn given_up(planned: &Planned, why: &str) -> Failure {
    let text =
        format!("not waited any longer for {} of {}: {why}", planned.call.declaration.spoken(), planned.who);
    Failure::new(Kind::Unreachable, text).hint("It may still be carried out: see its status and its log.")
}
