//! Export: an image as a file that can be taken elsewhere, in a folder for it and nowhere else.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use hypervisor_core::{
    definition::DiskFormat,
    image::{Chain, Format, ImageError, Kind, convert, measure, room_for},
};
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::ImageExported,
};

use super::{Handle, unwritten};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    images::{Places, refusal},
};

/// How the names begin of files that are not finished.
const UNFINISHED: &str = ".skerry-";

/// A file on its way, gone when dropped.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there any more when it was finished.
        let _ = fs::remove_file(&self.0);
    }
}

impl Handle<host::ImageExport> for Agent {
    async fn handle(&self, job: &Job, command: host::ImageExport) -> Result<ImageExported, Refusal> {
        let image = self.kept_image(&command.name, "name").await?;
        let raw = command.format == "raw";
        let places = Places::of(&self.config());
        let file = places.exported(&image.name, image.kind, raw);
        let doing = format!("{} could not be exported", image.name);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(places.out());
        made.map_err(|error| unwritten(&doing, &error))?;
        if file.exists() {
            return Err(in_the_way(&file));
        }
        let draft = Draft(places.out().join(format!("{UNFINISHED}{}", job.id)));
        let held = self.inner.images.hold().await;
        let source = self.inner.images.path(&image);
        let work = async {
            let (from, to) = match (image.kind, raw) {
                (Kind::Cd, _) => (Format::Raw, DiskFormat::Raw),
                (Kind::Disk, true) => (Format::Qcow2, DiskFormat::Raw),
                (Kind::Disk, false) => (Format::Qcow2, DiskFormat::Qcow2),
            };
            let failed = |error: ImageError| refusal(&doing, error);
            let needed = measure(&source, from, Chain::Alone).await.map_err(failed)?;
            room_for(places.out(), needed).map_err(failed)?;
            let doing = format!("{} is being written", image.name);
            let mut progress = |percent| job.reach(&doing, percent, 100);
            convert((&source, from, Chain::Alone), (&draft.0, to), &mut progress).await.map_err(failed)
        };
        job.unless_called_off(work).await?;
        drop(held);
        crash::point("export-written");
        // A link, and not a move: it does not write over what came there meanwhile.
        let named = fs::hard_link(&draft.0, &file);
        crash::point("export-named");
        match named {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(in_the_way(&file)),
            Err(error) => return Err(unwritten(&doing, &error)),
        }
        let shown = file.display().to_string();
        let sentence = format!("{} is written to {shown} on this host.", image.name);
        self.note_image(job, "image.exported", &sentence).await?;
        Ok(ImageExported { name: image.name, file: shown, sentence })
    }
}

fn in_the_way(file: &Path) -> Refusal {
    Refusal::new(Reason::Conflict, format!("There is a file {} already.", file.display()))
        .hint("Take it away first.")
}

/// Removes what an agent's end left unfinished.
pub(crate) fn tidy_exports(places: &Places) {
    for entry in fs::read_dir(places.out()).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(file = %entry.path().display(), %error, "could not be removed");
        }
    }
}
