//! `skerry top`: what hosts and their machines use, live, from the items they publish while somebody listens.
//!
//! On a terminal this is the whole command; with a sort key, a number of rows, or without a terminal, `top`
//! is the declared command instead: one table.

pub(crate) mod board;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod view;

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use minidom::Element;
use ratatui::{Terminal, backend::CrosstermBackend};
use skerry_stanzas::{ns, payload::Metrics};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use xmpp_parsers::jid::BareJid;

use self::board::Board;
use crate::{
    cli::{Asked, Output},
    config::Config,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    pubsub,
    session::{Inbound, SHORT, Session},
    terminal::{LEAVE_OTHER_SCREEN, Raw, colours},
    wire,
};

/// How often subscriptions are renewed: an agent that was restarted is heard again.
const RENEWED_EVERY: Duration = Duration::from_secs(30);
/// How long leaving may take: somebody pressed q.
const LEAVING_MAX: Duration = Duration::from_secs(2);
/// How often a key is looked for, by the thread that does nothing else.
const KEYS_EVERY: Duration = Duration::from_millis(100);
/// To a screen without a past.
const ENTER_OTHER_SCREEN: &[u8] = b"\x1b[?1049h\x1b[?25l";

/// Whether `top` means the live one: hosts and nothing else, on a terminal, for people.
pub fn is_live(asked: &Asked, output: Output) -> bool {
    let host_only = |word: &String| !word.contains('=') && word.parse::<u32>().is_err() && !is_key(word);
    asked.declarations.iter().all(|declaration| declaration.verb == "top")
        && asked.flags.is_empty()
        && output == Output::Table
        && asked.words.iter().all(host_only)
        && std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
}

fn is_key(word: &str) -> bool {
    ["cpu", "memory", "disk", "net", "steal", "name"].contains(&word)
}

/// Shows it until somebody leaves.
///
/// # Errors
/// No host can be asked, none of them tells, or there is no terminal.
pub async fn run(asked: &Asked, config: &Config) -> Outcome<()> {
    let mut session = Session::open(config, true).await?;
    let inbound = session.inbound();
    let hosts = hosts(asked, config, &session).await?;
    session.appear().await?;
    listen(&session, &hosts, true).await?;
    let mut board = Board::new(hosts.iter().map(|host| (host.name.clone(), host.jid.to_bare())));
    for host in &hosts {
        if let Some(metrics) = fetch(&session, host).await {
            board.take(&host.jid.to_bare(), metrics);
        }
    }
    let screen = Screen::enter()?;
    let shown = show(&mut board, &session, &hosts, inbound).await;
    drop(screen);
    let leaving = async {
        for host in &hosts {
            pubsub::unsubscribe(&session, host, ns::METRICS).await.ok();
        }
    };
    tokio::time::timeout(LEAVING_MAX, leaving).await.ok();
    session.close().await;
    shown
}

async fn hosts(asked: &Asked, config: &Config, session: &Session) -> Outcome<Vec<Host>> {
    let words = asked.words.iter().chain(&asked.host);
    let named: Vec<&str> = words.flat_map(|word| word.split(',')).collect();
    Fleet::hosts_named(session, config, &named).await
}

/// Asks every host to tell us what is used. `first`: it is told who will not.
async fn listen(session: &Session, hosts: &[Host], first: bool) -> Outcome<()> {
    let mut failed = None;
    let mut heard = false;
    for host in hosts {
        match pubsub::subscribe(session, host, ns::METRICS).await {
            Ok(()) => heard = true,
            Err(failure) => {
                if first {
                    eprintln!("skerry: {} does not tell us what it uses: {failure}", host.name);
                }
                failed = Some(failure);
            }
        }
    }
    failed.filter(|_| !heard).map_or(Ok(()), Err)
}

/// The newest item of a host.
async fn fetch(session: &Session, host: &Host) -> Option<Metrics> {
    let mut request = Element::bare("pubsub", wire::PUBSUB);
    request.append_child(wire::element("items", wire::PUBSUB, &[("node", ns::METRICS), ("max_items", "1")]));
    let answer = session.ask(wire::get(Some(&pubsub::service(host)), request), SHORT).await.ok()??;
    answer.children().find(|child| child.name() == "items").and_then(newest)
}

fn newest(items: &Element) -> Option<Metrics> {
    let metrics = items.children().filter_map(|item| item.get_child("metrics", ns::METRICS)).last()?;
    Metrics::try_from(metrics.clone()).ok()
}

/// What a message tells, and whose it is.
fn told(message: &Element) -> Option<(BareJid, Metrics)> {
    let items = message.get_child("event", wire::PUBSUB_EVENT)?.get_child("items", wire::PUBSUB_EVENT)?;
    if message.name() != "message" || items.attr("node") != Some(ns::METRICS) {
        return None;
    }
    Some((wire::from(message)?.to_bare(), newest(items)?))
}

/// Shows what is told, and does what is pressed.
async fn show(
    board: &mut Board,
    session: &Session,
    hosts: &[Host],
    mut inbound: mpsc::Receiver<Inbound>,
) -> Outcome<()> {
    let mut terminal = Terminal::new(CrosstermBackend::new(std::io::stdout()))?;
    let colours = colours();
    let (press, mut pressed) = mpsc::channel(16);
    let keys = std::thread::spawn(move || read_keys(&press));
    let mut due = Instant::now() + RENEWED_EVERY;
    let ended = loop {
        if let Err(error) = terminal.draw(|frame| view::draw(frame, board, colours)) {
            break Err(error.into());
        }
        tokio::select! {
            event = pressed.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    if !obey(board, key, terminal.size().map_or(10, |size| size.height)) {
                        break Ok(());
                    }
                }
                Some(_) => {}
                None => break Ok(()),
            },
            came = inbound.recv() => match came {
                Some(Inbound::Stanza(stanza)) => {
                    if let Some((from, metrics)) = told(&stanza) {
                        board.take(&from, metrics);
                    }
                }
                Some(Inbound::Down(why)) => board.broken = Some(why),
                Some(Inbound::Up { fresh }) => {
                    board.broken = None;
                    if fresh {
                        session.appear().await.ok();
                        due = Instant::now();
                    }
                }
                None => break Err(Failure::unreachable("the connection ended")),
            },
            () = sleep_until(due), if board.broken.is_none() => {
                listen(session, hosts, false).await.ok();
                due = Instant::now() + RENEWED_EVERY;
            }
        }
    };
    pressed.close();
    // It looks up every now and then.
    tokio::task::spawn_blocking(move || keys.join()).await.ok();
    ended
}

/// Passes keys and changes of size on until nobody wants them any more.
fn read_keys(press: &mpsc::Sender<Event>) {
    while !press.is_closed() {
        match crossterm::event::poll(KEYS_EVERY) {
            Ok(true) => {
                let Ok(event) = crossterm::event::read() else { return };
                if press.blocking_send(event).is_err() {
                    return;
                }
            }
            Ok(false) => {}
            Err(_) => return,
        }
    }
}

/// Does what a key says; false when it says to leave.
fn obey(board: &mut Board, key: KeyEvent, height: u16) -> bool {
    let page = isize::try_from(height / 2).unwrap_or(10).max(1);
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('s') | KeyCode::Right | KeyCode::Tab => board.sort_on(true),
        KeyCode::Left | KeyCode::BackTab => board.sort_on(false),
        KeyCode::Char('r') => board.reversed = !board.reversed,
        KeyCode::Char('p' | ' ') => board.paused = !board.paused,
        KeyCode::Down | KeyCode::Char('j') => board.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => board.scroll(-1),
        KeyCode::PageDown => board.scroll(page),
        KeyCode::PageUp => board.scroll(-page),
        KeyCode::Home => board.offset = 0,
        _ => {}
    }
    true
}

/// The screen without a past, given back when dropped.
struct Screen {
    _raw: Raw,
}

impl Screen {
    fn enter() -> Outcome<Self> {
        let raw = Raw::enter()?;
        let mut out = std::io::stdout();
        out.write_all(ENTER_OTHER_SCREEN)?;
        out.flush()?;
        Ok(Self { _raw: raw })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = std::io::stdout();
        out.write_all(LEAVE_OTHER_SCREEN).ok();
        out.flush().ok();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn notice(node: &str) -> Element {
        format!(
            "<message xmlns='jabber:client' from='kvm1.example.org'>\
             <event xmlns='http://jabber.org/protocol/pubsub#event'><items node='{node}'><item id='current'>\
             <metrics xmlns='{}' at='2026-11-22T21:00:00Z'><host cpus='2' load='0.5' memory-mib='9' \
             memory-free-mib='3' disk-free-mib='1'/><machine name='web1' cpu-seconds='1.5' resident-bytes='7'/>\
             </metrics></item></items></event></message>",
            ns::METRICS
        )
        .parse()
        .unwrap()
    }

    #[test]
    fn what_a_host_tells_is_understood_also_from_an_earlier_agent() {
        let (from, metrics) = told(&notice(ns::METRICS)).unwrap();
        assert_eq!((from.as_str(), metrics.machines[0].name.as_str()), ("kvm1.example.org", "web1"));
        assert_eq!(metrics.machines[0].cpu_percent, None);
        assert!(told(&notice(ns::EVENTS)).is_none());
    }

    #[test]
    fn keys_do_what_the_foot_says() {
        let mut board = Board::new([]);
        let mut press = |code: KeyCode| obey(&mut board, KeyEvent::from(code), 24);
        assert!(press(KeyCode::Char('s')) && press(KeyCode::Char('r')) && press(KeyCode::Char('p')));
        assert!(!press(KeyCode::Char('q')) && !press(KeyCode::Esc));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(!obey(&mut board, interrupt, 24));
        assert!(board.reversed && board.paused);
        assert_eq!(board.sort, board::SortKey::Memory);
    }
}
