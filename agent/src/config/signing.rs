//! The keys that people sign by: the file `keys` beside the configuration. No command reads or writes it: who
//! speaks as somebody else could give them a key of their own.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use skerry_stanzas::signature::Keys;

use super::{Config, ConfigError};

impl Config {
    /// Where the keys of people are.
    pub fn keys_file(&self) -> PathBuf {
        self.file.with_file_name("keys")
    }

    /// Whose keys are known; nobody's where there is no such file.
    ///
    /// # Errors
    /// It cannot be read, is not all right, or others can write it.
    pub fn signing_keys(&self) -> Result<Keys, ConfigError> {
        let file = self.keys_file();
        read_keys(&file).map_err(|what| ConfigError { file, key: String::new(), what })
    }
}

/// Reads a file of keys.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn read_keys(file: &Path) -> Result<Keys, String> {
    let unread = |error: io::Error| format!("cannot be read: {error}");
    let metadata = match fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Keys::default()),
        Err(error) => return Err(unread(error)),
    };
    // As with the keys of ssh: what others can write says nothing.
    if metadata.mode() & 0o022 != 0 {
        return Err("others can write it, and so give anybody a key: chmod 644".into());
    }
    if ![0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid()) {
        return Err("it is neither root's nor the agent's own: chown root".into());
    }
    Keys::parse(&fs::read_to_string(file).map_err(unread)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_read_where_nobody_else_can_write_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        assert_eq!(read_keys(&file), Ok(Keys::default()), "there are none");
        fs::write(&file, "ed25519 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= juliet@example.org\n")
            .unwrap();
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert_eq!(read_keys(&file).unwrap().iter().count(), 1);
        for open in [0o664, 0o646] {
            mode(open);
            assert!(read_keys(&file).unwrap_err().contains("others can write it"));
        }
        mode(0o600);
        fs::write(&file, "ed25519 x juliet@example.org\n").unwrap();
        assert!(read_keys(&file).unwrap_err().starts_with("line 1 is no key"));
    }
}
