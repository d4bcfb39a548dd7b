//! `skerry-net`: makes the networks of a host for an agent that has no rights to. It needs CAP_NET_ADMIN for
//! itself, and what dnsmasq needs (CAP_NET_RAW, CAP_NET_BIND_SERVICE); see packaging/skerry-net.service.
//!
//! A program of its own, and not another mode of the agent: what has rights is then as small as it can be,
//! and has no stanza, no database and no TLS in it.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use hypervisor_core::network::{Maker, service};
use tokio::net::UnixListener;

/// Makes the networks of a host, for an agent that has no rights to
#[derive(Debug, Parser)]
#[command(name = "skerry-net", version)]
struct Cli {
    /// Where it listens
    #[arg(long, value_name = "PATH", default_value = "/run/skerry-net/socket")]
    socket: PathBuf,
    /// What it keeps: leases, and what it has told dnsmasq
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/skerry-net")]
    folder: PathBuf,
    /// Who may ask besides root: the agent's user, by name or number
    #[arg(long, value_name = "USER")]
    user: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_writer(io::stderr).without_time().init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skerry-net: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> io::Result<()> {
    let users = cli.user.iter().map(|name| number(name)).collect::<Result<Vec<u32>, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match fs::remove_file(&cli.socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&cli.socket)?;
        // Anybody may connect: who is answered is decided by who it is.
        fs::set_permissions(&cli.socket, fs::Permissions::from_mode(0o666))?;
        tracing::info!(socket = %cli.socket.display(), "skerry-net listens");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        service::serve(listener, Arc::new(Maker::new(cli.folder, |_| {})), users).await
    })
}

fn number(user: &str) -> io::Result<u32> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let found = nix::unistd::User::from_name(user)?;
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("there is no user {user}"));
    Ok(found.ok_or_else(missing)?.uid.as_raw())
}
