//! The terminal: what it can do, and how it is given back as it was found.

use std::io::{IsTerminal, Write as _};

use crate::failure::Outcome;

/// Whether to write in colours: on a terminal that can, unless `NO_COLOR` is set (no-color.org).
pub fn colours() -> bool {
    colours_on(&std::io::stdout())
}

/// The same for another stream than what is answered goes to.
pub fn colours_on(stream: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !set("NO_COLOR") && !dumb
}

/// Undoes what a program in a guest may have left when it is not there any more to do so: colours, a
/// hidden cursor, keys and pastes reported in other ways, reports of the mouse and of focus, a part of the
/// screen that scrolls alone (DECSTBM, between saving and restoring the cursor, which it moves), line
/// drawing characters. The other screen is [`LEAVE_OTHER_SCREEN`]'s.
const LEFT_BEHIND: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1l\x1b>\x1b[?2004l\x1b[?1004l\x1b[?1000l\x1b[?1002l\
    \x1b[?1003l\x1b[?1006l\x1b[?7h\x1b[4l\x1b7\x1b[r\x1b8\x1b(B\x0f";

/// Back from the screen without a past, on which full-screen programs draw (xterm's 1049). Only for who
/// went there: the cursor goes where it was then.
pub const LEAVE_OTHER_SCREEN: &[u8] = b"\x1b[?1049l";

/// A terminal that passes each key on as it is. Given back when dropped, and by a panic before its
/// message, which would otherwise stand askew.
pub struct Raw(());

impl Raw {
    /// Takes the terminal.
    ///
    /// # Errors
    /// There is none.
    pub fn enter() -> Outcome<Self> {
        crossterm::terminal::enable_raw_mode()?;
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            crossterm::terminal::disable_raw_mode().ok();
            told(panic);
        }));
        Ok(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        crossterm::terminal::disable_raw_mode().ok();
        let mut out = std::io::stdout().lock();
        out.write_all(LEFT_BEHIND).ok();
        out.flush().ok();
    }
}
