//! `--name=value` words into the command itself, and clap's complaints into plain words.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{
    command::{Command, Declaration, argument::Argument},
    refusal::{Reason, Refusal},
    safe::safe_line,
};

/// Parses the words [`super::arguments()`] or [`crate::form::argv()`] made.
///
/// # Errors
/// The argument that is wrong or missing, what it has to be, and what to write instead.
pub fn parse<C: Command>(argv: &[String]) -> Result<C, Refusal> {
    let declaration = Declaration::of::<C>();
    declaration
        .cli()
        .try_get_matches_from(argv)
        .and_then(|matches| C::from_arg_matches(&matches))
        .map_err(|error| in_plain_words(&declaration, &error))
}

fn in_plain_words(declaration: &Declaration, error: &clap::Error) -> Refusal {
    let known = declaration.arguments();
    let named = names(error, ContextKind::InvalidArg);
    let argument = named.first().and_then(|name| known.iter().find(|argument| argument.name == *name));
    let verb = declaration.spoken();
    let refusal = match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            Refusal::new(Reason::BadRequest, format!("{verb} needs {}.", in_a_row(&named)))
                .hint(format!("Write {}.", crate::help::usage(declaration)))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => invalid_value(argument, error),
        ErrorKind::ArgumentConflict => {
            let name = named.first().map_or("An argument", String::as_str);
            Refusal::new(Reason::BadRequest, format!("{name} can be given only once."))
        }
        _ => Refusal::new(Reason::BadRequest, format!("I cannot read the arguments of {verb}."))
            .hint(format!("Write help {verb} to see what it takes.")),
    };
    match named.first() {
        Some(name) => refusal.field(name),
        None => refusal,
    }
}

fn invalid_value(argument: Option<&Argument>, error: &clap::Error) -> Refusal {
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => safe_line(value, 40),
        _ => String::new(),
    };
    let name = argument.map_or("it", |argument| argument.name.as_str());
    if value.is_empty() {
        return Refusal::new(Reason::BadRequest, format!("{name} needs a value."));
    }
    match argument.and_then(Argument::expects) {
        Some(expected) => {
            Refusal::new(Reason::BadRequest, format!("{name} must be {expected}, not \"{value}\"."))
        }
        None => {
            let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Refusal::new(Reason::BadRequest, format!("{name} cannot be \"{value}\"{why}."))
        }
    }
}

/// The long names in a context of clap's, which gives them as `--name <NAME>`.
fn names(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    let usages: &[String] = match error.get(kind) {
        Some(ContextValue::Strings(usages)) => usages,
        Some(ContextValue::String(usage)) => std::slice::from_ref(usage),
        _ => &[],
    };
    usages
        .iter()
        .filter_map(|usage| usage.strip_prefix("--"))
        .filter_map(|usage| usage.split([' ', '=', '[']).next())
        .map(str::to_owned)
        .collect()
}

/// `a`, `a and b`, `a, b and c`.
fn in_a_row(words: &[String]) -> String {
    match words {
        [] => "more".into(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::Duration;

    use super::*;
    use crate::command::{host, machine};

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn refused<C: Command>(words: &[&str], field: Option<&str>, sentence: &str) {
        let Err(refusal) = parse::<C>(&argv(words)) else { panic!("{words:?} was taken") };
        assert_eq!(refusal.sentence(), sentence);
        assert_eq!(refusal.field.as_deref(), field);
        assert_eq!(refusal.reason, Reason::BadRequest);
    }

    #[test]
    fn values_arrive_typed() {
        let shutdown: machine::Shutdown = parse(&argv(&["--wait=5m"])).unwrap();
        assert_eq!(shutdown.wait, Duration::from_secs(300));
        let create: host::Create = parse(&argv(&["--name=--x", "--image=linux", "--start"])).unwrap();
        assert_eq!((create.name.as_str(), create.vcpus, create.start), ("--x", 1, true));
        let define: machine::Define = parse(&argv(&["--note="])).unwrap();
        assert_eq!((define.note.as_deref(), define.memory), (Some(""), None));
        let label: machine::Label = parse(&argv(&["--add=a", "--add=-b", "--remove=c"])).unwrap();
        assert_eq!((label.add.len(), label.remove.len()), (2, 1));
    }

    #[test]
    fn what_is_wrong_is_said_plainly() {
        refused::<host::Create>(
            &[],
            Some("name"),
            "create needs name and image. Write create NAME IMAGE \
             [memory=SIZE] [vcpus=N] [firmware=FIRMWARE] [driver=DRIVER] [size=SIZE] [--full] \
             [disk=DISK] [network=NETWORK] [nic=NIC] [note=TEXT] [--start].",
        );
        refused::<host::Create>(
            &["--name=a", "--image=b", "--vcpus=two"],
            Some("vcpus"),
            "vcpus must be a whole number, not \"two\".",
        );
        refused::<machine::Shutdown>(
            &["--wait=soon"],
            Some("wait"),
            "wait must be a length of time, such as 90s or 5m, not \"soon\".",
        );
        refused::<machine::Autostart>(&["--set=maybe"], Some("set"), "set must be on or off, not \"maybe\".");
        refused::<machine::Autostart>(&["--set=on", "--set=off"], Some("set"), "set can be given only once.");
        refused::<machine::Log>(&["--lines="], Some("lines"), "lines needs a value.");
    }

    #[test]
    fn nothing_else_of_clap_shows() {
        for odd in [&["--help"][..], &["bare"], &["-x"], &["--version"], &["--name"]] {
            let Err(refusal) = parse::<host::Create>(&argv(odd)) else { panic!("{odd:?} was taken") };
            let sentence = refusal.sentence();
            assert!(!sentence.contains("error:") && !sentence.contains("For more information"), "{sentence}");
        }
    }
}
