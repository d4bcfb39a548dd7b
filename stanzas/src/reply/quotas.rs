//! What the commands about quotas answer.

use super::Reply;

reply! {
    /// How much somebody may have.
    QuotaLine {
        /// Whose: an address, a domain, or everyone.
        to: String,
        /// How many machines.
        machines: Option<u64>,
        /// How many virtual processors.
        vcpus: Option<u64>,
        /// How much memory, in bytes.
        memory_bytes: Option<u64>,
        /// How large disks, in bytes.
        disk_bytes: Option<u64>,
        /// How many snapshots.
        snapshots: Option<u64>,
        /// Who set it.
        by: String,
        /// The file of rights it came from.
        set: Option<String>,
        /// The same in a sentence, without an end.
        sentence: String,
    }
}
reply! {
    /// How much somebody has.
    QuotaUse {
        /// Who.
        who: String,
        /// Whose quota counts for them, when one does.
        quota: Option<String>,
        /// How many machines.
        machines: u64,
        /// How many virtual processors.
        vcpus: u64,
        /// How much memory, in bytes.
        memory_bytes: u64,
        /// How large disks, in bytes.
        disk_bytes: u64,
        /// How many snapshots.
        snapshots: u64,
        /// The same in a sentence, without an end.
        sentence: String,
    }
}
reply! {
    /// The quotas, and how much of them is used.
    QuotaList {
        /// The quotas.
        quotas: Vec<QuotaLine>,
        /// What those have whom one limits.
        uses: Vec<QuotaUse>,
    }
}
reply! {
    /// A quota was set, or taken away.
    QuotaChanged {
        /// Whose.
        to: String,
        /// What happened, in a sentence.
        sentence: String,
    }
}

impl Reply for QuotaList {
    fn text(&self) -> String {
        if self.quotas.is_empty() && self.uses.is_empty() {
            return "There are no quotas. To set one: quota set everyone machines=5".into();
        }
        let file = |line: &QuotaLine| line.set.as_ref().map(|set| format!(", {set}")).unwrap_or_default();
        let quotas =
            self.quotas.iter().map(|line| format!("- {} (by {}{})", line.sentence, line.by, file(line)));
        let uses = self.uses.iter().map(|line| format!("- {}", line.sentence));
        let mut lines: Vec<String> = quotas.collect();
        if !self.uses.is_empty() {
            lines.push("Used:".into());
            lines.extend(uses);
        }
        lines.join("\n")
    }
}

impl Reply for QuotaChanged {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_and_what_is_used_are_a_line_each() {
        assert!(QuotaList { quotas: vec![], uses: vec![] }.text().starts_with("There are no quotas"));
        let line = QuotaLine {
            to: "everyone".into(),
            machines: Some(5),
            vcpus: None,
            memory_bytes: None,
            disk_bytes: None,
            snapshots: None,
            by: "ann@x".into(),
            set: Some("ops".into()),
            sentence: "everyone may have 5 machines".into(),
        };
        let used = QuotaUse {
            who: "eve@x".into(),
            quota: Some("everyone".into()),
            machines: 2,
            vcpus: 2,
            memory_bytes: 0,
            disk_bytes: 0,
            snapshots: 0,
            sentence: "eve@x has 2 of 5 machines".into(),
        };
        let text = QuotaList { quotas: vec![line], uses: vec![used] }.text();
        assert_eq!(
            text,
            "- everyone may have 5 machines (by ann@x, ops)\nUsed:\n- eve@x has 2 of 5 machines"
        );
    }
}
