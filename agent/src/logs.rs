//! Where the log goes: to systemd's journal when it started us, else to standard error, for people or
//! as JSON.

use std::io::IsTerminal;

use skerry_agent::config::LogFormat;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// What these write is never wanted: at the finest level they show the login.
const QUIET: [(&str, LevelFilter); 4] = [
    ("tokio_xmpp", LevelFilter::WARN),
    ("xmpp_parsers", LevelFilter::WARN),
    ("rxml", LevelFilter::WARN),
    ("sasl", LevelFilter::OFF),
];

/// Begins to log. `RUST_LOG` says how much: a level, or `part=level` words with commas between.
pub(crate) fn begin(format: Option<LogFormat>) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty());
    let parsed = wanted.map_or(Ok(Targets::new()), |wanted| wanted.parse::<Targets>());
    let unreadable = parsed.as_ref().err().map(ToString::to_string);
    let filter = parsed.unwrap_or_default();
    let level = filter.default_level().unwrap_or(LevelFilter::INFO);
    let filter = filter.with_default(level).with_targets(QUIET);
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
    if let Some(why) = unreadable {
        tracing::warn!(why, "RUST_LOG cannot be read: RUST_LOG=debug, or RUST_LOG=skerry_link=debug");
    }
}
