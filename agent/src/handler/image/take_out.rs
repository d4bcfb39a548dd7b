//! Export: an image as a file that can be taken elsewhere, in a folder for it and nowhere else.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use hypervisor_core::{
    definition::{Boot, DiskFormat, Media},
    image::{Appliance, Chain, Format, ImageError, Kind, convert, measure, pack, room_for},
};
use skerry_stanzas::{
    command::{host, machine},
    refusal::{Reason, Refusal},
    reply::ImageExported,
};
use uuid::Uuid;

use super::{Handle, image_name, name_of_file, unwritten};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    handler::storage::Held,
    images::{Places, refusal},
};

/// How the names begin of what is not finished.
const UNFINISHED: &str = ".skerry-";

/// A file on its way, in a folder of its own: gone when dropped.
struct Draft(PathBuf);

impl Draft {
    fn begin(places: &Places, job: Uuid, doing: &str) -> Result<Self, Refusal> {
        let private = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        let folder = places.out().join(format!("{UNFINISHED}{job}"));
        private(&folder).map_err(|error| unwritten(doing, &error))?;
        Ok(Self(folder))
    }

    fn file(&self) -> PathBuf {
        self.0.join("file")
    }

    /// Gives it its name. A link, and not a move: it does not write over what came there meanwhile.
    fn finish(self, file: &Path, doing: &str) -> Result<(), Refusal> {
        crash::point("export-written");
        let named = fs::hard_link(self.file(), file);
        crash::point("export-named");
        match named {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(in_the_way(file)),
            Err(error) => Err(unwritten(doing, &error)),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "could not be removed");
        }
    }
}

impl Handle<host::ImageExport> for Agent {
    async fn handle(&self, job: &Job, command: host::ImageExport) -> Result<ImageExported, Refusal> {
        let image = self.kept_image(&command.name, "name").await?;
        let places = Places::of(&self.config());
        if image.kind == Kind::Cd && command.format == "ova" {
            let text = format!("{} is a CD, and an OVA holds a disk.", image.name);
            return Err(Refusal::new(Reason::BadRequest, text).field("format").hint("Leave the format out."));
        }
        let file = places.exported(&image.name, image.kind, &command.format);
        let doing = format!("{} could not be exported", image.name);
        let draft = Draft::begin(&places, job.id, &doing)?;
        if file.exists() {
            return Err(in_the_way(&file));
        }
        let held = self.inner.images.hold().await;
        let source = self.inner.images.path(&image);
        let work = async {
            let (from, to) = match (image.kind, command.format.as_str()) {
                (Kind::Cd, _) => (Format::Raw, DiskFormat::Raw),
                (Kind::Disk, "raw") => (Format::Qcow2, DiskFormat::Raw),
                (Kind::Disk, _) => (Format::Qcow2, DiskFormat::Qcow2),
            };
            let failed = |error: ImageError| refusal(&doing, error);
            let needed = measure(&source, from, Chain::Alone).await.map_err(failed)?;
            let doing = format!("{} is being written", image.name);
            let mut progress = |percent| job.reach(&doing, percent, 100);
            if command.format == "ova" {
                let disks = [(source.clone(), from, Chain::Alone)];
                return pack_up(job, &draft, &places, sold(&image.name), &disks).await;
            }
            room_for(places.out(), needed).map_err(failed)?;
            convert((&source, from, Chain::Alone), (&draft.file(), to), &mut progress).await.map_err(failed)
        };
        job.unless_called_off(work).await?;
        drop(held);
        draft.finish(&file, &doing)?;
        let shown = file.display().to_string();
        let sentence = format!("{} is written to {shown} on this host.", image.name);
        self.note(job, "image.exported", &sentence).await?;
        Ok(ImageExported { name: image.name, file: shown, sentence })
    }
}

/// What an image is sold with: what most machines can be made with.
fn sold(name: &str) -> Appliance {
    Appliance { name: name.to_owned(), vcpus: 1, memory_mib: 1024, nics: 1 }
}

impl Handle<machine::Export> for Agent {
    async fn handle(&self, job: &Job, command: machine::Export) -> Result<ImageExported, Refusal> {
        let held = Held::by(job)?;
        if held.runs() {
            let text = format!("{} runs: its disks may change any moment.", held.name());
            return Err(Refusal::new(Reason::Conflict, text)
                .hint("Shut it down first. \"clone NAME --full\" makes another like it that is off."));
        }
        held.stands_on_its_own_ground(self)?;
        let called = match &command.name {
            Some(name) => image_name(name, "name")?,
            None => name_of_file(&format!("{}.ova", held.name())).unwrap_or_else(|| "machine".into()),
        };
        let definition = &held.record.definition;
        let disks: Vec<(PathBuf, Format, Chain)> = definition
            .disks
            .iter()
            .filter(|disk| disk.media == Media::Disk)
            .map(|disk| (disk.path.clone(), written(disk.format), Chain::Follow))
            .collect();
        if disks.is_empty() {
            let text = format!("{} has no disk: there is nothing to take along.", held.name());
            return Err(Refusal::new(Reason::Conflict, text));
        }
        let places = Places::of(&self.config());
        let file = places.exported(&called, Kind::Disk, "ova");
        let doing = format!("{} could not be exported", held.name());
        let draft = Draft::begin(&places, job.id, &doing)?;
        if file.exists() {
            return Err(in_the_way(&file));
        }
        let appliance = Appliance {
            name: held.name().to_string(),
            vcpus: definition.vcpus,
            memory_mib: definition.memory_mib,
            nics: definition.nics.len(),
        };
        job.unless_called_off(pack_up(job, &draft, &places, appliance, &disks)).await?;
        draft.finish(&file, &doing)?;
        let shown = file.display().to_string();
        let kernel = match definition.boot {
            Boot::Disk => "",
            Boot::Kernel { .. } => " Its kernel is not in it: elsewhere it has to start from its disk.",
        };
        let sentence = format!("{} is written to {shown} on this host.{kernel}", held.name());
        self.tell(job, &held.record, "machine.exported", &sentence).await;
        Ok(ImageExported { name: held.name().to_string(), file: shown, sentence })
    }
}

fn written(format: DiskFormat) -> Format {
    match format {
        DiskFormat::Raw => Format::Raw,
        DiskFormat::Qcow2 => Format::Qcow2,
    }
}

/// Makes the archive of these disks.
async fn pack_up(
    job: &Job,
    draft: &Draft,
    places: &Places,
    appliance: Appliance,
    disks: &[(PathBuf, Format, Chain)],
) -> Result<(), Refusal> {
    let doing = format!("{} could not be exported", appliance.name);
    let failed = |error: ImageError| refusal(&doing, error);
    let mut needed = 0;
    for (path, format, chain) in disks {
        // The disks, compressed, and once more in the archive: compressed they are smaller, mostly.
        needed += measure(path, *format, *chain).await.map_err(failed)?;
    }
    room_for(places.out(), needed).map_err(failed)?;
    let going = format!("{} is being written", appliance.name);
    let mut progress = |percent| job.reach(&going, percent, 100);
    pack(appliance, disks, (&draft.0, &draft.file()), &mut progress).await.map_err(failed)
}

fn in_the_way(file: &Path) -> Refusal {
    Refusal::new(Reason::Conflict, format!("There is a file {} already.", file.display()))
        .hint("Take it away first.")
}

/// Removes what an agent's end left unfinished.
pub(crate) fn tidy_exports(places: &Places) {
    for entry in fs::read_dir(places.out()).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
            && let Err(error) = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()))
        {
            tracing::warn!(file = %entry.path().display(), %error, "could not be removed");
        }
    }
}
