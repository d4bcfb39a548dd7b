//! What the commands of a machine's firewall answer.

use super::Reply;

reply! {
    /// The firewall of a machine.
    FirewallList {
        /// The machine.
        name: String,
        /// Its rules in the words by which they are defined, in the order in which they count.
        rules: Vec<String>,
        /// What becomes of that which no rule fits: it passes.
        otherwise: String,
        /// NICs that are not on a network of this host: rules cannot be where one is.
        outside: Vec<String>,
    }
}
reply! {
    /// A firewall was changed.
    FirewallChanged {
        /// The machine.
        name: String,
        /// What was done, in one sentence.
        sentence: String,
        /// The rules as they are now, in the order in which they count.
        rules: Vec<String>,
        /// What a person should know besides.
        notes: Vec<String>,
    }
}

fn numbered(rules: &[String]) -> String {
    rules.iter().zip(1..).map(|(rule, n)| format!("\n{n}. {rule}")).collect()
}

impl Reply for FirewallList {
    fn text(&self) -> String {
        let Self { name, rules, otherwise, outside } = self;
        if !outside.is_empty() {
            let (nics, are) = (outside.join(", "), if outside.len() == 1 { "is" } else { "are" });
            return format!(
                "{name} has no firewall, and can have none as it is: {nics} {are} not on a network of this host. \
                 Put it on one: define nic=network=lan"
            );
        }
        if rules.is_empty() {
            return format!("{name} has no rules: everything passes. Such as: firewall deny in");
        }
        format!("The firewall of {name}:{}\nWhat none of them fits {otherwise}.", numbered(rules))
    }
}

impl Reply for FirewallChanged {
    fn text(&self) -> String {
        let notes = self.notes.iter().map(|note| format!("\n{note}"));
        format!("{}{}{}", self.sentence, numbered(&self.rules), notes.collect::<String>())
    }
}
