//! The fake driver's long work on disks: done at once, but for the faults a test asks for.

use std::path::Path;

use async_trait::async_trait;

use super::{
    Fake,
    disks::{Written, named},
};
use crate::driver::{
    DriverError, Launch, Progress,
    live::{Copy, LiveDisks},
};

#[async_trait]
impl LiveDisks for Fake {
    async fn begin_copies(&self, launch: &Launch, copies: &[Copy]) -> Result<(), DriverError> {
        self.world.disks(launch.id).ok_or(DriverError::NotRunning)?;
        for (name, path) in copies {
            let written = Written::read(&named(launch, name)?.path)?;
            written.alone().write_new(path)?;
        }
        Ok(())
    }

    async fn follow_copies(&self, launch: &Launch, progress: Progress<'_>) -> Result<(), DriverError> {
        self.slowly().await;
        self.world.disks(launch.id).ok_or(DriverError::NotRunning)?;
        progress(100);
        Ok(())
    }

    async fn mirror(
        &self,
        launch: &Launch,
        name: &str,
        to: &Path,
        progress: Progress<'_>,
    ) -> Result<(), DriverError> {
        Written::read(&named(launch, name)?.path)?.alone().write_new(to)?;
        self.slowly().await;
        progress(100);
        Ok(())
    }

    async fn switch(&self, launch: &Launch, _name: &str, to: &Path) -> Result<(), DriverError> {
        if self.world.disks(launch.id).is_none() {
            return Ok(());
        }
        let mut written = Written::read(to)?;
        written.in_use = true;
        written.write(to)
    }

    async fn is_in(&self, launch: &Launch, _name: &str, file: &Path) -> Result<Option<bool>, DriverError> {
        let runs = self.world.disks(launch.id).is_some();
        Ok(if runs { Some(Written::read(file).is_ok_and(|written| written.in_use)) } else { None })
    }

    async fn abandon(&self, _launch: &Launch) -> Result<(), DriverError> {
        Ok(())
    }
}
