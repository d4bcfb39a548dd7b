//! What is under way, on stderr of a terminal: a line a target with what is known of it, and a bar of how
//! many are done when there are several.

use std::{
    collections::HashMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plan::Planned;

/// The line of one target.
const LINE: &str = "{spinner} {msg} {elapsed}";
/// The same once it is known how much of it is done.
const PART: &str = "{bar:20} {pos:>3} % {msg} {elapsed}";
/// The bar of them all.
const BAR: &str = "{bar:20} {pos} of {len} done {elapsed}";
/// The most targets that get a line each; with more there is the bar alone.
const LINES_MAX: usize = 32;
/// How often a line moves.
const TICK: Duration = Duration::from_millis(120);

/// The lines and the bar; nothing at all where nobody looks.
pub struct Progress {
    all: MultiProgress,
    bar: Option<ProgressBar>,
    each: bool,
    lines: Mutex<HashMap<String, ProgressBar>>,
}

impl Progress {
    /// For these calls. `silent`: questions may come, which moving lines would spoil.
    pub fn new(calls: &[Planned], silent: bool) -> Self {
        let shown = std::io::stderr().is_terminal() && !silent;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        let bar = (calls.len() > 1).then(|| {
            let count = u64::try_from(calls.len()).unwrap_or(u64::MAX);
            moving(all.add(ProgressBar::new(count)), BAR)
        });
        Self { all, bar, each: calls.len() <= LINES_MAX, lines: Mutex::default() }
    }

    /// A call begins.
    pub fn begin(&self, planned: &Planned) {
        if !self.each {
            return;
        }
        let line = ProgressBar::new_spinner();
        let line = match &self.bar {
            Some(bar) => self.all.insert_before(bar, line),
            None => self.all.add(line),
        };
        let line = moving(line, LINE);
        line.set_message(format!("{} {}", planned.call.declaration.spoken(), planned.who));
        self.lines().insert(key(planned), line);
    }

    /// What is known now; with the part of it that is done, in percent, the line becomes a bar.
    pub fn tell(&self, planned: &Planned, sentence: &str, percent: Option<u64>) {
        if let Some(line) = self.lines().get(&key(planned)) {
            if let Some(percent) = percent {
                line.set_length(100);
                line.set_position(percent);
                line.set_style(style(PART));
            }
            line.set_message(sentence.to_owned());
        }
    }

    /// Says something that stays, also where nobody looks.
    pub fn say(&self, sentence: &str) {
        let line = skerry_stanzas::safe::safe_line(sentence, usize::MAX);
        self.all.suspend(|| eprintln!("{line}"));
    }

    /// A call is over.
    pub fn end(&self, planned: &Planned) {
        if let Some(line) = self.lines().remove(&key(planned)) {
            line.finish_and_clear();
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
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

/// A line or bar that moves by itself.
fn moving(bar: ProgressBar, template: &'static str) -> ProgressBar {
    bar.set_style(style(template));
    bar.enable_steady_tick(TICK);
    bar
}

fn style(template: &'static str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("invariant: the template is a constant and tested")
}

fn key(planned: &Planned) -> String {
    format!("{}/{}", planned.host.jid, planned.who)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_right() {
        for template in [LINE, PART, BAR] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
