//! What a linked clone and the machine it is of have in common: the disks that both stand on. Each is in
//! the folder of bases, only read from then on, and goes when nothing stands on it any more.

use std::{
    io,
    path::{Path, PathBuf},
};

use hypervisor_core::{
    definition::{Disk, DiskFormat},
    driver::{Disks, DriverError},
};

use super::super::disks::files;
use crate::{agent::Inner, crash};

/// Makes what a disk holds a base, and the disk a thin copy of it. At each step the disk's own path
/// leads to all that it holds.
pub(super) async fn link(disks: &dyn Disks, disk: &Disk, base: &Path) -> Result<(), DriverError> {
    tokio::fs::hard_link(&disk.path, base).await.map_err(failed)?;
    crash::point("base-made");
    let thin = thin(&disk.path);
    disks.overlay(base, &thin).await?;
    tokio::fs::rename(&thin, &disk.path).await.map_err(failed)?;
    crash::point("base-linked");
    let mut closed = tokio::fs::metadata(base).await.map_err(failed)?.permissions();
    closed.set_readonly(true);
    tokio::fs::set_permissions(base, closed).await.map_err(failed)
}

/// Undoes [`link`], however far it got. Nothing may have been written to the disk since.
///
/// # Errors
/// It cannot be told whether the disk stands on the base, or it cannot be undone: the base stays.
pub(super) async fn unlink(disks: &dyn Disks, disk: &Disk, base: &Path) -> Result<(), DriverError> {
    match tokio::fs::remove_file(thin(&disk.path)).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    if !tokio::fs::try_exists(base).await.map_err(failed)? {
        return Ok(());
    }
    // A thin copy of it that nothing was written to: the base is the same, and takes its place back.
    match disks.backing(&disk.path)?.as_deref() == Some(base) {
        true => restore(base, &disk.path).await,
        false => tokio::fs::remove_file(base).await,
    }
    .map_err(failed)
}

async fn restore(base: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    tokio::fs::set_permissions(base, std::fs::Permissions::from_mode(0o600)).await?;
    tokio::fs::rename(base, path).await
}

/// Where a thin copy is made before it takes the disk's place.
fn thin(path: &Path) -> PathBuf {
    path.with_extension("thin")
}

fn failed(source: io::Error) -> DriverError {
    DriverError::system("linking a disk to its base", source)
}

/// Removes the bases that no disk of any machine, in the trash or not, is a thin copy of. While there is
/// one disk of which that cannot be told, all of them stay.
pub(crate) async fn sweep_bases(inner: &Inner) {
    let _linking = inner.folders.linking().await;
    loop {
        let unused = match unused(inner) {
            Ok(unused) => unused,
            Err(error) => {
                return tracing::warn!(error = &error as &dyn std::error::Error, "the bases of clones stay");
            }
        };
        // One that is gone may have been all that stood on another.
        let mut removed = false;
        for base in unused {
            match tokio::fs::remove_file(&base).await {
                Ok(()) => removed = true,
                Err(error) => tracing::warn!(base = %base.display(), %error, "could not be removed"),
            }
        }
        if !removed {
            return;
        }
    }
}

fn unused(inner: &Inner) -> Result<Vec<PathBuf>, DriverError> {
    let mut bases = inner.folders.bases().map_err(failed)?;
    if bases.is_empty() {
        return Ok(bases);
    }
    let mut disks = bases.clone();
    for folder in inner.folders.every_machine().map_err(failed)? {
        disks.extend(files::all(&folder).map_err(failed)?);
    }
    // A raw disk stands on nothing.
    disks.retain(|path| files::format_of(path) == Some(DiskFormat::Qcow2));
    for disk in disks {
        if let Some(backing) = backing(inner, &disk)? {
            bases.retain(|base| *base != backing);
        }
    }
    Ok(bases)
}

/// What a disk stands on, as the driver sees it that can read it.
fn backing(inner: &Inner, path: &Path) -> Result<Option<PathBuf>, DriverError> {
    let mut answer = Err(DriverError::Unfit(format!("no driver here can read {}", path.display())));
    for disks in inner.drivers.enabled().iter().filter_map(|driver| driver.disks()) {
        answer = disks.backing(path);
        if answer.is_ok() {
            break;
        }
    }
    answer
}
