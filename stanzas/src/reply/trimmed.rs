//! What was given back of a machine's disks.

use super::{Reply, measure};

reply! {
    /// One disk, before and after.
    TrimmedDisk {
        /// Its name.
        name: String,
        /// What it took on the host, in bytes.
        before_bytes: u64,
        /// What it takes now.
        after_bytes: u64,
    }
}
reply! {
    /// What a guest gave back.
    Trimmed {
        /// The machine.
        name: String,
        /// What the guest says that it does not use, in bytes; much of it may have taken nothing.
        named_bytes: u64,
        /// The file systems it went through.
        file_systems: u64,
        /// The disks it can write to.
        disks: Vec<TrimmedDisk>,
        /// Those that are made so that nothing can be given back of them.
        without_discard: Vec<String>,
    }
}

impl Trimmed {
    /// What happened, in a sentence.
    pub fn sentence(&self) -> String {
        let freed: u64 =
            self.disks.iter().map(|disk| disk.before_bytes.saturating_sub(disk.after_bytes)).sum();
        match freed >> 20 {
            0 => format!("The disks of {} take what they took before: nothing came back.", self.name),
            mib => format!("{} gave back {} of the host's disk.", self.name, measure::size(mib)),
        }
    }
}

impl Reply for Trimmed {
    fn text(&self) -> String {
        let mut text = self.sentence();
        for disk in &self.disks {
            let size = |bytes: u64| measure::size(bytes.div_ceil(1 << 20));
            text +=
                &format!("\n- {}: {}, before {}", disk.name, size(disk.after_bytes), size(disk.before_bytes));
            if self.without_discard.contains(&disk.name) {
                text += "; discard = true in its definition would let it give something back";
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_is_said_and_why_nothing_did() {
        let disk = TrimmedDisk { name: "disk1".into(), before_bytes: 300 << 20, after_bytes: 180 << 20 };
        let mut trimmed = Trimmed {
            name: "web1".into(),
            named_bytes: 1 << 30,
            file_systems: 1,
            disks: vec![disk],
            without_discard: vec![],
        };
        let said = "web1 gave back 120 MiB of the host's disk.\n- disk1: 180 MiB, before 300 MiB";
        assert_eq!(trimmed.text(), said);
        for disk in &mut trimmed.disks {
            // A guest writes on meanwhile.
            disk.after_bytes = 301 << 20;
        }
        trimmed.without_discard = vec!["disk1".into()];
        assert_eq!(
            trimmed.text(),
            "The disks of web1 take what they took before: nothing came back.\n\
             - disk1: 301 MiB, before 300 MiB; discard = true in its definition would let it give something back"
        );
    }
}
