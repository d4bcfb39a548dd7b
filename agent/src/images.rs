//! The images of this host that came by a command: their files (`images/`) and their rows in the store.
//!
//! The rows are in the store, and not in files beside the images, because a name is given, and an entry of
//! the journal closed, in transactions there; and what a name stands for is asked with every list. The file
//! comes before its row and goes after it, so that a row always has its file; a file without a row is swept
//! away when the agent starts, unless a machine stands on it.

pub(crate) mod catalogue;
mod described;
mod fetch;
mod place;
pub(crate) mod share;

use std::{collections::BTreeSet, io, os::unix::fs::DirBuilderExt, path::PathBuf};

use hypervisor_core::image::{Format, ImageError, Images, Uses};
use skerry_stanzas::refusal::{Reason, Refusal};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) use self::{
    catalogue::Catalogues,
    described::is_description,
    fetch::{Url, fetch, length, url as web_address},
    place::{Places, Source},
};
use crate::{
    agent::Agent,
    reference,
    store::{
        Store, StoreError,
        images::{self as rows, Stored},
        machines,
    },
};

/// The images of the store.
pub(crate) struct Library {
    pub(crate) files: Images,
    store: Store,
    machines: PathBuf,
    trash: PathBuf,
    bases: PathBuf,
    /// What may be pulled.
    pub(crate) catalogues: Catalogues,
    /// Read: an image is about to be used, or to come. Write: one goes.
    steady: RwLock<()>,
}

impl Library {
    /// The images below the agent's folder. What is on its way is swept away.
    pub(crate) fn open(state: &std::path::Path, store: Store) -> io::Result<Self> {
        let imports = state.join(place::IMPORT);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(imports)?;
        Ok(Self {
            files: Images::open(state.join("images"))?,
            store,
            machines: state.join("machines"),
            trash: state.join("trash"),
            bases: state.join("bases"),
            catalogues: Catalogues::default(),
            steady: RwLock::default(),
        })
    }

    /// Until it is dropped, no image goes.
    pub(crate) async fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.steady.read().await
    }

    /// Until it is dropped, no image comes or is used anew.
    pub(crate) fn clear(&self) -> Result<RwLockWriteGuard<'_, ()>, Refusal> {
        self.steady.try_write().map_err(|_| {
            Refusal::new(Reason::Unavailable, "A machine is being made of an image just now.")
                .hint("Try again when it is done: \"job list\" shows it.")
        })
    }

    /// The file of an image.
    pub(crate) fn path(&self, image: &Stored) -> PathBuf {
        self.files.path(image.digest, image.kind)
    }

    /// All of them, by name.
    pub(crate) async fn all(&self) -> Result<Vec<Stored>, StoreError> {
        self.store.run(rows::all).await
    }

    /// The one of this name.
    pub(crate) async fn named(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        let name = name.to_owned();
        self.store.run(move |connection| rows::named(connection, &name)).await
    }

    /// What stands on which image, by its disks; machines in the trash as well.
    async fn uses(&self) -> Result<Uses, Refusal> {
        // The machines twice: one may come out of the trash, or go into it, meanwhile.
        let (machines, trash, bases) = (self.machines.clone(), self.trash.clone(), self.bases.clone());
        let looked =
            tokio::task::spawn_blocking(move || Uses::look(&[&machines, &trash, &machines, &bases])).await;
        let failed = |error: &dyn std::fmt::Display| {
            let reference = reference::fresh();
            tracing::error!(%reference, %error, "the disks of the machines could not be looked at");
            reference::answer("What uses the images", &reference)
        };
        match looked {
            Ok(Ok(uses)) => Ok(uses),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The names of the machines that need each of these images: as a backing file or as a CD.
    pub(crate) async fn users(&self, images: &[Stored]) -> Result<Vec<Vec<String>>, Refusal> {
        let uses = self.uses().await?;
        let here = self.store.run(machines::all).await?;
        let trash = self.store.run(machines::trash).await?;
        let trash =
            trash.into_iter().map(|one| (format!("{} (in the trash)", one.stored.record.name), one.stored));
        let all: Vec<(String, machines::Stored)> =
            here.into_iter().map(|one| (one.record.name.to_string(), one)).chain(trash).collect();
        let users = images.iter().map(|image| {
            let path = self.path(image);
            let mut ids: BTreeSet<String> = uses.of(&path).into_iter().collect();
            let mut names = Vec::new();
            for (name, stored) in &all {
                let inserted = stored.record.definition.disks.iter().any(|disk| disk.path == path);
                if ids.remove(&stored.record.id.to_string()) || inserted {
                    names.push(name.clone());
                }
            }
            // A disk of nobody the store knows is a disk all the same.
            names.extend(ids);
            names
        });
        Ok(users.collect())
    }

    /// Removes what an earlier agent's end left: files without a row that nothing stands on.
    pub(crate) async fn tidy(&self) -> Result<(), StoreError> {
        let known: BTreeSet<PathBuf> = self.all().await?.iter().map(|image| self.path(image)).collect();
        let found = self.files.files().unwrap_or_default();
        for missing in known.iter().filter(|path| !found.contains(path)) {
            tracing::error!(file = %missing.display(), "the file of an image is gone");
        }
        let left: Vec<PathBuf> = found.into_iter().filter(|path| !known.contains(path)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let Ok(uses) = self.uses().await else { return Ok(()) };
        for path in left {
            match uses.of(&path).as_slice() {
                [] => match std::fs::remove_file(&path) {
                    Ok(()) => {
                        tracing::info!(file = %path.display(), "removed an image that was not finished")
                    }
                    Err(error) => tracing::warn!(file = %path.display(), %error, "could not be removed"),
                },
                users => tracing::error!(
                    file = %path.display(), ?users,
                    "an image that is not in the store is kept: machines stand on it"
                ),
            }
        }
        Ok(())
    }
}

impl Agent {
    /// The images people may name: configured ones and those that came by a command.
    pub(crate) async fn image_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.config().images.keys().cloned().collect();
        names.extend(self.kept_image_names().await);
        names.sort();
        names.dedup();
        names
    }

    /// The images that came by a command.
    pub(crate) async fn kept_image_names(&self) -> Vec<String> {
        let kept = self.inner.images.all().await.unwrap_or_default();
        kept.into_iter().map(|image| image.name).collect()
    }
}

/// What an image's failure is to the caller. `doing`: "debian-12 could not be imported".
pub(crate) fn refusal(doing: &str, error: ImageError) -> Refusal {
    match &error {
        error if error.is_full() => {
            let why = if matches!(error, ImageError::NoRoom { .. }) {
                error.to_string()
            } else {
                "the disk is full".into()
            };
            Refusal::new(Reason::Limit, format!("{doing}: {why}."))
                .hint("Make room on the host, then try again.")
        }
        ImageError::Unfit(why) => Refusal::new(Reason::Conflict, format!("{doing}: {why}.")),
        ImageError::Tool(said) => {
            let said = skerry_stanzas::safe::safe_line(said, 300);
            Refusal::new(Reason::Conflict, format!("{doing}: qemu-img says: {said}"))
        }
        error => reference::internal(doing, error),
    }
}

/// The format somebody named, when somebody did.
pub(crate) fn format(word: Option<&str>) -> Result<Option<Format>, Refusal> {
    let Some(word) = word else { return Ok(None) };
    word.parse().map(Some).map_err(|()| {
        let known: Vec<&str> = Format::ALL.into_iter().map(Format::word).collect();
        Refusal::new(Reason::BadRequest, format!("{word:?} is no format."))
            .field("format")
            .hint(format!("There is: {}.", known.join(", ")))
    })
}
