//! What the commands about images answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};

reply! {
    /// One image.
    ImageLine {
        /// Its name.
        name: String,
        /// kernel, disk or cd.
        kind: String,
        /// Size in MiB; of a disk that came by a command, as large as a machine sees it.
        size_mib: u64,
        /// What it came as; none for one of the configuration.
        format: Option<String>,
        /// The machines that need it; those in the trash are marked so.
        used_by: Vec<String>,
        /// What it is.
        about: String,
    }
}
reply! {
    /// The images of a host.
    ImageList {
        /// One line an image.
        images: Vec<ImageLine>,
        /// What the host's catalogues offer, if that was asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        available: Vec<ImageOffered>,
        /// What is wrong with catalogues that cannot be read.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        complaints: Vec<String>,
    }
}
reply! {
    /// An image that could be pulled.
    ImageOffered {
        /// Its name.
        name: String,
        /// The catalogue it is in.
        catalogue: String,
        /// What is to be fetched, in MiB.
        download_mib: u64,
        /// How it is written there.
        format: String,
        /// Whether there is an image of this name here.
        here: bool,
        /// What it is.
        about: String,
    }
}
reply! {
    /// One image, with all that is known of it.
    ImageDetails {
        /// Its name.
        name: String,
        /// kernel, disk or cd.
        kind: String,
        /// Size in MiB; of a disk that came by a command, as large as a machine sees it.
        size_mib: u64,
        /// What its file takes, in MiB.
        file_mib: u64,
        /// What it came as; none for one of the configuration.
        format: Option<String>,
        /// The SHA-256 of what it came as.
        sha256: Option<String>,
        /// Where it came from.
        source: String,
        /// When it came.
        made_at: Option<DateTime<Utc>>,
        /// Who brought it.
        made_by: Option<String>,
        /// The machines that need it; those in the trash are marked so.
        used_by: Vec<String>,
        /// What it is.
        about: String,
    }
}
reply! {
    /// An image that is kept from now on.
    ImageKept {
        /// Its name.
        name: String,
        /// disk or cd.
        kind: String,
        /// Size of the disk in MiB.
        size_mib: u64,
        /// What it came as.
        format: String,
        /// The SHA-256 of what it came as.
        sha256: String,
        /// Whether that was not known before, and its address is held to it from now on.
        pinned: bool,
        /// Whether the same was here before; then nothing was done.
        already: bool,
        /// What happened.
        sentence: String,
    }
}
reply! {
    /// An image that another host has.
    ImageShared {
        /// Its name here.
        name: String,
        /// The host.
        to: String,
        /// Its name there.
        there: String,
        /// Whether the same was there before; then nothing was sent.
        already: bool,
        /// What was sent, in bytes.
        sent_bytes: u64,
        /// What happened.
        sentence: String,
    }
}
reply! {
    /// An image that was renamed or deleted.
    ImageChanged {
        /// Its name now, or until now.
        name: String,
        /// What happened.
        sentence: String,
    }
}
reply! {
    /// An image that was written to a file.
    ImageExported {
        /// Its name.
        name: String,
        /// The file, on the host.
        file: String,
        /// What happened.
        sentence: String,
    }
}

/// What could be pulled, after the rest.
fn offered(available: &[ImageOffered], complaints: &[String]) -> String {
    let mut text = String::new();
    if !available.is_empty() {
        text += "\n\nimage pull brings:";
    }
    for ImageOffered { name, catalogue, download_mib, here, about, .. } in available {
        let about = if about.is_empty() { String::new() } else { format!(": {about}") };
        let here = if *here { ", here already" } else { "" };
        let size = measure::size(*download_mib);
        text += &format!("\n- {name} ({catalogue}, {size} to fetch{here}){about}");
    }
    complaints.iter().fold(text, |text, complaint| format!("{text}\n{complaint}"))
}

impl Reply for ImageList {
    fn text(&self) -> String {
        let offered = offered(&self.available, &self.complaints);
        if self.images.is_empty() {
            let none = "No images yet. Bring one: image import, or add one to the configuration of this host: \
                        [images.NAME]";
            return format!("{none}{offered}");
        }
        let lines = self.images.iter().map(|line| {
            let about = if line.about.is_empty() { String::new() } else { format!(": {}", line.about) };
            let from = line.format.as_ref().map(|format| format!(", from {format}")).unwrap_or_default();
            let used = match line.used_by.as_slice() {
                [] => String::new(),
                some => format!("\n  used by {}", some.join(", ")),
            };
            format!("- {} ({}, {}{from}){about}{used}", line.name, line.kind, measure::size(line.size_mib))
        });
        let lines: Vec<String> = lines.collect();
        format!("Machines can be made from:\n{}{offered}", lines.join("\n"))
    }
}

impl Reply for ImageDetails {
    fn text(&self) -> String {
        let mut lines = vec![format!("*{}*: {}, {}", self.name, self.kind, measure::size(self.size_mib))];
        if !self.about.is_empty() {
            lines.push(self.about.clone());
        }
        lines.push(format!("On the disk: {}", measure::size(self.file_mib)));
        match &self.format {
            Some(format) => lines.push(format!("From: {} ({format})", self.source)),
            None => lines.push(format!("From: {}", self.source)),
        }
        if let (Some(at), Some(by)) = (self.made_at, &self.made_by) {
            lines.push(format!("Brought {} by {by}", measure::moment(at)));
        }
        if let Some(sha256) = &self.sha256 {
            lines.push(format!("SHA-256: {sha256}"));
        }
        lines.push(match self.used_by.as_slice() {
            [] => "Used by nothing".into(),
            some => format!("Used by {}", some.join(", ")),
        });
        lines.join("\n")
    }
}

impl Reply for ImageKept {
    fn text(&self) -> String {
        let mut text = format!("{}\nSHA-256: {}", self.sentence, self.sha256);
        if self.pinned {
            text.push_str(
                "\nNobody said what it should be, so this is what that address is held to from now on. \
                 Compare it with what its makers publish.",
            );
        }
        text
    }
}

impl Reply for ImageShared {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

impl Reply for ImageChanged {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

impl Reply for ImageExported {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn list(images: Vec<ImageLine>) -> ImageList {
        ImageList { images, available: vec![], complaints: vec![] }
    }

    fn line() -> ImageLine {
        ImageLine {
            name: "linux".into(),
            kind: "kernel".into(),
            size_mib: 30,
            format: None,
            used_by: vec![],
            about: "small".into(),
        }
    }

    #[test]
    fn lists_say_what_each_is_and_who_needs_it() {
        assert!(list(vec![]).text().contains("image import"));
        assert!(list(vec![line()]).text().ends_with("\n- linux (kernel, 30 MiB): small"));
        let kept = ImageLine {
            name: "debian-12".into(),
            kind: "disk".into(),
            format: Some("vmdk".into()),
            used_by: vec!["web1".into(), "web2 (in the trash)".into()],
            about: String::new(),
            ..line()
        };
        let text = list(vec![kept]).text();
        let end = "- debian-12 (disk, 30 MiB, from vmdk)\n  used by web1, web2 (in the trash)";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn a_checksum_nobody_gave_is_said() {
        let kept = ImageKept {
            name: "debian-12".into(),
            kind: "disk".into(),
            size_mib: 2048,
            format: "qcow2".into(),
            sha256: "ab".repeat(32),
            pinned: true,
            already: false,
            sentence: "debian-12 is here.".into(),
        };
        assert!(kept.text().contains("Nobody said what it should be"));
        assert!(!ImageKept { pinned: false, ..kept }.text().contains("Nobody"));
    }
}
