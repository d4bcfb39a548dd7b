//! The keys of one migration, in the machine's folder for as long as it lasts.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
};

use super::super::folder::Folder;
use crate::driver::{DriverError, migrate::Keys};

/// Where they are, in the machine's folder, in which QEMU runs.
pub(super) const FOLDER: &str = "migration";

/// Puts them there, for this user alone, under the names that QEMU wants.
pub(super) fn put(folder: &Folder, keys: &Keys, server: bool) -> Result<(), DriverError> {
    remove(folder);
    let path = folder.within(FOLDER);
    let side = if server { "server" } else { "client" };
    let write = |name: String, text: &str| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(path.join(name)).and_then(|mut file| file.write_all(text.as_bytes()))
    };
    let put = fs::DirBuilder::new().mode(0o700).create(&path).and_then(|()| {
        write("ca-cert.pem".into(), &keys.authorities)?;
        write(format!("{side}-cert.pem"), &keys.certificate)?;
        write(format!("{side}-key.pem"), &keys.key)
    });
    put.map_err(|source| DriverError::system(format!("writing {}", path.display()), source))
}

/// Takes them away; fine if there are none.
pub(super) fn remove(folder: &Folder) {
    match fs::remove_dir_all(folder.within(FOLDER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, folder = %folder.path().display(), "the keys of a migration stay");
        }
        _ => {}
    }
}
