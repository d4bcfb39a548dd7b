//! Images: what there is, under which name, and its end.

mod bring;
mod offered;
mod pull;
mod share;
mod take_out;

use std::path::{Path, PathBuf};

use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{ImageChanged, ImageDetails, ImageLine, ImageList},
    words::nearest,
};

pub(crate) use self::take_out::tidy_exports;
use super::Handle;
use crate::{
    agent::Agent,
    config::Image,
    crash,
    dispatch::Job,
    reference,
    store::{
        StoreError,
        images::{self as rows, Stored},
    },
};

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 64;

impl Handle<host::ImageList> for Agent {
    async fn handle(&self, _job: &Job, command: host::ImageList) -> Result<ImageList, Refusal> {
        let config = self.config();
        let mut images: Vec<ImageLine> =
            config.images.iter().map(|(name, image)| configured(name, image)).collect();
        let kept = self.inner.images.all().await?;
        let users = self.inner.images.users(&kept).await?;
        images.extend(kept.into_iter().zip(users).map(|(image, used_by)| ImageLine {
            name: image.name,
            kind: image.kind.word().into(),
            size_mib: image.size_bytes.div_ceil(1 << 20),
            format: Some(image.format.word().into()),
            used_by,
            about: image.about,
        }));
        images.sort_by(|one, other| one.name.cmp(&other.name));
        let (available, complaints) = match command.available {
            true => self.available(&images).await,
            false => (vec![], vec![]),
        };
        Ok(ImageList { images, available, complaints })
    }
}

impl Handle<host::ImageShow> for Agent {
    async fn handle(&self, _job: &Job, command: host::ImageShow) -> Result<ImageDetails, Refusal> {
        if let Some(image) = self.config().images.get(&command.name) {
            let line = configured(&command.name, image);
            return Ok(ImageDetails {
                name: line.name,
                kind: line.kind,
                size_mib: line.size_mib,
                file_mib: line.size_mib,
                format: None,
                sha256: None,
                source: "the configuration of the host".into(),
                made_at: None,
                made_by: None,
                used_by: vec![],
                about: line.about,
            });
        }
        let image = self.kept_image(&command.name, "name").await?;
        let used_by = self.users_of(&image).await?;
        Ok(ImageDetails {
            kind: image.kind.word().into(),
            size_mib: image.size_bytes.div_ceil(1 << 20),
            file_mib: file_bytes(&self.inner.images.path(&image)).div_ceil(1 << 20),
            format: Some(image.format.word().into()),
            sha256: Some(image.digest.to_string()),
            source: image.source,
            made_at: Some(image.made_at),
            made_by: Some(image.made_by),
            used_by,
            name: image.name,
            about: image.about,
        })
    }
}

impl Handle<host::ImageRename> for Agent {
    async fn handle(&self, job: &Job, command: host::ImageRename) -> Result<ImageChanged, Refusal> {
        let image = self.kept_image(&command.name, "name").await?;
        let to = image_name(&command.to, "to")?;
        self.free_image_name(&to, "to").await?;
        let (from, new) = (image.name.clone(), to.clone());
        let renamed = self.inner.store.run(move |connection| rows::rename(connection, &from, &new)).await;
        crash::point("image-renamed");
        match renamed {
            Ok(true) => {}
            Ok(false) => return Err(no_image(&image.name, "name", &[])),
            Err(StoreError::Taken) => return Err(taken(&to, "to")),
            Err(error) => return Err(error.into()),
        }
        let sentence = format!("The image {} is now called {to}.", image.name);
        self.note(job, "image.renamed", &sentence).await?;
        Ok(ImageChanged { name: to, sentence })
    }
}

impl Handle<host::ImageDelete> for Agent {
    async fn obstacle(&self, _job: &Job, command: &host::ImageDelete) -> Result<(), Refusal> {
        let image = self.kept_image(&command.name, "name").await?;
        self.unused(&image).await
    }

    async fn handle(&self, job: &Job, command: host::ImageDelete) -> Result<ImageChanged, Refusal> {
        let _clear = self.inner.images.clear()?;
        let image = self.kept_image(&command.name, "name").await?;
        self.unused(&image).await?;
        let digest = image.digest;
        self.inner.store.run(move |connection| rows::remove(connection, digest)).await?;
        crash::point("image-row-gone");
        // The row is what counts: a file that stays is swept away by the next agent.
        if let Err(error) = self.inner.images.files.remove(digest, image.kind) {
            tracing::warn!(%digest, %error, "the file of a deleted image could not be removed");
        }
        crash::point("image-file-gone");
        let sentence = format!("The image {} was deleted.", image.name);
        self.note(job, "image.deleted", &sentence).await?;
        Ok(ImageChanged { name: image.name, sentence })
    }

    fn warning(&self, _job: &Job, command: &host::ImageDelete) -> String {
        format!("This deletes the image {}. It cannot be brought back from here.", command.name)
    }
}

impl Agent {
    /// The image of this name that came by a command.
    pub(super) async fn kept_image(&self, name: &str, field: &str) -> Result<Stored, Refusal> {
        if let Some(image) = self.inner.images.named(name).await? {
            return Ok(image);
        }
        if self.config().images.contains_key(name) {
            let text = format!("The image {name} is in the configuration of the host.");
            return Err(Refusal::new(Reason::Conflict, text)
                .field(field)
                .hint("It can be changed there: [images.NAME]"));
        }
        Err(no_image(name, field, &self.kept_image_names().await))
    }

    async fn users_of(&self, image: &Stored) -> Result<Vec<String>, Refusal> {
        let users = self.inner.images.users(std::slice::from_ref(image)).await?;
        Ok(users.into_iter().next().unwrap_or_default())
    }

    async fn unused(&self, image: &Stored) -> Result<(), Refusal> {
        let users = self.users_of(image).await?;
        if users.is_empty() {
            return Ok(());
        }
        let text = format!("The image {} is used by {}.", image.name, users.join(", "));
        Err(Refusal::new(Reason::Conflict, text)
            .field("name")
            .hint("Delete those machines first; what is in the trash counts until it is gone for good."))
    }

    /// Refuses a name that another image has.
    async fn free_image_name(&self, name: &str, field: &str) -> Result<(), Refusal> {
        let here = self.config().images.contains_key(name) || self.inner.images.named(name).await?.is_some();
        if here { Err(taken(name, field)) } else { Ok(()) }
    }
}

/// An image of the configuration, in a list.
fn configured(name: &str, image: &Image) -> ImageLine {
    let bytes: u64 =
        [&image.kernel, &image.initrd, &image.disk].into_iter().flatten().map(|path| file_bytes(path)).sum();
    ImageLine {
        name: name.to_owned(),
        kind: if image.kernel.is_some() { "kernel" } else { "disk" }.into(),
        size_mib: bytes.div_ceil(1 << 20),
        format: None,
        used_by: vec![],
        about: image.about.clone(),
    }
}

fn file_bytes(path: &Path) -> u64 {
    path.metadata().map_or(0, |file| file.len())
}

/// Reads a name somebody gave an image: part of no path, and the same in every alphabet.
fn image_name(text: &str, field: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if is_image_name(text) {
        return Ok(text.to_owned());
    }
    let shown = skerry_stanzas::safe::safe_line(text, 80);
    Err(Refusal::new(Reason::BadRequest, format!("{shown:?} cannot be the name of an image."))
        .field(field)
        .hint("Use lower-case letters, digits and . - _, such as debian-12, 64 at most."))
}

/// Whether this can be the name of an image.
pub(crate) fn is_image_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let begins_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    begins_well && text.len() <= NAME_CHARS_MAX && text.chars().all(fits)
}

/// What the name of a file makes of a name for an image.
fn name_of_file(file: &str) -> Option<String> {
    let stem = PathBuf::from(file);
    let stem = stem.file_stem()?.to_str()?.to_lowercase();
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    image_name(&stem.chars().map(fits).take(NAME_CHARS_MAX).collect::<String>(), "name").ok()
}

pub(super) fn no_image(name: &str, field: &str, names: &[String]) -> Refusal {
    let shown = skerry_stanzas::safe::safe_line(name, 80);
    let refusal =
        Refusal::new(Reason::NotFound, format!("There is no image {shown:?} on this host.")).field(field);
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => refusal.hint(format!("Did you mean {near}?")),
        None if names.is_empty() => refusal
            .hint("It has none: bring one with image import, or name one in the agent's configuration."),
        None => refusal.hint(format!("There is: {}.", names.join(", "))),
    }
}

fn taken(name: &str, field: &str) -> Refusal {
    Refusal::new(Reason::Conflict, format!("There is an image {name} already."))
        .field(field)
        .hint("Choose another name.")
}

fn unwritten(doing: &str, error: &std::io::Error) -> Refusal {
    match error.kind() {
        std::io::ErrorKind::StorageFull => StoreError::Full.into(),
        _ => reference::internal(doing, error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_are_part_of_no_path() {
        for name in ["debian-12", "a", "24.04_lts"] {
            assert_eq!(image_name(name, "name").unwrap(), name);
        }
        for name in ["", ".", "..", "../x", "a/b", "Debian", "-o", "größer", "a b", &"a".repeat(65)] {
            assert_eq!(image_name(name, "name").unwrap_err().reason, Reason::BadRequest, "{name}");
        }
    }

    #[test]
    fn a_file_lends_its_name() {
        assert_eq!(name_of_file("/x/Debian 12.qcow2").as_deref(), Some("debian-12"));
        assert_eq!(name_of_file("debian-12-generic.amd64.raw").as_deref(), Some("debian-12-generic.amd64"));
        assert_eq!(name_of_file("/"), None);
    }
}
