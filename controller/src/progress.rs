//! What is under way, on stderr of a terminal: a line a target, with what is known of it.

use std::{
    collections::HashMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plan::Planned;

/// The lines; nothing at all where nobody looks.
pub struct Progress {
    all: MultiProgress,
    lines: Mutex<HashMap<String, ProgressBar>>,
}

impl Progress {
    /// For these calls.
    pub fn new(calls: &[Planned]) -> Self {
        // With very many targets a line each would be a flood.
        let shown = std::io::stderr().is_terminal() && calls.len() <= 32;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { all: MultiProgress::with_draw_target(target), lines: Mutex::default() }
    }

    /// A call begins. `silent`: a question may come, which a moving line would spoil.
    pub fn begin(&self, planned: &Planned, silent: bool) {
        if silent {
            return;
        }
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
            .expect("invariant: the template is a constant and tested");
        let line = self.all.add(ProgressBar::new_spinner().with_style(style));
        line.set_message(format!("{} {}", planned.call.declaration.verb, planned.who));
        line.enable_steady_tick(Duration::from_millis(120));
        self.lines().insert(key(planned), line);
    }

    /// What is known now; `percent` turns the spinner into a bar.
    pub fn tell(&self, planned: &Planned, sentence: &str, percent: Option<u64>) {
        let lines = self.lines();
        let Some(line) = lines.get(&key(planned)) else { return };
        line.set_message(sentence.to_owned());
        if let Some(percent) = percent {
            if line.length().is_none() {
                line.set_length(100);
                line.set_style(
                    ProgressStyle::with_template("{bar:20} {percent:>3}% {msg} {elapsed}")
                        .expect("invariant: the template is a constant and tested"),
                );
            }
            line.set_position(percent.min(100));
        }
    }

    /// A call is over.
    pub fn end(&self, planned: &Planned) {
        if let Some(line) = self.lines().remove(&key(planned)) {
            line.finish_and_clear();
        }
    }

    /// All is over: the terminal is as it was.
    pub fn clear(&self) {
        self.all.clear().ok();
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, HashMap<String, ProgressBar>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(planned: &Planned) -> String {
    format!("{}/{}", planned.host.jid, planned.who)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_right() {
        assert!(ProgressStyle::with_template("{spinner} {msg} {elapsed}").is_ok());
        assert!(ProgressStyle::with_template("{bar:20} {percent:>3}% {msg} {elapsed}").is_ok());
    }
}
