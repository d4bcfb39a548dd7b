//! What a fuzzer brings as an image.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs::File, io::Write, os::fd::AsRawFd, path::PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{Format, Sum, VIRTUAL_BYTES_MAX, backing_file, described, inspect, ova};
use crate::{driver::qcow2, fuzz::is_said};

/// A file with this in it, and a path that leads to it.
fn file(data: &[u8]) -> (File, PathBuf) {
    let mut file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(data).unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    (file, path)
}

/// An image that a stranger brings. What is taken holds a disk of a size that can be, and names no other
/// file: all that read its header agree. Of an archive no more comes out than went in.
pub fn images(data: &[u8]) {
    let (mut image, path) = file(data);
    let found = inspect(&image, None);
    for format in Format::ALL {
        match inspect(&image, Some(format)) {
            Ok(header) => {
                assert_eq!(header.format, format);
                assert!((1..=VIRTUAL_BYTES_MAX).contains(&header.size_bytes));
                let same = found.as_ref().is_ok_and(|found| *found == header);
                assert!(same || format == Format::Raw, "it is {format:?} only when it is told so");
            }
            Err(error) => is_said(&error.to_string()),
        }
    }
    if found.as_ref().is_ok_and(|header| header.format == Format::Qcow2) {
        let outside = qcow2::outside(&path);
        assert!(outside.as_ref().is_ok_and(|outside| *outside == Default::default()), "{outside:?}");
        assert_eq!(backing_file(&path).unwrap(), None);
    } else {
        qcow2::outside(&path).ok();
        backing_file(&path).ok();
    }
    match described(data) {
        Ok(names) => assert!(
            names.iter().all(|name| !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0'])),
            "{names:?} lead elsewhere"
        ),
        Err(error) => is_said(&error.to_string()),
    }
    Sum::of(data, "disk.vmdk").map(drop).unwrap_or_else(|error| is_said(&error.to_string()));
    if data.get(257..262) == Some(b"ustar") {
        let disk = PathBuf::from(format!("/dev/shm/skerry-fuzz-disk-{}", std::process::id()));
        let unpacked = ova::unpack(&mut image, &disk, &mut |_| true);
        let bytes = disk.metadata().map_or(0, |disk| disk.len());
        std::fs::remove_file(&disk).ok();
        assert!(bytes <= data.len() as u64, "more than there was");
        unpacked.unwrap_or_else(|error| is_said(&error.to_string()));
    }
}
