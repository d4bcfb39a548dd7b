//! What is wrong with a definition, in words that say how to mend it.

use std::path::{Path, PathBuf};

use super::{Boot, Definition, Size};

/// The least memory, in MiB.
const MEMORY_MIB_MIN: u64 = 16;
/// The most memory, in MiB: 16 TiB.
const MEMORY_MIB_MAX: u64 = 16 * 1024 * 1024;
/// The most virtual processors.
const VCPUS_MAX: u32 = 255;
/// The most disks.
const DISKS_MAX: usize = 32;
/// The longest command line x86 Linux reads (COMMAND_LINE_SIZE without its end).
const CMDLINE_BYTES_MAX: usize = 2047;
/// The longest note.
const NOTE_BYTES_MAX: usize = 2000;
/// The longest path (Linux's PATH_MAX without its end).
const PATH_BYTES_MAX: usize = 4095;
/// How much of what was written is repeated in an error.
const QUOTED_CHARS_MAX: usize = 60;

/// Why something cannot be a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// A key or a value that is not known here.
    #[error("line {line}: {what:?} is not known here{}", meant(nearest))]
    Unknown {
        /// What was written.
        what: String,
        /// The one that may be meant.
        nearest: Option<String>,
        /// Where, counted from one.
        line: usize,
    },
    /// It is not TOML, or not of a definition's shape.
    #[error("line {line}: {message}")]
    Toml {
        /// What the parser says.
        message: String,
        /// Where, counted from one.
        line: usize,
    },
    /// More than [`Definition::TOML_BYTES_MAX`].
    #[error("a definition may have at most {} KiB", Definition::TOML_BYTES_MAX / 1024)]
    TooLong,
    /// Too few or too many virtual processors.
    #[error("a machine has 1 to {VCPUS_MAX} virtual processors, not {0}")]
    Vcpus(u32),
    /// Too little or too much memory, in MiB.
    #[error("a machine has 16M to 16T of memory, not {}", shown(*.0))]
    Memory(u64),
    /// It boots from a disk and has none.
    #[error("it boots from its first disk, but has none: give it a disk, or a kernel")]
    NoBootDisk,
    /// Too many disks.
    #[error("a machine has at most {DISKS_MAX} disks, not {0}")]
    Disks(usize),
    /// A path from nowhere: the agent's working folder is nobody's business.
    #[error("the {what} {path:?} must be a whole path, beginning with /")]
    Relative {
        /// Of what.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A path that no file can have here.
    #[error("the path of the {what} is too long, or has control characters in it")]
    OddPath {
        /// Of what.
        what: &'static str,
    },
    /// Two disks would write to one file.
    #[error("{0:?} is a disk of it twice: make both read-only, or leave one out")]
    DiskTwice(PathBuf),
    /// A kernel command line that is too long or has control characters.
    #[error("a kernel command line is one line of at most {CMDLINE_BYTES_MAX} bytes")]
    Cmdline,
    /// A note that is too long or has control characters.
    #[error("a note has at most {NOTE_BYTES_MAX} bytes, and no control characters but line ends")]
    Note,
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|nearest| format!("; is {nearest:?} meant?")).unwrap_or_default()
}

fn shown(mib: u64) -> String {
    Size::from_mib(mib).map_or_else(|_| format!("{mib} MiB"), |size| size.to_string())
}

impl DefinitionError {
    /// The key that is wrong, where it is one: for a form's field.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            DefinitionError::Vcpus(_) => Some("vcpus"),
            DefinitionError::Memory(_) => Some("memory"),
            DefinitionError::Cmdline => Some("cmdline"),
            DefinitionError::Note => Some("note"),
            DefinitionError::NoBootDisk | DefinitionError::Disks(_) | DefinitionError::DiskTwice(_) => {
                Some("disks")
            }
            DefinitionError::Relative { what, .. } | DefinitionError::OddPath { what } => Some(what),
            DefinitionError::Unknown { .. } | DefinitionError::Toml { .. } | DefinitionError::TooLong => None,
        }
    }

    /// What serde says of a key or a value that is not known names it, and those that are.
    pub(super) fn reading(text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let message = error.message();
        let unknown = message.strip_prefix("unknown field `").or(message.strip_prefix("unknown variant `"));
        match unknown.and_then(|rest| rest.split_once("`, expected ")) {
            Some((what, known)) => {
                let nearest = known
                    .split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|known| (strsim::jaro_winkler(what, known), known))
                    .max_by(|(one, _), (other, _)| one.total_cmp(other))
                    .filter(|(likeness, _)| *likeness > 0.75)
                    .map(|(_, known)| known.to_owned());
                Self::Unknown { what: quoted(what), nearest, line }
            }
            None => Self::Toml { message: quoted(message), line },
        }
    }
}

fn quoted(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut quoted: String = line.chars().take(2 * QUOTED_CHARS_MAX).collect();
    if quoted.len() < line.len() {
        quoted.push('…');
    }
    quoted
}

impl Definition {
    /// Checks what a type cannot: ranges, paths, lengths. Looks at no file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let Self { vcpus, memory_mib, boot, disks, note } = self;
        if !(1..=VCPUS_MAX).contains(vcpus) {
            return Err(DefinitionError::Vcpus(*vcpus));
        }
        if !(MEMORY_MIB_MIN..=MEMORY_MIB_MAX).contains(memory_mib) {
            return Err(DefinitionError::Memory(*memory_mib));
        }
        match boot {
            Boot::Kernel { kernel, initrd, cmdline } => {
                whole("kernel", kernel)?;
                initrd.as_deref().map_or(Ok(()), |initrd| whole("initrd", initrd))?;
                if cmdline.len() > CMDLINE_BYTES_MAX || cmdline.chars().any(char::is_control) {
                    return Err(DefinitionError::Cmdline);
                }
            }
            Boot::Disk if disks.is_empty() => return Err(DefinitionError::NoBootDisk),
            Boot::Disk => {}
        }
        if disks.len() > DISKS_MAX {
            return Err(DefinitionError::Disks(disks.len()));
        }
        for (nth, disk) in disks.iter().enumerate() {
            whole("disk", &disk.path)?;
            let twice =
                |other: &&super::Disk| other.path == disk.path && !(other.read_only && disk.read_only);
            if disks[..nth].iter().find(twice).is_some() {
                return Err(DefinitionError::DiskTwice(disk.path.clone()));
            }
        }
        let odd =
            |note: &String| note.len() > NOTE_BYTES_MAX || note.chars().any(|c| c.is_control() && c != '\n');
        if note.as_ref().is_some_and(odd) { Err(DefinitionError::Note) } else { Ok(()) }
    }
}

fn whole(what: &'static str, path: &Path) -> Result<(), DefinitionError> {
    let text = path.to_string_lossy();
    if text.len() > PATH_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(DefinitionError::OddPath { what });
    }
    if path.is_absolute() { Ok(()) } else { Err(DefinitionError::Relative { what, path: path.into() }) }
}
