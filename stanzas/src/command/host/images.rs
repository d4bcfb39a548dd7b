//! The images of a host.

use crate::reply;

declare! {
    /// List the images machines can be made from
    ImageList {
        /// Also those that could be pulled
        #[arg(long)]
        pub available: bool,
    }
    "image-list" Host Read Viewer -> reply::ImageList,
    ALIASES = &["images"],
    EXAMPLES = &[
        ("image list", "what machines can be made from"),
        ("image list --available", "and what the host's catalogues offer"),
    ],
}

declare! {
    /// Show one image: its size, where it came from, what uses it
    ImageShow {
        /// Its name
        #[arg(long, value_name = "IMAGE")]
        pub name: String,
    }
    "image-info" Host Read Viewer -> reply::ImageDetails,
    POSITIONAL = &["name"],
    ALIASES = &["image-show"],
    EXAMPLES = &[("image info linux", "what is known of it")],
}

declare! {
    /// Bring an image here: a file of the host, or an address of the web
    ImageImport {
        /// A file in the host's folder for imports, or an address such as https://example.org/disk.qcow2; of
        /// an .ovf, the disk beside it comes
        #[arg(long, value_name = "SOURCE")]
        pub source: String,
        /// What to call it; from the file's name when not given
        #[arg(long, value_name = "NAME")]
        pub name: Option<String>,
        /// The SHA-256 it must have; needed for http
        #[arg(long, value_name = "HASH")]
        pub sha256: Option<String>,
        /// How it is written; found out when not given, but for a raw disk without a boot record
        #[arg(long, value_name = "FORMAT", value_parser = ["qcow2", "raw", "vmdk", "vdi", "iso", "ova"])]
        pub format: Option<String>,
        /// What it is, for people
        #[arg(long, value_name = "TEXT")]
        pub about: Option<String>,
    }
    "image-import" Host Change Admin -> reply::ImageKept,
    POSITIONAL = &["source", "name"],
    ALIASES = &["image-add"],
    EXAMPLES = &[
        ("image import debian.qcow2 debian-12", "a file in the host's folder for imports"),
        ("image import web.ovf", "the disk that it describes, beside it"),
    ],
}

declare! {
    /// Bring an image by its name in a catalogue of the host, or from another host
    ImagePull {
        /// Its name there (see: image list --available); of another host's: kvm1/debian-12
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// What to call it here; the same when not given
        #[arg(long, value_name = "NAME")]
        pub called: Option<String>,
        /// The catalogue, where several have one of this name
        #[arg(long, value_name = "CATALOGUE")]
        pub catalogue: Option<String>,
    }
    "image-pull" Host Change Admin -> reply::ImageKept,
    POSITIONAL = &["name"],
    EXAMPLES = &[
        ("image pull debian-12", "the catalogue says where it is and what it must be"),
        ("image pull kvm1/debian-12", "the one that the host kvm1 has"),
    ],
}

declare! {
    /// Bring an image to another host
    ImageShare {
        /// The image
        #[arg(long, value_name = "IMAGE")]
        pub name: String,
        /// The host, by its name in [peers] or its address
        #[arg(long, value_name = "HOST")]
        pub to: String,
        /// What to call it there; the same when not given
        #[arg(long, value_name = "NAME")]
        pub called: Option<String>,
    }
    "image-share" Host Change Admin -> reply::ImageShared,
    POSITIONAL = &["name", "to"],
    EXAMPLES = &[("image share debian-12 kvm2", "machines can be made of it there as well")],
}

declare! {
    /// Make an image of a stopped machine's disk, standing alone
    ImagePublish {
        /// The machine, which must be stopped
        #[arg(long, value_name = "MACHINE")]
        pub machine: String,
        /// What to call the image
        #[arg(long, value_name = "NAME")]
        pub name: String,
        /// Which of its disks; the first when not given
        #[arg(long, value_name = "DISK")]
        pub disk: Option<String>,
        /// What it is, for people
        #[arg(long, value_name = "TEXT")]
        pub about: Option<String>,
    }
    "image-publish" Host Change Admin -> reply::ImageKept,
    POSITIONAL = &["machine", "name"],
    EXAMPLES = &[("image publish golden debian-mine", "machines can be made from it from then on")],
}

declare! {
    /// Write an image to a file in the host's folder for exports
    ImageExport {
        /// The image
        #[arg(long, value_name = "IMAGE")]
        pub name: String,
        /// How to write a disk
        #[arg(long, value_name = "FORMAT", value_parser = ["qcow2", "raw", "ova"], default_value = "qcow2")]
        pub format: String,
    }
    "image-export" Host Change Admin -> reply::ImageExported,
    POSITIONAL = &["name"],
    EXAMPLES = &[("image export debian-12 format=raw", "to take it elsewhere")],
}

declare! {
    /// Give an image another name
    ImageRename {
        /// Its name now
        #[arg(long, value_name = "IMAGE")]
        pub name: String,
        /// Its new name
        #[arg(long, value_name = "NAME")]
        pub to: String,
    }
    "image-rename" Host Change Admin -> reply::ImageChanged,
    POSITIONAL = &["name", "to"],
    EXAMPLES = &[("image rename debian-12 bookworm", "machines made of it do not mind")],
}

declare! {
    /// Delete an image that nothing uses
    ImageDelete {
        /// Its name
        #[arg(long, value_name = "IMAGE")]
        pub name: String,
    }
    "image-delete" Host Destroy Admin -> reply::ImageChanged,
    POSITIONAL = &["name"],
    ALIASES = &["image-remove"],
    EXAMPLES = &[("image delete debian-12", "there is no way back")],
}
