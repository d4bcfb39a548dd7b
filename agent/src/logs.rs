//! Where the log goes: to systemd's journal when it started us, else to standard error, for people or
//! as JSON.

use std::io::IsTerminal;

use skerry_agent::config::LogFormat;
use tracing_subscriber::{
    EnvFilter, Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt,
};

/// What these write is never wanted: at the finest level they show the login.
const QUIET: [&str; 4] = ["tokio_xmpp=warn", "xmpp_parsers=warn", "rxml=warn", "sasl=off"];

/// Begins to log. `RUST_LOG` says how much.
pub(crate) fn begin(format: Option<LogFormat>) {
    let mut filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    for directive in QUIET {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    // systemd says by this that our standard error is its journal.
    let by_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let format = format.unwrap_or(if by_systemd { LogFormat::Journald } else { LogFormat::Text });
    let journal = match format {
        LogFormat::Journald => tracing_journald::layer().ok(),
        LogFormat::Text | LogFormat::Json => None,
    };
    let layer = match (journal, format) {
        (Some(journal), _) => journal.boxed(),
        (None, LogFormat::Json) => {
            tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed()
        }
        (None, _) => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}
