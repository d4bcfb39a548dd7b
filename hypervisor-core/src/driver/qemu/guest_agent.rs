//! A client of the QEMU guest agent: JSON objects, one a line, through a virtio port that QEMU gives us as
//! a socket. Who answers there is the guest: it may be silent, lie, or talk without end.
//!
//! The port is a line without a beginning: what an earlier client left unread comes first. So each
//! conversation begins with `guest-sync-delimited`, which the agent answers with a byte that no JSON has
//! and a number of ours; what comes before is thrown away.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{arguments::AGENT, running::Running};
use crate::driver::{
    DriverError,
    guest_agent::{OUTPUT_BYTES_MAX, Ran},
};

/// The longest line taken from the guest, in bytes.
const LINE_MAX: usize = 4 << 20;
/// The most that is thrown away before the agent's answer.
const STALE_MAX: usize = 32 << 20;
/// How long the agent may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often it is asked whether a command has ended: at first, and at most.
const ASK_FIRST: Duration = Duration::from_millis(20);
const ASK_LATER: Duration = Duration::from_secs(1);
/// What begins the answer to `guest-sync-delimited`.
const DELIMITER: u8 = 0xff;

/// Runs a command in the guest.
pub(super) async fn exec(running: &Running, command: &[String], limit: Duration) -> Result<Ran, DriverError> {
    // The port takes one client at a time.
    let _one = running.agent.lock().await;
    let stream = running.folder.connect(AGENT).await.map_err(|_| none())?;
    let mut talk = Talk { stream: BufReader::new(stream) };
    talk.sync(rand_number()).await?;
    talk.run(command, limit).await
}

/// A number that an answer meant for somebody else does not have.
fn rand_number() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 >> 12
}

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

    async fn run(&mut self, command: &[String], limit: Duration) -> Result<Ran, DriverError> {
        let until = Instant::now() + limit;
        let Some((path, arguments)) = command.split_first() else {
            return Err(DriverError::Unfit("there is no command".into()));
        };
        let started = json!({ "path": path, "arg": arguments, "capture-output": true });
        let started = self.ask("guest-exec", &started).await?;
        let pid = started["pid"].as_i64().ok_or_else(nonsense)?;
        let mut pause = ASK_FIRST;
        loop {
            let status = self.ask("guest-exec-status", &json!({ "pid": pid })).await?;
            if status["exited"] == true {
                return Ok(ran(&status));
            }
            if Instant::now() + pause > until {
                return Err(DriverError::TimedOut { what: "the command in the guest", limit });
            }
            sleep(pause).await;
            pause = (pause * 2).min(ASK_LATER);
        }
    }

    async fn say(&mut self, command: &str, arguments: &Value) -> Result<(), DriverError> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        let said = timeout(ANSWER_MAX, self.stream.get_mut().write_all(line.as_bytes())).await;
        said.map_err(|_| none())?.map_err(|_| DriverError::NotRunning)
    }

    async fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, DriverError> {
        self.say(command, arguments).await?;
        let line = timeout(ANSWER_MAX, self.line(LINE_MAX)).await.map_err(|_| none())??;
        let mut answer: Value = serde_json::from_slice(&line).map_err(|_| nonsense())?;
        if let Some(why) = answer["error"]["desc"].as_str() {
            let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(DriverError::Unfit(format!("its guest agent says no: {why}")));
        }
        Ok(answer.get_mut("return").map(Value::take).unwrap_or_default())
    }

    /// One line without its end.
    async fn line(&mut self, max: usize) -> Result<Vec<u8>, DriverError> {
        line(&mut self.stream, max).await
    }
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

/// How it ended, and what it wrote.
fn ran(status: &Value) -> Ran {
    let mut cut = status["out-truncated"] == true || status["err-truncated"] == true;
    let mut text = |name: &str| {
        let mut bytes = BASE64.decode(status[name].as_str().unwrap_or_default()).unwrap_or_default();
        cut |= bytes.len() > OUTPUT_BYTES_MAX;
        bytes.truncate(OUTPUT_BYTES_MAX);
        bytes
    };
    let (output, errors) = (text("out-data"), text("err-data"));
    let number = |name: &str| status[name].as_i64().and_then(|number| i32::try_from(number).ok());
    Ran { code: number("exitcode"), signal: number("signal"), output, errors, cut }
}

#[cfg(test)]
#[path = "guest_agent_tests.rs"]
mod tests;
