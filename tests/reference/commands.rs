//! docs/commands.md: the manual.

use skerry_stanzas::{
    command::{COMMANDS, Declaration, Effect, Object, argument::Argument},
    help,
};

const INTRODUCTION: &str = "\
# Commands

This page is written by a test from the declarations in `stanzas/src/command/`: see `tests/reference.rs`.

The same words work everywhere:

- in a chat with a machine: `start`; in a chat with its host: `web1 start` or `start web1`;
- in a client with commands and forms: the command `start` of the machine, or `machine/start` and
  `machine/web1/start` of its host;
- in a terminal: `skerry start web1`, `skerry create kvm1 web1 linux`.

Arguments are written `name=value` or `--name value`; those in capitals without a name may be given bare, in
that order. A value with spaces goes between quotation marks, straight or curly. What stands between `[` and
`]` may be left out. An argument marked *many* may be given again and again.

Whatever changes something takes a reason as well, which is kept in the audit trail: `kill web1 because the disk is
full`, which goes on to the end of the line, or `--because TEXT`.
";

/// The page.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (object, heading) in [(Object::Machine, "Of a machine"), (Object::Host, "Of a host")] {
        page += &format!("\n## {heading}\n\n");
        let commands: Vec<&Declaration> = COMMANDS.iter().filter(|d| d.object == object).collect();
        for declaration in &commands {
            let link = format!("{}-{}", object.word(), declaration.verb);
            page += &format!("- [{}](#{link}): {}\n", declaration.verb, declaration.about());
        }
        for declaration in commands {
            page += &one(declaration);
        }
    }
    page
}

fn one(declaration: &Declaration) -> String {
    let (object, verb) = (declaration.object.word(), declaration.verb);
    let mut text =
        format!("\n### {object} {verb}\n\n{}.\n\n    {}\n", declaration.about(), help::usage(declaration));
    let arguments = declaration.arguments();
    if !arguments.is_empty() {
        text += "\n| argument | what | when not given |\n| --- | --- | --- |\n";
        for argument in arguments {
            text += &format!("| `{}` | {} | {} |\n", argument.name, what(argument), absent(argument));
        }
    }
    text += "\nExamples:\n\n";
    for (line, what) in declaration.examples {
        text += &format!("- `{line}`: {what}\n");
    }
    text += "\n";
    if !declaration.aliases.is_empty() {
        text += &format!("The same: {}. ", quoted(declaration.aliases));
    }
    text +=
        &format!("Permission: `{}`, role {} or higher.", declaration.permission(), declaration.role.word());
    if let Some(capability) = declaration.needs {
        text += &format!(" Needs a driver with the capability {capability}.");
    }
    text += match declaration.effect {
        Effect::Read => " Only looks.",
        Effect::Change => "",
        Effect::Destroy => " Asks before it does it.",
    };
    text + "\n"
}

fn what(argument: &Argument) -> String {
    let expects = match argument.expects() {
        Some(expects) => format!(" ({expects})"),
        None => String::new(),
    };
    format!("{}{expects}{}", argument.help, if argument.many { ", *many*" } else { "" }).replace('|', "\\|")
}

fn absent(argument: &Argument) -> String {
    match &argument.default {
        Some(default) => format!("`{default}`"),
        None if argument.required => "must be given".into(),
        None => String::new(),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
