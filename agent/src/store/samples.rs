//! What was used in the last hour, minute by minute, and in the last week, hour by hour: two rings of rows,
//! each with everything of its time, so that a thousand machines are one write a minute.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::StoreError;
use crate::numbers::history::{Quantity, Sample};

/// How long a period of a ring is, in seconds, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// The last hour.
    Minutes,
    /// The last week.
    Hours,
}

impl Ring {
    /// In seconds.
    pub(crate) const fn period(self) -> i64 {
        match self {
            Ring::Minutes => 60,
            Ring::Hours => 3600,
        }
    }

    /// How many periods are kept.
    pub(crate) const fn kept(self) -> i64 {
        match self {
            Ring::Minutes => 60,
            Ring::Hours => 168,
        }
    }
}

/// All of one period: by the machine's number, or [`HOST`].
pub(crate) type Samples = BTreeMap<String, Sample>;

/// Under which name the host's samples are.
pub(crate) const HOST: &str = "host";

fn put(connection: &Connection, ring: Ring, at: i64, samples: &Samples) -> Result<(), StoreError> {
    let json = serde_json::to_string(samples).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let period = at.div_euclid(ring.period());
    connection
        .prepare_cached("INSERT OR REPLACE INTO samples (period, slot, at, samples) VALUES (?1, ?2, ?3, ?4)")?
        .execute((ring.period(), period.rem_euclid(ring.kept()), period * ring.period(), json))?;
    Ok(())
}

/// Writes a minute down (`at`: seconds since 1970), and the hours that are over and were not summed up yet.
pub(crate) fn append(connection: &Connection, at: i64, samples: &Samples) -> Result<(), StoreError> {
    sum_up(connection, at.div_euclid(3600) * 3600)?;
    put(connection, Ring::Minutes, at, samples)
}

/// Sums up the minutes of each hour before this moment that has none.
fn sum_up(connection: &Connection, before: i64) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT DISTINCT at / 3600 * 3600 FROM samples AS minute WHERE period = 60 AND at < ?1
         AND NOT EXISTS (SELECT 1 FROM samples WHERE period = 3600 AND at = minute.at / 3600 * 3600)",
    )?;
    let hours: Vec<i64> = query.query_map([before], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for hour in hours {
        let minutes = between(connection, Ring::Minutes, hour, hour + 3599)?;
        let mut all: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for (of, sample) in minutes.into_iter().flat_map(|(_, samples)| samples) {
            all.entry(of).or_default().push(sample);
        }
        let means = all.into_iter().map(|(of, samples)| (of, Sample::mean(&samples))).collect();
        put(connection, Ring::Hours, hour, &means)?;
    }
    Ok(())
}

fn between(
    connection: &Connection,
    ring: Ring,
    from: i64,
    to: i64,
) -> Result<Vec<(i64, Samples)>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT at, samples FROM samples WHERE period = ?1 AND at BETWEEN ?2 AND ?3 ORDER BY at",
    )?;
    let rows =
        query.query_map((ring.period(), from, to), |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (at, json) = row?;
        let samples =
            serde_json::from_str(&json).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        Ok((at, samples))
    })
    .collect()
}

/// When, and what was asked for, in that order.
pub(crate) type Numbers = (i64, Vec<Option<f64>>);

/// What is kept of one of them in a ring up to a moment: when, and these quantities.
pub(crate) fn of(
    connection: &Connection,
    ring: Ring,
    of: &str,
    quantities: &[Quantity],
    to: i64,
) -> Result<Vec<Numbers>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT at, json_extract(samples, '$.\"' || ?4 || '\"') FROM samples
         WHERE period = ?1 AND at BETWEEN ?2 AND ?3 ORDER BY at",
    )?;
    let from = to - ring.period() * ring.kept();
    let rows = query.query_map((ring.period(), from, to, of), |row| {
        Ok((row.get(0)?, row.get::<_, Option<String>>(1)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (at, json): (i64, Option<String>) = row?;
        let sample: Option<Sample> = json
            .map(|json| {
                serde_json::from_str(&json).map_err(|error| StoreError::Unreadable(error.to_string()))
            })
            .transpose()?;
        let numbers = |sample: Sample| quantities.iter().map(|quantity| sample.get(*quantity)).collect();
        found.push((at, sample.map_or_else(|| vec![None; quantities.len()], numbers)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::schema;

    fn samples(cpu: f64) -> Samples {
        let mut sample = Sample::default();
        sample.set(Quantity::Cpu, Some(cpu));
        BTreeMap::from([(HOST.into(), sample.clone()), ("0197-a".into(), sample)])
    }

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM samples", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn rings_are_bounded_and_hours_are_the_means_of_their_minutes() {
        let folder = tempfile::tempdir().unwrap();
        let connection = schema::open(&folder.path().join("state.db")).unwrap();
        let begun = 1_700_000_000_i64 / 3600 * 3600;
        // Eight days of every tenth minute and an hour of each; in one transaction, for the test's sake.
        connection.execute_batch("BEGIN").unwrap();
        let last = 8 * 24 * 60;
        for minute in (0..last).step_by(10).chain(last..last + 60) {
            append(&connection, begun + minute * 60 + 17, &samples((minute % 60) as f64)).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        assert_eq!(count(&connection), 60 + 168);
        let now = begun + 8 * 24 * 3600 + 3599;
        let week = of(&connection, Ring::Hours, "0197-a", &[Quantity::Cpu], now).unwrap();
        assert_eq!(week.len(), 167, "the present hour is not over yet");
        assert!(week.iter().all(|(_, numbers)| numbers == &[Some(25.0)]), "{week:?}");
        let hour = of(&connection, Ring::Minutes, HOST, &[Quantity::Cpu, Quantity::Steal], now).unwrap();
        assert_eq!(hour.first(), Some(&(begun + 8 * 24 * 3600, vec![Some(0.0), None])));
        assert_eq!(hour.len(), 60);
        let unknown = of(&connection, Ring::Minutes, "x\"]; '", &[Quantity::Cpu], now).unwrap();
        assert!(unknown.iter().all(|(_, numbers)| numbers == &[None]));
    }

    #[test]
    fn an_hour_is_summed_up_also_by_an_agent_that_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let connection = schema::open(&folder.path().join("state.db")).unwrap();
        let begun = 1_700_000_000_i64 / 3600 * 3600;
        append(&connection, begun + 60, &samples(10.0)).unwrap();
        append(&connection, begun + 120, &samples(30.0)).unwrap();
        append(&connection, begun + 5 * 3600, &samples(99.0)).unwrap();
        append(&connection, begun + 5 * 3600 + 60, &samples(99.0)).unwrap();
        let hours = of(&connection, Ring::Hours, HOST, &[Quantity::Cpu], begun + 6 * 3600).unwrap();
        assert_eq!(hours, [(begun, vec![Some(20.0)])], "once, and the present hour not yet");
    }
}
