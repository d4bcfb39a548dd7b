//! Where machines are kept on the disk: `machines/<id>` while they are there, `trash/<id>` after. What
//! disks of several machines have in common is in `bases`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hypervisor_core::machine::MachineId;
use skerry_stanzas::refusal::Refusal;

use crate::{machine::Grounds, reference};

/// The folders below the agent's own.
pub(crate) struct Folders {
    machines: PathBuf,
    trash: PathBuf,
    bases: PathBuf,
    linking: tokio::sync::Mutex<()>,
    /// What disks may stand on.
    pub(crate) grounds: Arc<Grounds>,
}

impl Folders {
    /// Makes what is missing, for nobody else to read.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let [machines, trash, bases] = ["machines", "trash", "bases"].map(|name| state.join(name));
        for folder in [&machines, &trash, &bases] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let grounds = Arc::new(Grounds::new(&state.canonicalize()?));
        Ok(Self { machines, trash, bases, linking: tokio::sync::Mutex::default(), grounds })
    }

    /// A machine's own.
    pub(crate) fn machine(&self, id: MachineId) -> PathBuf {
        self.machines.join(id.to_string())
    }

    /// The base that a clone makes of a disk. Its name says whose disks stand on it.
    pub(crate) fn base(&self, clone: MachineId, of: MachineId, disk: &str) -> PathBuf {
        self.bases.join(format!("{clone}-{of}-{disk}.qcow2"))
    }

    /// Every base there is.
    pub(crate) fn bases(&self) -> io::Result<Vec<PathBuf>> {
        inside(&self.bases)
    }

    /// The folders of all machines, those in the trash among them. One that is moved between the two
    /// meanwhile is in both.
    pub(crate) fn every_machine(&self) -> io::Result<Vec<PathBuf>> {
        Ok([inside(&self.machines)?, inside(&self.trash)?, inside(&self.machines)?].concat())
    }

    /// Held while a base may be there without anything that stands on it.
    pub(crate) async fn linking(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.linking.lock().await
    }

    fn trashed(&self, id: MachineId) -> PathBuf {
        self.trash.join(id.to_string())
    }

    /// Moves a machine's folder into the trash, if there is one. A failure is logged only: the store
    /// says where the machine is, and the folder follows when the agent starts.
    pub(crate) async fn to_trash(&self, id: MachineId) {
        if let Err(error) = shift(&self.machine(id), &self.trashed(id)).await {
            tracing::warn!(%id, %error, "its folder could not be moved to the trash");
        }
    }

    /// Moves it back.
    pub(crate) async fn back_from_trash(&self, id: MachineId) -> Result<(), Refusal> {
        shift(&self.trashed(id), &self.machine(id))
            .await
            .map_err(|error| reference::internal("Its folder could not be moved back", &error))
    }

    /// Removes what the trash holds of it; true when nothing is left.
    pub(crate) async fn purge(&self, id: MachineId) -> bool {
        removed(&self.trashed(id)).await && removed(&self.machine(id)).await
    }

    /// Removes a machine's folder, which was never fully made; true when nothing is left.
    pub(crate) async fn unmake(&self, id: MachineId) -> bool {
        removed(&self.machine(id)).await
    }
}

fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    folder.read_dir()?.map(|entry| Ok(entry?.path())).collect()
}

async fn shift(from: &Path, to: &Path) -> io::Result<()> {
    match tokio::fs::rename(from, to).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

async fn removed(folder: &Path) -> bool {
    match tokio::fs::remove_dir_all(folder).await {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "could not be removed");
            false
        }
    }
}
