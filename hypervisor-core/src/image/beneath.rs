//! Opening a file that somebody named, below a folder and nowhere else: the kernel holds it, whatever links
//! there are and whoever moves them meanwhile.

use std::{
    fs::File,
    io,
    path::{Component, Path},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// Opens a plain file below `folder` for reading.
///
/// # Errors
/// `NotFound`; `CrossesDevices` when the way leads out of the folder; `InvalidInput` when it is no plain
/// file.
pub fn open_beneath(folder: &Path, file: &Path) -> io::Result<File> {
    if file.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(io::ErrorKind::CrossesDevices.into());
    }
    let folder = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // A pipe would otherwise be waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File =
        openat2(folder, file, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)?
            .into();
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, io::Read as _, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn no_way_leads_out() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("import");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(top.path().join("secret"), "secret").unwrap();
        fs::write(folder.join("sub/disk"), "disk").unwrap();
        symlink("sub/disk", folder.join("inside")).unwrap();
        symlink("../secret", folder.join("outside")).unwrap();
        symlink(top.path(), folder.join("up")).unwrap();
        for name in ["sub/disk", "./sub/disk", "inside"] {
            let mut text = String::new();
            open_beneath(&folder, Path::new(name)).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "disk", "{name}");
        }
        let kind = |name: &str| open_beneath(&folder, Path::new(name)).unwrap_err().kind();
        for name in ["../secret", "outside", "up/secret", "/etc/passwd", "sub/../../secret"] {
            assert_eq!(kind(name), io::ErrorKind::CrossesDevices, "{name}");
        }
        assert_eq!(kind("nothing"), io::ErrorKind::NotFound);
        assert_eq!(kind("sub"), io::ErrorKind::InvalidInput);
    }
}
