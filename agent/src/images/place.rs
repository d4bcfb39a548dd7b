//! Where images may be brought from and taken to on this host: folders an administrator of the host chose,
//! and nothing above them. Who commands a host need not be root on it.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use hypervisor_core::image::{Kind, open_beneath};
use nix::errno::Errno;
use skerry_stanzas::refusal::{Reason, Refusal};

use super::fetch::{self, Url};
use crate::{config::Config, reference};

/// The folders below the agent's own that stand for those a configuration does not name.
pub(super) const IMPORT: &str = "import";
const EXPORT: &str = "export";

/// Where an image comes from.
pub(crate) enum Source {
    /// A file of this host, open.
    File {
        /// The file.
        file: File,
        /// As it was found.
        path: PathBuf,
    },
    /// The web.
    Web(Url),
}

/// The folders.
pub(crate) struct Places {
    from: Vec<PathBuf>,
    to: PathBuf,
}

impl Places {
    /// Those of a configuration: `<state>/import` and `<state>/export` when it names none.
    pub(crate) fn of(config: &Config) -> Self {
        let from = match config.files.import.as_slice() {
            [] => vec![config.state.join(IMPORT)],
            some => some.to_vec(),
        };
        Self { from, to: config.files.export.clone().unwrap_or_else(|| config.state.join(EXPORT)) }
    }

    /// What somebody named: an address of the web, or a file in one of the folders.
    pub(crate) fn source(&self, text: &str) -> Result<Source, Refusal> {
        let text = text.trim();
        if text.contains("://") {
            return fetch::url(text).map(Source::Web);
        }
        let asked = Path::new(text);
        for folder in &self.from {
            let Ok(inside) = (if asked.is_absolute() { asked.strip_prefix(folder) } else { Ok(asked) })
            else {
                continue;
            };
            match open_beneath(folder, inside) {
                Ok(file) => return Ok(Source::File { file, path: folder.join(inside) }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(text, &error)),
            }
        }
        let folders: Vec<String> = self.from.iter().map(|folder| folder.display().to_string()).collect();
        Err(Refusal::new(Reason::NotFound, format!("There is no file {text:?} to import."))
            .field("source")
            .hint(format!("Put it into {} on this host, or name an https address.", folders.join(" or "))))
    }

    /// A file beside one that was found, or in a folder beside it; none: there is no such file.
    pub(super) fn beside(&self, found: &Path, names: &[&str]) -> Result<Option<Source>, Refusal> {
        let within = |folder: &PathBuf| Some((folder.clone(), found.strip_prefix(folder).ok()?.to_owned()));
        let Some((folder, inside)) = self.from.iter().find_map(within) else { return Ok(None) };
        let inside = inside.with_file_name(names.iter().collect::<PathBuf>());
        match open_beneath(&folder, &inside) {
            Ok(file) => Ok(Some(Source::File { file, path: folder.join(inside) })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&inside.display().to_string(), &error)),
        }
    }

    /// The files that are there to import.
    pub(crate) fn offered(&self) -> Vec<String> {
        let mut names = Vec::new();
        for entry in self.from.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file())
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// The file an export makes; `format` as it was asked for.
    pub(crate) fn exported(&self, name: &str, kind: Kind, format: &str) -> PathBuf {
        let suffix = match (kind, format) {
            (Kind::Cd, _) => "iso",
            (Kind::Disk, "raw" | "ova") => format,
            (Kind::Disk, _) => "qcow2",
        };
        self.to.join(format!("{name}.{suffix}"))
    }

    /// Where what is taken out is put.
    pub(crate) fn out(&self) -> &Path {
        &self.to
    }
}

fn unreadable(text: &str, error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Refusal::new(Reason::Conflict, format!("The agent may not read {text:?}.")).field("source")
        }
        // A link or a step that leads out of the folder; a folder, a device.
        io::ErrorKind::CrossesDevices | io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory => {
            outside(text)
        }
        _ if error.raw_os_error() == Some(Errno::ELOOP as i32) => outside(text),
        _ => reference::internal(&format!("{text:?} could not be read"), error),
    }
}

fn outside(text: &str) -> Refusal {
    Refusal::new(Reason::BadRequest, format!("{text:?} is no file in a folder for imports."))
        .field("source")
        .hint("Links that lead out of it are not followed.")
}
