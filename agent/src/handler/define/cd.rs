//! A CD of the image store, by its name.

use hypervisor_core::{
    definition::{Definition, Disk, Media},
    image::Kind,
};
use skerry_stanzas::refusal::{Reason, Refusal};

use crate::{agent::Agent, handler::image::no_image};

/// What the drive is called that names are put into.
const DRIVE: &str = "cd";
/// The word for no CD.
pub(crate) const NONE: &str = "none";

impl Agent {
    /// Puts a CD in, or takes it out. What is named is one of the host's own images: where files may be
    /// has no say in it.
    pub(super) async fn insert_cd(&self, definition: &mut Definition, name: &str) -> Result<(), Refusal> {
        let is_drive = |disk: &Disk| disk.name == DRIVE && disk.media == Media::Cd;
        if name == NONE {
            definition.disks.retain(|disk| !is_drive(disk));
            return Ok(());
        }
        let images = &self.inner.images;
        let Some(image) = images.named(name).await? else {
            return Err(no_image(name, DRIVE, &self.cd_names().await));
        };
        if image.kind != Kind::Cd {
            let text = format!("The image {name} is a disk, not a CD.");
            return Err(Refusal::new(Reason::Conflict, text)
                .field(DRIVE)
                .hint("A machine is made from a disk: create."));
        }
        let path = images.path(&image);
        match definition.disks.iter_mut().find(|disk| is_drive(disk)) {
            Some(disk) => disk.path = path,
            None => definition.disks.push(Disk { name: DRIVE.into(), ..Disk::cd(path) }),
        }
        Ok(())
    }

    /// The CDs among the host's own images.
    pub(crate) async fn cd_names(&self) -> Vec<String> {
        let kept = self.inner.images.all().await.unwrap_or_default();
        kept.into_iter().filter(|image| image.kind == Kind::Cd).map(|image| image.name).collect()
    }

    /// Whether what was asked of a machine's drive is so.
    pub(crate) async fn is_in(&self, definition: &Definition, name: Option<&str>) -> bool {
        let Some(name) = name else { return true };
        let mut asked = definition.clone();
        self.insert_cd(&mut asked, name).await.is_ok() && asked == *definition
    }
}
