//! VMware's disks, as far as one file holds the whole disk. Most kinds of them are a text that names other
//! files, and any of them may name a parent.

use std::fs::File;

use super::{
    ImageError,
    header::{bytes, le64, unfit},
};

/// How the one kind begins that is taken.
pub(super) const SPARSE: &[u8] = b"KDMV";
/// How the others do: ESX's older kind, and a description of other files.
const OTHERS: [&[u8]; 2] = [b"COWD", b"# Disk DescriptorFile"];
/// The description inside a sparse one: QEMU reads it from here, wherever the header says it is.
const DESCRIPTION: (u64, usize) = (512, 20 * 512);
/// What names a parent there.
const PARENT: &[u8] = b"parentFileNameHint";
const SECTOR_BYTES: u64 = 512;

pub(super) fn is_other(head: &[u8]) -> bool {
    OTHERS.iter().any(|sign| head.starts_with(sign))
}

/// The size of the disk in bytes.
pub(super) fn size(file: &File, head: &[u8]) -> Result<u64, ImageError> {
    if !head.starts_with(SPARSE) {
        return unfit("it is a VMDK that only names other files: export it as one file");
    }
    let sectors = le64(head, 12);
    // Without a capacity QEMU takes the description for the disk, and opens the files it names.
    if sectors == 0 {
        return unfit("it is a VMDK that only names other files: export it as one file");
    }
    let description = bytes(file, DESCRIPTION.0, DESCRIPTION.1).map_err(ImageError::system("reading it"))?;
    if description.windows(PARENT.len()).any(|found| found == PARENT) {
        return unfit("it is a VMDK that depends on another one: bring the whole disk");
    }
    Ok(sectors.saturating_mul(SECTOR_BYTES))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use super::super::{Format, inspect};
    use super::*;

    fn file(capacity: u64, description: &str) -> File {
        let mut content = vec![0; 1 << 14];
        content[..4].copy_from_slice(SPARSE);
        content[12..20].copy_from_slice(&capacity.to_le_bytes());
        content[512..512 + description.len()].copy_from_slice(description.as_bytes());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        file
    }

    #[track_caller]
    fn refused(file: &File, why: &str) {
        let error = inspect(file, None).unwrap_err();
        assert!(matches!(&error, ImageError::Unfit(said) if said.contains(why)), "{error}");
    }

    #[test]
    fn one_whole_file_is_taken_and_what_names_others_is_not() {
        let whole = inspect(&file(2048, "# Disk DescriptorFile\nparentCID=ffffffff\n"), None).unwrap();
        assert_eq!((whole.format, whole.size_bytes), (Format::Vmdk, 1 << 20));
        refused(&file(0, "RW 4 FLAT \"/etc/shadow\" 0"), "names other files");
        refused(&file(2048, "parentFileNameHint=\"/etc/shadow\""), "depends on another");
        let mut text = tempfile::tempfile().unwrap();
        text.write_all(b"# Disk DescriptorFile\nRW 4 FLAT \"/etc/shadow\" 0\n").unwrap();
        refused(&text, "names other files");
    }
}
