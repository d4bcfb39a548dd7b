//! What a host and its machines use, as rates over some seconds and as of now. What is not known is left
//! out of the text and null in the JSON, never zero.

use super::{
    Reply,
    measure::{bytes, count, duration, percent, rate},
};

reply! {
    /// What goes to and from one disk.
    DiskStats {
        /// Its name.
        name: String,
        /// Read, in bytes a second.
        read_bytes_per_second: Option<u64>,
        /// Written, in bytes a second.
        written_bytes_per_second: Option<u64>,
        /// Read since the machine was started, in bytes.
        read_bytes: u64,
        /// Written since the machine was started, in bytes.
        written_bytes: u64,
    }
}
reply! {
    /// What goes through one NIC, as the guest sees it.
    NicStats {
        /// Its name.
        name: String,
        /// Coming in, in bytes a second.
        received_bytes_per_second: Option<u64>,
        /// Going out, in bytes a second.
        sent_bytes_per_second: Option<u64>,
        /// Come in since the machine was started, in bytes.
        received_bytes: u64,
        /// Gone out since the machine was started, in bytes.
        sent_bytes: u64,
    }
}
reply! {
    /// How much of the time something had to wait, in percent.
    PressureStats {
        /// For a processor.
        cpu_percent: f64,
        /// For memory.
        memory_percent: f64,
        /// For a disk.
        disk_percent: f64,
    }
}
reply! {
    /// What a machine uses.
    MachineStats {
        /// Its name.
        name: String,
        /// Over how many seconds the rates are means.
        over_seconds: f64,
        /// Its virtual processors.
        vcpus: u32,
        /// How busy they are, in percent of all of them.
        cpu_percent: Option<f64>,
        /// How much of all the host's processors it keeps busy, in percent.
        host_percent: Option<f64>,
        /// How much of the time its virtual processors waited for one of the host's, in percent.
        steal_percent: Option<f64>,
        /// Memory of the host it holds, in bytes.
        resident_bytes: u64,
        /// Memory it was given, in MiB.
        memory_mib: u64,
        /// Memory used inside, by the guest's own word, in bytes.
        guest_used_bytes: Option<u64>,
        /// Memory the guest sees, by its own word, in bytes.
        guest_total_bytes: Option<u64>,
        /// Its disks.
        disks: Vec<DiskStats>,
        /// Its NICs, as far as anything is known of them.
        nics: Vec<NicStats>,
        /// How it was held up, where the host knows that of it alone.
        pressure: Option<PressureStats>,
    }
}
reply! {
    /// What a host uses.
    HostStats {
        /// Its name.
        name: String,
        /// Over how many seconds the rates are means.
        over_seconds: f64,
        /// Its processors.
        cpus: u32,
        /// How busy they are, in percent of all of them.
        cpu_percent: Option<f64>,
        /// How much of the time it had work and was not run, being a machine itself, in percent.
        steal_percent: Option<f64>,
        /// Load average of the last minute.
        load: f64,
        /// Its memory, in bytes.
        memory_bytes: u64,
        /// Memory free for use, in bytes.
        memory_free_bytes: u64,
        /// Read from its disks, in bytes a second.
        read_bytes_per_second: Option<u64>,
        /// Written to its disks, in bytes a second.
        written_bytes_per_second: Option<u64>,
        /// Coming in over its networks, in bytes a second.
        received_bytes_per_second: Option<u64>,
        /// Going out over its networks, in bytes a second.
        sent_bytes_per_second: Option<u64>,
        /// How it is held up.
        pressure: Option<PressureStats>,
    }
}
reply! {
    /// One machine among the busiest.
    TopLine {
        /// Its name.
        name: String,
        /// How busy its virtual processors are, in percent of all of them.
        cpu_percent: Option<f64>,
        /// How much of all the host's processors it keeps busy, in percent.
        host_percent: Option<f64>,
        /// How much of the time its virtual processors waited for one of the host's, in percent.
        steal_percent: Option<f64>,
        /// Memory of the host it holds, in bytes.
        resident_bytes: u64,
        /// To and from its disks, in bytes a second.
        disk_bytes_per_second: Option<u64>,
        /// Through its NICs, in bytes a second.
        net_bytes_per_second: Option<u64>,
    }
}
reply! {
    /// The busiest machines of a host.
    Top {
        /// What the host uses.
        host: HostStats,
        /// How many machines run.
        running: u32,
        /// The busiest of them, in the order asked for.
        machines: Vec<TopLine>,
    }
}

impl HostStats {
    /// In one line: processors, load, memory.
    pub fn summary(&self) -> String {
        let free = bytes(self.memory_free_bytes);
        format!(
            "{}: {} of {} busy, load {:.2}, {free} of {} free",
            self.name,
            self.cpu_percent.map_or_else(|| "?".into(), percent),
            count(self.cpus, "processor"),
            self.load,
            bytes(self.memory_bytes)
        )
    }
}

/// `reads 1 MiB/s, writes 0`, when both are known.
fn both([one, other]: [&str; 2], rates: [Option<u64>; 2]) -> Option<String> {
    let [one_rate, other_rate] = rates.map(|known| known.map(rate));
    Some(format!("{one} {}, {other} {}", one_rate?, other_rate?))
}

/// The rates there are now, and what it came to since the machine was started.
fn traffic(words: [&str; 2], rates: [Option<u64>; 2], sums: [u64; 2]) -> String {
    let [one, other] = sums.map(bytes);
    match both(words, rates) {
        Some(now) => format!("{now} (since its start {one} and {other})"),
        None => format!("since its start {one} and {other}"),
    }
}

impl PressureStats {
    fn text(&self) -> String {
        let Self { cpu_percent, memory_percent, disk_percent } = self;
        format!(
            "Waited for a processor {} of the time, for memory {}, for a disk {}",
            percent(*cpu_percent),
            percent(*memory_percent),
            percent(*disk_percent)
        )
    }
}

fn over(seconds: f64) -> String {
    // Whole seconds, and at least one.
    duration((seconds.round() as u64).max(1))
}

impl Reply for MachineStats {
    fn text(&self) -> String {
        let mut lines = vec![format!("*{}*, over the last {}", self.name, over(self.over_seconds))];
        if let Some(cpu) = self.cpu_percent {
            let host = self.host_percent.map(|host| format!(" ({} of the host)", percent(host)));
            let steal = self.steal_percent.map(|steal| format!(", waiting for the host {}", percent(steal)));
            let of = count(self.vcpus, "virtual processor");
            let (host, steal) = (host.unwrap_or_default(), steal.unwrap_or_default());
            lines.push(format!("Processors: {} of {of}{host}{steal}", percent(cpu)));
        }
        let given = bytes(self.memory_mib << 20);
        let inside = self.guest_used_bytes.map(|used| format!("; inside {} are used", bytes(used)));
        let inside = inside.unwrap_or_default();
        lines.push(format!("Memory: holds {} of {given}{inside}", bytes(self.resident_bytes)));
        for disk in &self.disks {
            let rates = [disk.read_bytes_per_second, disk.written_bytes_per_second];
            let said = traffic(["reads", "writes"], rates, [disk.read_bytes, disk.written_bytes]);
            lines.push(format!("Disk {}: {said}", disk.name));
        }
        for nic in &self.nics {
            let rates = [nic.received_bytes_per_second, nic.sent_bytes_per_second];
            let said = traffic(["in", "out"], rates, [nic.received_bytes, nic.sent_bytes]);
            lines.push(format!("NIC {}: {said}", nic.name));
        }
        lines.extend(self.pressure.as_ref().map(PressureStats::text));
        lines.join("\n")
    }
}

impl Reply for HostStats {
    fn text(&self) -> String {
        let mut lines = vec![format!("*{}*, over the last {}", self.name, over(self.over_seconds))];
        let busy = self.cpu_percent.map_or_else(|| "not known".into(), percent);
        // Most hosts are no machines themselves, and nobody takes anything from them.
        let steal = self.steal_percent.filter(|steal| *steal >= 0.05);
        let steal = steal.map(|steal| format!(", taken from it {}", percent(steal))).unwrap_or_default();
        let of = count(self.cpus, "processor");
        lines.push(format!("Processors: {busy} of {of}, load {:.2}{steal}", self.load));
        let (free, all) = (bytes(self.memory_free_bytes), bytes(self.memory_bytes));
        lines.push(format!("Memory: {free} of {all} free"));
        let named = [
            ("Disks", ["reads", "writes"], [self.read_bytes_per_second, self.written_bytes_per_second]),
            ("Networks", ["in", "out"], [self.received_bytes_per_second, self.sent_bytes_per_second]),
        ];
        for (name, words, rates) in named {
            lines.extend(both(words, rates).map(|said| format!("{name}: {said}")));
        }
        lines.extend(self.pressure.as_ref().map(PressureStats::text));
        lines.join("\n")
    }
}

impl Reply for Top {
    fn text(&self) -> String {
        let summary = self.host.summary();
        if self.machines.is_empty() {
            return format!("{summary}\nNo machine runs.");
        }
        let of = |known: Option<f64>| known.map_or_else(|| "-".into(), percent);
        let at = |known: Option<u64>| known.map_or_else(|| "-".into(), rate);
        let mut rows =
            vec![["machine", "cpu", "of host", "memory", "disk", "net", "waits"].map(String::from)];
        rows.extend(self.machines.iter().map(|line| {
            [
                line.name.clone(),
                of(line.cpu_percent),
                of(line.host_percent),
                bytes(line.resident_bytes),
                at(line.disk_bytes_per_second),
                at(line.net_bytes_per_second),
                of(line.steal_percent),
            ]
        }));
        let more = self.running as usize - self.machines.len().min(self.running as usize);
        let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
        format!("{summary}\n```\n{}\n```{more}", aligned(&rows))
    }
}

/// Columns as wide as their widest cell; numbers end where their heads end.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn host() -> HostStats {
        HostStats {
            name: "kvm1".into(),
            over_seconds: 10.2,
            cpus: 4,
            cpu_percent: Some(37.4),
            steal_percent: Some(0.0),
            load: 1.5,
            memory_bytes: 16 << 30,
            memory_free_bytes: 9 << 30,
            read_bytes_per_second: Some(0),
            written_bytes_per_second: Some(3 << 20),
            received_bytes_per_second: None,
            sent_bytes_per_second: None,
            pressure: Some(PressureStats { cpu_percent: 1.25, memory_percent: 0.0, disk_percent: 12.0 }),
        }
    }

    fn machine() -> MachineStats {
        MachineStats {
            name: "web1".into(),
            over_seconds: 60.0,
            vcpus: 2,
            cpu_percent: Some(12.34),
            host_percent: Some(6.2),
            steal_percent: Some(0.5),
            resident_bytes: 310 << 20,
            memory_mib: 512,
            guest_used_bytes: Some(120 << 20),
            guest_total_bytes: Some(490 << 20),
            disks: vec![DiskStats {
                name: "disk1".into(),
                read_bytes_per_second: Some(1 << 20),
                written_bytes_per_second: Some(0),
                read_bytes: 5 << 30,
                written_bytes: 1 << 20,
            }],
            nics: vec![NicStats {
                name: "net1".into(),
                received_bytes_per_second: Some(2048),
                sent_bytes_per_second: Some(100),
                received_bytes: 1 << 20,
                sent_bytes: 1 << 10,
            }],
            pressure: None,
        }
    }

    #[test]
    fn a_machine_says_what_it_uses() {
        assert_eq!(
            machine().text(),
            "*web1*, over the last 1 min\nProcessors: 12 % of 2 virtual processors (6.2 % of the host), \
             waiting for the host 0.5 %\nMemory: holds 310 MiB of 512 MiB; inside 120 MiB are used\n\
             Disk disk1: reads 1 MiB/s, writes 0 (since its start 5 GiB and 1 MiB)\n\
             NIC net1: in 2 KiB/s, out 100 B/s (since its start 1 MiB and 1 KiB)"
        );
    }

    #[test]
    fn a_host_says_what_it_uses() {
        assert_eq!(
            host().text(),
            "*kvm1*, over the last 10 s\nProcessors: 37 % of 4 processors, load 1.50\n\
             Memory: 9 GiB of 16 GiB free\nDisks: reads 0, writes 3 MiB/s\n\
             Waited for a processor 1.2 % of the time, for memory 0 %, for a disk 12 %"
        );
    }

    #[test]
    fn the_busiest_stand_in_a_table() {
        let line = |name: &str, cpu: Option<f64>| TopLine {
            name: name.into(),
            cpu_percent: cpu,
            host_percent: cpu.map(|cpu| cpu / 4.0),
            steal_percent: Some(0.0),
            resident_bytes: 310 << 20,
            disk_bytes_per_second: Some(1536),
            net_bytes_per_second: None,
        };
        let machines = vec![line("web1", Some(99.9)), line("database", None)];
        let top = Top { host: host(), running: 3, machines };
        assert_eq!(
            top.text(),
            "kvm1: 37 % of 4 processors busy, load 1.50, 9 GiB of 16 GiB free\n```\n\
             machine     cpu  of host   memory       disk  net  waits\n\
             web1      100 %     25 %  310 MiB  1.5 KiB/s    -    0 %\n\
             database      -        -  310 MiB  1.5 KiB/s    -    0 %\n```\nand 1 more"
        );
        assert!(Top { machines: vec![], running: 0, ..top }.text().ends_with("No machine runs."));
    }
}
