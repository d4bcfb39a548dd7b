//! What a file says it is, read by us before any program that would act on it.
//!
//! An image can name other files: a backing file, an external data file, extents, a parent. Whoever
//! opens such an image opens those as well, with the rights of the agent: CVE-2024-4467, and others
//! before it. So none of them may be there.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::{Format, ImageError, VIRTUAL_BYTES_MAX, vmdk};

/// Bytes of a header that are looked at.
const HEAD_BYTES: usize = 512;
/// Where an ISO 9660 volume begins, and how.
const ISO: (u64, &[u8]) = (32_768, b"\x01CD001");
/// Where a tar archive says so.
const TAR: (usize, &[u8]) = (257, b"ustar");
/// The end of a boot record.
const BOOT_RECORD: (usize, &[u8]) = (510, b"\x55\xaa");
/// The least that a qcow2 image has: the header of version 3, which version 2 fills up with zeroes.
const QCOW2_BYTES_MIN: usize = 104;
const QCOW2: &[u8] = b"QFI\xfb";
const VDI: (usize, &[u8]) = (64, b"\x7f\x10\xda\xbe");
/// The features of a qcow2 image that are understood: dirty, compression type, extended entries.
const QCOW2_KNOWN: u64 = 1 | 1 << 3 | 1 << 4;
const QCOW2_CORRUPT: u64 = 1 << 1;
const QCOW2_DATA_FILE: u64 = 1 << 2;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How it is written.
    pub format: Format,
    /// The disk it holds, in bytes; an OVA's own size.
    pub size_bytes: u64,
}

/// Reads the header. With a format, it has to be that one; without, it must say itself which one it is.
///
/// # Errors
/// [`ImageError::Unfit`] with what is wrong with it.
pub fn inspect(file: &File, format: Option<Format>) -> Result<Header, ImageError> {
    let read = |error| ImageError::system("reading the image")(error);
    let length = file.metadata().map_err(read)?.len();
    let head = bytes(file, 0, HEAD_BYTES).map_err(read)?;
    let is_iso = bytes(file, ISO.0, ISO.1.len()).map_err(read)? == ISO.1;
    let found = recognised(&head, is_iso);
    let format = match (format, found) {
        // Whatever a guest wrote into its disk: these are bytes.
        (Some(Format::Raw), _) => Format::Raw,
        (Some(format), Some(found)) if format == found => format,
        (Some(format), _) => return unfit(format!("it is no {} image", format.word())),
        (None, Some(found)) => found,
        (None, None) if at(&head, BOOT_RECORD) => Format::Raw,
        (None, None) => return unfit("it does not say what it is; if it is a raw disk, say format=raw"),
    };
    let size_bytes = match format {
        Format::Qcow2 => qcow2(&head)?,
        Format::Vmdk => vmdk::size(file, &head)?,
        Format::Vdi => vdi(&head)?,
        Format::Raw | Format::Iso | Format::Ova => length,
    };
    match size_bytes {
        0 => unfit("it is empty"),
        1..=VIRTUAL_BYTES_MAX => Ok(Header { format, size_bytes }),
        _ => unfit(format!("its disk is larger than a disk may be here ({} TiB)", VIRTUAL_BYTES_MAX >> 40)),
    }
}

fn recognised(head: &[u8], is_iso: bool) -> Option<Format> {
    if head.starts_with(QCOW2) {
        Some(Format::Qcow2)
    } else if head.starts_with(vmdk::SPARSE) || vmdk::is_other(head) {
        Some(Format::Vmdk)
    } else if at(head, VDI) {
        Some(Format::Vdi)
    } else if is_iso {
        Some(Format::Iso)
    } else if at(head, TAR) {
        Some(Format::Ova)
    } else {
        None
    }
}

fn qcow2(head: &[u8]) -> Result<u64, ImageError> {
    if head.len() < QCOW2_BYTES_MIN {
        return unfit("it ends within its header: it did not come whole");
    }
    let version = be32(head, 4);
    if !(2..=3).contains(&version) {
        return unfit(format!("it is qcow version {version}; 2 and 3 are known"));
    }
    if be64(head, 8) != 0 {
        return unfit("it is a thin copy of another file (a backing file): bring the whole disk");
    }
    if be32(head, 32) != 0 {
        return unfit("it is encrypted");
    }
    let features = if version == 3 { be64(head, 72) } else { 0 };
    if features & QCOW2_DATA_FILE != 0 {
        return unfit("it keeps its contents in another file (a data file): bring the whole disk");
    }
    if features & QCOW2_CORRUPT != 0 {
        return unfit("it is marked as damaged: repair it first (qemu-img check -r)");
    }
    if features & !QCOW2_KNOWN != 0 {
        return unfit("it has features nobody knows here");
    }
    Ok(be64(head, 24))
}

/// The name of the backing file in a qcow2 header: where it is, and how long.
pub(super) fn qcow2_backing(head: &[u8]) -> Option<(u64, usize)> {
    let (offset, length) = (be64(head, 8), be32(head, 16));
    (head.starts_with(QCOW2) && offset != 0 && (1..=1023).contains(&length))
        .then(|| (offset, usize::try_from(length).unwrap_or(0)))
}

fn vdi(head: &[u8]) -> Result<u64, ImageError> {
    let kind = le32(head, 0x4c);
    if !(1..=2).contains(&kind) {
        return unfit("it is a VDI that depends on another one: bring the whole disk");
    }
    let others = head.get(0x1a8..0x1c8).unwrap_or_default();
    if others.iter().any(|byte| *byte != 0) {
        return unfit("it is a VDI that names another one: bring the whole disk");
    }
    Ok(le64(head, 0x170))
}

pub(super) fn unfit<T>(why: impl Into<String>) -> Result<T, ImageError> {
    Err(ImageError::Unfit(why.into()))
}

/// As many of these bytes as there are.
pub(super) fn bytes(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn at(head: &[u8], (offset, sign): (usize, &[u8])) -> bool {
    head.get(offset..).is_some_and(|rest| rest.starts_with(sign))
}

/// Zero where the file is too short.
fn word<const N: usize>(head: &[u8], offset: usize) -> [u8; N] {
    head.get(offset..offset + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

fn be32(head: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(word(head, offset))
}

fn be64(head: &[u8], offset: usize) -> u64 {
    u64::from_be_bytes(word(head, offset))
}

fn le32(head: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(word(head, offset))
}

pub(super) fn le64(head: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(word(head, offset))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn with(length: usize, parts: &[(usize, &[u8])]) -> File {
        let mut content = vec![0; length];
        for (offset, bytes) in parts {
            content[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        file(&content)
    }

    fn qcow2_with(parts: &[(usize, &[u8])]) -> File {
        let mut all: Vec<(usize, &[u8])> =
            vec![(0, QCOW2), (4, &[0, 0, 0, 3]), (24, &[0, 0, 0, 0, 4, 0, 0, 0])];
        all.extend(parts);
        with(4096, &all)
    }

    #[track_caller]
    fn refused(file: &File, format: Option<Format>, why: &str) {
        let error = inspect(file, format).unwrap_err();
        assert!(matches!(&error, ImageError::Unfit(said) if said.contains(why)), "{error}");
    }

    #[test]
    fn each_format_is_recognised_by_what_it_holds() {
        let is = |file: File, format, size_bytes| {
            let header = inspect(&file, None).unwrap();
            assert_eq!(header, Header { format, size_bytes });
            assert_eq!(inspect(&file, Some(format)).unwrap(), header);
        };
        is(qcow2_with(&[]), Format::Qcow2, 64 << 20);
        is(with(40_000, &[(32_768, ISO.1)]), Format::Iso, 40_000);
        is(with(1024, &[BOOT_RECORD]), Format::Raw, 1024);
        is(with(1024, &[TAR]), Format::Ova, 1024);
        let vdi = [VDI, (0x4c, &[1, 0, 0, 0][..]), (0x170, &[0, 0, 0, 4][..])];
        is(with(512, &vdi), Format::Vdi, 64 << 20);
    }

    #[test]
    fn what_names_another_file_is_refused() {
        refused(&qcow2_with(&[(15, &[200]), (19, &[9])]), None, "backing file");
        refused(&qcow2_with(&[(79, &[1 << 2])]), None, "data file");
        refused(&qcow2_with(&[(79, &[1 << 1])]), None, "damaged");
        refused(&qcow2_with(&[(72, &[1])]), None, "features");
        refused(&qcow2_with(&[(35, &[1])]), None, "encrypted");
        refused(&qcow2_with(&[(7, &[9])]), None, "version 9");
        refused(&qcow2_with(&[(24, &[1])]), None, "larger than a disk may be");
        refused(&with(80, &[(0, QCOW2), (7, &[3]), (24, &[0, 0, 0, 0, 4])]), None, "did not come whole");
        refused(&with(512, &[VDI, (0x4c, &[4])]), None, "depends on another");
        refused(&with(512, &[VDI, (0x4c, &[1]), (0x1b8, &[1])]), None, "names another");
    }

    #[test]
    fn a_raw_disk_is_never_taken_for_anything_else() {
        // A guest wrote a header into the first bytes of its disk.
        let planted = qcow2_with(&[(15, &[200]), (19, &[9])]);
        assert_eq!(inspect(&planted, Some(Format::Raw)).unwrap().format, Format::Raw);
        refused(&file(b"nothing that is known"), None, "format=raw");
        refused(&file(b"nothing that is known"), Some(Format::Qcow2), "no qcow2");
        refused(&qcow2_with(&[]), Some(Format::Vmdk), "no vmdk");
        refused(&file(b""), Some(Format::Raw), "empty");
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(
            sign in 0..4_usize,
            content in proptest::collection::vec(any::<u8>(), 0..2048),
        ) {
            let mut content = content;
            let sign: &[u8] = [QCOW2, vmdk::SPARSE, b"", b"# Disk DescriptorFile"][sign];
            content.splice(..sign.len().min(content.len()), sign.iter().copied());
            let file = file(&content);
            for format in Format::ALL.map(Some).into_iter().chain([None]) {
                let _ = inspect(&file, format);
            }
        }
    }
}
