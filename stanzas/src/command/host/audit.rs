//! The audit trail: who asked for what, and who watches that nothing of it is changed afterwards.

use std::time::Duration;

use crate::reply::{self, AuditEntries, AuditPage, AuditVerified, WitnessChanged};

declare! {
    /// Show the last of what was asked of this host and what came of it, or all there is of one entry
    AuditShow {
        /// The number of the entry
        #[arg(long, value_name = "NUMBER")]
        pub number: Option<u64>,
        /// How many, when none is named
        #[arg(long, value_name = "N", default_value = "20")]
        pub last: u32,
    }
    "audit-show" Host Read Admin -> AuditEntries,
    POSITIONAL = &["number"],
    EXAMPLES = &[("audit show", "what happened last"), ("audit show 1", "all of one entry")],
}

declare! {
    /// Search the audit trail, from the newest entry back
    AuditSearch {
        /// Text that stands anywhere in it
        #[arg(long, value_name = "TEXT")]
        pub text: Option<String>,
        /// Only what this address asked, or this domain
        #[arg(long, value_name = "JID")]
        pub who: Option<String>,
        /// Only this command or permission
        #[arg(long, value_name = "COMMAND")]
        pub what: Option<String>,
        /// Only what was asked of a machine of this name
        #[arg(long, value_name = "MACHINE")]
        pub machine: Option<String>,
        /// Only what is younger than this
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "lasting")]
        pub within: Option<Duration>,
        /// Only what was refused
        #[arg(long)]
        pub refused: bool,
        /// Go on before this entry
        #[arg(long, value_name = "NUMBER")]
        pub before: Option<u64>,
        /// How many at most
        #[arg(long, value_name = "N", default_value = "50")]
        pub limit: u32,
    }
    "audit-search" Host Read Admin -> AuditEntries,
    POSITIONAL = &["text"],
    PERSON = "who",
    EXAMPLES = &[
        ("audit search who=ann@example.org what=kill", "what she cut the power of"),
        ("audit search --refused within=1d", "what was tried today"),
    ],
}

fn lasting<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.unwrap_or_default().as_secs_f64())
}

declare! {
    /// Get a page of the audit trail as it is stored; skerry writes all of it into a file
    AuditExport {
        /// Go on after this entry
        #[arg(long, value_name = "NUMBER", default_value = "0")]
        pub after: u64,
        /// How many entries at most
        #[arg(long, value_name = "N", default_value = "200")]
        pub limit: u32,
    }
    "audit-export" Host Read Admin -> AuditPage,
    EXAMPLES = &[("audit export", "the first page"), ("audit export after=2", "the next one")],
}

declare! {
    /// Check that nothing of the audit trail was changed, taken out, or put elsewhere
    AuditVerify {
        /// A head that a witness has: the number of its entry
        #[arg(long, value_name = "NUMBER")]
        pub sequence: Option<u64>,
        /// Its hash
        #[arg(long, value_name = "HASH")]
        pub hash: Option<String>,
    }
    "audit-verify" Host Read Admin -> AuditVerified,
    EXAMPLES = &[("audit verify", "all of it, by itself")],
}

declare! {
    /// Tell a witness each new head of the audit trail, so that nothing can be taken away unseen
    WitnessAdd {
        /// Its address, best at another server
        #[arg(long, value_name = "JID")]
        pub jid: String,
    }
    "witness-add" Host Change Admin -> WitnessChanged,
    POSITIONAL = &["jid"],
    EXAMPLES = &[("witness add audit@other.example", "skerry audit witness runs there")],
}

declare! {
    /// Tell a witness no more
    WitnessRemove {
        /// Its address
        #[arg(long, value_name = "JID")]
        pub jid: String,
    }
    "witness-remove" Host Change Admin -> WitnessChanged,
    POSITIONAL = &["jid"],
    EXAMPLES = &[("witness remove audit@other.example", "it hears of this host no more")],
}

declare! {
    /// List who is told each head of the audit trail
    WitnessList {}
    "witness-list" Host Read Admin -> reply::WitnessList,
    ALIASES = &["witnesses"],
    EXAMPLES = &[("witness list", "who watches")],
}
