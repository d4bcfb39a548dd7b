//! Pull: an image by its name in a catalogue, or on another host.

use hypervisor_core::image::Digest;
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{ImageKept, ImageLine, ImageOffered},
    words::nearest,
};

use super::{
    Handle,
    bring::{Card, Wanted, already},
    image_name,
};
use crate::{
    agent::Agent,
    dispatch::Job,
    images::{Source, catalogue::Entry, web_address},
};

impl Handle<host::ImagePull> for Agent {
    async fn handle(&self, job: &Job, command: host::ImagePull) -> Result<ImageKept, Refusal> {
        if let Some((host, name)) = command.name.split_once('/') {
            return self.pull_from(job, host.trim(), name, command.called.as_deref()).await;
        }
        let wanted = image_name(&command.name, "name")?;
        let name = match &command.called {
            Some(name) => image_name(name, "called")?,
            None => wanted.clone(),
        };
        job.say(format!("{wanted} is looked for in the catalogues."));
        let (catalogue, entry) = self.in_catalogues(&wanted, command.catalogue.as_deref()).await?;
        let digest: Option<Digest> = entry.digest();
        if let Some(same) = self.inner.images.named(&name).await?
            && Some(same.digest) == digest
        {
            return Ok(already(&same));
        }
        self.free_image_name(&name, "name").await?;
        let url = web_address(&entry.url)?;
        let source = format!("{url} (catalogue {catalogue})");
        let card = Card { name, source, about: entry.about.clone(), pin: None, same_as: vec![] };
        let wanted = Wanted { digest, format: Some(entry.format()), sum: None, bytes_max: Some(entry.size) };
        self.take_in(job, card, Source::Web(url), wanted).await
    }
}

impl Agent {
    /// The image of this name, and the catalogue it is in. In several it has to be said in which.
    async fn in_catalogues(&self, name: &str, only: Option<&str>) -> Result<(String, Entry), Refusal> {
        let config = self.config();
        if config.catalogues.is_empty() {
            return Err(Refusal::new(Reason::NotFound, "This host has no catalogue of images.")
                .hint("The agent's configuration names them: [catalogues.NAME] with source and key."));
        }
        let (mut found, mut known, mut complaint) = (Vec::new(), Vec::new(), None);
        for (title, section) in config.catalogues.iter().filter(|(title, _)| only.is_none_or(|o| o == *title))
        {
            match self.inner.images.catalogues.look(title, section, &self.inner.store).await {
                Ok(catalogue) => {
                    known.extend(catalogue.images.keys().cloned());
                    found.extend(catalogue.images.get(name).map(|entry| (title.clone(), entry.clone())));
                }
                Err(refusal) => complaint = Some(refusal),
            }
        }
        match (found.len(), complaint) {
            (1, _) => {}
            (0, Some(complaint)) => return Err(complaint),
            (0, None) => {
                let text = format!("There is no image {name} in a catalogue of this host.");
                let refusal = Refusal::new(Reason::NotFound, text).field("name");
                return Err(match nearest(name, known.iter().map(String::as_str)) {
                    Some(near) => refusal.hint(format!("Did you mean {near}?")),
                    None => refusal.hint("\"image list --available\" shows what there is."),
                });
            }
            _ => {
                let titles: Vec<String> = found.into_iter().map(|(title, _)| title).collect();
                let text = format!("{name} is in several catalogues: {}.", titles.join(", "));
                return Err(Refusal::new(Reason::Conflict, text)
                    .field("catalogue")
                    .hint(format!("Say which: image pull {name} catalogue={}", titles[0])));
            }
        }
        let nothing = || Refusal::new(Reason::NotFound, format!("There is no image {name}."));
        found.pop().ok_or_else(nothing)
    }

    /// What is in the catalogues, and what is wrong with those that cannot be read.
    pub(super) async fn available(&self, here: &[ImageLine]) -> (Vec<ImageOffered>, Vec<String>) {
        let (mut offered, mut complaints) = (Vec::new(), Vec::new());
        for (title, section) in &self.config().catalogues {
            match self.inner.images.catalogues.look(title, section, &self.inner.store).await {
                Ok(catalogue) => {
                    offered.extend(catalogue.images.iter().map(|(name, entry)| ImageOffered {
                        name: name.clone(),
                        catalogue: title.clone(),
                        download_mib: entry.size.div_ceil(1 << 20),
                        format: entry.format().word().into(),
                        here: here.iter().any(|line| line.name == *name),
                        about: entry.about.clone(),
                    }));
                }
                Err(refusal) => complaints.push(refusal.text),
            }
        }
        (offered, complaints)
    }
}
