//! An OVA: a tar archive with a description (OVF) and, as far as we take it, one disk.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

use super::{ImageError, header::unfit};

/// Members that are looked at: a description, a manifest, a certificate, disks.
const MEMBERS_MAX: usize = 64;
/// How the names of disks end.
const DISKS: [&str; 5] = [".vmdk", ".vdi", ".qcow2", ".img", ".raw"];

/// Writes the one disk that is in it to `disk`, which must not be there yet, and says how its name ends.
pub(super) fn unpack(
    ova: &mut File,
    disk: &Path,
    went_on: &mut dyn FnMut(u64) -> bool,
) -> Result<(), ImageError> {
    let read = |error| ImageError::system("reading the archive")(error);
    ova.rewind().map_err(read)?;
    let mut archive = tar::Archive::new(ova);
    let (mut described, mut found) = (false, false);
    // Raw: an OVA is a plain ustar archive, and what extends that is read into memory, however long.
    for (count, member) in archive.entries().map_err(read)?.raw(true).enumerate() {
        if count >= MEMBERS_MAX {
            return unfit("there is too much in it");
        }
        let mut member = member.map_err(|error| match error.kind() {
            io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                ImageError::Unfit("it is no whole tar archive".into())
            }
            _ => read(error),
        })?;
        let name = String::from_utf8_lossy(&member.path_bytes()).to_lowercase();
        described |= name.ends_with(".ovf");
        if !DISKS.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        if found {
            return unfit("it has several disks: import them one by one");
        }
        if !member.header().entry_type().is_file() {
            return unfit("its disk is no plain file");
        }
        found = true;
        let mut to = File::create_new(disk).map_err(ImageError::system("making the disk"))?;
        copy(&mut member, &mut to, went_on)?;
    }
    match (described, found) {
        (true, true) => Ok(()),
        (false, _) => unfit("it is a tar archive without a description (.ovf): no OVA"),
        (true, false) => unfit("there is no disk in it"),
    }
}

/// Copies until the end, or until `went_on` says no: then it was given up, and that is an error.
pub(super) fn copy(
    from: &mut dyn Read,
    to: &mut dyn io::Write,
    went_on: &mut dyn FnMut(u64) -> bool,
) -> Result<u64, ImageError> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ImageError::system("reading the image")(error)),
        };
        let chunk = buffer.get(..read).unwrap_or_default();
        to.write_all(chunk).map_err(ImageError::system("writing the image"))?;
        total += read as u64;
        if !went_on(total) {
            return Err(ImageError::Tool("given up".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ova(members: &[(&str, &[u8])]) -> File {
        let mut builder = tar::Builder::new(tempfile::tempfile().unwrap());
        for (name, content) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(mut ova: File) -> Result<Vec<u8>, ImageError> {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        unpack(&mut ova, &disk, &mut |_| true)?;
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else was written");
        Ok(std::fs::read(disk).unwrap())
    }

    #[test]
    fn the_one_disk_is_taken_and_names_lead_nowhere() {
        let content =
            unpacked(ova(&[("x.ovf", b"<Envelope/>"), ("x.mf", b"-"), ("d/x-disk1.VMDK", b"disk")]));
        assert_eq!(content.unwrap(), b"disk");
    }

    #[test]
    fn what_is_no_ova_with_one_disk_is_refused() {
        let why = |members: &[(&str, &[u8])]| unpacked(ova(members)).unwrap_err().to_string();
        assert!(why(&[("x.vmdk", b"disk")]).contains("without a description"));
        assert!(why(&[("x.ovf", b"-")]).contains("no disk"));
        assert!(why(&[("x.ovf", b"-"), ("1.vmdk", b"-"), ("2.vmdk", b"-")]).contains("several disks"));
        let many: Vec<(&str, &[u8])> = vec![("x.ovf", b"-"); MEMBERS_MAX + 1];
        assert!(why(&many).contains("too much"));
        let mut link = tar::Builder::new(tempfile::tempfile().unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        link.append_link(&mut header, "x.vmdk", "/etc/shadow").unwrap();
        assert!(unpacked(link.into_inner().unwrap()).unwrap_err().to_string().contains("no plain file"));
    }
}
