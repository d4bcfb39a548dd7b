//! A program in a terminal that nobody looks at: tmux, spoken to in its control mode, which tells of
//! every output. What is waited for is looked for on the screen each time something was written on it.
//!
//! The server is private to one terminal and ends with it, even when a test is killed: its session lives
//! only as long as we read it.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::client::PATIENCE;

/// Wide enough for no sentence of ours to be broken.
const SIZE: (&str, &str) = ("200", "50");

/// Said when there is nothing to see any more.
const ENDED: &str = "the program in the terminal has ended";

/// A terminal with a program in it.
#[derive(Debug)]
pub struct Terminal {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    // Ends with it.
    _tmux: Child,
}

impl Terminal {
    /// Starts a program; the socket of its tmux is made in `dir`.
    ///
    /// # Errors
    /// There is no tmux, or it does not start.
    pub async fn open(dir: &Path, program: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let mut tmux = Command::new("tmux")
            .args(["-u", "-f", "/dev/null", "-S"])
            .arg(dir.join("tmux"))
            .args(["-C", "new-session", "-x", SIZE.0, "-y", SIZE.1, program])
            .env_remove("TMUX")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("tmux is not here: scripts/test acceptance installs it")?;
        let input = tmux.stdin.take().context("tmux without input")?;
        let output = BufReader::new(tmux.stdout.take().context("tmux without output")?).lines();
        let mut terminal = Self { input, output, _tmux: tmux };
        // The answer to the new-session of the command line.
        terminal.answer().await?;
        terminal.command("set-option -g destroy-unattached on").await?;
        terminal.command(&format!("refresh-client -C {}x{}", SIZE.0, SIZE.1)).await?;
        Ok(terminal)
    }

    /// Types a line, without a `'` in it.
    ///
    /// # Errors
    /// The program has ended.
    pub async fn line(&mut self, line: &str) -> Result<()> {
        self.command(&format!("send-keys -l '{line}'")).await?;
        self.command("send-keys Enter").await?;
        Ok(())
    }

    /// Waits until this is on the screen.
    ///
    /// # Errors
    /// It did not come, or the program has ended; what is on the screen is told.
    pub async fn see(&mut self, text: &str) -> Result<()> {
        let mut screen = Vec::new();
        let waiting = async {
            loop {
                screen = self.command("capture-pane -p").await?;
                if screen.iter().any(|line| line.contains(text)) {
                    return Ok(());
                }
                while !self.next().await?.starts_with("%output") {}
            }
        };
        let seen: Result<()> = timeout(PATIENCE, waiting).await.unwrap_or_else(|_| bail!("waited in vain"));
        seen.with_context(|| format!("{text:?} is not to be seen:\n{}", screen.join("\n").trim_end()))
    }

    async fn command(&mut self, command: &str) -> Result<Vec<String>> {
        self.input.write_all(format!("{command}\n").as_bytes()).await?;
        self.answer().await.with_context(|| command.to_owned())
    }

    /// The next `%begin … %end`; what happened meanwhile is on the screen already.
    async fn answer(&mut self) -> Result<Vec<String>> {
        while !self.next().await?.starts_with("%begin ") {}
        let mut lines = Vec::new();
        loop {
            let line = self.next().await?;
            if line.starts_with("%error ") {
                let said = lines.join(" ");
                // Its pane is gone, and tmux has not said so yet.
                ensure!(said != "no current target", ENDED);
                bail!("tmux says: {said}");
            }
            if line.starts_with("%end ") {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    async fn next(&mut self) -> Result<String> {
        let line = self.output.next_line().await?;
        line.filter(|line| !line.starts_with("%exit")).context(ENDED)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn what_is_typed_is_seen_and_an_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::open(dir.path(), "cat", &[]).await.unwrap();
        terminal.line("hello").await.unwrap();
        terminal.see("hello").await.unwrap();
        terminal.command("send-keys C-d").await.unwrap();
        let ended = terminal.see("nothing of the kind").await.unwrap_err();
        assert!(format!("{ended:#}").contains("has ended"), "{ended:#}");
    }
}
