//! The terminal: what it can do, and how it is given back as it was found.

use std::io::IsTerminal as _;

/// Whether to write in colours: on a terminal that can, unless `NO_COLOR` is set (no-color.org).
pub fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}
