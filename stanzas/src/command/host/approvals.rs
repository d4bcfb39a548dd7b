//! What needs the consent of others before it is done: the policies that say so, and giving consent.

use crate::reply::{self, PolicyLine, RequestLine};

declare! {
    /// Agree that what somebody asked for is done
    Approve {
        /// The code of the request (see: request list)
        #[arg(long, value_name = "CODE")]
        pub code: String,
    }
    "approve" Host Change Viewer -> RequestLine,
    POSITIONAL = &["code"],
    EXAMPLES = &[("approve 7f3a", "it is done when enough have said so")],
}

declare! {
    /// Refuse that what somebody asked for is done: one is enough
    Reject {
        /// The code of the request (see: request list)
        #[arg(long, value_name = "CODE")]
        pub code: String,
    }
    "reject" Host Change Viewer -> RequestLine,
    POSITIONAL = &["code"],
    ALIASES = &["disapprove"],
    EXAMPLES = &[("reject 7f3a", "nothing is done")],
}

declare! {
    /// Take back what you asked for, before it is approved
    Withdraw {
        /// The code of the request (see: request list)
        #[arg(long, value_name = "CODE")]
        pub code: String,
    }
    "withdraw" Host Change Viewer -> RequestLine,
    POSITIONAL = &["code"],
    EXAMPLES = &[("withdraw 7f3a", "it was a mistake")],
}

declare! {
    /// Do at once what waits for approval, in an emergency: everybody concerned is told, and why
    BreakGlass {
        /// The code of the request (see: request list)
        #[arg(long, value_name = "CODE")]
        pub code: String,
        /// Why it cannot wait
        #[arg(long, value_name = "TEXT")]
        pub because: String,
    }
    "break-glass" Host Change Viewer -> RequestLine,
    POSITIONAL = &["code"],
    SPOKEN = &["because"],
    EXAMPLES = &[("break glass 7f3a because the database eats its disk", "without asking anybody")],
}

declare! {
    /// List what waits for approval: what you asked for, and what you can approve
    RequestList {}
    "request-list" Host Read Viewer -> reply::RequestList,
    ALIASES = &["requests", "approvals"],
    EXAMPLES = &[("request list", "what waits, and for whom")],
}

declare! {
    /// Say what needs approval: which commands, on what, by how many of which role
    PolicyAdd {
        /// Its name
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// What: commands, roles (all they hold), destroys (all that cannot be undone), or changes (all)
        #[arg(long, value_name = "COMMANDS")]
        pub what: String,
        /// On what: machines by name, label:NAME, made-by:JID, host, or all
        #[arg(long, value_name = "MACHINES", default_value = "all")]
        pub on: String,
        /// How many have to agree
        #[arg(long, value_name = "NUMBER", default_value = "1")]
        pub need: u32,
        /// Who can agree: those with one of these roles there
        #[arg(long, value_name = "ROLES", default_value = "admin")]
        pub from: String,
        /// For how long it waits
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
        #[serde(serialize_with = "crate::command::seconds")]
        pub within: std::time::Duration,
        /// When it may be done: mon-fri 08:00-18:00; at any time when not given
        #[arg(long, value_name = "HOURS")]
        pub during: Option<String>,
        /// Whose commands need no approval: those with one of these roles there
        #[arg(long, value_name = "ROLES")]
        pub except: Option<String>,
        /// Who can do without in an emergency: those with this role there, or nobody
        #[arg(long, value_name = "ROLE", default_value = "admin")]
        pub emergency: String,
        /// A room where it is asked as well: one that hides nobody
        #[arg(long, value_name = "JID")]
        pub room: Option<String>,
        /// Whether a reaction to the message is an answer: on, off
        #[arg(long, value_name = "on|off", default_value = "on")]
        pub reactions: crate::command::machine::Switch,
        /// Whether who asks has to sign it with a key of their own, and so has who agrees
        #[arg(long)]
        pub signed: bool,
    }
    "policy-add" Host Change Admin -> PolicyLine,
    POSITIONAL = &["name", "what"],
    SPOKEN = &["on", "need", "from", "within", "during", "except", "room", "signed"],
    EXAMPLES = &[
        ("policy add careful kill, delete on label:prod", "one admin has to agree"),
        ("policy add window changes on db1 need 2 from operator during sat 02:00-05:00", "a window"),
        ("policy add sealed delete on label:prod signed need 0", "nobody has to agree, but who asks signs it"),
    ],
}

declare! {
    /// List what needs approval here
    PolicyList {}
    "policy-list" Host Read Viewer -> reply::PolicyList,
    ALIASES = &["policies"],
    EXAMPLES = &[("policy list", "what needs a second person")],
}

declare! {
    /// Let something be done without approval again
    PolicyRemove {
        /// Its name (see: policy list)
        #[arg(long, value_name = "NAME")]
        pub name: String,
    }
    "policy-remove" Host Change Admin -> PolicyLine,
    POSITIONAL = &["name"],
    EXAMPLES = &[("policy remove careful", "that itself needs the approval it asked for")],
}
