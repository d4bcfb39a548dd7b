//! How the process of an agent is: alive, how large, what it wrote down.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rusqlite::{Connection, OpenFlags};
use tokio::time::{Instant, sleep};

use crate::{
    client::PATIENCE,
    lab::{Host, Lab},
};

/// How often something outside of us is looked at that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(50);

impl Host {
    /// Its agent's folder.
    pub fn state(&self) -> PathBuf {
        self.config.with_file_name("state")
    }

    /// What its agent said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.config.with_file_name("agent.log")).unwrap_or_default()
    }

    /// Whether its agent runs.
    pub fn runs(&self) -> bool {
        // One that ended and was not waited for is still listed, without memory.
        self.resident().is_ok()
    }

    /// The memory that its agent made for itself and has in use (RssAnon of proc_pid_status(5)), in KiB. What
    /// it reads of its own program is not counted: a debug build has a hundred megabytes of that, and how
    /// much of it the kernel maps at a fault is the kernel's choice.
    ///
    /// # Errors
    /// It does not run.
    pub fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB")).context("it has ended")?;
        Ok(size.trim().parse()?)
    }

    /// Sends its agent a signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid), signal)?)
    }

    /// Waits until its agent, which has a reason to, ended.
    ///
    /// # Errors
    /// It did not.
    pub async fn ended(&self) -> Result<()> {
        until("the agent's end", || !self.runs()).await
    }

    /// The journal of an agent that does not run: how many entries were accepted and never closed.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn open_entries(&self) -> Result<u32> {
        let open = "SELECT count(*) FROM journal AS a WHERE kind = 'accepted' AND NOT EXISTS
                    (SELECT 1 FROM journal AS b WHERE b.entry = a.entry AND b.kind <> 'accepted')";
        Ok(self.store()?.query_row(open, [], |row| row.get(0))?)
    }

    /// How often a command was accepted, by its permission (`machine.start`).
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn accepted(&self, permission: &str) -> Result<u32> {
        let count = "SELECT count(*) FROM journal WHERE kind = 'accepted'
                     AND json_extract(body, '$.permission') = ?1";
        Ok(self.store()?.query_row(count, [permission], |row| row.get(0))?)
    }

    /// How many commands of addresses of a domain were refused, one by one and counted, by the trail of an
    /// agent that does not run.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn refusals(&self, domain: &str) -> Result<u64> {
        let sum = "SELECT coalesce(sum(coalesce(json_extract(body, '$.times'), 1)), 0) FROM journal
                   WHERE kind IN ('refused', 'refusals') AND instr(json_extract(body, '$.caller'), ?1)";
        Ok(self.store()?.query_row(sum, [domain], |row| row.get(0))?)
    }

    /// The requests for a command that were accepted, each with whether it was done, by the trail of an agent
    /// that does not run.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn requests(&self, permission: &str) -> Result<Vec<(String, bool)>> {
        let rows = "SELECT json_extract(a.body, '$.key'), EXISTS (SELECT 1 FROM journal AS b
                    WHERE b.entry = a.entry AND b.kind = 'closed' AND json_type(b.body, '$.done') IS NOT NULL)
                    FROM journal AS a WHERE a.kind = 'accepted' AND json_extract(a.body, '$.permission') = ?1";
        let store = self.store()?;
        let mut query = store.prepare(rows)?;
        let found = query.query_map([permission], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn store(&self) -> Result<Connection> {
        if self.runs() {
            bail!("the agent has its store for itself while it runs");
        }
        let file = self.state().join("state.db");
        // Not read-only: what is in the write-ahead log belongs to it.
        Ok(Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?)
    }
}

impl Lab {
    /// Starts a crashed agent so that it dies at a step of the next command (`skerry_agent::crash`).
    ///
    /// # Errors
    /// What `skerry lab start` said.
    pub async fn start_to_die(&mut self, part: &str, step: &str) -> Result<()> {
        self.start_with(part, &[(skerry_agent::crash::VARIABLE, step)]).await
    }
}

/// Waits for something that happens outside of us.
///
/// # Errors
/// It did not happen in time.
pub async fn until(what: &str, so: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        if Instant::now() >= deadline {
            bail!("{what} did not come");
        }
        sleep(LOOK).await;
    }
    Ok(())
}
