//! A client of the QEMU guest agent: JSON objects, one a line, through a virtio port that QEMU gives us as
//! a socket. Who answers there is the guest: it may be silent, lie, or talk without end.
//!
//! The port is a line without a beginning: what an earlier client left unread comes first. So each
//! conversation begins with `guest-sync-delimited`, which the agent answers with a byte that no JSON has
//! and a number of ours; what comes before is thrown away.

mod asking;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod seeing;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::MutexGuard,
    time::{Instant, timeout, timeout_at},
};

use super::{Qemu, arguments::AGENT, running::Running};
use crate::{
    driver::{
        DriverError, GuestAgent,
        guest_agent::{FilePart, GuestSeen, Ran, Trimmed},
    },
    machine::MachineId,
};

/// The longest line taken from the guest, in bytes.
const LINE_MAX: usize = 4 << 20;
/// The most that is thrown away before the agent's answer.
const STALE_MAX: usize = 32 << 20;
/// How long the agent may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// What begins the answer to `guest-sync-delimited`.
const DELIMITER: u8 = 0xff;
/// What QEMU calls the port.
const PORT: &str = "skerry-agent";

/// Whether the guest holds the port open, which QEMU knows.
async fn listens(running: &Running) -> Result<bool, DriverError> {
    let ports = running.qmp.ask("query-chardev", None).await?;
    let ports = ports.as_array().into_iter().flatten();
    Ok(ports.filter(|port| port["label"] == PORT).any(|port| port["frontend-open"] == true))
}

/// Begins a conversation. The port takes one client at a time, so it is held for a few questions and not
/// for as long as something goes on in the guest.
async fn talk(running: &Running) -> Result<(Talk<UnixStream>, MutexGuard<'_, ()>), DriverError> {
    let one = running.agent.lock().await;
    let stream = running.folder.connect(AGENT).await.map_err(|_| none())?;
    let mut talk = Talk { stream: BufReader::new(stream) };
    talk.sync(rand_number()).await?;
    Ok((talk, one))
}

/// Asks one thing.
async fn ask(running: &Running, command: &str, arguments: &Value) -> Result<Value, DriverError> {
    let (mut talk, _one) = talk(running).await?;
    talk.ask(command, arguments).await
}

/// A number that an answer meant for somebody else does not have.
fn rand_number() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 >> 12
}

/// Nobody answers.
fn none() -> DriverError {
    let why = "no guest agent answers in it (Debian's package for the guest is qemu-guest-agent)";
    DriverError::Unfit(why.into())
}

fn nonsense() -> DriverError {
    DriverError::Unfit("what answers in the guest is no guest agent, or says too much".into())
}

/// A conversation.
struct Talk<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Throws away what was said to others.
    async fn sync(&mut self, number: u64) -> Result<(), DriverError> {
        let until = Instant::now() + ANSWER_MAX;
        self.say("guest-sync-delimited", &json!({ "id": number })).await?;
        let mut stale = 0;
        loop {
            let line = match timeout_at(until, self.line(LINE_MAX)).await {
                Ok(line) => line?,
                Err(_) => return Err(none()),
            };
            stale += line.len();
            let after = line.iter().rposition(|byte| *byte == DELIMITER).map_or(0, |at| at + 1);
            let answer = serde_json::from_slice::<Value>(line.get(after..).unwrap_or_default());
            match answer {
                Ok(answer) if answer["return"] == number => return Ok(()),
                _ if stale > STALE_MAX => return Err(nonsense()),
                _ => {}
            }
        }
    }

    async fn say(&mut self, command: &str, arguments: &Value) -> Result<(), DriverError> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        let said = timeout(ANSWER_MAX, self.stream.get_mut().write_all(line.as_bytes())).await;
        said.map_err(|_| none())?.map_err(|_| DriverError::NotRunning)
    }

    async fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, DriverError> {
        self.ask_within(command, arguments, ANSWER_MAX).await.unwrap_or_else(|| Err(none()))
    }

    /// Asks what may take longer; `None` when it has taken too long.
    async fn ask_within(
        &mut self,
        command: &str,
        arguments: &Value,
        limit: Duration,
    ) -> Option<Result<Value, DriverError>> {
        let asked = async {
            self.say(command, arguments).await?;
            self.line(LINE_MAX).await
        };
        Some(timeout(limit, asked).await.ok()?.and_then(|line| answer(&line)))
    }

    /// One line without its end.
    async fn line(&mut self, max: usize) -> Result<Vec<u8>, DriverError> {
        line(&mut self.stream, max).await
    }
}

/// What an answer brings, or why it is none.
fn answer(line: &[u8]) -> Result<Value, DriverError> {
    let mut answer: Value = serde_json::from_slice(line).map_err(|_| nonsense())?;
    if let Some(why) = answer["error"]["desc"].as_str() {
        let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(DriverError::Unfit(format!("its guest agent says no: {why}")));
    }
    Ok(answer.get_mut("return").map(Value::take).unwrap_or_default())
}

async fn line<R: AsyncBufRead + Unpin>(reader: &mut R, max: usize) -> Result<Vec<u8>, DriverError> {
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf().await.map_err(|_| DriverError::NotRunning)?;
        if buffer.is_empty() {
            return Err(DriverError::NotRunning);
        }
        let (taken, whole) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        if line.len() + taken > max {
            return Err(nonsense());
        }
        line.extend_from_slice(buffer.get(..taken).unwrap_or_default());
        reader.consume(taken);
        if whole {
            return Ok(line);
        }
    }
}

#[async_trait]
impl GuestAgent for Qemu {
    async fn listens(&self, id: MachineId) -> Result<bool, DriverError> {
        listens(&*self.running(id)?).await
    }

    async fn begin(&self, id: MachineId, command: &[String], input: &[u8]) -> Result<i64, DriverError> {
        asking::begin(&*self.running(id)?, command, input).await
    }

    async fn ended(&self, id: MachineId, program: i64) -> Result<Option<Ran>, DriverError> {
        asking::ended(&*self.running(id)?, program).await
    }

    async fn read(
        &self,
        id: MachineId,
        path: &str,
        from: u64,
        bytes_max: usize,
    ) -> Result<FilePart, DriverError> {
        asking::read(&*self.running(id)?, path, from, bytes_max).await
    }

    async fn write(&self, id: MachineId, path: &str, bytes: &[u8], append: bool) -> Result<(), DriverError> {
        asking::write(&*self.running(id)?, path, bytes, append).await
    }

    async fn set_password(
        &self,
        id: MachineId,
        user: &str,
        password: &str,
        hashed: bool,
    ) -> Result<(), DriverError> {
        asking::set_password(&*self.running(id)?, user, password, hashed).await
    }

    async fn freeze(&self, id: MachineId) -> Result<u64, DriverError> {
        asking::freeze(&*self.running(id)?).await
    }

    async fn thaw(&self, id: MachineId) -> Result<u64, DriverError> {
        asking::thaw(&*self.running(id)?).await
    }

    async fn is_frozen(&self, id: MachineId) -> Result<bool, DriverError> {
        asking::is_frozen(&*self.running(id)?).await
    }

    async fn trim(&self, id: MachineId, limit: Duration) -> Result<Trimmed, DriverError> {
        asking::trim(&*self.running(id)?, limit).await
    }

    async fn describe(&self, id: MachineId, limit: Duration) -> Result<GuestSeen, DriverError> {
        seeing::describe(&*self.running(id)?, limit).await
    }
}

#[cfg(test)]
#[path = "guest_agent_tests.rs"]
mod tests;
