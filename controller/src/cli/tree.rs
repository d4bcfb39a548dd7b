//! The tree of sub-commands that clap parses, completes and documents.

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _, Subcommand as _, ValueHint};
use skerry_stanzas::command::{COMMANDS, Declaration, Effect, Object, argument::Takes};

use super::own::{
    AuditExportArgs, AuditVerifyArgs, ConsoleArgs, ExecArgs, FileReadArgs, FileWriteArgs, Global, Own,
    PasswordArgs, PictureArgs, VncArgs, WitnessArgs,
};

/// How wide an example is that has its explanation beside it.
const EXAMPLE_WIDTH: usize = 44;

/// `skerry audit witness`.
const AUDIT: &str = "audit";
const WITNESS: &str = "witness";

/// What it is.
const ABOUT: &str = "Drive hosts and machines over XMPP";

/// The whole command line.
pub fn tree() -> Command {
    let root = Command::new("skerry")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(false)
        .infer_subcommands(false)
        .max_term_width(100)
        .after_help(
            "Exit codes: 0 done, 1 refused or failed, 2 wrong command line or configuration,\n\
             3 not allowed, 4 unreachable, 5 a defect; exec: that of the command in the guest, or 255.",
        );
    // Both bring texts of their own, which are not those of the whole.
    let root = Own::augment_subcommands(Global::augment_args(root)).about(ABOUT).long_about(None);
    let root = verbs().into_iter().fold(root, with_verb);
    // Beside what hosts do about their audit trails, what somebody else does.
    let witness = WitnessArgs::augment_args(Command::new(WITNESS));
    let root = root.mut_subcommand(AUDIT, |group| group.subcommand(witness));
    root.help_template(template()).mut_subcommands(|command| command.max_term_width(100))
}

/// The verbs of the list, each once, in the order of the list.
fn verbs() -> Vec<&'static str> {
    let mut verbs: Vec<&str> = Vec::new();
    for declaration in COMMANDS {
        if !verbs.contains(&declaration.verb) {
            verbs.push(declaration.verb);
        }
    }
    verbs
}

/// A verb of two words goes below its topic, `skerry image list`; its aliases stay words of their own.
fn with_verb(root: Command, verb: &'static str) -> Command {
    let Some((topic, second)) = verb.split_once('-') else { return root.subcommand(drawn(verb)) };
    let aliases = verb_declarations(verb).into_iter().flat_map(|declaration| declaration.aliases);
    let root = aliases.fold(root, |root, alias| root.subcommand(drawn(verb).name(*alias).hide(true)));
    let below = drawn(verb).name(second);
    match root.find_subcommand(topic) {
        Some(_) => root.mut_subcommand(topic, |group| group.subcommand(below)),
        None => root.subcommand(
            Command::new(topic)
                .about(format!("What can be done with {topic}s"))
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(below),
        ),
    }
}

/// What `skerry audit witness` was given, when it is that.
pub fn witness(matches: &ArgMatches) -> Option<WitnessArgs> {
    let (name, below) = matches.subcommand()?;
    let (second, below) = below.subcommand().filter(|_| name == AUDIT)?;
    (second == WITNESS).then(|| WitnessArgs::from_arg_matches(below).ok()).flatten()
}

/// The verb below a sub-command of the tree, and what was found there.
pub fn found<'a>(name: &'a str, matches: &'a ArgMatches) -> (String, &'a ArgMatches) {
    match matches.subcommand() {
        Some((second, below)) => (format!("{name}-{second}"), below),
        None => (name.to_owned(), matches),
    }
}

/// The declarations of a verb: one, or one for machines and one for hosts. An alias stands for its verb.
pub fn verb_declarations(verb: &str) -> Vec<&'static Declaration> {
    let by_verb: Vec<_> = COMMANDS.iter().filter(|declaration| declaration.verb == verb).collect();
    match by_verb.is_empty() {
        true => COMMANDS.iter().filter(|declaration| declaration.aliases.contains(&verb)).collect(),
        false => by_verb,
    }
}

/// The sub-command of a verb.
fn drawn(verb: &'static str) -> Command {
    let declarations = verb_declarations(verb);
    let mut command = Command::new(verb)
        .about(about(&declarations))
        .override_usage(usage(&declarations))
        .after_help(examples(&declarations))
        .arg(words(&declarations));
    let single = declarations.iter().filter(|declaration| declaration.topic().is_none());
    for alias in single.flat_map(|declaration| declaration.aliases) {
        if !command.get_all_aliases().any(|known| known == *alias) {
            command = command.visible_alias(alias);
        }
    }
    for argument in declarations.iter().flat_map(|declaration| declared(declaration)) {
        if !command.get_arguments().any(|known| known.get_id() == argument.get_id()) {
            command = command.arg(argument);
        }
    }
    command = match verb {
        "console" => ConsoleArgs::augment_args(command),
        "screenshot" | "graph" => PictureArgs::augment_args(command),
        "vnc" => VncArgs::augment_args(command),
        "exec" => ExecArgs::augment_args(command),
        "file-read" => FileReadArgs::augment_args(command),
        "file-write" => FileWriteArgs::augment_args(command),
        "password" => PasswordArgs::augment_args(command),
        "audit-export" => AuditExportArgs::augment_args(command),
        "audit-verify" => AuditVerifyArgs::augment_args(command),
        _ => command,
    };
    if declarations.iter().any(|declaration| declaration.object == Object::Host) {
        command = command.arg(
            Arg::new("at-host").long("host").value_name("HOST").help("The host, when it is not named first"),
        );
    }
    if declarations.iter().any(|declaration| declaration.effect != Effect::Read) {
        command = waiting(command);
    }
    command.arg(
        Arg::new("yes")
            .long("yes")
            .short('y')
            .action(ArgAction::SetTrue)
            // Taken everywhere, so that a script may always say it; shown where it means something.
            .hide(declarations.iter().all(|declaration| declaration.effect != Effect::Destroy))
            .help("Do not ask before something is taken away"),
    )
}

/// `--wait` and `--no-wait`; a `--wait TIME` of the declaration keeps its name and its meaning (how
/// long the host gives the guest), and waiting is what `skerry` does anyway.
fn waiting(command: Command) -> Command {
    let has_own = command.get_arguments().any(|argument| argument.get_long() == Some("wait"));
    let command = command.arg(
        Arg::new("no-wait")
            .long("no-wait")
            .action(ArgAction::SetTrue)
            .help("Return as soon as it is accepted, not when it is done"),
    );
    if has_own {
        return command;
    }
    command.arg(
        Arg::new("wait")
            .long("wait")
            .action(ArgAction::SetTrue)
            .conflicts_with("no-wait")
            .help("Return when it is done [the default]"),
    )
}

/// The declared arguments, all optional here: they may come as bare words or `key=value` as well, and
/// whether something is missing is seen when all are read.
fn declared(declaration: &'static Declaration) -> Vec<Arg> {
    declaration
        .cli()
        .get_arguments()
        // A list of processes shows what a command line has.
        .filter(|argument| !is_secret(declaration, argument))
        .map(|argument| {
            let argument = argument.clone().required(false);
            // One value a flag, so that `label --add prod web1` does not eat the machine.
            match argument.get_action() {
                ArgAction::Append => argument.num_args(1),
                _ => argument,
            }
        })
        .collect()
}

fn is_secret(declaration: &Declaration, argument: &Arg) -> bool {
    let known = declaration.arguments().iter();
    known.filter(|known| known.takes == Takes::Secret).any(|known| known.name == argument.get_id().as_str())
}

/// The bare words. Of a command that takes the rest of the line, all that follows the machine is its own.
fn words(declarations: &[&'static Declaration]) -> Arg {
    let (name, help) = match declarations {
        [one] if one.object == Object::Machine => (
            "MACHINE",
            "The machine: web1, kvm1/web1 or web1@kvm1.example.org; several with commas, or label:web",
        ),
        [_] => ("HOST", "The host: kvm1 or kvm1.example.org"),
        _ => ("NAME", "A machine or a host"),
    };
    // The hint keeps shells from offering files, or their own commands, for the name of a machine.
    let words = Arg::new("words").value_name(name).num_args(0..).value_hint(ValueHint::Other);
    // A file may be given by an option of ours instead of by words.
    let is_line = |declaration: &&Declaration| declaration.rest && declaration.verb != "file-write";
    let words = words.trailing_var_arg(declarations.iter().any(is_line));
    words.help(format!("{help}; then the words of the command"))
}

fn about(declarations: &[&'static Declaration]) -> String {
    match declarations {
        [one] => one.about().to_owned(),
        [first, ..] => format!("{} (or the host)", first.about()),
        [] => String::new(),
    }
}

/// `skerry create [HOST] NAME IMAGE [OPTIONS]`.
fn usage(declarations: &[&'static Declaration]) -> String {
    let lines: Vec<String> = declarations
        .iter()
        .map(|declaration| {
            let target = match declaration.object {
                Object::Machine if declaration.positional.is_empty() => "MACHINE…",
                Object::Machine => "MACHINE",
                Object::Host => "[HOST]",
            };
            let usage = skerry_stanzas::help::usage(declaration);
            let verb = declaration.spoken();
            let rest = usage.strip_prefix(&verb).unwrap_or_default();
            format!("skerry {verb} {target}{rest}")
        })
        .collect();
    lines.join("\n       ")
}

/// The declared examples, as they are typed here.
fn examples(declarations: &[&'static Declaration]) -> String {
    let mut text = String::from("Examples:");
    for declaration in declarations {
        for (line, what) in declaration.examples {
            let line = example(declaration, line);
            match line.len() <= EXAMPLE_WIDTH {
                true => text.push_str(&format!("\n  {line:<EXAMPLE_WIDTH$}  {what}")),
                false => text.push_str(&format!("\n  {line}\n  {:<EXAMPLE_WIDTH$}  {what}", "")),
            }
        }
    }
    text
}

/// A declared example (a line of a chat) as a line of a shell.
pub(super) fn example(declaration: &Declaration, line: &str) -> String {
    let spoken = declaration.spoken();
    let (verb, rest) = match line.strip_prefix(&spoken) {
        Some(rest) => (spoken.as_str(), rest.trim_start()),
        None => line.split_once(' ').unwrap_or((line, "")),
    };
    let target = match declaration.object {
        Object::Machine => "web1",
        Object::Host => "kvm1",
    };
    format!("skerry {verb} {target} {rest}").trim_end().to_owned()
}

/// The help of the whole, the commands grouped by what they act on.
fn template() -> String {
    let mut text = String::from("{about}\n\n{usage-heading} skerry [OPTIONS] COMMAND …\n");
    let width = COMMANDS.iter().map(|declaration| declaration.spoken().len()).max().unwrap_or_default();
    for (heading, object) in [("Machines", Object::Machine), ("Hosts", Object::Host)] {
        text.push_str(&format!("\n{heading}:\n"));
        for declaration in COMMANDS.iter().filter(|declaration| declaration.object == object) {
            text.push_str(&format!("  {:<width$}  {}\n", declaration.spoken(), declaration.about()));
        }
    }
    text.push_str("\nMore:\n");
    let own = Own::augment_subcommands(Command::new("own"));
    for command in own.get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("  {:<width$}  {about}\n", command.get_name()));
    }
    text.push_str(&format!("  {:<width$}  More about one command: skerry help start\n", "help"));
    text + "\nOptions:\n{options}{after-help}"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use skerry_stanzas::command::argument;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        tree().debug_assert();
    }

    #[test]
    fn every_command_of_the_list_is_there() {
        let tree = tree();
        for declaration in COMMANDS {
            let command = match declaration.verb.split_once('-') {
                None => tree.find_subcommand(declaration.verb),
                Some((topic, second)) => tree.find_subcommand(topic).unwrap().find_subcommand(second),
            };
            let command = command.unwrap();
            let secret = |argument: &&argument::Argument| argument.takes == Takes::Secret;
            for argument in declaration.arguments().iter().filter(|argument| !secret(argument)) {
                assert!(
                    command.get_arguments().any(|a| a.get_long() == Some(argument.name.as_str())),
                    "{}: {}",
                    declaration.verb,
                    argument.name
                );
            }
        }
    }

    #[test]
    fn no_own_command_hides_one_of_the_list() {
        for own in Own::augment_subcommands(Command::new("own")).get_subcommands() {
            let name = own.get_name();
            assert!(
                !COMMANDS.iter().any(|d| d.verb == name || d.aliases.contains(&name)),
                "{name} is declared"
            );
        }
    }

    #[test]
    fn help_shows_every_command() {
        let help = tree().render_help().to_string();
        assert!(help.starts_with(ABOUT), "{help}");
        let own = ["hosts", "completions", "man"].map(str::to_owned);
        for name in COMMANDS.iter().map(Declaration::spoken).chain(own) {
            assert!(
                help.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))),
                "{name}\n{help}"
            );
        }
    }

    #[test]
    fn usage_names_the_target_and_the_words() {
        assert!(usage(&verb_declarations("create")).starts_with("skerry create [HOST] NAME IMAGE "));
        assert!(usage(&verb_declarations("rename")).starts_with("skerry rename MACHINE NAME"));
        assert_eq!(usage(&verb_declarations("start")), "skerry start MACHINE…");
    }
}
