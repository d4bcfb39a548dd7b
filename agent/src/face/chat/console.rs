//! The serial console in a chat: each message is typed into it, and what the guest writes comes back,
//! in one message for what belongs together, and ever fewer when it does not stop.

use std::{sync::Arc, time::Duration};

use skerry_stanzas::{
    command::{COMMANDS, Declaration},
    reply::{ConsoleOutput, Reply as _},
    safe::{LINE_CHARS_MAX, safe_line},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Message, Words,
    live::{Kind, LEAVE, Place},
};
use crate::{
    asked::{Door, Target},
    console::{ConsoleStream, Keys},
    face::Face,
};

/// After so long without a word from its owner it is closed.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Silence after which the guest is taken to have said what it had to.
const QUIET: Duration = Duration::from_millis(400);
/// How long what it says is gathered, if it does not stop: at first, and at most.
const GATHER_MIN: Duration = Duration::from_secs(2);
const GATHER_MAX: Duration = Duration::from_secs(32);
/// Of what was gathered the end is shown.
const BYTES_MAX: usize = 16 << 10;
const LINES_MAX: usize = 40;
/// Messages that may wait to be typed.
const LINES_WAITING_MAX: usize = 16;

impl Face {
    /// Opens the console in a chat, when that is what was asked for: `console` and nothing else, by
    /// somebody who may type, of a machine that runs. All others get its last lines.
    pub(super) async fn opens_console(
        self: &Arc<Self>,
        message: &Message,
        declaration: &'static Declaration,
        target: &Target,
        argv: &[String],
    ) -> bool {
        let Target::Machine(name) = target else { return false };
        let typing = COMMANDS.iter().find(|it| it.object == declaration.object && it.verb == "send");
        let may_type = typing.is_some_and(|it| self.agent.permit_at_once(&message.from, it, target).is_ok());
        if declaration.verb != "console" || !argv.is_empty() || !may_type {
            return false;
        }
        let Ok(stream) = self.agent.console(&message.from, target, Door::Chat).await else { return false };
        let (face, told, place) = (Arc::clone(self), message.clone(), Place::of(message, Kind::Console));
        let (lines, typed) = mpsc::channel(LINES_WAITING_MAX);
        let begun =
            self.lives.begin(place.clone(), Some(lines), format!("You left the console of {name}."), {
                let name = name.to_string();
                move |number| {
                    let work = async move {
                        let words = format!(
                            "This is the serial console of {name}: each message you write is typed there as a line. \
                             Write {LEAVE} alone to leave it, ^C for ctrl-C."
                        );
                        face.speak(&told, &Words::new(words).buttons([LEAVE]), None).await;
                        let ended = face.converse_with_guest(&told, stream, typed, &name).await;
                        face.speak(&told, &Words::new(ended), None).await;
                        // Last, as it ends this task.
                        face.lives.is_over(&place, number);
                    };
                    tokio::spawn(work).abort_handle()
                }
            });
        if !begun {
            let words = Words::new("Too much is open already. Leave another console first.");
            self.speak(message, &words, None).await;
        }
        true
    }

    /// Types what is written and tells what the guest says, until one of them is silent for good. Why
    /// it ended.
    async fn converse_with_guest(
        &self,
        message: &Message,
        mut stream: ConsoleStream,
        mut typed: mpsc::Receiver<String>,
        name: &str,
    ) -> String {
        let keys = stream.keys();
        let mut gather = GATHER_MIN;
        let mut idle_at = Instant::now() + IDLE_MAX;
        loop {
            tokio::select! {
                line = typed.recv() => {
                    idle_at = Instant::now() + IDLE_MAX;
                    let Some(line) = line else { return format!("The console of {name} is closed.") };
                    if let Err(words) = type_line(&keys, &line).await {
                        self.speak(message, &words, None).await;
                    }
                }
                heard = stream.next() => {
                    let Some(heard) = heard else {
                        return format!("{name} runs no longer; its console is closed.");
                    };
                    let (said, busy) = hear_out(&mut stream, heard, gather).await;
                    gather = if busy { (gather * 2).min(GATHER_MAX) } else { GATHER_MIN };
                    let output = ConsoleOutput { name: name.to_owned(), lines: shown(&said) };
                    if !output.lines.is_empty() {
                        self.speak_on(message, &Words::new(output.text()), None, true).await;
                    }
                }
                () = sleep_until(idle_at) => {
                    return format!("I closed the console of {name}: you wrote nothing for ten minutes.");
                }
            }
        }
    }
}

/// Types a message: its lines, or a key by its name (`^C`). Two dots are one, which alone would leave.
async fn type_line(keys: &Keys, line: &str) -> Result<(), Words> {
    keys.send(&bytes(line)).await.map_err(|refusal| Words::new(refusal.sentence()))
}

fn bytes(line: &str) -> Vec<u8> {
    let line = line.trim_end_matches(['\r', '\n']);
    if let [b'^', key @ (b'@'..=b'_' | b'a'..=b'z')] = line.as_bytes() {
        return vec![key.to_ascii_uppercase() & 0x1f];
    }
    let line = if line == ".." { LEAVE } else { line };
    format!("{}\n", line.replace("\r\n", "\n")).into_bytes()
}

/// What the guest says from here on until it is quiet, or for so long; whether it went on then.
async fn hear_out(stream: &mut ConsoleStream, first: Vec<u8>, gather: Duration) -> (Vec<u8>, bool) {
    let until = Instant::now() + gather;
    let mut said = first;
    loop {
        let quiet = Instant::now() + QUIET;
        match timeout_at(quiet.min(until), stream.next()).await {
            Ok(Some(more)) => said.extend(more),
            // Its end comes with the next call as well.
            Ok(None) => return (said, false),
            Err(_) => return (said, quiet >= until),
        }
        let excess = said.len().saturating_sub(2 * BYTES_MAX);
        if excess > 0 {
            said.drain(..excess + BYTES_MAX);
        }
    }
}

/// The last lines, made safe to show.
fn shown(said: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| safe_line(line.trim_matches('\r'), LINE_CHARS_MAX))
        .filter(|line| !line.trim().is_empty())
        .collect();
    match lines.len().checked_sub(LINES_MAX) {
        Some(more @ 1..) => {
            let before = format!("[{more} lines before]");
            std::iter::once(before).chain(lines.into_iter().skip(more)).collect()
        }
        _ => lines,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_message_is_a_line_or_a_key() {
        assert_eq!(bytes("ls -l"), b"ls -l\n");
        assert_eq!(bytes("a\nb\n"), b"a\nb\n");
        assert_eq!(bytes(""), b"\n");
        assert_eq!(bytes("^C"), [3]);
        assert_eq!(bytes("^d"), [4]);
        assert_eq!(bytes("^["), [27]);
        assert_eq!(bytes("^C is a key"), b"^C is a key\n");
        assert_eq!(bytes(".."), b".\n");
    }

    #[test]
    fn of_much_the_end_is_shown_and_nothing_of_it_is_dangerous() {
        let much: String = (0..100).map(|n| format!("line {n}\r\n")).collect();
        let lines = shown(much.as_bytes());
        assert_eq!(lines.len(), LINES_MAX + 1);
        assert_eq!((lines[0].as_str(), lines[40].as_str()), ("[60 lines before]", "line 99"));
        assert_eq!(shown(b"\x1b[2J\xffhi\r\n\r\n"), ["\u{fffd}hi"]);
        assert!(shown(b"\r\n \r\n").is_empty());
    }
}
