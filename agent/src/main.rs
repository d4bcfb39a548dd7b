//! `skerry-agent`: the daemon, and what sets it up.

mod keys;
mod logs;
mod notify;
mod run;
mod setup;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use skerry_agent::config::Config;

/// Where the configuration is, unless said otherwise.
const CONFIG: &str = "/etc/skerry/agent.toml";

/// The daemon of Skerry: the host and its machines become XMPP contacts
#[derive(Debug, Parser)]
#[command(name = "skerry-agent", version)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run the daemon
    Run {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Write a configuration, and say what the XMPP server needs to be told
    Setup(Box<setup::Setup>),
    /// Check a configuration
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// Log in as well, to see whether the server takes us
        #[arg(long)]
        login: bool,
    },
    /// Say by which keys people sign what takes a signature
    Key(keys::KeyArgs),
    /// Bound the logs of machines: what the daemon starts for itself
    #[command(hide = true)]
    TrimLogs {
        /// The daemon's folder
        #[arg(long)]
        folder: PathBuf,
    },
    /// Run a program within bounds: what the daemon has systemd start
    #[command(hide = true)]
    Confined {
        /// What it may reach
        #[arg(long)]
        bounds: String,
        /// The program, and its words
        #[arg(last = true, required = true)]
        program: Vec<std::ffi::OsString>,
    },
    /// Show the version
    Version,
}

/// How it ended, for systemd and scripts.
const FAILED: u8 = 1;
/// What a person has to mend first; clap uses the same for a wrong command line.
const MISCONFIGURED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.what {
        What::Run { config } => load(&config).and_then(|config| failed(run::run(config))),
        What::Setup(setup) => failed(setup.run()),
        What::Check { config, login } => {
            load(&config).and_then(|config| failed(setup::check(&config, login)))
        }
        What::Key(key) => failed(key.run()),
        What::TrimLogs { folder } => failed(run::trim_logs(&folder)),
        What::Confined { bounds, program } => {
            failed(Err(hypervisor_core::driver::qemu::run_confined(&bounds, &program).into()))
        }
        What::Version => {
            println!("skerry-agent {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            eprintln!("skerry-agent: {error:#}");
            ExitCode::from(code)
        }
    }
}

fn load(path: &std::path::Path) -> Result<Config, (u8, anyhow::Error)> {
    Config::load(path).map_err(|error| (MISCONFIGURED, error.into()))
}

fn failed(done: anyhow::Result<()>) -> Result<(), (u8, anyhow::Error)> {
    done.map_err(|error| (FAILED, error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
