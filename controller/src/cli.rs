//! The command line: the sub-commands of hosts and machines drawn from the one list
//! ([`skerry_stanzas::command::COMMANDS`]), and `skerry`'s own beside them.
//!
//! Rules, the same for every drawn command:
//! - The words are those of the chat: `skerry create kvm1 web1 linux memory=1G --start`.
//! - A command of machines names its machine first. Several machines are given one after another
//!   where the command takes no other bare words (`start web1 web2`), or with commas anywhere
//!   (`label web1,web2 prod`).
//! - A command of hosts may name its host first. Without one, a command that only looks asks every
//!   host, and one that changes something takes the only host there is.
//! - A verb both have (`status`) goes to whatever the name is.

mod asked;
mod own;
mod tree;

pub use asked::{Asked, asked};
pub use own::{
    AuditVerifyArgs, ChatArgs, EventsArgs, FileReadArgs, Global, KeyArgs, Output, Own, PasswordArgs,
    SetupArgs, VncArgs, WitnessArgs,
};
pub use tree::{tree, witness};
