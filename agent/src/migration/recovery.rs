//! How hand-overs go on that an agent's end interrupted.

use std::sync::Arc;

use hypervisor_core::{
    handover::{Standing, recover},
    lifecycle::Side,
    machine::MachineName,
};

use super::{
    Agent,
    arriving::made_files,
    journal::{self, Row},
    leaving::forget_signs,
    passage::{Beginning, Options, Passage},
};
use crate::store::StoreError;

/// Which side a host is on that wrote this last; `None` if nothing is under way.
fn side(standing: Standing) -> Option<Side> {
    match standing {
        Standing::Away { .. } | Standing::Owner { .. } => None,
        Standing::Offered { .. }
        | Standing::Sending { .. }
        | Standing::Holding { .. }
        | Standing::HandedOver { .. } => Some(Side::Source),
        Standing::Preparing { .. }
        | Standing::Prepared { .. }
        | Standing::Received { .. }
        | Standing::Dropping { .. }
        | Standing::Taking { .. } => Some(Side::Destination),
    }
}

impl Agent {
    /// The hand-overs that are under way, by what is written down. Where machines went is known from here on.
    pub(crate) async fn moving(&self) -> Result<Vec<Row>, StoreError> {
        for (name, address, saw) in self.inner.store.run(journal::tombstones).await? {
            if let (Ok(name), Ok(address)) = (MachineName::new(name), xmpp_parsers::jid::Jid::new(&address)) {
                self.inner.passages.moved_away(&name, &address, saw);
            }
        }
        let mut rows = self.inner.store.run(journal::all).await?;
        rows.retain(|row| side(row.standing).is_some());
        Ok(rows)
    }

    /// Goes on with one of them, once its machine was looked at.
    pub(crate) fn go_on_with(&self, row: Row) {
        let Some(side) = side(row.standing) else { return };
        let offer = &row.about.offer;
        let machine = self.inner.machines.get(row.machine);
        let (driver, launch) = match &machine {
            Some(machine) => (Arc::clone(&machine.card.driver), machine.card.launch()),
            None => {
                let definition = serde_json::from_value(offer.definition.clone());
                let (Ok(definition), Ok(name)) = (definition, MachineName::new(&offer.name)) else { return };
                let record = self.as_here(row.machine, offer, &row.about.copies, definition, name);
                (self.inner.drivers.named_or_absent(&offer.driver), self.launch_of(&record))
            }
        };
        let Some(hears) = self.inner.passages.begin(row.machine, &row.peer) else { return };
        tracing::warn!(machine = %row.machine, peer = %row.peer, standing = row.standing.word(), "a hand-over was interrupted");
        let made = match side {
            Side::Source => {
                forget_signs(offer);
                vec![]
            }
            Side::Destination => made_files(&launch, &row.about.copies),
        };
        let storage = machine.as_ref().and_then(|machine| machine.card.storage());
        let step = recover(row.standing);
        let beginning = Beginning {
            row,
            side,
            driver,
            launch,
            machine,
            storage,
            options: Options::default(),
            made,
            signs: vec![],
            room: None,
        };
        let mut passage = Passage::new(self.clone(), beginning, hears);
        passage.why = Some("the agent was restarted meanwhile".into());
        self.keep(passage.run(step));
    }

    /// A name is in use here: nothing that had it before is anywhere else any more.
    pub(crate) async fn name_in_use(&self, name: &MachineName) -> Result<(), StoreError> {
        self.inner.passages.forget_gone(name);
        let name = name.to_string();
        self.inner.store.run(move |connection| journal::forget_tombstone(connection, &name)).await
    }
}
