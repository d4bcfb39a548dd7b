//! A viewer of the person's choice, started for them.

use std::process::Stdio;

use tokio::process::Command;

use super::door::Address;
use crate::{
    cli::VncArgs,
    failure::{Failure, Outcome},
};

/// A viewer that was started; it ends when this is dropped.
pub(super) type Viewer = tokio::process::Child;

/// Starts the one that was asked for, with where the screen is.
///
/// # Errors
/// It cannot be started.
pub(super) fn start(args: &VncArgs, at: &Address) -> Outcome<Option<Viewer>> {
    let Some(words) = args.viewer.as_deref().map(|viewer| at.command(viewer)).transpose()? else {
        return Ok(None);
    };
    let (program, arguments) =
        words.split_first().ok_or_else(|| Failure::usage("--viewer needs a program"))?;
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).spawn();
    child.map(Some).map_err(|error| {
        Failure::usage(format!("{program} cannot be started: {error}"))
            .hint("Name a viewer that is installed, such as --viewer vncviewer.")
    })
}
