//! A client of QEMU's machine protocol (QMP): JSON objects, one a line; commands are answered by
//! number, events come in between.
//!
//! Tolerant of what it does not know (newer QEMUs say more), strict in size: a line over
//! [`LINE_MAX`] ends the connection, as does anything that is not JSON. All that is in flight then
//! fails with [`QmpError::Closed`].

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Interest},
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::driver::DriverError;

/// The longest line taken from QEMU, in bytes: its longest answers have some tens of kB.
const LINE_MAX: usize = 1 << 20;

/// How long an answer may take. QEMU answers in its main loop, which a slow disk can hold up.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Events that wait to be looked at; when they are this many, QEMU waits.
const EVENTS_MAX: usize = 64;

/// Why a command was not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub(super) enum QmpError {
    /// QEMU refused it, with this sentence.
    #[error("QEMU refused {command}: {sentence}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// QEMU's words.
        sentence: String,
    },
    /// The connection ended.
    #[error("QEMU closed its control socket")]
    Closed,
    /// No answer in time.
    #[error("QEMU's answer to {0} took too long")]
    TimedOut(&'static str),
    /// The other side does not speak the protocol.
    #[error("what answers on the control socket is not QEMU")]
    Stranger,
}

impl From<QmpError> for DriverError {
    fn from(error: QmpError) -> Self {
        match error {
            QmpError::TimedOut(_) | QmpError::Stranger => {
                DriverError::TimedOut { what: "QEMU's answer", limit: ANSWER_MAX }
            }
            QmpError::Closed => DriverError::NotRunning,
            QmpError::Refused { .. } => DriverError::system(error.to_string(), error),
        }
    }
}

/// Something QEMU told unasked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    /// Its name, in capitals.
    pub(super) name: String,
    /// What belongs to it.
    pub(super) about: Value,
}

impl Event {
    /// Whether the guest itself did it.
    pub(super) fn by_guest(&self) -> bool {
        self.about["guest"] == true
    }

    /// The reason QEMU gives, if any.
    pub(super) fn reason(&self) -> &str {
        self.about["reason"].as_str().unwrap_or_default()
    }
}

type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>>;

/// A line for QEMU, and the file that goes with it.
struct Order(Vec<u8>, Option<OwnedFd>);

/// A connection to QEMU. Dropping it closes the connection.
pub(super) struct Client {
    /// To the task that writes: a caller that is dropped half way must not leave half a line.
    orders: mpsc::Sender<Order>,
    /// `None` once the connection has ended.
    waiting: Waiting,
    number_next: AtomicU64,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    /// Waits for QEMU's greeting and ends the negotiation. The receiver gets the events; it closes
    /// when the connection does, after the last of them.
    pub(super) async fn greet(stream: UnixStream) -> Result<(Self, mpsc::Receiver<Event>), QmpError> {
        // A second way to the same socket, since a stream takes no descriptors.
        let hand = stream.as_fd().try_clone_to_owned();
        let hand = hand.and_then(|hand| UnixStream::from_std(hand.into()));
        Self::greet_by(stream, Some(hand.map_err(|_| QmpError::Closed)?)).await
    }

    /// The same over any connection; without a socket to hand files over by, none can be.
    pub(super) async fn greet_by<S>(
        stream: S,
        hand: Option<UnixStream>,
    ) -> Result<(Self, mpsc::Receiver<Event>), QmpError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(stream);
        let mut reader = BufReader::new(reader);
        let greeting = timeout(ANSWER_MAX, line(&mut reader))
            .await
            .map_err(|_| QmpError::TimedOut("the connection (somebody else may hold it)"))?
            .ok_or(QmpError::Closed)?;
        let greeting: Value = serde_json::from_slice(&greeting).map_err(|_| QmpError::Stranger)?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Stranger);
        }
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let (orders, ordered) = mpsc::channel(1);
        tokio::spawn(write(writer, hand, ordered));
        let client = Self {
            orders,
            waiting: waiting.clone(),
            number_next: AtomicU64::new(1),
            reader: tokio::spawn(read(reader, waiting, tell)),
        };
        client.ask("qmp_capabilities", None).await?;
        Ok((client, events))
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// [`QmpError`]; after a timeout the answer, if it still comes, is dropped.
    pub(super) async fn ask(
        &self,
        command: &'static str,
        arguments: Option<Value>,
    ) -> Result<Value, QmpError> {
        self.ask_within(ANSWER_MAX, command, arguments).await
    }

    /// Asks one thing whose answer may take longer: QEMU does some work before it answers.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(super) async fn ask_within(
        &self,
        limit: Duration,
        command: &'static str,
        arguments: Option<Value>,
    ) -> Result<Value, QmpError> {
        self.order(limit, command, arguments, None).await
    }

    /// Asks one thing, and hands it a file with that.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(super) async fn hand(
        &self,
        command: &'static str,
        arguments: Value,
        file: OwnedFd,
    ) -> Result<Value, QmpError> {
        self.order(ANSWER_MAX, command, Some(arguments), Some(file)).await
    }

    async fn order(
        &self,
        limit: Duration,
        command: &'static str,
        arguments: Option<Value>,
        file: Option<OwnedFd>,
    ) -> Result<Value, QmpError> {
        let number = self.number_next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.register(number, Some(tell))?;
        let mut order = json!({"execute": command, "id": number});
        if let Some(arguments) = arguments {
            order["arguments"] = arguments;
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(b'\n');
        let asked = async {
            self.orders.send(Order(bytes, file)).await.map_err(|_| QmpError::Closed)?;
            told.await.map_err(|_| QmpError::Closed)
        };
        match timeout(limit, asked).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(sentence))) => Err(QmpError::Refused { command, sentence }),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                self.register(number, None)?;
                Err(QmpError::TimedOut(command))
            }
        }
    }

    /// Notes who waits for an answer, or that nobody does any more.
    fn register(
        &self,
        number: u64,
        who: Option<oneshot::Sender<Result<Value, String>>>,
    ) -> Result<(), QmpError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.as_mut().ok_or(QmpError::Closed)?;
        match who {
            Some(who) => waiting.insert(number, who),
            None => waiting.remove(&number),
        };
        Ok(())
    }
}

/// What QEMU says, as far as it is looked at.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: Option<u64>,
    #[serde(rename = "return", default)]
    answer: Option<Value>,
    #[serde(default)]
    error: Option<Refusal>,
    #[serde(default)]
    event: Option<String>,
    #[serde(rename = "data", default)]
    about: Value,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    desc: String,
}

/// Writes until the client is dropped, or the connection ends.
async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    hand: Option<UnixStream>,
    mut ordered: mpsc::Receiver<Order>,
) {
    while let Some(Order(bytes, file)) = ordered.recv().await {
        let written = async {
            let sent = match (file, &hand) {
                (Some(file), Some(hand)) => hand_over(hand, &bytes, &file).await?,
                (Some(_), None) => return Err(io::ErrorKind::Unsupported.into()),
                (None, _) => 0,
            };
            writer.write_all(&bytes[sent..]).await?;
            writer.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
}

/// Sends a file with the beginning of a line (unix(7), SCM_RIGHTS): how much of it went.
async fn hand_over(hand: &UnixStream, bytes: &[u8], file: &OwnedFd) -> io::Result<usize> {
    let files = [file.as_raw_fd()];
    hand.async_io(Interest::WRITABLE, || {
        let with = [ControlMessage::ScmRights(&files)];
        let sent =
            sendmsg::<()>(hand.as_raw_fd(), &[IoSlice::new(bytes)], &with, MsgFlags::MSG_NOSIGNAL, None);
        sent.map_err(io::Error::from)
    })
    .await
}

/// Reads until the connection ends; then nobody waits any more.
async fn read<R: AsyncBufRead + Unpin>(mut reader: R, waiting: Waiting, tell: mpsc::Sender<Event>) {
    while let Some(bytes) = line(&mut reader).await {
        let Ok(line) = serde_json::from_slice::<Line>(&bytes) else {
            tracing::warn!("QEMU's control socket said something that is not its protocol");
            break;
        };
        if let Some(name) = line.event {
            // Nobody may want them; answers still do come.
            let _ = tell.send(Event { name, about: line.about }).await;
            continue;
        }
        let answer = match (line.answer, line.error) {
            (Some(answer), _) => Ok(answer),
            (None, Some(refusal)) => Err(refusal.desc),
            (None, None) => continue,
        };
        let who = line.id.and_then(|number| {
            waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.remove(&number)
        });
        if let Some(who) = who {
            // It may have given up waiting.
            let _ = who.send(answer);
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
}

/// One line without its end; `None` at the end, on an error, or if it is too long.
async fn line<R: AsyncBufRead + Unpin>(reader: &mut R) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf().await.ok()?;
        if buffer.is_empty() {
            return None;
        }
        let (taken, whole) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        if line.len() + taken > LINE_MAX {
            tracing::warn!("a line of more than {LINE_MAX} bytes on QEMU's control socket");
            return None;
        }
        line.extend_from_slice(&buffer[..taken]);
        reader.consume(taken);
        if whole {
            return Some(line);
        }
    }
}

#[cfg(test)]
#[path = "qmp_tests.rs"]
mod tests;
