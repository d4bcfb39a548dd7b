//! `skerry-net`, for agents that have no rights of their own: what it can be asked, and by whom.
//!
//! One connection is one question: a line of JSON, and a line of JSON back, with the descriptor of an
//! interface where that was asked for (SCM_RIGHTS). The questions are a closed set of typed ones, and are
//! checked here as if the agent were an enemy. Who asks is what the kernel says (SO_PEERCRED).

use std::{
    io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::{Host, Interface, Made, Maker, NetworkError, Wanted};

/// The longest question or answer, in bytes: more than the most that may be wanted.
const BYTES_MAX: u64 = 32 << 20;
/// How long either may keep the other waiting in the middle of a line.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long making networks may take.
const MAKING_MAX: Duration = Duration::from_secs(120);
/// Connections answered at once.
const AT_ONCE: usize = 16;

/// What it can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Question {
    Make(Wanted),
    Tap(Interface),
    Plug(Interface),
    Look,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Made(Made),
    /// The descriptor comes with it.
    Tap,
    Plugged,
    Seen(Host),
    /// Something a person can mend.
    Unfit(String),
    /// Anything else.
    Failed(String),
}

/// Answers until the process ends. `users` may ask, and root.
///
/// # Errors
/// When nobody can connect any more.
pub async fn serve(listener: UnixListener, maker: Arc<Maker>, users: Vec<u32>) -> io::Result<()> {
    let room = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    loop {
        let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        let caller = stream.peer_cred()?;
        if caller.uid() != 0 && !users.contains(&caller.uid()) {
            tracing::warn!(user = caller.uid(), "somebody else asked, and is not answered");
            continue;
        }
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let maker = Arc::clone(&maker);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &maker).await {
                tracing::warn!(%error, "a question could not be answered");
            }
            drop(place);
        });
    }
}

async fn answer(stream: UnixStream, maker: &Maker) -> io::Result<()> {
    let (stream, question) = blocking(move || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = String::new();
        BufReader::new((&stream).take(BYTES_MAX)).read_line(&mut line)?;
        Ok((stream, serde_json::from_str::<Question>(&line)))
    })
    .await?;
    let mut device = None;
    let done = match question {
        Err(error) => Err(NetworkError::Unfit(format!("that is no question: {error}"))),
        Ok(Question::Make(wanted)) => maker.make(wanted).await.map(Answer::Made),
        Ok(Question::Tap(interface)) => maker.tap(&interface).await.map(|tap| {
            device = Some(tap);
            Answer::Tap
        }),
        Ok(Question::Plug(interface)) => maker.plug(&interface).await.map(|()| Answer::Plugged),
        Ok(Question::Look) => maker.look().await.map(Answer::Seen),
    };
    let answer = done.unwrap_or_else(|error| match error {
        NetworkError::Unfit(why) => Answer::Unfit(why),
        error => Answer::Failed(error.to_string()),
    });
    blocking(move || send(&stream, &answer, device.as_ref())).await
}

/// Sends a line; what is handed over goes with its first byte.
fn send<T: Serialize>(mut stream: &UnixStream, what: &T, device: Option<&OwnedFd>) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let handed: Vec<RawFd> = device.iter().map(|device| device.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&handed)];
    let control = if handed.is_empty() { &rights[..0] } else { &rights[..] };
    let first = [IoSlice::new(&line[..1])];
    sendmsg::<()>(stream.as_raw_fd(), &first, control, MsgFlags::MSG_NOSIGNAL, None)?;
    stream.write_all(&line[1..])
}

/// Asks `skerry-net`.
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The one that listens at `socket`.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// As [`Maker::make`].
    ///
    /// # Errors
    /// As there; or that it does not answer.
    pub async fn make(&self, wanted: Wanted) -> Result<Made, NetworkError> {
        match self.ask(Question::Make(wanted)).await? {
            (Answer::Made(made), _) => Ok(made),
            other => Err(odd(other.0)),
        }
    }

    /// As [`Maker::tap`].
    ///
    /// # Errors
    /// As there; or that it does not answer.
    pub async fn tap(&self, interface: &Interface) -> Result<OwnedFd, NetworkError> {
        match self.ask(Question::Tap(interface.clone())).await? {
            (Answer::Tap, Some(device)) => Ok(device),
            other => Err(odd(other.0)),
        }
    }

    /// As [`Maker::plug`].
    ///
    /// # Errors
    /// As there; or that it does not answer.
    pub async fn plug(&self, interface: &Interface) -> Result<(), NetworkError> {
        match self.ask(Question::Plug(interface.clone())).await? {
            (Answer::Plugged, _) => Ok(()),
            other => Err(odd(other.0)),
        }
    }

    /// As [`Maker::look`].
    ///
    /// # Errors
    /// As there; or that it does not answer.
    pub async fn look(&self) -> Result<Host, NetworkError> {
        match self.ask(Question::Look).await? {
            (Answer::Seen(host), _) => Ok(host),
            other => Err(odd(other.0)),
        }
    }

    async fn ask(&self, question: Question) -> Result<(Answer, Option<OwnedFd>), NetworkError> {
        let socket = self.socket.clone();
        let asked = blocking(move || {
            let stream = UnixStream::connect(&socket)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_read_timeout(Some(MAKING_MAX))?;
            send(&stream, &question, None)?;
            let (first, device) = receive(&stream)?;
            let mut line = vec![first];
            BufReader::new((&stream).take(BYTES_MAX)).read_until(b'\n', &mut line)?;
            Ok((serde_json::from_slice::<Answer>(&line)?, device))
        });
        asked.await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                let shown = self.socket.display();
                NetworkError::Unfit(format!(
                    "skerry-net does not answer at {shown}: systemctl start skerry-net"
                ))
            }
            _ => NetworkError::system("asking skerry-net", source),
        })
    }
}

/// The first byte, and what came with it.
#[allow(unsafe_code)]
fn receive(stream: &UnixStream) -> io::Result<(u8, Option<OwnedFd>)> {
    let mut byte = [0_u8];
    let mut room = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut room), flags)?;
    let mut handed = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
            handed.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    match message.bytes {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok((byte[0], handed.pop())),
    }
}

fn odd(answer: Answer) -> NetworkError {
    match answer {
        Answer::Unfit(why) => NetworkError::Unfit(why),
        Answer::Failed(why) => NetworkError::system("skerry-net", io::Error::other(why)),
        other => NetworkError::system("asking skerry-net", io::Error::other(format!("it answers {other:?}"))),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
