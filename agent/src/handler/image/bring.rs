//! Import and publish: an image comes, in phases, each of which leaves nothing when it fails, is called off,
//! or the agent ends in it.

use chrono::Utc;
use hypervisor_core::{
    definition::{Definition, Disk, DiskFormat, Media},
    image::{Arrived, Digest, Format, Staged, Staging, Sum},
    lifecycle::State,
};
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{ImageKept, measure},
};

use uuid::Uuid;

use super::{Handle, image_name, name_of_file};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    images::{Places, Source, Url, fetch, format, is_description, refusal},
    store::images::{self as rows, Stored},
};

/// How much of an import is its way here; the rest is its conversion.
const WAY_PERCENT: u64 = 80;
/// How often it is said how far a download of unknown length is.
const SAY_EVERY: u64 = 32 << 20;

/// What is to be written down of an image.
pub(super) struct Card {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) about: String,
    /// The address that is held to its checksum from now on.
    pub(super) pin: Option<Url>,
    /// What it is the same as, by the word of the host it came from.
    pub(super) same_as: Vec<Digest>,
}

/// Who brings an image, and by which entry of which host's journal.
pub(super) struct Whose {
    pub(super) by: String,
    pub(super) entry: Uuid,
}

impl Whose {
    /// Of a command given here.
    pub(super) fn of(job: &Job) -> Self {
        Self { by: job.by(), entry: job.id }
    }
}

/// What is to come.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) digest: Option<Digest>,
    pub(super) format: Option<Format>,
    /// What the manifest beside its description says that it is.
    pub(super) sum: Option<Sum>,
    /// The most that may come.
    pub(super) bytes_max: Option<u64>,
}

/// What came of an import.
pub(super) enum Came {
    New(Staged),
    /// The same content is here already.
    Known(Stored),
}

impl Handle<host::ImageImport> for Agent {
    async fn handle(&self, job: &Job, command: host::ImageImport) -> Result<ImageKept, Refusal> {
        let wanted = command.sha256.as_deref().map(checksum).transpose()?;
        let format = format(command.format.as_deref())?;
        let places = Places::of(&self.config());
        let source = places.source(&command.source)?;
        let (shown, file_name) = match &source {
            Source::File { path, .. } => (path.display().to_string(), path.display().to_string()),
            Source::Web(url) => (url.to_string(), url.path().to_owned()),
        };
        let name = match &command.name {
            Some(name) => image_name(name, "name")?,
            None => name_of_file(&file_name).ok_or_else(|| {
                Refusal::new(Reason::BadRequest, "What should it be called?")
                    .field("name")
                    .hint("Give a name.")
            })?,
        };
        if let Some(same) = self.inner.images.named(&name).await?
            && Some(same.digest) == wanted
        {
            return Ok(already(&same));
        }
        self.free_image_name(&name, "name").await?;
        let (digest, pin) = self.held_to(&source, wanted).await?;
        let card =
            Card { name, source: shown, about: command.about.unwrap_or_default(), pin, same_as: vec![] };
        let (source, sum) = match is_description(&file_name) {
            true => job.unless_called_off(places.described(source)).await?,
            false => (source, None),
        };
        self.take_in(job, card, source, Wanted { digest, format, sum, bytes_max: None }).await
    }
}

impl Handle<host::ImagePublish> for Agent {
    async fn handle(&self, job: &Job, command: host::ImagePublish) -> Result<ImageKept, Refusal> {
        let machine = super::super::name(&command.machine, "machine")?;
        let machine = self.inner.machines.find(&machine).map_err(|refusal| refusal.field("machine"))?;
        let name = image_name(&command.name, "name")?;
        self.free_image_name(&name, "name").await?;
        let record = machine.record();
        if !matches!(record.state, State::Stopped(_)) {
            let text = format!("{} is {}: its disk may change any moment.", record.name, record.state.word());
            return Err(Refusal::new(Reason::Conflict, text)
                .field("machine")
                .hint(format!("Shut it down first: {} shutdown", record.name)));
        }
        let disk = disk_of(&record.definition, command.disk.as_deref())?;
        let written = match disk.format {
            DiskFormat::Raw => Format::Raw,
            DiskFormat::Qcow2 => Format::Qcow2,
        };
        let staging = self.stage(job, &name)?;
        let work = async {
            let doing = format!("{name} is being made of the disk of {}", record.name);
            let mut progress = |done, of| job.reach(&doing, done, of);
            let staged = staging.flatten((&disk.path, written), &mut progress).await;
            staged.map_err(|error| refusal(&format!("{name} could not be made"), error))
        };
        let staged = job.unless_called_off(work).await?;
        crash::point("image-finished");
        // QEMU locks its disks, other drivers may not.
        if machine.record().generation != record.generation {
            let text = format!("{} changed meanwhile: nothing was made of its disk.", record.name);
            return Err(Refusal::new(Reason::Conflict, text).hint("Leave it stopped, and try again."));
        }
        let source = format!("the disk of {}", record.name);
        let card =
            Card { name, source, about: command.about.unwrap_or_default(), pin: None, same_as: vec![] };
        self.keep_image(&Whose::of(job), staged, card, "image.published").await
    }
}

impl Agent {
    pub(super) fn stage(&self, job: &Job, name: &str) -> Result<Staging, Refusal> {
        let staged = self.inner.images.files.stage(&job.id.to_string());
        crash::point("image-staged");
        staged.map_err(|error| refusal(&format!("{name} could not be taken in"), error))
    }

    /// The checksum a source has to have, and the address that gets one now. What comes by http, anybody on
    /// its way may change.
    async fn held_to(
        &self,
        source: &Source,
        wanted: Option<Digest>,
    ) -> Result<(Option<Digest>, Option<Url>), Refusal> {
        let Source::Web(url) = source else { return Ok((wanted, None)) };
        if wanted.is_some() {
            return Ok((wanted, None));
        }
        let address = url.to_string();
        let pinned = self.inner.store.run(move |connection| rows::pinned(connection, &address)).await?;
        match pinned {
            Some(pinned) => Ok((Some(pinned), None)),
            None if url.scheme() == "https" => Ok((None, Some(url.clone()))),
            None => Err(Refusal::new(Reason::BadRequest, "By http anybody on the way could change it.")
                .field("sha256")
                .hint("Give the SHA-256 its makers publish, or use https.")),
        }
    }

    /// Brings one, and keeps it.
    pub(super) async fn take_in(
        &self,
        job: &Job,
        card: Card,
        source: Source,
        wanted: Wanted,
    ) -> Result<ImageKept, Refusal> {
        let staging = self.stage(job, &card.name)?;
        let came = job.unless_called_off(self.bring(job, &card.name, staging, source, wanted)).await?;
        crash::point("image-finished");
        match came {
            Came::Known(same) => Ok(already(&same)),
            Came::New(staged) => self.keep_image(&Whose::of(job), staged, card, "image.imported").await,
        }
    }

    async fn bring(
        &self,
        job: &Job,
        name: &str,
        staging: Staging,
        source: Source,
        wanted: Wanted,
    ) -> Result<Came, Refusal> {
        let failed = |error| refusal(&format!("{name} could not be imported"), error);
        let arrived = match source {
            Source::File { file, .. } => {
                let doing = format!("{name} is being copied");
                staging.copy(file, &mut |done, of| way(job, &doing, done, Some(of))).await.map_err(failed)?
            }
            Source::Web(url) => {
                let doing = format!("{name} is being fetched");
                fetch(&url, &staging, wanted.bytes_max, &mut |done, of| way(job, &doing, done, of)).await?
            }
        };
        crash::point("image-arrived");
        if let Some(wanted) = wanted.digest
            && wanted != arrived.digest
        {
            return Err(another(&arrived, wanted));
        }
        if let Some(sum) = wanted.sum
            && !staging.holds(sum, &arrived).await.map_err(failed)?
        {
            let text = format!("{name} could not be imported: its disk is not what its manifest (.mf) says.");
            let hint = "It was damaged on its way, or changed: copy it again.";
            return Err(Refusal::new(Reason::Conflict, text).field("source").hint(hint));
        }
        let digest = arrived.digest;
        let known = self.inner.store.run(move |connection| rows::of_content(connection, digest)).await?;
        if let Some(known) = known {
            return Ok(Came::Known(known));
        }
        let doing = format!("{name} is being converted");
        let mut progress = |done, of| {
            crash::point("image-converting");
            job.reach(&doing, WAY_PERCENT * of + (100 - WAY_PERCENT) * done, 100 * of);
        };
        staging.finish(arrived, wanted.format, &mut progress).await.map(Came::New).map_err(failed)
    }

    /// Keeps what is ready: first the file, then the row.
    pub(super) async fn keep_image(
        &self,
        whose: &Whose,
        staged: Staged,
        card: Card,
        what: &'static str,
    ) -> Result<ImageKept, Refusal> {
        let _held = self.inner.images.hold().await;
        let image = Stored {
            digest: staged.digest,
            name: card.name,
            kind: staged.kind,
            format: staged.format,
            size_bytes: staged.size_bytes,
            source: card.source,
            about: card.about,
            made_at: Utc::now(),
            made_by: whose.by.clone(),
            entry: whose.entry,
            same_as: card.same_as,
        };
        let failed = |error| refusal(&format!("{} could not be kept", image.name), error);
        self.inner.images.files.keep(staged).await.map_err(failed)?;
        crash::point("image-kept");
        let (row, pin) = (image.clone(), card.pin.clone());
        let stored = self.inner.store.run(move |connection| {
            rows::insert(connection, &row)?;
            pin.map_or(Ok(()), |url| rows::pin(connection, url.as_str(), row.digest))
        });
        if let Err(error) = stored.await {
            return self.not_kept(&image, error).await;
        }
        crash::point("image-stored");
        let size = measure::size(image.size_bytes.div_ceil(1 << 20));
        let sentence = format!("The image {} is here: a {} of {size}.", image.name, image.kind.word());
        self.note_by(whose.by.clone(), what, &sentence).await?;
        Ok(kept(&image, card.pin.is_some(), false, sentence))
    }

    /// Another command was quicker: with the same content, or with the same name.
    async fn not_kept(&self, image: &Stored, error: crate::store::StoreError) -> Result<ImageKept, Refusal> {
        let digest = image.digest;
        match self.inner.store.run(move |connection| rows::of_content(connection, digest)).await? {
            Some(same) => Ok(already(&same)),
            None => {
                if let Err(error) = self.inner.images.files.remove(image.digest, image.kind) {
                    tracing::warn!(%digest, %error, "an image that was not kept could not be removed");
                }
                Err(match error {
                    crate::store::StoreError::Taken => super::taken(&image.name, "name"),
                    error => error.into(),
                })
            }
        }
    }
}

fn way(job: &Job, doing: &str, done: u64, of: Option<u64>) {
    match of {
        Some(of) => job.reach(doing, done.saturating_mul(WAY_PERCENT), of.saturating_mul(100)),
        None if done % SAY_EVERY < 1 << 16 => {
            job.say(format!("{doing}: {} so far.", measure::size(done >> 20)))
        }
        None => {}
    }
}

pub(super) fn checksum(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|()| {
        Refusal::new(Reason::BadRequest, "That is no SHA-256.")
            .field("sha256")
            .hint("It has 64 digits and letters from a to f.")
    })
}

fn another(arrived: &Arrived, wanted: Digest) -> Refusal {
    let text = format!("It is not what it should be: its SHA-256 is {}, not {wanted}.", arrived.digest);
    Refusal::new(Reason::Conflict, text)
        .field("sha256")
        .hint("If its makers published a new one, give theirs as sha256. If not, somebody changed it.")
}

fn disk_of<'a>(definition: &'a Definition, name: Option<&str>) -> Result<&'a Disk, Refusal> {
    let found = match name {
        Some(name) => definition.disk(name),
        None => definition.disks.iter().find(|disk| disk.media == Media::Disk),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = definition.disks.iter().map(|disk| disk.name.as_str()).collect();
        let refusal = Refusal::new(Reason::NotFound, "It has no such disk.").field("disk");
        match names.as_slice() {
            [] => refusal.hint("It has none at all."),
            names => refusal.hint(format!("There is: {}.", names.join(", "))),
        }
    })
}

pub(super) fn already(image: &Stored) -> ImageKept {
    kept(image, false, true, format!("That is here already: it is the image {}.", image.name))
}

fn kept(image: &Stored, pinned: bool, already: bool, sentence: String) -> ImageKept {
    ImageKept {
        name: image.name.clone(),
        kind: image.kind.word().into(),
        size_mib: image.size_bytes.div_ceil(1 << 20),
        format: image.format.word().into(),
        sha256: image.digest.to_string(),
        pinned,
        already,
        sentence,
    }
}
