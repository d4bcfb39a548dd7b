//! The terminal: what it can do, and how it is given back as it was found.

use std::io::{IsTerminal as _, Write as _};

use crate::failure::Outcome;

/// Whether to write in colours: on a terminal that can, unless `NO_COLOR` is set (no-color.org).
pub fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

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
        // What a guest may have left: colours, a hidden cursor, reports of the mouse and of pasting.
        let mut out = std::io::stdout().lock();
        out.write_all(b"\x1b[0m\x1b[?25h\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l").ok();
        out.flush().ok();
    }
}
