//! Completion scripts and manual pages, from the one tree.

use std::{fs, io, path::Path};

use clap::Command;

use crate::failure::{Failure, Outcome};

/// Prints the completion script of a shell.
///
/// # Errors
/// Nobody reads it.
pub fn completions(shell: clap_complete::Shell, mut tree: Command) -> Outcome<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree, "skerry", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(())
}

/// Writes `skerry.1` and a page a command into a folder, which is made when it is not there.
///
/// # Errors
/// They cannot be written.
pub fn pages(folder: &Path, tree: Command) -> Outcome<()> {
    let failed = |error: io::Error| {
        Failure::usage(format!("the pages cannot be written to {}: {error}", folder.display()))
    };
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(tree.disable_help_subcommand(true), folder).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use skerry_stanzas::command::COMMANDS;

    use super::*;
    use crate::cli::tree;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        pages(folder.path(), tree()).unwrap();
        for declaration in COMMANDS {
            let page =
                fs::read_to_string(folder.path().join(format!("skerry-{}.1", declaration.verb))).unwrap();
            assert!(page.contains("Examples"), "{}", declaration.verb);
        }
        assert!(folder.path().join("skerry.1").exists());
    }

    #[test]
    fn every_shell_completes_every_verb() {
        use clap_complete::Shell;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut tree(), "skerry", &mut script);
            let script = String::from_utf8(script).unwrap();
            for declaration in COMMANDS {
                for word in declaration.verb.split('-') {
                    assert!(script.contains(word), "{shell}: {word}");
                }
            }
        }
    }
}
