//! docs/permissions.md: who may give which command.

use skerry_agent::rights::built_in_roles;
use skerry_stanzas::command::{COMMANDS, Effect};

const INTRODUCTION: &str = "\
# Permissions

This page is written by a test from the declarations in `stanzas/src/command/`: see `tests/reference.rs`.

A permission is what is acted on and the command, such as `machine.start`; the audit trail calls it the same.
A role holds the permissions marked in its column. The agent's configuration says who is viewer, operator or
admin of the whole host; `grant` gives these and the other roles, or single permissions, on the host, on
machines, or on all of it, and `role define` makes more roles. Who has nothing is refused everything. Who has
any right here may also ask `host.list`, `host.whoami`, `host.may`, `host.grant-list`, `host.quota-list`,
`host.role-list` and `host.role-show`, which show them only what is theirs; who may do anything with a machine
may see its `machine.status`. Who makes a machine by a right that was granted gets the role owner on it with it.
";

/// The page.
pub fn page() -> String {
    let roles = built_in_roles();
    let mut page = format!("{INTRODUCTION}\n");
    for role in roles {
        page += &format!("- **{}** {}\n", role.name, role.about);
    }
    page += "\n| permission | does |";
    for role in roles {
        page += &format!(" {} |", role.name);
    }
    page += &format!("\n| --- | --- |{}\n", " --- |".repeat(roles.len()));
    for declaration in COMMANDS {
        let effect = match declaration.effect {
            Effect::Read => "looks",
            Effect::Change => "changes",
            Effect::Destroy => "takes away; confirmed first",
        };
        page += &format!("| `{}` | {effect} |", declaration.permission());
        for role in roles {
            page += if role.holds(declaration) { " yes |" } else { " |" };
        }
        page += "\n";
    }
    page
}
