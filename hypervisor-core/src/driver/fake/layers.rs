//! The fake driver's layers: of what is in a disk it knows the size.

use std::path::Path;

use async_trait::async_trait;

use super::{
    Fake,
    disks::{Written, named},
    world::held,
};
use crate::{
    definition::DiskFormat,
    driver::{
        Driver, DriverError, Launch, Power, Progress,
        layers::{Layer, Layers, Merge},
    },
};

#[async_trait]
impl Layers for Fake {
    async fn cover(
        &self,
        _launch: &Launch,
        _disk: &str,
        base: (&Path, DiskFormat),
        path: &Path,
    ) -> Result<(), DriverError> {
        self.slowly().await;
        let below = Written::read(base.0)?;
        Written { backing: Some(base.0.to_owned()), ..below.alone() }.write_new(path)
    }

    async fn layer(&self, launch: &Launch, tops: &[Layer]) -> Result<(), DriverError> {
        let runs = self.world.disks(launch.id);
        let has = |name| runs.as_ref().is_none_or(|plugged| plugged.contains(name));
        if let Some((name, _)) = tops.iter().find(|(name, _)| !has(name)) {
            return Err(DriverError::Unfit(format!("it has its disk {name} from its next start on")));
        }
        for (name, path) in tops {
            let below = &named(launch, name)?.path;
            for (file, in_use) in [(below, false), (path, runs.is_some())] {
                Written { in_use, ..Written::read(file)? }.write(file)?;
            }
        }
        Ok(())
    }

    async fn merge(
        &self,
        _launch: &Launch,
        merge: &Merge,
        progress: Progress<'_>,
    ) -> Result<(), DriverError> {
        self.slowly().await;
        let from = Written::read(&merge.from)?;
        let into = Written::read(&merge.into)?;
        Written { size_bytes: from.size_bytes, ..into }.write(&merge.into)?;
        for above in &merge.above {
            Written { backing: Some(merge.into.clone()), ..Written::read(above)? }.write(above)?;
        }
        progress(100);
        Ok(())
    }

    async fn turn(&self, launch: &Launch, merge: &Merge) -> Result<(), DriverError> {
        if self.world.disks(launch.id).is_none() || !merge.above.is_empty() {
            return Ok(());
        }
        for (file, in_use) in [(&merge.from, false), (&merge.into, true)] {
            Written { in_use, ..Written::read(file)? }.write(file)?;
        }
        if self.observe(launch).await?.power == Power::Running {
            self.world.hold(launch.id, true)?;
            held(&self.turned).push(launch.id);
        }
        Ok(())
    }

    async fn go_on(&self, launch: &Launch) -> Result<(), DriverError> {
        let is_turned = held(&self.turned).extract_if(.., |id| *id == launch.id).next().is_some();
        if is_turned { self.world.hold(launch.id, false) } else { Ok(()) }
    }
}
