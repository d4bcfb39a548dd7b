//! A start, in phases, each with its undo. Dropping it half-way is safe: whoever drops it has the
//! driver cut the power.

use std::{path::PathBuf, sync::Arc};

use hypervisor_core::driver::{Driver, DriverError, Launch, Power};

use crate::crash;

/// Meant to be started, nothing done.
pub(crate) struct Planned {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) launch: Launch,
}

/// With a folder of its own.
struct Housed {
    planned: Planned,
    /// The folder, when this start made it.
    made: Option<PathBuf>,
}

impl Planned {
    /// Starts it; the guest runs when this returns, or nothing of the start is left.
    pub(crate) async fn start(self) -> Result<(), DriverError> {
        self.launch
            .definition
            .check()
            .map_err(|wrong| DriverError::Unfit(format!("its definition is wrong: {wrong}")))?;
        // What an earlier agent left half-done may run already: then there is nothing to do.
        if let Ok(observed) = self.driver.observe(&self.launch).await
            && observed.power == Power::Running
        {
            return Ok(());
        }
        // What an earlier life may have left is no use to this one.
        self.driver.kill(self.launch.id).await?;
        self.house().await?.launch().await
    }

    async fn house(self) -> Result<Housed, DriverError> {
        let folder = self.launch.folder.clone();
        if folder.is_dir() {
            return Ok(Housed { planned: self, made: None });
        }
        let shown = folder.display().to_string();
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(|error| DriverError::system(format!("the folder {shown} could not be made"), error))?;
        Ok(Housed { planned: self, made: Some(folder) })
    }
}

impl Housed {
    async fn launch(self) -> Result<(), DriverError> {
        crash::point("before-driver");
        let started = self.planned.driver.start(&self.planned.launch).await;
        crash::point("after-driver");
        if started.is_err() {
            self.unhouse().await;
        }
        started
    }

    async fn unhouse(self) {
        if let Some(folder) = self.made
            && let Err(error) = tokio::fs::remove_dir_all(&folder).await
        {
            tracing::warn!(folder = %folder.display(), %error, "a folder that is not needed stays");
        }
    }
}
