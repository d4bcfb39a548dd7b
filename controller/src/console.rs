//! `skerry console web1`: the serial console of a machine, through the servers, by XEP-0047.
//!
//! A keyboard's worth of bytes goes in band; each block is acknowledged before the next is sent, so
//! neither side can flood the other and a server's rate limit only slows it down. A serial line has
//! no window size: nothing is typed into the guest when the window changes, unless `--resize` asks
//! for it. On a terminal this is the whole command; with `--lines`, or without a terminal, `console` is
//! the declared command instead (the last lines). Who may look and not type, as the host decides with
//! each key, looks on.

mod detach;
mod screen;

use std::io::{IsTerminal as _, Write as _};

use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::Instant,
};

use self::{detach::DetachKey, screen::Screen};
use crate::{
    bytestream::{BLOCK_BYTES_MAX, Bytestream, Heard, KNOCK_EVERY},
    cli::Asked,
    config::Config,
    failure::{Failure, Kind, Outcome},
    fleet::Fleet,
    session::{Inbound, Session},
    terminal::{LEAVE_OTHER_SCREEN, Raw},
};

/// How the talk with the guest ended.
enum End {
    /// The person left.
    Detached,
    /// The other side closed it.
    Closed,
    /// The terminal or the process was told to go.
    Told,
}

/// Whether `console` means the interactive one: a machine and nothing else, on a terminal.
pub fn is_interactive(asked: &Asked) -> bool {
    asked.console.is_some()
        && asked.words.len() == 1
        && asked.flags.is_empty()
        && std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
}

/// Connects the terminal with the console until one side ends it.
///
/// # Errors
/// The machine is not found or has no console now, no right to it, or the connection broke.
pub async fn run(asked: &Asked, config: &Config) -> Outcome<()> {
    let Some(args) = &asked.console else { return Err(Failure::usage("this is not console")) };
    let key = args.detach_key.as_deref().or(config.detach_key.as_deref()).unwrap_or(DetachKey::USUAL);
    let key = DetachKey::named(key)?;
    let word = asked.words.first().map(String::as_str).unwrap_or_default();
    let mut session = Session::open(config, false).await?;
    let machine = Fleet::machine(&session, config, word).await?;
    let inbound = session.inbound();
    // Answers of the agent to our address reach us without presence; some servers want it all the same.
    session.appear().await?;
    let mut stream = Bytestream::console(&session, &machine).await?;
    eprintln!("Connected to the console of {}. {key} leaves it.", machine.name);
    let raw = Raw::enter()?;
    let mut screen = Screen::default();
    let ended = connect(&mut stream, inbound, key, args.resize, &mut screen).await;
    stream.close().await;
    if screen.is_on_other() {
        // A terminal that is gone does not mind.
        show(LEAVE_OTHER_SCREEN).await.ok();
    }
    drop(raw);
    session.close().await;
    // The cursor may be anywhere: what the guest drew below it would shine through.
    println!("\x1b[J");
    match ended? {
        End::Detached => eprintln!("Left the console of {}; the machine goes on.", machine.name),
        End::Closed => eprintln!("The console of {} was closed from there.", machine.name),
        End::Told => {}
    }
    Ok(())
}

async fn connect(
    stream: &mut Bytestream,
    mut inbound: mpsc::Receiver<Inbound>,
    key: DetachKey,
    resize: bool,
    screen: &mut Screen,
) -> Outcome<End> {
    let mut keyboard = tokio::io::stdin();
    let mut signals = Signals::new()?;
    let mut typed = vec![0; BLOCK_BYTES_MAX];
    let mut typing = Typing { may: true };
    let mut knock = tokio::time::interval_at(Instant::now() + KNOCK_EVERY, KNOCK_EVERY);
    if resize {
        typing.send(stream, window_size().as_bytes()).await?;
    }
    loop {
        tokio::select! {
            // What the guest wrote comes first: its echo is what the person waits for.
            biased;
            event = inbound.recv() => {
                match event {
                    Some(Inbound::Stanza(stanza)) => match stream.incoming.hear(&stanza).await? {
                        Heard::Bytes(bytes) => show(&screen.safe(&bytes)).await?,
                        Heard::Closed => return Ok(End::Closed),
                        Heard::Nothing => {}
                    },
                    Some(Inbound::Down(why)) => {
                        return Err(Failure::unreachable(format!("the connection broke: {why}")));
                    }
                    Some(Inbound::Up { .. }) => {}
                    None => return Err(Failure::unreachable("the connection ended")),
                }
            }
            read = keyboard.read(&mut typed) => {
                let count = read?;
                let (bytes, detached) = key.split(typed.get(..count).unwrap_or_default());
                if !bytes.is_empty() {
                    typing.send(stream, bytes).await?;
                }
                if detached || count == 0 {
                    return Ok(End::Detached);
                }
            }
            // An agent that was killed says no goodbye.
            _ = knock.tick() => {
                if !stream.outgoing.send(&[]).await? {
                    return Ok(End::Closed);
                }
            }
            signalled = signals.next() => match signalled {
                Signalled::Resized if resize => typing.send(stream, window_size().as_bytes()).await?,
                Signalled::Resized => {}
                Signalled::Told => return Ok(End::Told),
            },
        }
    }
}

/// Whether this person may type: known by the first key that is refused.
struct Typing {
    may: bool,
}

impl Typing {
    /// Types; where that is not allowed the terminal rings, as it does for a key that does nothing. The
    /// host said so in words when the console was opened.
    async fn send(&mut self, stream: &mut Bytestream, bytes: &[u8]) -> Outcome<()> {
        if self.may {
            match stream.outgoing.send(bytes).await {
                Err(failure) if failure.kind == Kind::NotAllowed => self.may = false,
                sent => return sent.map(drop),
            }
        }
        show(b"\x07").await
    }
}

async fn show(bytes: &[u8]) -> Outcome<()> {
    // A stopped terminal (Ctrl-S) stops us, not the runtime: the guest's next block then waits.
    tokio::task::block_in_place(|| {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    })?;
    Ok(())
}

/// What a shell in the guest is told of the window.
fn window_size() -> String {
    let (columns, rows) = crossterm::terminal::size().unwrap_or((80, 24));
    format!(" stty rows {rows} cols {columns}\n")
}

/// What the system said.
enum Signalled {
    /// The window has another size.
    Resized,
    /// The terminal is gone, or the process shall go.
    Told,
}

struct Signals {
    resized: tokio::signal::unix::Signal,
    hung_up: tokio::signal::unix::Signal,
    terminated: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Outcome<Self> {
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            hung_up: signal(SignalKind::hangup())?,
            terminated: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.resized.recv() => Signalled::Resized,
            _ = self.hung_up.recv() => Signalled::Told,
            _ = self.terminated.recv() => Signalled::Told,
        }
    }
}
