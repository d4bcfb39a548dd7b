//! What `skerry` has beside the commands of hosts and machines.

use std::{path::PathBuf, time::Duration};

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people: sentences and aligned tables
    Table,
    /// For programs: JSON
    Json,
    /// For pipes: one line a thing, columns separated by tabs, no headings
    Plain,
}

/// Under which heading they stand, so that a command's own options come together.
const EVERYWHERE: &str = "Options of every command";

/// What goes with every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// The configuration [default: ~/.config/skerry/config.toml]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE", env = "SKERRY_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// How to show the answer [default: table on a terminal, else plain]
    #[arg(long, short = 'o', global = true, help_heading = EVERYWHERE, value_name = "FORM", value_enum)]
    pub output: Option<Output>,
    /// Tell on stderr which stanzas are sent and come in (twice: all of each), without secrets
    #[arg(long, short = 'v', global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Global {
    /// How answers are shown: as asked for; else for people on a terminal, and plain into a pipe.
    pub fn output(&self) -> Output {
        use std::io::IsTerminal as _;
        self.output.unwrap_or_else(|| match std::io::stdout().is_terminal() {
            true => Output::Table,
            false => Output::Plain,
        })
    }
}

/// `skerry`'s own commands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Own {
    /// Talk with a machine or a host
    Chat(ChatArgs),
    /// Show what happened on the hosts, and what happens
    Events(EventsArgs),
    /// List the hosts that can be found
    Hosts,
    /// Write the configuration, and try it
    Setup(SetupArgs),
    /// Make the key that you sign by, or show its public part
    SigningKey {
        /// What to do
        #[command(subcommand)]
        what: KeyArgs,
    },
    /// A whole private installation on loopback in one folder: a server, hosts, machines
    Lab(crate::lab::LabArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Write the manual pages
    Man(ManArgs),
}

/// What `skerry signing-key` does.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum KeyArgs {
    /// Make a key, and keep it on this computer
    New,
    /// Show the line to give to who administers a host
    Show,
}

/// What `skerry console` takes besides the words of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct ConsoleArgs {
    /// The key that leaves the console: ctrl- and a letter or one of ] [ \ ^ _ [default: ctrl-]]
    #[arg(long, value_name = "KEY")]
    pub detach_key: Option<String>,
    /// When the window changes its size, type `stty rows R cols C` into the guest (for a shell prompt)
    #[arg(long)]
    pub resize: bool,
}

/// What `skerry screenshot` takes besides the words of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct PictureArgs {
    /// Write the picture into this file, and upload it nowhere
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What `skerry exec` takes besides the words of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct ExecArgs {
    /// Give the command what this program reads from its standard input, at most 48 KiB of text
    #[arg(long, short = 'i')]
    pub stdin: bool,
}

/// What `skerry file read` takes besides the words of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct FileReadArgs {
    /// Write it into this file of yours, byte by byte [default: to the standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What `skerry file write` takes besides the words of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct FileWriteArgs {
    /// Write what is in this file of yours, byte by byte; - is the standard input
    #[arg(long = "in", value_name = "FILE")]
    pub input: Option<PathBuf>,
}

/// What `skerry password` takes besides the words of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct PasswordArgs {
    /// The file with the new password in its first line [default: asked for, or the first line of the
    /// standard input]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Send the password itself, not its hash: for guests that take no hash, such as Windows. The server in
    /// between can then read it
    #[arg(long)]
    pub plain: bool,
}

/// What `skerry audit export` takes besides the words of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditExportArgs {
    /// Write it into this file of yours [default: to the standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What `skerry audit verify` takes besides the words of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditVerifyArgs {
    /// Check this file, which was exported, and ask no host
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Hold it against the heads a witness has in this file
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Check its signatures by the keys in this file, as the host has one in /etc/skerry/keys
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
}

/// Keep the heads of the audit trails of hosts, and the entries between them where you may see those; shout
/// when one contradicts what it told before.
#[derive(Clone, Debug, clap::Args)]
pub struct WitnessArgs {
    /// The hosts, by address or name; all that can be found when none is given
    #[arg(value_name = "HOST")]
    pub hosts: Vec<String>,
    /// The file to which heads are added; entries are in the folder FILE.entries
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
    /// Ask for no entries
    #[arg(long)]
    pub heads_only: bool,
    /// How much the entries of each host may take, in MiB; then its heads alone are kept
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    pub entries_max: u64,
    /// Who gets a message when a host contradicts itself (may be given several times)
    #[arg(long, value_name = "JID")]
    pub tell: Vec<String>,
}

/// What `skerry vnc` takes besides the words of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct VncArgs {
    /// The port on 127.0.0.1 for viewers [default: the first free one from 5901]
    #[arg(long, value_name = "PORT", conflicts_with = "socket")]
    pub port: Option<u16>,
    /// A unix socket for viewers, instead of a port
    #[arg(long, value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// Start this viewer, and end with it; {address}, {port}, {display} and {socket} in it are filled in,
    /// else the address is added at its end
    #[arg(long, value_name = "COMMAND")]
    pub viewer: Option<String>,
}

/// Print the completion script of a shell, for example: skerry completions bash >
/// ~/.local/share/bash-completion/completions/skerry
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Write the manual pages, one a command.
#[derive(Clone, Debug, clap::Args)]
pub struct ManArgs {
    /// The folder to write them to
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
}

/// Show the events of hosts: what happened, in order, without gaps.
#[derive(Clone, Debug, clap::Args)]
pub struct EventsArgs {
    /// The hosts; all when none is named
    #[arg(value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Stay, and show what happens from now on
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// First everything after this event (its number on the host); 0: from the beginning
    #[arg(long, value_name = "NUMBER", conflicts_with = "last")]
    pub since: Option<u64>,
    /// First this many of the last ones [default: 20; with --follow 0]
    #[arg(long, value_name = "N")]
    pub last: Option<usize>,
}

/// Talk with a machine or a host, line by line.
///
/// On a terminal: line editing, history, Tab for commands; Ctrl-D leaves. Otherwise each line of the
/// input is a message, and the next one is sent when the answer is there.
#[derive(Clone, Debug, clap::Args)]
pub struct ChatArgs {
    /// The machine or the host
    #[arg(value_name = "NAME")]
    pub with: String,
    /// How long to wait for an answer when the input is not a terminal
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    pub patience: Duration,
}

/// Write the configuration, after asking what it needs, and log in to try it.
#[derive(Clone, Debug, clap::Args)]
pub struct SetupArgs {
    /// The account, such as ann@example.org
    #[arg(long, value_name = "JID")]
    pub jid: Option<String>,
    /// A file with the password in its first line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["password_command", "keyring"])]
    pub password_file: Option<String>,
    /// A command that prints the password
    #[arg(long, value_name = "COMMAND", conflicts_with = "keyring")]
    pub password_command: Option<String>,
    /// The password is in the keyring of the desktop
    #[arg(long)]
    pub keyring: bool,
    /// The server, when DNS does not say
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// A file with certificate authorities to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<String>,
    /// Replace the configuration that is there
    #[arg(long)]
    pub replace: bool,
}
