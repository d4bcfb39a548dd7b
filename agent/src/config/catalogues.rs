//! `[catalogues.NAME]`: where lists of images are, and who signs them.

use serde::Deserialize;

/// `[catalogues.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CatalogueSection {
    /// An address of the web, or a file of this host; its signature is beside it, with `.minisig` added.
    pub source: String,
    /// The public key of who signs it: a line as `minisign -G` shows it.
    pub key: String,
}

impl CatalogueSection {
    /// Checks what parsing cannot see; else the key that is wrong, and what is.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let Self { source, key } = self;
        if minisign_verify::PublicKey::from_base64(key).is_err() {
            let what = "is no public key of minisign's: it is a line of 56 letters that begins with RW";
            return Err(("key", what));
        }
        if !source.starts_with('/') && crate::images::web_address(source).is_err() {
            let what = "write the address of the catalogue (https://…), or its whole path on this host";
            return Err(("source", what));
        }
        Ok(())
    }
}
