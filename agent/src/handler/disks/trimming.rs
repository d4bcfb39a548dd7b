//! Trim: what a guest does not use of its disks is given back to the host. Only the guest knows what that is.

use std::time::Duration;

use hypervisor_core::{driver::DriverError, lifecycle::State};
use skerry_stanzas::{
    command::machine::DiskTrim,
    refusal::{Reason, Refusal},
    reply::{Trimmed, TrimmedDisk},
    safe::safe_line,
};

use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    handler::{
        Handle,
        guest::{agent_of, said},
        storage::Held,
    },
};

/// How long a guest may take to go through all it has.
const TRIM_MAX: Duration = Duration::from_secs(1200);

impl Handle<DiskTrim> for Agent {
    async fn handle(&self, job: &Job, _command: DiskTrim) -> Result<Trimmed, Refusal> {
        let machine = job.machine()?;
        let held = Held::by(job)?;
        let name = held.record.name.to_string();
        let no = |text: String| Refusal::new(Reason::Conflict, text);
        match held.record.state {
            State::Running => {}
            State::Paused => return Err(no(format!("{name} is paused.")).hint("\"resume\" lets it go on.")),
            _ => {
                let text = format!("{name} is off, and only its guest knows what it does not use.");
                return Err(no(text).hint("Start it, and ask again when it is up."));
            }
        }
        if held.record.definition.disks.iter().all(|disk| disk.read_only) {
            return Err(no(format!("{name} has no disk that it could give something back of.")));
        }
        let guest = agent_of(machine)?;
        if self.inner.freezes.until(machine.card.id).is_some() {
            let text = format!("The file systems of {name} hold still.");
            return Err(no(text).hint("\"fsthaw\" lets them go on."));
        }
        let before = taken(&held).await?;
        job.say(format!("{name} looks for what it does not use."));
        crash::point("before-driver");
        let trimmed = guest.trim(machine.card.id, TRIM_MAX).await;
        crash::point("after-driver");
        let trimmed = trimmed.map_err(|error| match error {
            DriverError::TimedOut { limit, .. } => {
                let limit = humantime::format_duration(limit);
                Refusal::new(Reason::Unavailable, format!("{name} has not ended after {limit}, and goes on."))
                    .hint("\"disk list\" shows what its disks take.")
            }
            error => said(machine, error),
        })?;
        if let (0, Some(why)) = (trimmed.file_systems, &trimmed.refused) {
            let why = safe_line(why, 200);
            return Err(no(format!("The guest of {name} gives nothing back: {why}."))
                .hint("Its file systems or its disks may not know how."));
        }
        let after = taken(&held).await?;
        let disks = before
            .into_iter()
            .zip(after)
            .map(|((name, before_bytes), (_, after_bytes))| TrimmedDisk { name, before_bytes, after_bytes });
        let deaf = held.record.definition.disks.iter().filter(|disk| !disk.read_only && !disk.discard);
        let trimmed = Trimmed {
            name: name.clone(),
            named_bytes: trimmed.bytes,
            file_systems: trimmed.file_systems,
            disks: disks.collect(),
            without_discard: deaf.map(|disk| disk.name.clone()).collect(),
        };
        self.tell(job, &held.record, "machine.disk-trimmed", &trimmed.sentence()).await;
        Ok(trimmed)
    }
}

/// What each of its disks takes on the host, in bytes.
async fn taken(held: &Held) -> Result<Vec<(String, u64)>, Refusal> {
    let seen = held.disks()?.list(&held.card.launch()).await.map_err(|error| held.said(error))?;
    let writable = held.record.definition.disks.iter().zip(seen).filter(|(disk, _)| !disk.read_only);
    Ok(writable.map(|(_, seen)| (seen.name, seen.file.map_or(0, |file| file.used_bytes))).collect())
}
