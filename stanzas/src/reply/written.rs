//! What the commands about files of rights answer.

use super::Reply;

reply! {
    /// What a file of rights changed.
    Applied {
        /// What the file is called here.
        set: String,
        /// What is different, a line each.
        changes: Vec<String>,
        /// What to think of.
        warnings: Vec<String>,
        /// Whether it was made so.
        done: bool,
    }
}
reply! {
    /// What is granted, as a file.
    Exported {
        /// TOML.
        toml: String,
    }
}

impl Applied {
    /// The difference, a line each, and what to think of.
    pub fn difference(&self) -> String {
        let lines = self.changes.iter().map(|line| format!("- {line}"));
        lines.chain(self.warnings.iter().cloned()).collect::<Vec<_>>().join("\n")
    }
}

impl Reply for Applied {
    fn text(&self) -> String {
        let Self { set, changes, done, .. } = self;
        let first = match (changes.len(), done) {
            (0, _) => format!("There is nothing to change: all is as {set} says."),
            (_, true) => format!("Done, as {set} says:"),
            (_, false) => format!("To be as {set} says, this would change:"),
        };
        match self.difference() {
            rest if rest.is_empty() => first,
            rest => format!("{first}\n{rest}"),
        }
    }
}

impl Reply for Exported {
    fn text(&self) -> String {
        match self.toml.trim() {
            "" => "Nothing is granted, and there are no quotas.".into(),
            toml => format!("```\n{toml}\n```"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_said_or_that_nothing_did() {
        let applied = |changes: &[&str], done| {
            let changes = changes.iter().map(|line| (*line).to_owned()).collect();
            Applied { set: "ops".into(), changes, warnings: vec!["Mind.".into()], done }
        };
        assert_eq!(
            applied(&["more: a"], false).text(),
            "To be as ops says, this would change:\n- more: a\nMind."
        );
        assert!(applied(&["more: a"], true).text().starts_with("Done, as ops says:\n- more: a"));
        let nothing = Applied { warnings: vec![], ..applied(&[], true) };
        assert_eq!(nothing.text(), "There is nothing to change: all is as ops says.");
        assert!(Exported { toml: String::new() }.text().starts_with("Nothing is granted"));
        assert_eq!(Exported { toml: "a = 1\n".into() }.text(), "```\na = 1\n```");
    }
}
