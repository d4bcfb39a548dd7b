//! What is done about the audit trail beside writing it: its head is told, its old rows are put away, and
//! what was refused too often to be written one by one is written in counts.

use std::{collections::BTreeSet, sync::Weak, time::Duration};

use skerry_stanzas::audit::{self, Head, Row};
use tokio::sync::{Notify, watch};
use xmpp_parsers::jid::BareJid;

use super::{Agent, Inner};
use crate::{
    journal::refusals::WINDOW,
    store::{StoreError, schema},
};

/// Heads are told no more often than this.
const HEAD_EVERY: Duration = Duration::from_secs(1);
/// Under which name the witnesses are remembered that were made by command.
const WITNESSES: &str = "audit-witnesses";

/// What is known of the trail's head.
pub(crate) struct Audit {
    wake: Notify,
    head: watch::Sender<Option<Head>>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { wake: Notify::new(), head: watch::Sender::new(None) }
    }
}

impl Audit {
    /// There is a new row.
    pub(crate) fn written(&self) {
        self.wake.notify_one();
    }
}

impl Agent {
    /// The head of the audit trail, whenever there is a newer one; no more often than once a second.
    pub fn audit_heads(&self) -> watch::Receiver<Option<Head>> {
        self.inner.audit.head.subscribe()
    }

    fn head_of(&self, row: &Row) -> Head {
        Head {
            host: self.inner.addresses.host().to_bare().to_string(),
            sequence: row.seq,
            hash: audit::hex(&row.hash),
            at: row.at.clone(),
        }
    }

    /// Reads the head, for whoever is told it.
    pub(super) async fn look_at_head(&self) {
        match self.inner.trail.newest().await {
            Ok(row) => {
                let head = row.map(|row| self.head_of(&row));
                self.inner.audit.head.send_if_modified(|told| {
                    let news = *told != head;
                    *told = head;
                    news
                });
            }
            Err(StoreError::Closed) => {}
            Err(error) => tracing::error!(%error, "the head of the audit trail cannot be read"),
        }
    }

    /// Puts old rows away, as many as there are too many.
    pub(super) async fn put_away(&self) {
        loop {
            match self.inner.trail.rotate(self.config().audit.keep()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    return tracing::error!(%error, "old entries of the audit trail stay in the store");
                }
            }
        }
    }

    /// Who is told each head: those of the configuration and those made by command.
    pub(crate) async fn witnesses(&self) -> Result<BTreeSet<BareJid>, StoreError> {
        let configured = self.config().audit.witnesses.clone();
        Ok(self.made_witnesses().await?.into_iter().chain(configured).collect())
    }

    /// Those made by command.
    pub(crate) async fn made_witnesses(&self) -> Result<BTreeSet<BareJid>, StoreError> {
        let text = self.inner.store.run(|connection| schema::fact(connection, WITNESSES)).await?;
        let kept: Vec<String> = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
        Ok(kept.iter().filter_map(|jid| BareJid::new(jid).ok()).collect())
    }

    /// From now on these are made by command.
    pub(crate) async fn keep_witnesses(&self, witnesses: &BTreeSet<BareJid>) -> Result<(), StoreError> {
        let kept: Vec<String> = witnesses.iter().map(ToString::to_string).collect();
        let text = serde_json::json!(kept).to_string();
        self.inner.store.run(move |connection| schema::set_fact(connection, WITNESSES, &text)).await
    }
}

/// Looks after the trail until the agent ends.
pub(super) async fn keep_trail(inner: Weak<Inner>) {
    let mut minute = tokio::time::interval_at(tokio::time::Instant::now() + WINDOW, WINDOW);
    let Some(audit) = inner.upgrade().map(|inner| std::sync::Arc::clone(&inner.audit)) else { return };
    loop {
        tokio::select! {
            () = audit.wake.notified() => {
                let Some(inner) = inner.upgrade() else { return };
                let agent = Agent { inner };
                agent.look_at_head().await;
                agent.put_away().await;
            }
            _ = minute.tick() => {
                let Some(inner) = inner.upgrade() else { return };
                Agent { inner }.write_counted().await;
                continue;
            }
        }
        tokio::time::sleep(HEAD_EVERY).await;
    }
}
