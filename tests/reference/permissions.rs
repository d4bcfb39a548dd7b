//! docs/permissions.md: who may give which command.

use skerry_stanzas::command::{COMMANDS, Effect, Role};

const INTRODUCTION: &str = "\
# Permissions

This page is written by a test from the declarations in `stanzas/src/command/`: see `tests/reference.rs`.

A permission is what is acted on and the command, such as `machine.start`; the audit trail calls it the same.
A role holds the permissions marked in its column, and so all of the roles to its left. The agent's
configuration says who has which role; who has none is refused everything.
";

/// The page.
pub fn page() -> String {
    let roles = [Role::Viewer, Role::Operator, Role::Admin];
    let mut page = format!("{INTRODUCTION}\n| permission | does |");
    for role in roles {
        page += &format!(" {} |", role.word());
    }
    page += "\n| --- | --- | --- | --- | --- |\n";
    for declaration in COMMANDS {
        let effect = match declaration.effect {
            Effect::Read => "looks",
            Effect::Change => "changes",
            Effect::Destroy => "takes away; confirmed first",
        };
        page += &format!("| `{}` | {effect} |", declaration.permission());
        for role in roles {
            page += if role >= declaration.role { " yes |" } else { " |" };
        }
        page += "\n";
    }
    page
}
