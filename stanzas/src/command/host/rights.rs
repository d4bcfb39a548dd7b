//! Who may do what here: asking, giving, taking back, and the roles that are given.

use crate::reply::{self, Granted, RoleLine, Verdict};

declare! {
    /// Show who you are to this host, and which role you have
    Whoami {}
    "whoami" Host Read Viewer -> reply::Whoami,
    EXAMPLES = &[("whoami", "who am I here")],
}

declare! {
    /// Ask whether something would be allowed, and by which rule
    May {
        /// Who; yourself when not given
        #[arg(long, value_name = "JID")]
        pub who: Option<String>,
        /// The command, such as start
        #[arg(long, value_name = "COMMAND")]
        pub what: String,
        /// The machine; the host itself when not given
        #[arg(long, value_name = "MACHINE")]
        pub machine: Option<String>,
    }
    "may" Host Read Viewer -> Verdict,
    POSITIONAL = &["what", "machine"],
    PERSON = "who",
    EXAMPLES = &[("may kill web1", "would I be allowed"), ("may ann@example.org kill web1", "would she")],
}

declare! {
    /// List who may give a command, and by which rules
    WhoCan {
        /// The command, such as kill
        #[arg(long, value_name = "COMMAND")]
        pub what: String,
        /// The machine; the host itself when not given
        #[arg(long, value_name = "MACHINE")]
        pub machine: Option<String>,
    }
    "who-can" Host Read Admin -> reply::WhoCan,
    POSITIONAL = &["what", "machine"],
    EXAMPLES = &[("who can kill web1", "everybody who could cut its power")],
}

/// What a grant says, whether it gives or forbids.
#[derive(Debug, Clone, PartialEq, serde::Serialize, clap::Args)]
pub struct Terms {
    /// What: roles (see: role list), commands such as start, or permissions such as machine.start
    #[arg(long, value_name = "ROLES")]
    pub what: String,
    /// To whom: an address, a domain, group:NAME of the contacts, or room:ADDRESS/members (admins, owners)
    #[arg(long, value_name = "JID")]
    pub to: String,
    /// On what: machines by name, label:NAME, made-by:JID, host, or all
    #[arg(long, value_name = "MACHINES", default_value = "all")]
    pub on: String,
    /// Until when: 3d, 18:00, friday, friday 18:00, 2027-01-31; for ever when not given
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub because: Option<String>,
}

/// The arguments of [`Terms`] that may be said as words.
const SAID: &[&str] = &["to", "on", "until", "because"];

declare! {
    /// Let somebody do something here, for a while or until it is revoked
    Grant {
        /// What it says.
        #[command(flatten)]
        #[serde(flatten)]
        pub terms: Terms,
    }
    "grant" Host Change Admin -> Granted,
    POSITIONAL = &["what"],
    SPOKEN = SAID,
    EXAMPLES = &[
        ("grant power to otto@example.org on web1", "start it, stop it, its console"),
        ("grant power to eve@other.example on web1, web2 until friday 18:00", "and then no more"),
        ("grant snapshot to example.org on label:lab because it is theirs to break", "for a whole domain"),
        ("grant viewer to room:ops@rooms.example.org/members", "for all members of a room that hides nobody"),
    ],
}

declare! {
    /// Forbid somebody something, whatever else allows it
    Deny {
        /// What it says.
        #[command(flatten)]
        #[serde(flatten)]
        pub terms: Terms,
    }
    "deny" Host Change Admin -> Granted,
    POSITIONAL = &["what"],
    ALIASES = &["forbid"],
    SPOKEN = SAID,
    EXAMPLES = &[("deny kill to otto@example.org on db1 because it is slow to come back", "all but that")],
}

declare! {
    /// Take back what was granted, or lift what was forbidden
    Revoke {
        /// Its number (see: grant list)
        #[arg(long, value_name = "NUMBER")]
        pub number: u64,
    }
    "revoke" Host Change Admin -> Granted,
    POSITIONAL = &["number"],
    EXAMPLES = &[("revoke 3", "at once")],
}

declare! {
    /// List what was granted and forbidden here; your own, if you may not see all
    GrantList {
        /// Only what this address has
        #[arg(long, value_name = "JID")]
        pub to: Option<String>,
        /// Only what concerns this machine
        #[arg(long, value_name = "MACHINE")]
        pub on: Option<String>,
    }
    "grant-list" Host Read Viewer -> reply::GrantList,
    ALIASES = &["grants"],
    SPOKEN = &["to", "on"],
    PERSON = "to",
    EXAMPLES = &[("grant list", "all that is granted"), ("grant list on web1", "who has rights on it")],
}

declare! {
    /// List the roles that can be granted
    RoleList {}
    "role-list" Host Read Viewer -> reply::RoleList,
    ALIASES = &["roles"],
    EXAMPLES = &[("role list", "what there is to grant")],
}

declare! {
    /// Show what a role may do
    RoleShow {
        /// Its name
        #[arg(long, value_name = "ROLE")]
        pub name: String,
    }
    "role-show" Host Read Viewer -> RoleLine,
    POSITIONAL = &["name"],
    EXAMPLES = &[("role show power", "each of its permissions")],
}

declare! {
    /// Make a role, or make it anew: who has it has what it holds now
    RoleDefine {
        /// Its name
        #[arg(long, value_name = "ROLE")]
        pub name: String,
        /// What it holds: roles, commands, permissions
        #[arg(long, value_name = "ROLES", num_args = 1..)]
        pub holds: Vec<String>,
    }
    "role-define" Host Change Admin -> RoleLine,
    POSITIONAL = &["name", "holds"],
    EXAMPLES = &[("role define night start shutdown console", "for the night shift")],
}

declare! {
    /// Delete a role that was defined here
    RoleDelete {
        /// Its name
        #[arg(long, value_name = "ROLE")]
        pub name: String,
    }
    "role-delete" Host Change Admin -> RoleLine,
    POSITIONAL = &["name"],
    EXAMPLES = &[("role delete night", "nobody has it any more")],
}
