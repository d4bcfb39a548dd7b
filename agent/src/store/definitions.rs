//! What machines were made of: each definition a machine had, the present one last.

use chrono::{DateTime, Utc};
use hypervisor_core::{definition::Definition, machine::MachineId};
use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// Definitions kept of each machine.
pub(crate) const KEPT_MAX: u64 = 50;

/// A definition a machine had.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    /// Counted from one, for the machine's life.
    pub(crate) number: u64,
    /// Since when.
    pub(crate) at: DateTime<Utc>,
    /// Who made it so.
    pub(crate) who: String,
    /// What was changed then.
    pub(crate) what: String,
}

/// Writes down that this is what the machine is made of from now on; the oldest ones make way.
pub(crate) fn append(
    connection: &Connection,
    id: MachineId,
    who: &str,
    what: &str,
    definition: &Definition,
) -> Result<(), StoreError> {
    let machine = id.to_string();
    let number: u64 = connection
        .prepare_cached("SELECT COALESCE (MAX (number), 0) + 1 FROM definitions WHERE machine = ?1")?
        .query_row([&machine], |row| row.get(0))?;
    connection.prepare_cached("INSERT INTO definitions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute((
        &machine,
        number,
        json(&Utc::now())?,
        who,
        what,
        json(definition)?,
    ))?;
    connection
        .prepare_cached("DELETE FROM definitions WHERE machine = ?1 AND number <= ?2")?
        .execute((&machine, number.saturating_sub(KEPT_MAX)))?;
    Ok(())
}

/// Those that are kept, oldest first.
pub(crate) fn list(connection: &Connection, id: MachineId) -> Result<Vec<Kept>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT number, at, who, what FROM definitions WHERE machine = ?1 ORDER BY number")?;
    let rows = query.query_map([id.to_string()], |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
    })?;
    rows.map(|row| {
        let (number, at, who, what) = row?;
        Ok(Kept { number, at: read(&at)?, who, what })
    })
    .collect()
}

/// One of them.
pub(crate) fn one(
    connection: &Connection,
    id: MachineId,
    number: u64,
) -> Result<Option<Definition>, StoreError> {
    let text: Option<String> = connection
        .prepare_cached("SELECT definition FROM definitions WHERE machine = ?1 AND number = ?2")?
        .query_row((id.to_string(), number), |row| row.get(0))
        .optional()?;
    text.map(|text| read(&text)).transpose()
}

/// Forgets those of a machine that is gone for good.
pub(crate) fn forget(connection: &Connection, id: MachineId) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM definitions WHERE machine = ?1")?.execute([id.to_string()])?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Unreadable(format!("{text}: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypervisor_core::definition::Boot;

    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn so_many_are_kept_and_no_number_is_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db")).unwrap();
        let (one_machine, other) = (MachineId::fresh(), MachineId::fresh());
        store
            .run(move |connection| {
                append(connection, other, "ann", "created", &Definition::new(1, 64, Boot::Disk))?;
                (1..=60).try_for_each(|vcpus| {
                    append(connection, one_machine, "ann", "more", &Definition::new(vcpus, 64, Boot::Disk))
                })
            })
            .await
            .unwrap();
        let kept = store.run(move |connection| list(connection, one_machine)).await.unwrap();
        assert_eq!((kept.len(), kept[0].number, kept[49].number), (50, 11, 60));
        let found = store.run(move |connection| one(connection, one_machine, 11)).await.unwrap();
        assert_eq!(found.map(|definition| definition.vcpus), Some(11));
        assert_eq!(store.run(move |connection| one(connection, one_machine, 10)).await.unwrap(), None);
        store.run(move |connection| forget(connection, one_machine)).await.unwrap();
        assert_eq!(store.run(move |connection| list(connection, one_machine)).await.unwrap(), []);
        assert_eq!(store.run(move |connection| list(connection, other)).await.unwrap().len(), 1);
    }
}
