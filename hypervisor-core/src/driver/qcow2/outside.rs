//! What a qcow2 file names beside itself, read from its own header (QEMU's docs/interop/qcow2.txt). None of
//! it is opened: a stranger's file may name any.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
};

use crate::driver::DriverError;

/// The first bytes of a qcow2 file.
const MAGIC: &[u8; 4] = b"QFI\xfb";
/// The least there is of a header: up to the features that a reader must know.
const HEADER_BYTES: usize = 80;
/// As much of it as is looked at, with the names that follow it: the smallest clusters have 512 bytes, and
/// the usual ones far more than names take.
const NAMES_BYTES: usize = 16 << 10;
/// Where the header of version 3 says how long it is, and how long the one of version 2 is.
const LENGTH_AT: usize = 100;
const LENGTH_BEFORE: usize = 72;
/// The longest name of a backing file, by the format's own rules.
const BACKING_BYTES_MAX: u32 = 1023;
/// The bit that says that the content is in another file.
const EXTERNAL_DATA: u64 = 1 << 2;
/// What follows the header: how the backing file is written, and the file with the content.
const BACKING_FORMAT: u32 = 0xe279_2aca;
const DATA_FILE: u32 = 0x4441_5441;

/// What a file names beside itself, by its own header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// The file it is a thin copy of.
    pub backing: Option<PathBuf>,
    /// How that is written, in QEMU's word, where it is said: what a header says of none is nothing.
    pub backing_format: Option<String>,
    /// Its content is in another file.
    pub data: bool,
    /// Which that is, where it is said.
    pub data_file: Option<PathBuf>,
}

/// Reads what a qcow2 file names beside itself, and opens none of it: a stranger's file may name any.
///
/// # Errors
/// [`DriverError::Unfit`] if it cannot be read or is no qcow2.
pub fn outside(path: &Path) -> Result<Outside, DriverError> {
    let unfit = |why: &str| DriverError::Unfit(format!("{} {why}", path.display()));
    let file = File::open(path).map_err(|error| unfit(&format!("cannot be read: {error}")))?;
    let header = beginning(&file).map_err(|_| unfit("is no qcow2"))?;
    if header.len() < HEADER_BYTES || &header[..4] != MAGIC {
        return Err(unfit("is no qcow2"));
    }
    let (version, offset, length) = (word(&header, 4), long(&header, 8), word(&header, 16));
    let data = version >= 3 && long(&header, 72) & EXTERNAL_DATA != 0;
    let mut found = Outside { data, ..Outside::default() };
    let is_copy = offset != 0;
    let begin = if version >= 3 { word(&header, LENGTH_AT) as usize } else { LENGTH_BEFORE };
    for (kind, value) in extensions(&header, begin) {
        match kind {
            BACKING_FORMAT if is_copy => found.backing_format = String::from_utf8(value.to_vec()).ok(),
            DATA_FILE if data => found.data_file = Some(OsStr::from_bytes(value).into()),
            _ => {}
        }
    }
    if !is_copy {
        return Ok(found);
    }
    if length > BACKING_BYTES_MAX {
        return Err(unfit("has a header that is wrong"));
    }
    let mut name = vec![0; length as usize];
    file.read_exact_at(&mut name, offset).map_err(|_| unfit("has a header that is wrong"))?;
    Ok(Outside { backing: Some(OsStr::from_bytes(&name).into()), ..found })
}

fn beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; NAMES_BYTES];
    let mut has = 0;
    while has < bytes.len() {
        match file.read_at(&mut bytes[has..], has as u64)? {
            0 => break,
            read => has += read,
        }
    }
    bytes.truncate(has);
    Ok(bytes)
}

/// What follows the header: a number for what it is, a length, and as many bytes, filled up to eight. A zero
/// ends it, as does whatever makes no sense.
fn extensions(header: &[u8], mut at: usize) -> Vec<(u32, &[u8])> {
    let mut found = Vec::new();
    while let Some((kind, length)) =
        header.get(at..at.saturating_add(8)).map(|head| (word(head, 0), word(head, 4)))
    {
        let Some(value) = header.get(at + 8..).and_then(|rest| rest.get(..length as usize)) else { break };
        if kind == 0 {
            break;
        }
        found.push((kind, value));
        at += 8 + value.len().next_multiple_of(8);
    }
    found
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    (u64::from(word(bytes, at)) << 32) | u64::from(word(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        definition::DiskFormat,
        driver::{disk, qcow2::create},
    };

    #[tokio::test]
    async fn what_a_file_names_beside_itself_is_read_without_opening_it() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.qcow2");
        create(&base, DiskFormat::Qcow2, 1 << 20).await.unwrap();
        assert_eq!(outside(&base).unwrap(), Outside::default());
        let copy = folder.path().join("copy.qcow2");
        disk::overlay(&base, &copy).await.unwrap();
        std::fs::remove_file(&base).unwrap();
        let found = outside(&copy).unwrap();
        assert_eq!(found.backing.as_deref(), Some(base.as_path()));
        assert_eq!(found.backing_format.as_deref(), Some("qcow2"));
        // What an image says of a file that it does not name is nothing.
        let mut alone = std::fs::read(&copy).unwrap();
        alone[8..20].fill(0);
        std::fs::write(&base, &alone).unwrap();
        assert_eq!(outside(&base).unwrap(), Outside::default());
        // The bit of the features that a reader must know.
        let mut bytes = std::fs::read(&copy).unwrap();
        bytes[79] |= 4;
        std::fs::write(&copy, &bytes).unwrap();
        assert!(outside(&copy).unwrap().data);
        std::fs::write(&copy, &bytes[..40]).unwrap();
        assert!(outside(&copy).unwrap_err().to_string().ends_with("is no qcow2"));
        bytes[16] = 0xff;
        std::fs::write(&copy, &bytes).unwrap();
        assert!(outside(&copy).unwrap_err().to_string().ends_with("wrong"));
    }
}
