//! An image that a description (OVF) beside it names: which file it is, and what its manifest says of it.
//!
//! What comes is its disk, and kept under the hash of that. So a checksum that somebody gives is the disk's,
//! and an address that is held to what it had first is held to the disk it leads to.

use std::io::Read as _;

use hypervisor_core::image::{ImageError, MANIFEST_BYTES_MAX, OVF_BYTES_MAX, Sum, described};
use skerry_stanzas::refusal::{Reason, Refusal};

use super::{
    Places, Source,
    fetch::{Url, small_if_any},
    refusal,
};

const DOING: &str = "It could not be imported";

/// Whether a file of this name describes an image, and is none itself.
pub(crate) fn is_description(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".ovf")
}

impl Places {
    /// The disk that is described, and what it has to be where there is a manifest.
    pub(crate) async fn described(&self, source: Source) -> Result<(Source, Option<Sum>), Refusal> {
        let own = own_name(&source);
        let manifest = [own.rsplit_once('.').map_or(&*own, |(stem, _)| stem), ".mf"].concat();
        let unfit = |error: ImageError| refusal(DOING, error);
        let manifest = match self.sibling(&source, &[&manifest])? {
            Some(manifest) => content(manifest, MANIFEST_BYTES_MAX).await?,
            None => None,
        };
        let (text, source) = match source {
            Source::File { path, file } => {
                let text = read(&file, OVF_BYTES_MAX)?;
                (text, Source::File { file, path })
            }
            Source::Web(url) => {
                let source = Source::Web(url.clone());
                (content(Source::Web(url), OVF_BYTES_MAX).await?.ok_or_else(|| missing(&own))?, source)
            }
        };
        if let Some(manifest) = &manifest
            && !Sum::of(manifest, &own).map_err(unfit)?.is_of(&text)
        {
            let text = format!("{DOING}: {own:?} is not what its manifest (.mf) says.");
            let hint = "It was damaged on its way, or changed: copy it again.";
            return Err(Refusal::new(Reason::Conflict, text).field("source").hint(hint));
        }
        let names = described(&text).map_err(unfit)?;
        let disk = names.join("/");
        let sum = manifest.map(|manifest| Sum::of(&manifest, &disk)).transpose().map_err(unfit)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let disk = self.sibling(&source, &names)?.ok_or_else(|| missing(&disk))?;
        Ok((disk, sum))
    }

    /// What is beside it.
    fn sibling(&self, source: &Source, names: &[&str]) -> Result<Option<Source>, Refusal> {
        match source {
            Source::File { path, .. } => self.beside(path, names),
            Source::Web(url) => Ok(Some(Source::Web(beside(url, names)))),
        }
    }
}

/// The name of the file itself.
fn own_name(source: &Source) -> String {
    match source {
        Source::File { path, .. } => {
            path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
        }
        Source::Web(url) => {
            let last = url.path_segments().and_then(|mut names| names.next_back()).unwrap_or_default();
            percent_encoding::percent_decode_str(last).decode_utf8_lossy().into_owned()
        }
    }
}

/// The address of what is beside an address: whatever the names are, they are names on its way there.
fn beside(url: &Url, names: &[&str]) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    if let Ok(mut way) = url.path_segments_mut() {
        way.pop().extend(names);
    }
    url
}

/// What is in a short file, where it is there.
async fn content(source: Source, bytes_max: usize) -> Result<Option<Vec<u8>>, Refusal> {
    match source {
        Source::File { file, .. } => read(&file, bytes_max).map(Some),
        Source::Web(url) => small_if_any(&url, bytes_max).await,
    }
}

fn read(file: &std::fs::File, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let failed =
        |error| refusal(DOING, ImageError::System { what: "reading the file".into(), source: error });
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() <= bytes_max {
        true => Ok(bytes),
        false => Err(refusal(DOING, ImageError::Unfit("its description or its manifest is too long".into()))),
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new(Reason::NotFound, format!("{DOING}: {name:?} is missing.")).field("source").hint(
        "What an .ovf names has to be beside it: put its disk there as well, or import the disk itself.",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_beside_an_address_stays_on_its_server_and_in_its_folder() {
        let url = Url::parse("https://example.org/images/web.ovf?token=1").unwrap();
        let beside = |names: &[&str]| beside(&url, names).to_string();
        assert_eq!(beside(&["my disk.vmdk"]), "https://example.org/images/my%20disk.vmdk");
        assert_eq!(beside(&["disks", "a?b#c.vmdk"]), "https://example.org/images/disks/a%3Fb%23c.vmdk");
        assert_eq!(beside(&["a/../../b"]), "https://example.org/images/a%2F..%2F..%2Fb");
    }
}
