//! Where viewers come in: a port on loopback, or a unix socket.
//!
//! A port on loopback can be reached by every user of this computer, and viewers bring no password. So the
//! kernel is asked whose the other end is (`/proc/net/tcp`), and others are turned away. A unix socket is its
//! owner's alone by its mode.

use std::{
    fmt, fs, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use nix::{
    sys::stat::{Mode, umask},
    unistd::geteuid,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use crate::{
    cli::VncArgs,
    failure::{Failure, Kind, Outcome},
};

/// What viewers add to the number of a display to get its port.
const DISPLAYS_FROM: u16 = 5900;
/// The displays tried when no port is asked for: 0 is often the computer's own.
const DISPLAYS: std::ops::RangeInclusive<u16> = 1..=99;

/// Where viewers come in. A socket is removed when this is dropped.
pub(super) struct Door {
    listener: Listener,
    address: Address,
}

enum Listener {
    Port(TcpListener),
    Socket(UnixListener),
}

/// Where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// On 127.0.0.1.
    Port(u16),
    /// In the file system.
    Socket(PathBuf),
}

/// A viewer.
pub(super) enum Connection {
    Port(TcpStream),
    Socket(UnixStream),
}

impl Door {
    /// Opens it: where it was asked for, else at the first display that is free.
    ///
    /// # Errors
    /// It is taken.
    pub(super) async fn open(args: &VncArgs) -> Outcome<Self> {
        match (&args.socket, args.port) {
            (Some(path), _) => Self::socket(path),
            (None, Some(port)) => Self::port(port).await.map_err(|error| {
                Failure::new(Kind::Refused, format!("the port {port} cannot be had: {error}"))
                    .hint("Without --port a free one is taken.")
            }),
            (None, None) => {
                for display in DISPLAYS {
                    if let Ok(door) = Self::port(DISPLAYS_FROM + display).await {
                        return Ok(door);
                    }
                }
                Ok(Self::port(0).await?)
            }
        }
    }

    async fn port(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = Address::Port(listener.local_addr()?.port());
        Ok(Self { listener: Listener::Port(listener), address })
    }

    fn socket(path: &Path) -> Outcome<Self> {
        // Before anybody else can reach it. Nothing else makes files here at this moment.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(|error| {
            Failure::new(Kind::Refused, format!("{} cannot be made: {error}", path.display()))
        })?;
        let path = std::path::absolute(path)?;
        Ok(Self { listener: Listener::Socket(listener), address: Address::Socket(path) })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The next viewer.
    ///
    /// # Errors
    /// It was turned away, or there is no room for it: the next one may come.
    pub(super) async fn accept(&self) -> io::Result<Connection> {
        match &self.listener {
            Listener::Port(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Linux alone has the table.
                let table = fs::read_to_string("/proc/net/tcp").ok();
                let owner = table.as_deref().and_then(|table| owner(table, peer, stream.local_addr().ok()?));
                if table.is_some() && owner != Some(geteuid().as_raw()) && owner != Some(0) {
                    let why = "a viewer of another user of this computer was turned away";
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
                }
                stream.set_nodelay(true)?;
                Ok(Connection::Port(stream))
            }
            Listener::Socket(listener) => Ok(Connection::Socket(listener.accept().await?.0)),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Address::Socket(path) = &self.address {
            fs::remove_file(path).ok();
        }
    }
}

/// The user whose socket is at `peer` and connected with `ours`, by the kernel's table.
fn owner(table: &str, peer: SocketAddr, ours: SocketAddr) -> Option<u32> {
    let (SocketAddr::V4(peer), SocketAddr::V4(ours)) = (peer, ours) else { return None };
    let (peer, ours) = (in_table(peer), in_table(ours));
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next()? == peer && fields.next()? == ours;
        // Then come state, queues, timer and retransmissions.
        is_it.then(|| fields.nth(4)?.parse().ok())?
    })
}

/// An address as the kernel's table has it: the bytes of the address as a number of this processor's kind.
fn in_table(address: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

impl Address {
    /// For programs: `127.0.0.1:5901`, or the path.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::Port(port) => format!("127.0.0.1:{port}"),
            Self::Socket(path) => path.display().to_string(),
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::Port(port) => json!({ "address": "127.0.0.1", "port": port, "display": self.display() }),
            Self::Socket(path) => json!({ "socket": path }),
        }
    }

    fn display(&self) -> Option<u16> {
        match self {
            Self::Port(port) => port.checked_sub(DISPLAYS_FROM).filter(|display| DISPLAYS.contains(display)),
            Self::Socket(_) => None,
        }
    }

    /// As most viewers want it: with two colons it is a port, with one it would be a display.
    fn for_viewers(&self) -> String {
        match self {
            Self::Port(port) => format!("127.0.0.1::{port}"),
            Self::Socket(path) => path.display().to_string(),
        }
    }

    /// The words of a viewer's command line, with this address put in, or added at the end.
    ///
    /// # Errors
    /// A quote is left open, or the viewer wants what there is not.
    pub(super) fn command(&self, viewer: &str) -> Outcome<Vec<String>> {
        let words = shlex::split(viewer)
            .ok_or_else(|| Failure::usage(format!("a quote is left open in --viewer {viewer}")))?;
        let (port, socket) = match self {
            Self::Port(port) => (Some(port.to_string()), None),
            Self::Socket(path) => (None, Some(path.display().to_string())),
        };
        let known = [
            ("{address}", Some(self.for_viewers())),
            ("{port}", port),
            ("{display}", self.display().map(|display| display.to_string())),
            ("{socket}", socket),
        ];
        let mut put = false;
        let mut filled = Vec::new();
        for mut word in words {
            for (name, value) in known.iter().filter(|(name, _)| viewer.contains(name)) {
                let value =
                    value.as_ref().ok_or_else(|| Failure::usage(format!("there is no {name} here")))?;
                put |= word.contains(name);
                word = word.replace(name, value);
            }
            filled.push(word);
        }
        if !put {
            filled.push(self.for_viewers());
        }
        Ok(filled)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.display() {
            Some(display) => write!(f, "{} (display :{display})", self.plain()),
            None => f.write_str(&self.plain()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Port(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Socket(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Port(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Socket(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Port(stream) => Pin::new(stream).poll_flush(cx),
            Self::Socket(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Port(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn args() -> VncArgs {
        VncArgs { port: None, socket: None, viewer: None }
    }

    #[tokio::test]
    async fn our_own_viewer_is_let_in() {
        let door = Door::open(&args()).await.unwrap();
        let Address::Port(port) = *door.address() else { panic!() };
        let (came, went) = tokio::join!(door.accept(), TcpStream::connect(("127.0.0.1", port)));
        assert!(came.is_ok() && went.is_ok());
        let again = Door::open(&args()).await.unwrap();
        assert_ne!(again.address(), door.address(), "each has its own");
        assert!(Door::open(&VncArgs { port: Some(port), ..args() }).await.is_err());
    }

    #[test]
    fn the_owner_is_who_the_kernel_says() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:170D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0\n\
            \x20  1: 0100007F:9C42 0100007F:170D 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 20 4\n";
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        #[cfg(target_endian = "little")]
        assert_eq!(owner(table, at(0x9C42), at(0x170D)), Some(1000));
        assert_eq!(owner(table, at(0x170D), at(0x9C42)), None);
        assert_eq!(owner("", at(1), at(2)), None);
    }

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_and_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("screen");
        let door = Door::open(&VncArgs { socket: Some(path.clone()), ..args() }).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Door::open(&VncArgs { socket: Some(path.clone()), ..args() }).await.is_err(), "it is taken");
        drop(door);
        assert!(!path.exists());
    }

    #[test]
    fn viewers_are_told_where_in_their_own_words() {
        let words = |viewer: &str| Address::Port(5907).command(viewer).map(|words| words.join("|"));
        assert_eq!(words("vncviewer -Shared").unwrap(), "vncviewer|-Shared|127.0.0.1::5907");
        assert_eq!(words("gvncviewer 127.0.0.1:{display}").unwrap(), "gvncviewer|127.0.0.1:7");
        assert_eq!(words("remmina vnc://127.0.0.1:{port}").unwrap(), "remmina|vnc://127.0.0.1:5907");
        assert!(words("x {socket}").is_err() && words("x 'y").is_err());
        assert_eq!(Address::Port(40000).command("x {port}").unwrap(), ["x", "40000"]);
        assert!(Address::Port(40000).command("x {display}").is_err());
        let socket = Address::Socket("/run/x/s".into());
        assert_eq!(socket.command("vncviewer").unwrap(), ["vncviewer", "/run/x/s"]);
        assert_eq!(Address::Port(5907).to_string(), "127.0.0.1:5907 (display :7)");
    }
}
