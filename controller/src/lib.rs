//! `skerry`: drive hosts and machines over XMPP.
//!
//! ```text
//! cli (what was typed) → commands → fleet (who is there) → plan (which calls) → call (XEP-0050)
//!                                  → wait (events) → render (table | json | plain)
//! chat, events, console, vnc: sessions of their own; failure: one sentence and an exit code
//! ```

mod applied;
mod audit;
mod bytestream;
mod call;
mod chat;
mod cli;
mod commands;
mod config;
mod console;
mod events;
mod failure;
mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guest;
mod lab;
mod manual;
mod name;
mod password;
mod picture;
mod plan;
mod progress;
mod pubsub;
mod render;
mod session;
mod setup;
mod several;
mod signing;
mod terminal;
mod top;
mod vnc;
mod wait;
mod wire;

use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches as _};
use skerry_stanzas::command::Effect;
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    cli::{Global, Own},
    config::Config,
    failure::{Failure, Kind, Outcome},
};

/// Does what the command line says.
pub fn main() -> ExitCode {
    let matches = match cli::tree().try_get_matches() {
        Ok(matches) => matches,
        // Help and version are printed to stdout and are no failure.
        Err(error) => {
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(matches: &ArgMatches) -> Outcome<()> {
    let global = Global::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))?;
    tell(global.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(carry_out(matches, &global));
    // A question on the terminal may still be open in a thread of its own.
    runtime.shutdown_background();
    outcome
}

async fn carry_out(matches: &ArgMatches, global: &Global) -> Outcome<()> {
    let config = || Config::load(global.config.as_deref());
    if let Some(args) = cli::witness(matches) {
        return audit::witness::run(&args, &config()?).await;
    }
    let Ok(own) = Own::from_arg_matches(matches) else {
        let Some((verb, matches)) = matches.subcommand() else {
            return Err(Failure::usage("which command?").hint("See: skerry --help"));
        };
        let asked = cli::asked(verb, matches);
        plan::check(&asked)?;
        if audit::is_ours(&asked) {
            return interruptible(audit::run(&asked, config, global.output())).await;
        }
        if console::is_interactive(&asked) {
            return console::run(&asked, &config()?).await;
        }
        if asked.vnc.is_some() {
            return vnc::run(&asked, &config()?, global.output()).await;
        }
        if top::is_live(&asked, global.output()) {
            return top::run(&asked, &config()?).await;
        }
        let config = config()?;
        let work = commands::run(&asked, &config, global.output());
        let changes = asked.declarations.iter().any(|declaration| declaration.effect != Effect::Read);
        return interruptible(work).await.map_err(|failure| guest::not_run(&asked, failure)).map_err(
            |failure| {
                match failure.kind {
            Kind::Interrupted if changes => failure.hint(
                "What the host was asked for already goes on there: see `skerry status` and `skerry log`.",
            ),
            _ => failure,
        }
            },
        );
    };
    match own {
        Own::Chat(args) => chat::run(&args, &config()?).await,
        Own::Events(args) => events::run(&args, &config()?, global.output()).await,
        Own::Hosts => interruptible(commands::hosts(&config()?, global.output())).await,
        Own::Setup(args) => {
            let outcome = interruptible(setup::run(args, global.config.as_deref())).await;
            // The question that Ctrl-C broke off is in a thread that ends with us.
            setup::show_typing_again();
            outcome
        }
        Own::SigningKey { what } => interruptible(signing::run(&what, &config()?)).await,
        Own::Lab(args) => lab::run(args).await.map_err(|why| Failure::new(Kind::Refused, format!("{why:#}"))),
        Own::Completions(args) => manual::completions(args.shell, cli::tree()),
        Own::Man(args) => manual::pages(&args.dir, cli::tree()),
    }
}

/// Ends at Ctrl-C.
async fn interruptible(work: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Kind::Interrupted, "interrupted")),
    }
}

/// What happens, on stderr, when it is asked for.
fn tell(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = Targets::new().with_target("skerry", level).with_target("skerry_link", level);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(terminal::colours_on(&std::io::stderr()))
        .with_filter(filter);
    tracing_subscriber::registry().with(layer).init();
}
