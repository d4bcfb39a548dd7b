//! What of a machine can be changed while it runs: memory by its balloon, processors that come and go,
//! the limits of its disks, forwarded ports, the links of its NICs.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Qemu,
    arguments::{disks::throttle, nics},
    disks::unfit,
    pinning,
    qmp::{Client, QmpError},
    running::Running,
};
use crate::{
    definition::{Definition, Link, Live, Network, Nic},
    driver::{Alter, Altered, DriverError, Launch},
};

/// How long a guest may take to give memory or a processor back. Most take a second.
const GUEST_MAX: Duration = Duration::from_secs(15);
/// How often its memory is looked at meanwhile: nothing tells reliably.
const LOOK: Duration = Duration::from_millis(100);

#[async_trait]
impl Alter for Qemu {
    async fn alter(&self, launch: &Launch, what: Live) -> Result<Altered, DriverError> {
        let running = match self.ours(launch.id) {
            Err(DriverError::Unfit(_)) => {
                return Ok(Altered::NextStart("it was started by somebody else".into()));
            }
            running => running?.ok_or(DriverError::NotRunning)?,
        };
        let definition = &launch.definition;
        match what {
            Live::Memory => running.resize_memory(definition.memory_mib).await,
            Live::Vcpus => {
                let altered = running.change_vcpus(definition).await;
                pinning::pin(&running.qmp, &definition.cpu).await?;
                altered
            }
            Live::Limits(nth) => match definition.disks.get(nth) {
                Some(disk) if running.plugged(&disk.name).await? => {
                    running.qmp.ask("block_set_io_throttle", Some(throttle(disk))).await.map_err(unfit)?;
                    Ok(Altered::Now)
                }
                _ => Ok(Altered::NextStart("it has the disk only then".into())),
            },
            Live::Forwards(nth) => match definition.nics.get(nth) {
                Some(nic) => running.change_forwards(nic).await,
                None => Ok(Altered::Now),
            },
            Live::Devices => running.change_devices(launch).await,
            Live::Link(nth) => match definition.nics.get(nth) {
                Some(nic) => match link(&running.qmp, nic).await {
                    Ok(()) => Ok(Altered::Now),
                    Err(QmpError::Refused { sentence, .. }) if sentence.contains("not found") => {
                        Ok(Altered::NextStart("it has the NIC only then".into()))
                    }
                    Err(error) => Err(unfit(error)),
                },
                None => Ok(Altered::Now),
            },
        }
    }
}

/// Takes out the cables that are not in: QEMU begins with all of them in.
pub(super) async fn links(qmp: &Client, definition: &Definition) -> Result<(), QmpError> {
    for nic in definition.nics.iter().filter(|nic| nic.link == Link::Down) {
        link(qmp, nic).await?;
    }
    Ok(())
}

async fn link(qmp: &Client, nic: &Nic) -> Result<(), QmpError> {
    let words = json!({"name": format!("nic-{}", nic.name), "up": nic.link == Link::Up});
    qmp.ask("set_link", Some(words)).await.map(drop)
}

fn mib(bytes: &Value) -> u64 {
    bytes.as_u64().unwrap_or_default() >> 20
}

impl Running {
    /// Asks the guest to give memory back, or to take it again.
    async fn resize_memory(&self, wanted_mib: u64) -> Result<Altered, DriverError> {
        let started = mib(&self.qmp.ask("query-memory-size-summary", None).await?["base-memory"]);
        if wanted_mib > started {
            return Ok(Altered::NextStart(format!("it was started with room for {started}M")));
        }
        self.qmp.ask("balloon", Some(json!({"value": wanted_mib << 20}))).await.map_err(unfit)?;
        let until = Instant::now() + GUEST_MAX;
        loop {
            let has = mib(&self.qmp.ask("query-balloon", None).await.map_err(unfit)?["actual"]);
            if has == wanted_mib {
                return Ok(Altered::Now);
            }
            if Instant::now() >= until {
                return Ok(Altered::Asked(format!("its guest was asked and has {has}M still")));
            }
            sleep(LOOK).await;
        }
    }

    /// Plugs processors, or asks the guest to let go of some.
    async fn change_vcpus(&self, definition: &Definition) -> Result<Altered, DriverError> {
        let wanted = usize::try_from(definition.vcpus).unwrap_or(usize::MAX);
        let slots = self.qmp.ask("query-hotpluggable-cpus", None).await?;
        let mut slots: Vec<&Value> = slots.as_array().into_iter().flatten().collect();
        if wanted > slots.len() {
            let text = format!("it was started with room for {} processors", slots.len());
            return Ok(Altered::NextStart(text));
        }
        let place =
            |slot: &Value| ["socket-id", "core-id", "thread-id"].map(|key| slot["props"][key].as_u64());
        slots.sort_by_key(|slot| place(slot));
        let (present, free): (Vec<&Value>, Vec<&Value>) =
            slots.into_iter().partition(|slot| slot["qom-path"].is_string());
        for slot in free.into_iter().take(wanted.saturating_sub(present.len())) {
            let mut words = slot["props"].clone();
            words["driver"] = slot["type"].clone();
            let [socket, core, thread] = place(slot).map(Option::unwrap_or_default);
            words["id"] = json!(format!("cpu-{socket}-{core}-{thread}"));
            self.qmp.ask("device_add", Some(words)).await.map_err(unfit)?;
        }
        for slot in present.iter().skip(wanted.max(1)).rev() {
            let path = slot["qom-path"].as_str().unwrap_or_default();
            if !self.let_go(path).await? {
                return Ok(Altered::Asked("its guest was asked and keeps its processors so far".into()));
            }
        }
        Ok(Altered::Now)
    }

    /// Asks the guest to let go of a processor; false if it does not. That it is gone is told of a part of
    /// it alone (QEMU 7.2), so it is looked.
    async fn let_go(&self, path: &str) -> Result<bool, DriverError> {
        match self.qmp.ask("device_del", Some(json!({"id": path}))).await {
            Ok(_) => {}
            Err(QmpError::Refused { sentence, .. }) if sentence.contains("in the process of unplug") => {}
            Err(error) => return Err(unfit(error)),
        }
        let until = Instant::now() + GUEST_MAX;
        while Instant::now() < until {
            let slots = self.qmp.ask("query-hotpluggable-cpus", None).await?;
            if slots.as_array().into_iter().flatten().all(|slot| slot["qom-path"] != path) {
                return Ok(true);
            }
            sleep(LOOK).await;
        }
        Ok(false)
    }

    /// Opens ports of the host and closes others, as they are open now.
    async fn change_forwards(&self, nic: &Nic) -> Result<Altered, DriverError> {
        let Network::User { forwards } = &nic.network else { return Ok(Altered::Now) };
        let wanted: Vec<String> = forwards.iter().map(nics::forward).collect();
        let shown = self.say("info usernet").await?;
        let Some(open) = opened(&shown, &nic.name) else {
            return Ok(Altered::NextStart("it has the NIC only then".into()));
        };
        let end = format!("net-{}", nic.name);
        for rule in open.iter().filter(|rule| !wanted.contains(rule)) {
            let (host, _) = rule.split_once('-').unwrap_or((rule, ""));
            self.say(&format!("hostfwd_remove {end} {host}")).await?;
        }
        for rule in wanted.iter().filter(|rule| !open.contains(rule)) {
            let said = self.say(&format!("hostfwd_add {end} {rule}")).await?;
            if !said.trim().is_empty() {
                let host = rule.split('-').next().unwrap_or_default();
                return Ok(Altered::NextStart(format!("{host} of the host could not be opened")));
            }
        }
        Ok(Altered::Now)
    }

    /// What QEMU has no other words for, in those for people. Nothing that anybody typed is in it.
    async fn say(&self, line: &str) -> Result<String, DriverError> {
        let words = json!({"command-line": line});
        let said = self.qmp.ask("human-monitor-command", Some(words)).await?;
        Ok(said.as_str().unwrap_or_default().to_owned())
    }
}

/// The forwarded ports of a NIC in what `info usernet` shows, as they are given to `hostfwd_add`; `None`
/// when it has no such NIC.
fn opened(shown: &str, nic: &str) -> Option<Vec<String>> {
    let head = format!("(net-{nic}):");
    let mut lines = shown.lines().map(str::trim).skip_while(|line| !line.ends_with(&head));
    lines.next()?;
    let own = lines.take_while(|line| !line.ends_with("):"));
    let rule = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [state, _, address, port, _, guest, ..] = fields.as_slice() else { return None };
        let protocol = state.strip_suffix("[HOST_FORWARD]")?.to_lowercase();
        let address = if *address == "*" { "0.0.0.0" } else { address };
        Some(format!("{protocol}:{address}:{port}-:{guest}"))
    };
    Some(own.filter_map(rule).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn forwarded_ports_are_read_of_the_nic_that_is_meant() {
        let shown = "Hub -1 (net-lan):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n\
            \x20 TCP[HOST_FORWARD]   8       127.0.0.1 18080       10.0.2.15    80     0     0\r\n\
            \x20 TCP[ESTABLISHED]    9       127.0.0.1 18080       10.0.2.15    80     0     0\r\n\
            Hub -1 (net-dmz):\r\n  UDP[HOST_FORWARD]  13               * 53       10.0.2.15    53     0     0\r\n";
        assert_eq!(opened(shown, "lan").unwrap(), ["tcp:127.0.0.1:18080-:80"]);
        assert_eq!(opened(shown, "dmz").unwrap(), ["udp:0.0.0.0:53-:53"]);
        assert_eq!(opened(shown, "net1"), None);
    }
}
