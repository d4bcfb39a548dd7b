//! A talk on a terminal: line editing with history and completion, the state of the other side in the
//! prompt, and what it says above it.
//!
//! The editor blocks, so it has a thread of its own; it gets lines to print and a wish to repaint, and
//! gives the lines that were typed. It restores the terminal on each way out, its own panics included.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
};

use reedline::{
    ColumnarMenu, Emacs, ExternalPrinter, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder as _, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal,
    default_emacs_keybindings,
};
use tokio::sync::mpsc;

use super::{
    Partner,
    complete::{Offers, Words},
    incoming::{Incoming, Said, incoming, receipt},
};
use crate::{
    config::state_folder,
    failure::{Failure, Outcome},
    session::{Inbound, Session},
};

/// Lines kept in the history.
const HISTORY_MAX: usize = 1000;
/// Lines waiting to be printed.
const PRINTED_MAX: usize = 1024;

/// What the prompt shows, shared with the editor's thread.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Face>>);

#[derive(Default)]
struct Face {
    name: String,
    /// The state; `None` when it is not known.
    state: Option<String>,
    /// What is under way.
    progress: String,
}

impl Shown {
    fn change(&self, change: impl FnOnce(&mut Face)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn read<T>(&self, read: impl FnOnce(&Face) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Prompt for Shown {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        self.read(|face| match &face.state {
            Some(state) => format!("{} ({state})", face.name),
            None => face.name.clone(),
        })
        .into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        self.read(|face| face.progress.clone()).into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        ". ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!(" (search: {}) ", search.term).into()
    }
}

/// The editor's side of the talk.
struct Editor {
    shown: Shown,
    offers: Offers,
    print: SyncSender<String>,
    repaint: Box<dyn Fn() + Send + Sync>,
    leave: Arc<AtomicBool>,
    typed: mpsc::Receiver<String>,
    thread: std::thread::JoinHandle<std::io::Result<()>>,
    colours: bool,
}

/// Talks until Ctrl-D.
///
/// # Errors
/// The connection is lost for good, or the terminal is.
pub(super) async fn talk(
    session: &Session,
    mut inbound: mpsc::Receiver<Inbound>,
    partner: &Partner,
    state: Option<String>,
) -> Outcome<()> {
    let mut editor = Editor::start(partner, state)?;
    let result = loop {
        tokio::select! {
            line = editor.typed.recv() => {
                let Some(line) = line else { break Ok(()) };
                if line.trim().is_empty() {
                    continue;
                }
                if let Err(failure) = session.send(partner.message(&line).1).await {
                    editor.print(&format!("[not sent: {failure}]"));
                }
            }
            event = inbound.recv() => {
                let Some(event) = event else {
                    break Err(Failure::unreachable("the connection ended"));
                };
                editor.take(session, partner, event).await;
            }
        }
    };
    editor.end(result)
}

impl Editor {
    fn start(partner: &Partner, state: Option<String>) -> Outcome<Self> {
        let shown = Shown::default();
        shown.change(|face| {
            face.name.clone_from(&partner.name);
            face.state = state;
        });
        let (offers, leave) = (Offers::default(), Arc::new(AtomicBool::new(false)));
        let printer = ExternalPrinter::new(PRINTED_MAX);
        let print = printer.sender();
        let colours = crate::terminal::colours();
        let mut reedline = Reedline::create()
            .with_external_printer(printer)
            .with_break_signal(leave.clone())
            .with_ansi_colors(colours)
            .with_completer(Box::new(Words::new(partner.object, offers.clone())))
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name("words"))))
            .with_edit_mode(Box::new(Emacs::new(keys())));
        if let Some(file) = state_folder().map(|folder| folder.join("chat-history")) {
            match FileBackedHistory::with_file(HISTORY_MAX, file) {
                Ok(history) => reedline = reedline.with_history(Box::new(history)),
                Err(error) => eprintln!("skerry: no history is kept: {error}"),
            }
        }
        let signal = reedline.repaint_signal();
        let repaint = Box::new(move || signal.request_repaint());
        let (sender, typed) = mpsc::channel(16);
        let prompt = shown.clone();
        println!("Talk with {}. Tab completes, `help` helps, Ctrl-D leaves.", partner.name);
        let thread = std::thread::Builder::new()
            .name("editor".into())
            .spawn(move || edit(reedline, &prompt, &sender))?;
        Ok(Self { shown, offers, print, repaint, leave, typed, thread, colours })
    }

    async fn take(&mut self, session: &Session, partner: &Partner, event: Inbound) {
        let stanza = match event {
            Inbound::Stanza(stanza) => stanza,
            Inbound::Down(why) => {
                return self.print(&format!("[the connection broke: {why}; coming back …]"));
            }
            Inbound::Up { fresh } => {
                self.print("[connected again]");
                if fresh {
                    // The servers know nothing of us; without these only the prompt's state suffers.
                    session.appear().await.ok();
                    crate::pubsub::subscribe(session, &partner.host, skerry_stanzas::ns::EVENTS).await.ok();
                }
                return;
            }
        };
        match incoming(&stanza, partner) {
            Some(Incoming::Said(said)) => {
                if let Some(id) = &said.receipt {
                    session.send(receipt(partner, id)).await.ok();
                }
                self.said(partner, said);
            }
            Some(Incoming::Undelivered(why)) => self.print(&format!("[not delivered: {why}]")),
            Some(Incoming::State(state)) => {
                self.shown.change(|face| face.state = Some(state.unwrap_or_else(|| "away".into())));
                (self.repaint)();
            }
            Some(Incoming::Arrived) | None => {}
        }
    }

    /// Progress stands beside the prompt, each word of it in the place of the one before; the answer
    /// is printed.
    fn said(&mut self, partner: &Partner, said: Said) {
        if said.interim {
            let line = said.text.lines().next().unwrap_or_default().to_owned();
            self.shown.change(|face| face.progress = line);
            return (self.repaint)();
        }
        let under_way = self.shown.read(|face| !face.progress.is_empty());
        self.shown.change(|face| face.progress.clear());
        // A correction of what only stood beside the prompt is the answer itself.
        let mark = if said.corrects && !under_way { " (corrected)" } else { "" };
        let name = match self.colours {
            true => format!("\u{1b}[1m{}\u{1b}[0m{mark}", partner.name),
            false => format!("{}{mark}", partner.name),
        };
        let mut lines = said.text.lines();
        let mut text = format!("{name}: {}", lines.next().unwrap_or_default());
        for line in lines {
            text.push_str("\n  ");
            text.push_str(line);
        }
        if !said.offers.is_empty() {
            let shown: Vec<&str> = said.offers.iter().map(|offer| offer.value.as_str()).collect();
            text.push_str(&format!("\n  [answers: {}]", shown.join(" | ")));
        }
        *self.offers.lock().unwrap_or_else(PoisonError::into_inner) =
            said.offers.into_iter().map(|offer| offer.value).collect();
        self.print(&text);
    }

    fn print(&self, text: &str) {
        // A full queue means that the terminal is stopped (Ctrl-S): wait for it, off the runtime.
        let text = text.to_owned();
        tokio::task::block_in_place(|| self.print.send(text).ok());
    }

    /// Gives the terminal back.
    fn end(self, result: Outcome<()>) -> Outcome<()> {
        self.leave.store(true, Ordering::Relaxed);
        drop(self.typed);
        match tokio::task::block_in_place(|| self.thread.join()) {
            Ok(edited) => result.and(edited.map_err(Failure::from)),
            Err(_) => Err(Failure::new(crate::failure::Kind::Internal, "the line editor broke")),
        }
    }
}

/// The editor's thread: reads lines until Ctrl-D, or until nobody wants them.
fn edit(mut reedline: Reedline, prompt: &Shown, typed: &mpsc::Sender<String>) -> std::io::Result<()> {
    loop {
        match reedline.read_line(prompt)? {
            Signal::Success(line) => {
                if typed.blocking_send(line).is_err() {
                    return Ok(());
                }
            }
            // Forgets the line, as a shell does.
            Signal::CtrlC => {}
            _ => return Ok(()),
        }
    }
}

fn keys() -> reedline::Keybindings {
    let mut keys = default_emacs_keybindings();
    let tab = vec![ReedlineEvent::Menu("words".into()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(tab));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_shows_the_state_and_what_is_under_way() {
        let shown = Shown::default();
        shown.change(|face| face.name = "web1".into());
        assert_eq!(shown.render_prompt_left(), "web1");
        shown.change(|face| {
            face.state = Some("running".into());
            face.progress = "40 %".into();
        });
        assert_eq!(shown.render_prompt_left(), "web1 (running)");
        assert_eq!(shown.render_prompt_right(), "40 %");
    }
}
