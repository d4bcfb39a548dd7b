//! What the commands of disks and snapshots answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};

reply! {
    /// One disk of a machine.
    DiskLine {
        /// Its name in this machine.
        name: String,
        /// As large as the guest sees it, in bytes; none where its file cannot be read.
        size_bytes: Option<u64>,
        /// What its file takes now, in bytes.
        used_bytes: Option<u64>,
        /// How its file is written: qcow2 or raw.
        format: String,
        /// How the guest reaches it: virtio, scsi or sata.
        bus: String,
        /// attached, next-start (the machine runs without it), or detached.
        state: String,
        /// Its file on the host.
        path: String,
        /// The file it is a thin copy of.
        backing: Option<String>,
    }
}
reply! {
    /// The disks of a machine.
    DiskList {
        /// The machine.
        name: String,
        /// In the order of the definition; after them those that are detached.
        disks: Vec<DiskLine>,
    }
}
reply! {
    /// A file that stays as it was when an external snapshot was taken.
    SnapshotFile {
        /// The disk it is of.
        disk: String,
        /// The file on the host.
        path: String,
        /// What it takes, in bytes; none where it cannot be read.
        used_bytes: Option<u64>,
    }
}
reply! {
    /// One snapshot of a machine.
    SnapshotLine {
        /// Its name.
        name: String,
        /// When it was taken.
        taken_at: DateTime<Utc>,
        /// How much memory is kept with it, in bytes; none where only the disks are.
        memory_bytes: Option<u64>,
        /// The disks that have it.
        disks: Vec<String>,
        /// The snapshot that the machine stood on when it was taken.
        parent: Option<String>,
        /// Its disks are whole: the guest was off, stood still, or its memory is kept as well; not known
        /// of one that was taken by others.
        quiesced: Option<bool>,
        /// internal: in the disks themselves; external: in files of its own; for-others: deleted, and there
        /// for what stands on it.
        kept: String,
        /// Its files, where it is kept in files of its own.
        files: Vec<SnapshotFile>,
    }
}
reply! {
    /// The snapshots of a machine, oldest first.
    SnapshotList {
        /// The machine.
        name: String,
        /// The one it stands on: taken, or gone back to, last.
        current: Option<String>,
        /// The snapshots.
        snapshots: Vec<SnapshotLine>,
    }
}
reply! {
    /// The same, to be shown as a tree.
    SnapshotTree {
        /// The machine.
        name: String,
        /// The one it stands on: taken, or gone back to, last.
        current: Option<String>,
        /// The snapshots, oldest first.
        snapshots: Vec<SnapshotLine>,
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        1..1_048_576 => measure::count(bytes.div_ceil(1024), "KiB").trim_end_matches('s').to_owned(),
        _ => measure::size(bytes >> 20),
    }
}

impl Reply for DiskList {
    fn text(&self) -> String {
        if self.disks.is_empty() {
            return format!("{} has no disk. Make one: disk create NAME SIZE", self.name);
        }
        let mut text = measure::count(self.disks.len() as u64, "disk") + ":";
        for disk in &self.disks {
            let size = disk.size_bytes.map_or_else(|| "cannot be read".into(), bytes);
            let used = disk.used_bytes.map(|used| format!(" ({} used)", bytes(used))).unwrap_or_default();
            let state = match disk.state.as_str() {
                "attached" => "",
                "next-start" => ", from the next start on",
                _ => ", detached",
            };
            text += &format!("\n- {}: {size}{used}, {}, {}{state}", disk.name, disk.format, disk.bus);
            if let Some(backing) = &disk.backing {
                text += &format!("; a thin copy of {backing}");
            }
        }
        text
    }
}

/// What is said of one in a list.
fn said(line: &SnapshotLine) -> String {
    let memory = line.memory_bytes.map(|memory| format!(", with {} of memory", bytes(memory)));
    let torn = if line.quiesced == Some(false) { ", as a power cut would leave it" } else { "" };
    let kept = match line.kept.as_str() {
        "internal" => String::new(),
        kept => {
            let taken = line.files.iter().filter_map(|file| file.used_bytes).sum();
            let deleted = if kept == "external" { "external" } else { "deleted, and there for others" };
            format!(", {deleted} ({} taken)", bytes(taken))
        }
    };
    format!("{}, {}", measure::moment(line.taken_at), line.disks.join(" "))
        + &memory.unwrap_or_default()
        + &kept
        + torn
}

fn none(name: &str) -> String {
    format!("{name} has no snapshots. Take one: snapshot take NAME")
}

impl Reply for SnapshotList {
    fn text(&self) -> String {
        if self.snapshots.is_empty() {
            return none(&self.name);
        }
        let mut text = measure::count(self.snapshots.len() as u64, "snapshot") + ":";
        for line in &self.snapshots {
            let here = if self.current.as_ref() == Some(&line.name) { "; it stands on this one" } else { "" };
            text += &format!("\n- {}: {}{here}", line.name, said(line));
            for file in &line.files {
                text += &format!("\n  {}", file.path);
            }
        }
        text
    }
}

impl Reply for SnapshotTree {
    fn text(&self) -> String {
        if self.snapshots.is_empty() {
            return none(&self.name);
        }
        let mut text = String::from("```\n");
        if self.current.is_none() {
            text += "(now)\n";
        }
        let is_root = |line: &&SnapshotLine| {
            line.parent.as_ref().is_none_or(|parent| self.snapshots.iter().all(|other| other.name != *parent))
        };
        for root in self.snapshots.iter().filter(is_root) {
            self.branch(root, 0, &mut text);
        }
        text + "```"
    }
}

impl SnapshotTree {
    /// One and those taken after it. Deeper than there are snapshots there is nothing, whatever the
    /// parents say.
    fn branch(&self, line: &SnapshotLine, depth: usize, text: &mut String) {
        if depth > self.snapshots.len() {
            return;
        }
        let indent = "  ".repeat(depth);
        *text += &format!("{indent}{} ({})\n", line.name, measure::moment(line.taken_at));
        for child in self.snapshots.iter().filter(|child| child.parent.as_ref() == Some(&line.name)) {
            self.branch(child, depth + 1, text);
        }
        if self.current.as_ref() == Some(&line.name) {
            *text += &format!("{indent}  (now)\n");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn line(name: &str, parent: Option<&str>) -> SnapshotLine {
        SnapshotLine {
            name: name.into(),
            taken_at: DateTime::from_timestamp(0, 0).unwrap(),
            memory_bytes: None,
            disks: vec!["disk1".into()],
            parent: parent.map(Into::into),
            quiesced: None,
            kept: "internal".into(),
            files: vec![],
        }
    }

    #[test]
    fn a_tree_shows_what_came_after_what_and_where_the_machine_stands() {
        let snapshots = vec![line("a", None), line("b", Some("a")), line("c", Some("a"))];
        let tree = SnapshotTree { name: "web1".into(), current: Some("b".into()), snapshots };
        let at = "(1970-01-01 00:00 UTC)";
        assert_eq!(tree.text(), format!("```\na {at}\n  b {at}\n    (now)\n  c {at}\n```"));
        let circle = vec![line("a", Some("b")), line("b", Some("a"))];
        let tree = SnapshotTree { name: "web1".into(), current: None, snapshots: circle };
        assert_eq!(tree.text(), "```\n(now)\n```");
    }

    #[test]
    fn a_list_says_what_is_kept() {
        let with = SnapshotLine { memory_bytes: Some(3 << 19), ..line("b", Some("a")) };
        let list = SnapshotList {
            name: "web1".into(),
            current: Some("b".into()),
            snapshots: vec![SnapshotLine { quiesced: Some(false), ..line("a", None) }, with],
        };
        assert_eq!(
            list.text(),
            "2 snapshots:\n- a: 1970-01-01 00:00 UTC, disk1, as a power cut would leave it\n\
             - b: 1970-01-01 00:00 UTC, disk1, with 1 MiB of memory; it stands on this one"
        );
    }

    #[test]
    fn disks_stand_in_lines() {
        let disk = DiskLine {
            name: "disk1".into(),
            size_bytes: Some(20 << 30),
            used_bytes: Some(200_704),
            format: "qcow2".into(),
            bus: "virtio".into(),
            state: "detached".into(),
            path: "/x".into(),
            backing: Some("/img/debian.qcow2".into()),
        };
        let list = DiskList { name: "web1".into(), disks: vec![disk] };
        assert_eq!(
            list.text(),
            "1 disk:\n- disk1: 20 GiB (196 KiB used), qcow2, virtio, detached; a thin copy of /img/debian.qcow2"
        );
    }
}
