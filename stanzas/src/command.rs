//! What a command is, and the one list that names them all.
//!
//! A command is a struct deriving [`clap::Args`] and [`serde::Serialize`]; its doc comments are its
//! help on every face. Everything a face needs besides is a constant of [`Command`].
//! [`Declaration`] is the same without the type, for code that walks the list.

#[macro_use]
mod declare;

pub mod argument;
pub mod host;
pub mod kept;
pub mod machine;

use std::sync::OnceLock;

use crate::{refusal::Refusal, reply::Reply};

/// What a command acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// The host itself.
    Host,
    /// One machine of a host.
    Machine,
}

impl Object {
    /// The word used in permissions and in the manual.
    pub const fn word(self) -> &'static str {
        match self {
            Object::Host => "host",
            Object::Machine => "machine",
        }
    }
}

/// What a command does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Looks only: not journalled, may be asked again at will.
    Read,
    /// Changes something that can be changed back.
    Change,
    /// Takes something away (running state, data): confirmed first, in every door.
    Destroy,
}

/// The built-in roles, each holding all rights of the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May look.
    Viewer,
    /// May run machines.
    Operator,
    /// May do everything.
    Admin,
}

impl Role {
    /// The word people write in the configuration and see in answers.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// One example: what a person would type in a chat (machine commands: in the machine's own chat),
/// and what it does, in a few words. Examples are printed in the manual and parsed by tests.
pub type Example = (&'static str, &'static str);

/// A command, declared once.
pub trait Command: clap::Args + serde::Serialize + Send + Sync + 'static {
    /// What it acts on.
    const OBJECT: Object;
    /// The chat verb, the sub-command of `skerry`, the ad-hoc node at the object's own address.
    const VERB: &'static str;
    /// Other words for the same, from other tools, where they mean one thing.
    const ALIASES: &'static [&'static str] = &[];
    /// What it does to the world.
    const EFFECT: Effect;
    /// The driver capability it needs (the word of `hypervisor_core::driver::Capability`).
    const NEEDS: Option<&'static str> = None;
    /// The least role that has it by default.
    const ROLE: Role;
    /// Arguments (long names) that may be given bare, in this order. The last takes all the rest
    /// when it is a many-valued argument.
    const POSITIONAL: &'static [&'static str] = &[];
    /// Whether the last of [`Command::POSITIONAL`] takes the rest of the line: as one text, or word by word
    /// where it is many-valued.
    const REST: bool = false;
    /// Arguments (long names) that may be said as words in front of their values, as in `to otto on web1`:
    /// a value goes on to the next of them; the last is a text, in which they are words like others.
    const SPOKEN: &'static [&'static str] = &[];
    /// The argument that a bare address (`ann@example.org`) is, wherever it stands.
    const PERSON: Option<&'static str> = None;
    /// The verb that words were probably meant for which this one has no use for.
    const INSTEAD: Option<&'static str> = None;
    /// Printed in the manual, parsed by tests.
    const EXAMPLES: &'static [Example];
    /// What it answers.
    type Reply: Reply;
}

/// A [`Command`] without its type: what the faces walk.
pub struct Declaration {
    /// What it acts on.
    pub object: Object,
    /// Chat verb and sub-command. One with a topic is written with a dash, `snapshot-take`, wherever
    /// it has to be one word (nodes, permissions); people say it as two: [`Declaration::spoken`].
    pub verb: &'static str,
    /// Other words for the verb.
    pub aliases: &'static [&'static str],
    /// What it does to the world.
    pub effect: Effect,
    /// The driver capability it needs.
    pub needs: Option<&'static str>,
    /// The least role that has it by default.
    pub role: Role,
    /// Arguments that may be given bare.
    pub positional: &'static [&'static str],
    /// Whether the last of them takes the rest of the line: as one text, or word by word where it is
    /// many-valued.
    pub rest: bool,
    /// Arguments that may be said as words in front of their values; the last is a text.
    pub spoken_arguments: &'static [&'static str],
    /// The argument that a bare address is.
    pub person: Option<&'static str>,
    /// The verb that words were probably meant for which this one has no use for.
    pub instead: Option<&'static str>,
    /// Examples, for the manual and for tests.
    pub examples: &'static [Example],
    arguments: fn(clap::Command) -> clap::Command,
    args: fn(&[String]) -> Result<serde_json::Value, Refusal>,
    reflection: OnceLock<argument::Reflection>,
}

impl std::fmt::Debug for Declaration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.permission())
    }
}

impl Declaration {
    /// The declaration of `C`.
    pub const fn of<C: Command>() -> Self {
        Self {
            object: C::OBJECT,
            verb: C::VERB,
            aliases: C::ALIASES,
            effect: C::EFFECT,
            needs: C::NEEDS,
            role: C::ROLE,
            positional: C::POSITIONAL,
            rest: C::REST,
            spoken_arguments: C::SPOKEN,
            person: C::PERSON,
            instead: C::INSTEAD,
            examples: C::EXAMPLES,
            arguments: C::augment_args,
            args: args::<C>,
            reflection: OnceLock::new(),
        }
    }

    /// Whether it answers a request for consent, or takes one back: by its code, on whichever host has it.
    pub fn answers_requests(&self) -> bool {
        self.object == Object::Host && ["approve", "reject", "withdraw", "break-glass"].contains(&self.verb)
    }

    /// The verb as people say it: `snapshot take`.
    pub fn spoken(&self) -> String {
        self.verb.replacen('-', " ", 1)
    }

    /// The first of the two words of a verb that has two: `snapshot` of `snapshot take`.
    pub fn topic(&self) -> Option<&'static str> {
        self.verb.split_once('-').map(|(topic, _)| topic)
    }

    /// Permission, audit action and metric label in one: `machine.start`.
    pub fn permission(&self) -> String {
        format!("{}.{}", self.object.word(), self.verb)
    }

    /// What `--name=value` words say, as records have it.
    ///
    /// # Errors
    /// The argument that is wrong or missing.
    pub fn args(&self, argv: &[String]) -> Result<serde_json::Value, Refusal> {
        (self.args)(argv)
    }

    /// Whether one of its arguments is a secret.
    pub fn has_secret(&self) -> bool {
        self.arguments().iter().any(|argument| argument.takes == argument::Takes::Secret)
    }

    /// The clap command: grammar of chat and CLI, source of the form and of the help. What changes
    /// something takes a reason besides its own arguments.
    pub fn cli(&self) -> clap::Command {
        let command = (self.arguments)(
            clap::Command::new(self.verb)
                .no_binary_name(true)
                .disable_help_flag(true)
                .disable_version_flag(true),
        );
        let own = command.get_arguments().any(|argument| argument.get_id() == argument::BECAUSE);
        match self.effect == Effect::Read || own {
            true => command,
            false => command.arg(argument::because()),
        }
    }
}

fn args<C: Command>(argv: &[String]) -> Result<serde_json::Value, Refusal> {
    crate::words::parse::<C>(argv).map(|command| serde_json::to_value(command).unwrap_or_default())
}

/// The one list. `$then!` is called with every command type, in the order of the manual.
#[macro_export]
macro_rules! each_command {
    ($then:ident) => {
        $then! {
            machine::Start, machine::Shutdown, machine::Kill, machine::Reboot, machine::Reset,
            machine::Pause, machine::Resume, machine::Status, machine::Stats, machine::Graph,
            machine::AlertAdd, machine::AlertList, machine::AlertRemove, machine::Define,
            machine::DefinitionList, machine::DefinitionRevert, machine::Rename,
            machine::Label, machine::Autostart, machine::Protect, machine::Log, machine::Console,
            machine::Send, machine::Screenshot, machine::Watch, machine::Vnc, machine::Type,
            machine::Key, machine::Exec,
            machine::FileRead, machine::FileWrite, machine::Password, machine::Fsfreeze, machine::Fsthaw,
            machine::DiskList, machine::DiskCreate, machine::DiskAttach,
            machine::DiskDetach, machine::DiskResize, machine::DiskMove, machine::DiskTrim,
            machine::DiskDelete,
            machine::SnapshotTake, machine::SnapshotList, machine::SnapshotTree, machine::SnapshotRevert,
            machine::SnapshotDelete, machine::SnapshotSchedule, machine::SnapshotSchedules,
            machine::SnapshotUnschedule, machine::NicList, machine::NicUp, machine::NicDown,
            machine::FirewallList, machine::FirewallAllow, machine::FirewallDeny, machine::FirewallRemove,
            machine::DeviceAttach, machine::DeviceDetach,
            machine::Clone, machine::Migrate, machine::MigrateResolve,
            machine::Export, machine::Release, machine::Delete,
            host::List, host::Create, host::Status, host::Stats, host::Top, host::Graph, host::AlertAdd,
            host::AlertList, host::AlertRemove, host::Quiet, host::Drivers, host::ImageList, host::ImageShow,
            host::ImageImport, host::ImagePull, host::ImageShare, host::ImagePublish,
            host::ImageExport, host::ImageRename,
            host::ImageDelete, host::NetworkList, host::NetworkShow, host::NetworkCreate, host::NetworkDefine,
            host::NetworkDelete, host::DeviceList, host::DeviceMap, host::DeviceUnmap,
            host::Trash, host::Undelete, host::Adopt, host::Version, host::Uptime,
            host::Whoami, host::May, host::WhoCan, host::Grant, host::Deny, host::Revoke, host::GrantList,
            host::GrantExport, host::Apply, host::RoleList, host::RoleShow, host::RoleDefine,
            host::RoleDelete, host::QuotaSet, host::QuotaList, host::QuotaRemove, host::RequestList,
            host::Approve, host::Reject, host::Withdraw, host::BreakGlass, host::PolicyAdd, host::PolicyList,
            host::PolicyRemove, host::Evacuate,
            host::AuditShow, host::AuditSearch, host::AuditExport, host::AuditVerify,
            host::WitnessAdd, host::WitnessRemove, host::WitnessList,
            host::JobList, host::JobCancel
        }
    };
}

macro_rules! declarations {
    ($($command:ty),* $(,)?) => {
        static DECLARED: [Declaration; [$(stringify!($command)),*].len()] =
            [$(Declaration::of::<$command>()),*];
    };
}
each_command!(declarations);

/// Every command, in the order of the manual.
pub static COMMANDS: &[Declaration] = &DECLARED;

/// Serialises a duration as seconds, for the journal.
fn seconds<S: serde::Serializer>(time: &std::time::Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

#[cfg(test)]
#[path = "command/tests.rs"]
mod tests;
