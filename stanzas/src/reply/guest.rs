//! What the commands carried out inside a guest answer.

use super::Reply;
use crate::safe::safe_text;

reply! {
    /// A command ran in the guest. What it wrote is the guest's word.
    Executed {
        /// The machine.
        name: String,
        /// Its exit code; none when a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// What it wrote: the last lines, made safe to show.
        output: Vec<String>,
        /// What it complained of, likewise.
        errors: Vec<String>,
        /// Whether there was more of either.
        cut: bool,
    }
}

impl Reply for Executed {
    fn text(&self) -> String {
        let ended = match (self.code, self.signal) {
            (Some(0), _) => "It ended well".to_owned(),
            (Some(code), _) => format!("It ended with code {code}"),
            (None, Some(signal)) => format!("It was ended by signal {signal}"),
            (None, None) => "It ended".to_owned(),
        };
        let more = if self.cut { "; this is the end of what it wrote" } else { "" };
        let lines = safe_text(self.output.iter().chain(&self.errors).map(String::as_str));
        match lines.trim().is_empty() {
            true => format!("{ended}, and wrote nothing."),
            // What writes a fence must not get out of ours.
            false => format!("{ended}{more}:\n```\n{}\n```", lines.replace("```", "'''")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_end_is_told_with_what_was_written() {
        let ran = |code, signal, output: &[&str]| Executed {
            name: "web1".into(),
            code,
            signal,
            output: output.iter().map(ToString::to_string).collect(),
            errors: vec![],
            cut: false,
        };
        assert_eq!(ran(Some(0), None, &["Linux", "```"]).text(), "It ended well:\n```\nLinux\n'''\n```");
        assert_eq!(ran(Some(1), None, &[]).text(), "It ended with code 1, and wrote nothing.");
        assert_eq!(ran(None, Some(9), &[]).text(), "It was ended by signal 9, and wrote nothing.");
    }
}
