//! What a server keeps of what it was told, should it be killed.

use std::path::Path;

use anyhow::Result;
use xmpp_parsers::ns as xep;

use crate::{client::Client, lab::Lab, vitals::until};

impl Lab {
    /// Waits until the server has written down all that it was told so far: ejabberd is seconds late, and what
    /// a server forgot is not an agent's to know.
    ///
    /// # Errors
    /// It did not.
    pub async fn is_written_down(&self, client: &Client) -> Result<()> {
        // Where contacts are written, so that all before it is written too.
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let contact = format!("<query xmlns='{}'><item jid='{mark}@skerry.test'/></query>", xep::ROSTER);
        client.ask("set", None, contact.parse()?).await?;
        let folder = self.dir().join("server");
        // ejabberd's log of transactions is behind its tables, and is replayed over them after a crash: an old
        // row of a short log undoes the new one of a table.
        let log = folder.join("db/LATEST.LOG");
        let written =
            || if log.exists() { has(&log, mark.as_bytes()) } else { holds(&folder, mark.as_bytes()) };
        until("the mark", written).await
    }
}

/// Whether a file somewhere in this folder has these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds(&entry.path(), bytes),
        Ok(kind) if kind.is_file() => has(&entry.path(), bytes),
        _ => false,
    })
}

/// Whether a file has these bytes.
fn has(file: &Path, bytes: &[u8]) -> bool {
    std::fs::read(file).is_ok_and(|all| all.windows(bytes.len()).any(|window| window == bytes))
}
