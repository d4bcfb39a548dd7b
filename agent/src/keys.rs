//! `skerry-agent key`: which keys are whose. Only here, on the host, by who may write its configuration.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use skerry_agent::config::signing::read_keys;
use skerry_stanzas::signature::{Key, Keys};

/// How a file of keys begins that is made here.
const REMARK: &str = "# Who may sign by which key. The agent reads it when it is started, and at a reload.\n";
const NEXT: &str = "The agent takes it over with: systemctl reload skerry-agent";

/// `skerry-agent key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    what: What,
    /// The configuration, beside which the file `keys` is
    #[arg(long, value_name = "FILE", default_value = super::CONFIG, global = true)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Let somebody sign by a key
    Add {
        /// What "skerry signing-key show" printed: ed25519 BASE64 juliet@example.org [a name for it]
        #[arg(value_name = "LINE", num_args = 1.., required = true)]
        line: Vec<String>,
    },
    /// List who can sign, and by which keys
    List,
    /// Take a key away: what was signed by it and waits does not count any more
    Remove {
        /// Its fingerprint (SHA256:…), or an address: all of that person's
        #[arg(value_name = "FINGERPRINT|JID")]
        which: String,
    },
}

impl KeyArgs {
    /// Does it.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let file = self.config.with_file_name("keys");
        let keys = read_keys(&file).map_err(|what| anyhow::anyhow!("{}: {what}", file.display()))?;
        match &self.what {
            What::Add { line } => add(&file, &keys, &line.join(" ")),
            What::List => {
                keys.iter().for_each(|key| println!("{}", listed(key)));
                if keys.iter().next().is_none() {
                    println!(
                        "Nobody can sign here. To change that: skerry-agent key add 'ed25519 … juliet@example.org'"
                    );
                }
                Ok(())
            }
            What::Remove { which } => remove(&file, which),
        }
    }
}

/// `SHA256:… juliet@example.org laptop`.
fn listed(key: &Key) -> String {
    let note = if key.note.is_empty() { String::new() } else { format!(" {}", key.note) };
    format!("{} {}{note}", key.public.fingerprint(), key.owner)
}

fn add(file: &Path, keys: &Keys, line: &str) -> anyhow::Result<()> {
    let key = Key::parse(line).with_context(|| "that is no key")?;
    if keys.of(&key.owner).any(|known| known.public == key.public) {
        println!("{} is there already.", listed(&key));
        return Ok(());
    }
    let mut text = read(file)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    write(file, &format!("{text}{key}\n"))?;
    println!("Added {}\nSee that the fingerprint is the one they have. {NEXT}", listed(&key));
    Ok(())
}

fn remove(file: &Path, which: &str) -> anyhow::Result<()> {
    let is_it = |line: &str| {
        Key::parse(line).ok().filter(|key| key.public.fingerprint() == which || key.owner.as_str() == which)
    };
    let text = read(file)?;
    let gone: Vec<Key> = text.lines().filter_map(is_it).collect();
    if gone.is_empty() {
        bail!("there is no key {which}; see: skerry-agent key list");
    }
    let kept: String =
        text.lines().filter(|line| is_it(line).is_none()).map(|line| format!("{line}\n")).collect();
    write(file, &kept)?;
    gone.iter().for_each(|key| println!("Removed {}", listed(key)));
    println!("{NEXT}");
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(REMARK.to_owned()),
        read => read.with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Writes the file whole, so that an agent never reads half of it.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    Keys::parse(text)?;
    let fresh = file.with_file_name("keys.new");
    let written = || {
        let mut to =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&fresh)?;
        to.write_all(text.as_bytes())?;
        to.sync_all()?;
        fs::rename(&fresh, file)?;
        fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: &str = "ed25519 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= juliet@example.org laptop";

    #[test]
    fn keys_are_added_and_removed_and_remarks_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let keys = || read_keys(&file).unwrap();
        add(&file, &keys(), KEY).unwrap();
        add(&file, &keys(), &KEY.replace("juliet", "romeo")).unwrap();
        add(&file, &keys(), KEY).unwrap();
        assert_eq!(keys().iter().count(), 2);
        assert!(
            add(&file, &keys(), "ed25519-private nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A= a@b").is_err()
        );
        assert!(remove(&file, "eve@example.org").is_err());
        remove(&file, "juliet@example.org").unwrap();
        assert_eq!(keys().iter().map(|key| key.owner.to_string()).collect::<Vec<_>>(), ["romeo@example.org"]);
        let fingerprint = keys().iter().next().unwrap().public.fingerprint();
        remove(&file, &fingerprint).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), REMARK);
    }
}
