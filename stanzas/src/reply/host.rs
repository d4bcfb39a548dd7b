//! What the commands of a host answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};

reply! {
    /// How a host is.
    HostStatus {
        /// Its name.
        name: String,
        /// Its address.
        jid: String,
        /// How many machines it has.
        machines: u32,
        /// How many of them run.
        running: u32,
        /// Processors.
        cpus: u32,
        /// Load average of the last minute.
        load: f64,
        /// Memory in MiB.
        memory_mib: u64,
        /// Memory free for use, in MiB.
        memory_free_mib: u64,
        /// Free space where machines are kept, in MiB.
        disk_free_mib: u64,
        /// The driver used when none is named.
        driver: String,
    }
}
reply! {
    /// One driver of a host.
    DriverLine {
        /// Its name.
        name: String,
        /// Whether it can be used.
        usable: bool,
        /// Whether it is used when none is named.
        default: bool,
        /// What was found, and why not more.
        why: String,
        /// The capabilities it has here.
        capabilities: Vec<String>,
    }
}
reply! {
    /// The drivers of a host.
    DriverList {
        /// One line a driver.
        drivers: Vec<DriverLine>,
    }
}
reply! {
    /// One deleted machine.
    TrashLine {
        /// Its name.
        name: String,
        /// When it was deleted.
        deleted_at: DateTime<Utc>,
        /// Who deleted it.
        deleted_by: String,
        /// When it is gone for good.
        purged_at: DateTime<Utc>,
    }
}
reply! {
    /// The trash.
    TrashList {
        /// One line a machine.
        machines: Vec<TrashLine>,
    }
}
reply! {
    /// Versions.
    Version {
        /// The agent's.
        agent: String,
        /// The operating system's.
        os: String,
        /// The kernel's.
        kernel: String,
    }
}
reply! {
    /// How long things have been up, in seconds.
    Uptime {
        /// The host.
        host_seconds: u64,
        /// The agent.
        agent_seconds: u64,
        /// The connection to the server.
        link_seconds: u64,
    }
}
impl Reply for HostStatus {
    fn text(&self) -> String {
        format!(
            "*{}*: {}, {} running\n{}, load {:.2}\nMemory: {} of {} free\nDisk: {} free\nDriver: {}",
            self.name,
            measure::count(self.machines, "machine"),
            self.running,
            measure::count(self.cpus, "processor"),
            self.load,
            measure::size(self.memory_free_mib),
            measure::size(self.memory_mib),
            measure::size(self.disk_free_mib),
            self.driver,
        )
    }
}

impl Reply for DriverList {
    fn text(&self) -> String {
        if self.drivers.is_empty() {
            return "No drivers. Name one in the configuration of this host: [drivers] enabled = [\"qemu\"]"
                .into();
        }
        let lines = self.drivers.iter().map(|line| {
            let usable = if line.usable { "usable" } else { "not usable" };
            let default = if line.default { ", used when none is named" } else { "" };
            let can = match line.capabilities.as_slice() {
                [] => String::new(),
                some => format!("\n  It can: {}", some.join(", ")),
            };
            format!("*{}*: {usable}{default}\n  {}{can}", line.name, line.why)
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Reply for TrashList {
    fn text(&self) -> String {
        let Some(first) = self.machines.first() else { return "The trash is empty.".into() };
        let lines = self.machines.iter().map(|line| {
            let by = line.deleted_by.split('/').next().unwrap_or_default();
            let (deleted, gone) = (measure::moment(line.deleted_at), measure::moment(line.purged_at));
            format!("- {}: deleted {deleted} by {by}, gone for good {gone}", line.name)
        });
        let lines: Vec<String> = lines.collect();
        format!("In the trash:\n{}\nTo take one back: undelete {}", lines.join("\n"), first.name)
    }
}

impl Reply for Version {
    fn text(&self) -> String {
        format!("Skerry agent {} on {}, kernel {}", self.agent, self.os, self.kernel)
    }
}

impl Reply for Uptime {
    fn text(&self) -> String {
        format!(
            "The host has been up for {}, its agent for {}, connected for {}.",
            measure::duration(self.host_seconds),
            measure::duration(self.agent_seconds),
            measure::duration(self.link_seconds),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_host_says_how_it_is() {
        let status = HostStatus {
            name: "kvm1".into(),
            jid: "kvm1.example.org".into(),
            machines: 3,
            running: 1,
            cpus: 8,
            load: 0.424,
            memory_mib: 16_384,
            memory_free_mib: 512,
            disk_free_mib: 2_097_152,
            driver: "qemu".into(),
        };
        assert_eq!(
            status.text(),
            "*kvm1*: 3 machines, 1 running\n8 processors, load 0.42\nMemory: 512 MiB of 16 GiB free\n\
             Disk: 2 TiB free\nDriver: qemu"
        );
    }

    #[test]
    fn drivers_say_why_not_more() {
        let list = DriverList {
            drivers: vec![DriverLine {
                name: "qemu".into(),
                usable: true,
                default: true,
                why: "by TCG: /dev/kvm runs no guest code here".into(),
                capabilities: vec!["pause".into(), "reset".into()],
            }],
        };
        assert_eq!(
            list.text(),
            "*qemu*: usable, used when none is named\n\
             \x20 by TCG: /dev/kvm runs no guest code here\n  It can: pause, reset"
        );
    }

    #[test]
    fn empty_lists_say_what_to_do_next() {
        assert!(DriverList { drivers: vec![] }.text().contains("[drivers]"));
        assert_eq!(TrashList { machines: vec![] }.text(), "The trash is empty.");
    }

    #[test]
    fn lists_need_no_table() {
        let trash = TrashList {
            machines: vec![TrashLine {
                name: "web1".into(),
                deleted_at: at(0),
                deleted_by: "ann@example.org".into(),
                purged_at: at(86_400 * 7),
            }],
        };
        let text = trash.text();
        let line =
            "- web1: deleted 1970-01-01 00:00 UTC by ann@example.org, gone for good 1970-01-08 00:00 UTC";
        assert!(text.contains(line), "{text}");
        assert!(text.ends_with("undelete web1"));
    }

    #[test]
    fn the_rest_are_sentences() {
        let uptime = Uptime { host_seconds: 90_000, agent_seconds: 61, link_seconds: 5 };
        assert_eq!(
            uptime.text(),
            "The host has been up for 1 day 1 h, its agent for 1 min 1 s, connected for 5 s."
        );
        let version = Version { agent: "0.1.0".into(), os: "Debian 12".into(), kernel: "6.1".into() };
        assert_eq!(version.text(), "Skerry agent 0.1.0 on Debian 12, kernel 6.1");
    }
}
