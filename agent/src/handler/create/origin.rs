//! What a machine is made from: an image of the configuration, or one that came by a command.

use std::path::{Path, PathBuf};

use hypervisor_core::{
    definition::{Boot, DiskFormat},
    driver::disk,
    image::{Chain, Format, Kind, convert, measure, room_for},
    machine::MachineName,
};
use skerry_stanzas::refusal::{Reason, Refusal};

use super::no_disk;
use crate::{agent::Agent, config::Image, dispatch::Job, handler::image::no_image, images::refusal};

/// What a machine is made from.
pub(super) struct Origin {
    /// How it starts.
    pub(super) boot: Boot,
    /// The disk it gets a copy of.
    pub(super) disk: Option<PathBuf>,
    /// Whether the copy is whole.
    pub(super) full: bool,
}

impl Agent {
    /// The image of this name.
    pub(super) async fn origin(&self, name: &str, full: bool) -> Result<Origin, Refusal> {
        let config = self.config();
        if let Some(image) = config.images.get(name) {
            return Ok(configured(image, full));
        }
        match self.inner.images.named(name).await? {
            Some(image) if image.kind == Kind::Disk => {
                Ok(Origin { boot: Boot::Disk, disk: Some(self.inner.images.path(&image)), full })
            }
            Some(_) => Err(Refusal::new(Reason::Conflict, format!("The image {name} is a CD, not a disk."))
                .field("image")
                .hint("A machine is made from a disk; a CD is put into one.")),
            None => Err(no_image(name, "image", &self.image_names().await)),
        }
    }
}

fn configured(image: &Image, full: bool) -> Origin {
    let boot = match &image.kernel {
        Some(kernel) => Boot::Kernel {
            kernel: kernel.clone(),
            initrd: image.initrd.clone(),
            cmdline: image.cmdline.clone(),
        },
        None => Boot::Disk,
    };
    Origin { boot, disk: image.disk.clone(), full }
}

impl Origin {
    /// Makes the machine's disk: what differs from the image, or a whole copy of it.
    pub(super) async fn make_disk(&self, job: &Job, name: &MachineName, path: &Path) -> Result<(), Refusal> {
        let Some(image) = &self.disk else { return Ok(()) };
        match self.full {
            false => disk::overlay(image, path).await.map_err(|error| no_disk(name, error)),
            true => job.unless_called_off(copy(job, name, image, path)).await,
        }
    }
}

async fn copy(job: &Job, name: &MachineName, image: &Path, path: &Path) -> Result<(), Refusal> {
    let described = disk::describe(image).await.map_err(|error| no_disk(name, error))?;
    let format = match described.format.as_str() {
        "qcow2" => Format::Qcow2,
        _ => Format::Raw,
    };
    let doing = format!("The disk of {name} is being copied");
    let failed = |error| refusal(&format!("{name} could not be created"), error).field("image");
    let needed = measure(image, format, Chain::Follow).await.map_err(failed)?;
    room_for(path.parent().unwrap_or(path), needed).map_err(failed)?;
    let mut progress = |percent| job.reach(&doing, percent, 100);
    convert((image, format, Chain::Follow), (path, DiskFormat::Qcow2), &mut progress).await.map_err(failed)
}
