//! Images by their names in signed catalogues.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{fs, path::PathBuf};

use minisign::KeyPair;
use sha2::{Digest, Sha256};
use skerry_agent::config::{CatalogueSection, Config};
use skerry_stanzas::refusal::Reason;
use stage::{
    ANN, OTTO, Stage, stage,
    web::{Fate, Web},
};

/// A raw disk with a boot record.
fn disk() -> Vec<u8> {
    let mut content = vec![0; 1 << 20];
    content[510..512].copy_from_slice(b"\x55\xaa");
    content
}

/// Who keeps a catalogue.
struct Keeper {
    keys: KeyPair,
    file: PathBuf,
}

impl Keeper {
    /// One whose catalogue the host knows.
    fn known_to(stage: &Stage, title: &str) -> Self {
        let keys = KeyPair::generate_unencrypted_keypair().unwrap();
        let file = stage.folder.path().join(format!("{title}.toml"));
        let source = file.display().to_string();
        let mut config = Config::clone(&stage.agent.config());
        config.catalogues.insert(title.into(), CatalogueSection { source, key: keys.pk.to_base64() });
        config.check().unwrap();
        stage.agent.reload(config).unwrap();
        Self { keys, file }
    }

    /// Writes an edition with the image `debian-12` of this size and with this content.
    fn writes(&self, serial: u64, url: &str, size: usize, content: &[u8]) {
        let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        self.signs(&format!(
            "serial = {serial}\nexpires = 2999-01-01T00:00:00Z\n[images.debian-12]\nurl = {url:?}\n\
             sha256 = {hash:?}\nformat = \"raw\"\nsize = {size}\nabout = \"Debian 12\"\n"
        ));
    }

    fn signs(&self, text: &str) {
        fs::write(&self.file, text).unwrap();
        let signature = minisign::sign(None, &self.keys.sk, text.as_bytes(), None, None).unwrap();
        fs::write(self.file.with_extension("toml.minisig"), signature.to_string()).unwrap();
    }
}

#[tokio::test]
async fn a_name_in_a_catalogue_is_enough() {
    let stage = stage().await;
    let none = stage.refused(ANN, "image pull debian-12").await;
    assert!(none.sentence().contains("[catalogues.NAME]"), "{none:?}");
    let content = disk();
    let web = Web::serve(content.clone(), vec![Fate::BreaksAfter(9000)]).await;
    let keeper = Keeper::known_to(&stage, "main");
    keeper.writes(1, &web.url("/debian.raw"), content.len(), &content);
    let list = stage.done(OTTO, "image list --available").await;
    assert!(list.ends_with("image pull brings:\n- debian-12 (main, 1 MiB to fetch): Debian 12"), "{list}");
    assert_eq!(stage.refused(OTTO, "image pull debian-12").await.reason, Reason::NotAllowed);
    let near = stage.refused(ANN, "image pull debian-13").await;
    assert_eq!((near.reason, near.hint.as_deref()), (Reason::NotFound, Some("Did you mean debian-12?")));
    let said = stage.done(ANN, "image pull debian-12").await;
    assert!(said.starts_with("The image debian-12 is here: a disk of 1 MiB."), "{said}");
    assert_eq!(web.asked(), [None, Some(9000)], "it went on where it broke off");
    let known = stage.done(OTTO, "image info debian-12").await;
    assert!(known.contains("(catalogue main)") && known.contains("Debian 12"), "{known}");
    assert!(stage.done(ANN, "image pull debian-12").await.contains("here already"));
    assert!(stage.done(OTTO, "image list --available").await.contains("here already"));
    stage.done(ANN, "create web1 debian-12").await;
}

#[tokio::test]
async fn a_catalogue_is_believed_for_its_signature_its_serial_and_its_time() {
    let stage = stage().await;
    let keeper = Keeper::known_to(&stage, "main");
    let content = disk();
    let web = Web::serve(content.clone(), vec![]).await;
    keeper.writes(5, &web.url("/x"), content.len(), &content);
    stage.done(OTTO, "image list --available").await;
    let old =
        (fs::read(&keeper.file).unwrap(), fs::read(keeper.file.with_extension("toml.minisig")).unwrap());
    keeper.writes(6, &web.url("/x"), content.len(), &content);
    stage.done(OTTO, "image list --available").await;

    let refused = async |part: &str| {
        let refusal = stage.refused(ANN, "image pull debian-12").await;
        assert!(refusal.reason == Reason::Conflict && refusal.text.contains(part), "{part}: {refusal:?}");
        let list = stage.done(OTTO, "image list --available").await;
        assert!(list.contains(part) && !list.contains("image pull brings"), "{list}");
    };
    fs::write(&keeper.file, &old.0).unwrap();
    refused("not by the key").await;
    fs::write(keeper.file.with_extension("toml.minisig"), &old.1).unwrap();
    refused("a newer one was seen").await;
    let stage_again = "serial = 6\nexpires = 2999-01-01T00:00:00Z\n";
    keeper.signs(stage_again);
    refused("a newer one was seen").await;
    keeper.signs("serial = 7\nexpires = 2020-01-01T00:00:00Z\n");
    refused("has expired").await;
    fs::remove_file(keeper.file.with_extension("toml.minisig")).unwrap();
    assert_eq!(stage.refused(ANN, "image pull debian-12").await.reason, Reason::Unavailable);
    assert!(web.asked().is_empty(), "nothing was fetched for any of them");
    let stage = stage.restart().await;
    assert!(stage.refused(ANN, "image pull debian-12").await.text.contains("no catalogue"));
}

#[tokio::test]
async fn what_a_catalogue_says_is_what_may_come() {
    let stage = stage().await;
    let content = disk();
    let web = Web::serve(content.clone(), vec![]).await;
    let (main, ours) = (Keeper::known_to(&stage, "main"), Keeper::known_to(&stage, "ours"));
    main.writes(1, &web.url("/x"), content.len() - 1, &content);
    ours.signs("serial = 1\nexpires = 2999-01-01T00:00:00Z\n");
    let larger = stage.refused(ANN, "image pull debian-12").await;
    assert!(larger.text.contains("larger than it may be"), "{larger:?}");
    main.writes(2, &web.url("/x"), content.len(), b"something else");
    let other = stage.refused(ANN, "image pull debian-12").await;
    assert!(other.text.contains("not what it should be"), "{other:?}");
    for keeper in [&main, &ours] {
        keeper.writes(3, &web.url("/x"), content.len(), &content);
    }
    let which = stage.refused(ANN, "image pull debian-12").await;
    assert_eq!(which.hint.as_deref(), Some("Say which: image pull debian-12 catalogue=main"));
    stage.done(ANN, "image pull debian-12 catalogue=ours called=mine").await;
    assert!(stage.done(OTTO, "image list").await.contains("- mine ("));
    let folder = stage.folder.path().join("state/images/incoming");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}
