//! The text of `help`, from the declarations alone: plain enough for any client, short enough for a
//! phone.

use crate::command::{
    Declaration, Effect, Role,
    argument::{Argument, Takes},
};

/// Where the help is read, and so what the usage lines have to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At<'a> {
    /// At the object's own address.
    Own,
    /// At a host, for a command of one of its machines: `NAME` is put in front.
    Host {
        /// A machine for the examples.
        machine: &'a str,
    },
}

/// `help`: the commands `offered`, one line each, grouped by what they do. `machine` holds the
/// commands of machines that can be given here as well, in a host's chat.
pub fn overview(offered: &[&Declaration], machine: &[&Declaration]) -> String {
    if offered.is_empty() && machine.is_empty() {
        return "There is nothing here you may do. Ask an administrator of this host for a role.".into();
    }
    let mut text = String::new();
    for (heading, effect) in [
        ("*Look*", Effect::Read),
        ("*Change*", Effect::Change),
        ("*With care* (asks first)", Effect::Destroy),
    ] {
        let group: Vec<_> = offered.iter().filter(|declaration| declaration.effect == effect).collect();
        if group.is_empty() {
            continue;
        }
        text.push_str(heading);
        text.push('\n');
        for declaration in group {
            text.push_str(&format!("{}: {}\n", declaration.spoken(), lower_first(declaration.about())));
        }
        text.push('\n');
    }
    if !machine.is_empty() {
        let verbs: Vec<_> = machine.iter().map(|declaration| declaration.spoken()).collect();
        text.push_str(&format!(
            "*For a machine*, named first or last (web1 status, status web1)\n{}\n\n",
            verbs.join(", ")
        ));
    }
    let first = offered.iter().chain(machine).find(|d| d.effect == Effect::Change).or(offered.first());
    let verb = first.or(machine.first()).map_or("status".to_owned(), |declaration| declaration.spoken());
    text.push_str(&format!("More about one: help {verb}"));
    text
}

/// `help start`: usage, arguments, examples, other words, what it needs.
pub fn about(declaration: &Declaration, at: At<'_>) -> String {
    let mut text = format!("*{}*: {}\n", declaration.spoken(), declaration.about());
    let (front, example_front) = match at {
        At::Own => (String::new(), String::new()),
        At::Host { machine } => ("MACHINE ".to_owned(), format!("{machine} ")),
    };
    text.push_str(&format!("\nUsage: {front}{}\n", usage(declaration)));
    for argument in declaration.arguments() {
        text.push_str(&format!("- {}: {}\n", argument.name, described(argument)));
    }
    text.push_str("\nExamples:\n");
    for (line, what) in declaration.examples {
        text.push_str(&format!("- {example_front}{line} ({what})\n"));
    }
    if !declaration.aliases.is_empty() {
        text.push_str(&format!("\nThe same: {}", declaration.aliases.join(", ")));
    }
    let or_higher = if declaration.role == Role::Admin { "" } else { " or a higher one" };
    text.push_str(&format!("\nNeeds the role {}{or_higher}", declaration.role.word()));
    if let Some(capability) = declaration.needs {
        text.push_str(&format!(", and a driver with the capability {capability}"));
    }
    text.push('.');
    if declaration.effect == Effect::Destroy {
        text.push_str(" Asks before it does it.");
    }
    text
}

/// The usage line: `create NAME IMAGE [memory=SIZE] [--start]`.
pub fn usage(declaration: &Declaration) -> String {
    let arguments = declaration.arguments();
    let positional = |argument: &&Argument| declaration.positional.contains(&argument.name.as_str());
    let mut words = vec![declaration.spoken()];
    for name in declaration.positional {
        if let Some(argument) = arguments.iter().find(|argument| argument.name == *name) {
            let many = if argument.many { " …" } else { "" };
            words.push(optional(argument, format!("{}{many}", argument.placeholder)));
        }
    }
    let said = |argument: &&Argument| !positional(argument) && argument.takes != Takes::Secret;
    words.extend(arguments.iter().filter(said).map(named));
    words.join(" ")
}

fn named(argument: &Argument) -> String {
    let word = match argument.takes {
        Takes::Switch => format!("--{}", argument.name),
        _ => format!("{}={}", argument.name, argument.placeholder),
    };
    optional(argument, word)
}

fn optional(argument: &Argument, word: String) -> String {
    if argument.required { word } else { format!("[{word}]") }
}

/// What an argument is, with its default: `memory, such as 512M or 2G (512M when not given)`.
fn described(argument: &Argument) -> String {
    let mut text = lower_first(&argument.help);
    if let Some(default) = &argument.default {
        text.push_str(&format!(" ({default} when not given)"));
    }
    if argument.many {
        text.push_str(" (may be given several times)");
    }
    text
}

/// With a small first letter, unless the word is an abbreviation.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::command::{COMMANDS, Object, host, machine};

    fn of(object: Object) -> Vec<&'static Declaration> {
        COMMANDS.iter().filter(|declaration| declaration.object == object).collect()
    }

    #[test]
    fn help_names_every_command_and_how_to_get_more() {
        let text = overview(&of(Object::Machine), &[]);
        for declaration in of(Object::Machine) {
            assert!(text.contains(&format!("\n{}: ", declaration.spoken())), "{}", declaration.verb);
        }
        assert!(text.ends_with("More about one: help start"));
        assert!(text.lines().all(|line| line.chars().count() < 100), "a line too long for a phone");
        assert!(overview(&of(Object::Host), &of(Object::Machine)).contains("*For a machine*"));
    }

    #[test]
    fn who_may_nothing_is_told_whom_to_ask() {
        assert!(overview(&[], &[]).contains("administrator"));
    }

    #[test]
    fn help_of_one_command_says_all_there_is() {
        let text = about(&Declaration::of::<machine::Kill>(), At::Own);
        assert_eq!(
            text,
            "*kill*: Cut the power at once: the guest gets no chance to save its work\n\n\
             Usage: kill\n\n\
             Examples:\n- kill (cut the power)\n\n\
             The same: force-off\n\
             Needs the role operator or a higher one. Asks before it does it."
        );
        let text = about(&Declaration::of::<host::Create>(), At::Own);
        assert!(text.ends_with("\nNeeds the role admin."), "no role is higher: {text}");
        let text = about(&Declaration::of::<machine::Console>(), At::Host { machine: "web1" });
        assert!(text.contains("Usage: MACHINE console [lines=N]"), "{text}");
        assert!(text.contains("- web1 console (the last lines)"), "{text}");
        assert!(text.contains("a driver with the capability console"), "{text}");
    }

    #[test]
    fn usage_shows_what_may_be_left_out() {
        assert_eq!(
            usage(&Declaration::of::<host::Create>()),
            "create NAME IMAGE [memory=SIZE] [vcpus=N] [firmware=FIRMWARE] [driver=DRIVER] [size=SIZE] [--full] \
             [disk=DISK] [network=NETWORK] [nic=NIC] [note=TEXT] [--start]"
        );
        assert_eq!(usage(&Declaration::of::<machine::Label>()), "label [LABEL …] [remove=LABEL]");
    }
}
