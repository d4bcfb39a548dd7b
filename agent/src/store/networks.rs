//! The networks in the store, and the addresses their guests have.

use std::{collections::BTreeSet, net::Ipv4Addr};

use chrono::{DateTime, Utc};
use hypervisor_core::{
    machine::MachineId,
    network::{NetworkDefinition, NetworkName},
};
use rusqlite::{Connection, Row};

use super::StoreError;

/// A network as it stands in the store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Its name.
    pub(crate) name: NetworkName,
    /// What it is.
    pub(crate) definition: NetworkDefinition,
    /// Since when it is here.
    pub(crate) made_at: DateTime<Utc>,
    /// Who made it.
    pub(crate) made_by: String,
}

/// A NIC that needs an address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    /// Of which machine.
    pub(crate) machine: MachineId,
    /// Which.
    pub(crate) nic: String,
    /// The one it is to have.
    pub(crate) fixed: Option<Ipv4Addr>,
    /// The one it had on the host that it comes from: its guest goes on with it, if it is nobody's here.
    pub(crate) had: Option<Ipv4Addr>,
}

/// Writes a new one down. [`StoreError::Taken`] when the name is there.
pub(crate) fn insert(connection: &Connection, network: &Stored) -> Result<(), StoreError> {
    let row = (
        network.name.as_str(),
        written(&network.definition)?,
        network.made_at.to_rfc3339(),
        &network.made_by,
    );
    connection
        .prepare_cached("INSERT INTO networks (name, definition, made_at, made_by) VALUES (?1, ?2, ?3, ?4)")?
        .execute(row)?;
    Ok(())
}

/// Makes it something else; whether it was there.
pub(crate) fn define(
    connection: &Connection,
    name: &NetworkName,
    definition: &NetworkDefinition,
) -> Result<bool, StoreError> {
    let rows = connection
        .prepare_cached("UPDATE networks SET definition = ?2 WHERE name = ?1")?
        .execute((name.as_str(), written(definition)?))?;
    Ok(rows == 1)
}

/// Takes one out, with the addresses its guests had.
pub(crate) fn remove(connection: &Connection, name: &NetworkName) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM lent WHERE network = ?1")?.execute([name.as_str()])?;
    connection.prepare_cached("DELETE FROM networks WHERE name = ?1")?.execute([name.as_str()])?;
    Ok(())
}

/// All of them, by name.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Stored>, StoreError> {
    let mut query =
        connection.prepare_cached("SELECT name, definition, made_at, made_by FROM networks ORDER BY name")?;
    let rows = query.query_map([], |row| Ok(stored(row)))?;
    rows.map(|row| row?).collect()
}

/// An address for each NIC on a network: the one that is fixed, else the one it had, else the first that is
/// nobody's. `None` for one for which none was left. What NICs had that are no more is free again, unless
/// their machine is in the trash.
pub(crate) fn lend(
    connection: &Connection,
    network: &Stored,
    wishes: &[Wish],
) -> Result<Vec<Option<Ipv4Addr>>, StoreError> {
    let name = network.name.as_str();
    let wanted: BTreeSet<(String, &str)> =
        wishes.iter().map(|wish| (wish.machine.to_string(), wish.nic.as_str())).collect();
    let mut had = Vec::new();
    let mut query = connection.prepare_cached(
        "SELECT machine, nic, address, (SELECT deleted_at FROM machines WHERE id = machine) IS NOT NULL
         FROM lent WHERE network = ?1",
    )?;
    let mut rows = query.query([name])?;
    while let Some(row) = rows.next()? {
        let (machine, nic): (String, String) = (row.get(0)?, row.get(1)?);
        let address: Ipv4Addr = row.get::<_, String>(2)?.parse().map_err(|_| unreadable("an address"))?;
        if row.get::<_, bool>(3)? || wanted.contains(&(machine.clone(), nic.as_str())) {
            had.push((machine, nic, address));
        }
    }
    let mut taken: BTreeSet<Ipv4Addr> = wishes.iter().filter_map(|wish| wish.fixed).collect();
    let usable = |address: &Ipv4Addr| {
        let subnet = network.definition.subnet;
        subnet.is_some_and(|subnet| subnet.contains(address))
            && Some(*address) != network.definition.gateway()
    };
    let mut kept = Vec::new();
    for (machine, nic, address) in had {
        let is_fixed = wishes
            .iter()
            .any(|wish| wish.fixed.is_some() && wish.nic == nic && wish.machine.to_string() == machine);
        if !is_fixed && usable(&address) && taken.insert(address) {
            kept.push((machine, nic, address));
        }
    }
    connection.prepare_cached("DELETE FROM lent WHERE network = ?1")?.execute([name])?;
    let mut insert = connection
        .prepare_cached("INSERT INTO lent (network, machine, nic, address) VALUES (?1, ?2, ?3, ?4)")?;
    let mut free = network.definition.guests();
    let mut lent = Vec::new();
    for wish in wishes {
        let machine = wish.machine.to_string();
        let before = kept.iter().position(|(of, nic, _)| *of == machine && *nic == wish.nic);
        let address = match (wish.fixed, before) {
            (Some(fixed), _) => Some(fixed),
            (None, Some(at)) => Some(kept.swap_remove(at).2),
            (None, None) => {
                let had =
                    wish.had.filter(|address| is_a_guests(network, address) && !taken.contains(address));
                had.or_else(|| free.find(|address| !taken.contains(address)))
            }
        };
        if let Some(address) = address {
            taken.insert(address);
            insert.execute((name, &machine, &wish.nic, address.to_string()))?;
        }
        lent.push(address);
    }
    for (machine, nic, address) in kept {
        insert.execute((name, machine, nic, address.to_string()))?;
    }
    Ok(lent)
}

/// Whether it can be lent.
fn is_a_guests(network: &Stored, address: &Ipv4Addr) -> bool {
    network.definition.guests().any(|guest| guest == *address)
}

fn stored(row: &Row<'_>) -> Result<Stored, StoreError> {
    let text = |column: &str| row.get::<_, String>(column);
    Ok(Stored {
        name: text("name")?.parse().map_err(unreadable)?,
        definition: serde_json::from_str(&text("definition")?).map_err(unreadable)?,
        made_at: DateTime::parse_from_rfc3339(&text("made_at")?).map_err(unreadable)?.to_utc(),
        made_by: text("made_by")?,
    })
}

fn written(definition: &NetworkDefinition) -> Result<String, StoreError> {
    serde_json::to_string(definition).map_err(unreadable)
}

fn unreadable(why: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(format!("a network: {why}"))
}
