//! Images: how they come, what stands on them, how they go; and that nothing is left of what failed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use hypervisor_core::{driver::disk, image::backing_file};
use sha2::{Digest, Sha256};
use skerry_agent::asked::Answer;
use skerry_stanzas::refusal::Reason;
use stage::{
    ANN, OTTO, Stage, done, ovf, question, stage,
    web::{Fate, Web},
};
use tokio::sync::mpsc;

/// A raw disk with a boot record, 3 MiB, and different with each seed.
fn raw(seed: u8) -> Vec<u8> {
    let mut content = vec![0; 3 << 20];
    content[510..512].copy_from_slice(b"\x55\xaa");
    content[1 << 20..(1 << 20) + 4096].fill(seed);
    content
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Stage {
    fn images(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path().join("state/images"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "incoming")
            .collect();
        names.sort();
        names
    }

    fn on_the_way(&self) -> usize {
        fs::read_dir(self.folder.path().join("state/images/incoming")).unwrap().count()
    }

    fn disk(&self, machine: &str) -> PathBuf {
        self.folder.path().join(format!("state/machines/{}/disk.qcow2", self.id(machine)))
    }
}

#[tokio::test]
async fn an_image_comes_is_used_and_goes() {
    let stage = stage().await;
    stage.put("Debian 12.raw", &raw(1));
    let text = stage.done(ANN, "image import 'Debian 12.raw'").await;
    assert!(text.starts_with("The image debian-12 is here: a disk of 3 MiB."), "{text}");
    assert!(text.contains(&hash(&raw(1))));
    assert_eq!(stage.images(), [format!("sha256-{}.qcow2", hash(&raw(1)))]);
    assert_eq!(stage.on_the_way(), 0);
    let again = stage.done(ANN, "image import 'Debian 12.raw' other").await;
    assert!(again.contains("here already: it is the image debian-12"), "{again}");

    stage.done(ANN, "create web1 debian-12").await;
    let base = backing_file(&stage.disk("web1")).unwrap().unwrap();
    assert!(base.ends_with(&stage.images()[0]), "{}", base.display());
    stage.done(ANN, "create web2 debian-12 --full").await;
    assert_eq!(backing_file(&stage.disk("web2")).unwrap(), None, "a copy stands alone");
    assert_eq!(disk::describe(&stage.disk("web2")).await.unwrap().size_bytes, 3 << 20);
    let list = stage.done(OTTO, "image list").await;
    assert!(list.contains("- debian-12 (disk, 3 MiB, from raw)\n  used by web1"), "{list}");

    let refusal = stage.refused(ANN, "image delete debian-12").await;
    assert!(refusal.text.ends_with("is used by web1."), "{refusal:?}");
    done(stage.yes(ANN, "web1: delete").await);
    let refusal = stage.refused(ANN, "image delete debian-12").await;
    assert!(refusal.text.ends_with("is used by web1 (in the trash)."), "{refusal:?}");
    stage.done(ANN, "undelete web1").await;

    stage.done(ANN, "image rename debian-12 bookworm").await;
    let details = stage.done(OTTO, "image info bookworm").await;
    assert!(details.contains("Used by web1") && details.contains("SHA-256:"), "{details}");
    stage.put("two.raw", &raw(2));
    stage.done(ANN, "image import two.raw").await;
    let question = question(stage.ask(ANN, "image delete two").await);
    assert!(question.sentence.contains("deletes the image two"), "{}", question.sentence);
    assert!(done(stage.yes(ANN, "image delete two").await).contains("was deleted"));
    assert_eq!(stage.images().len(), 1);
    let refusal = stage.refused(ANN, "create web3 bookwurm").await;
    assert_eq!((refusal.reason, refusal.hint.as_deref()), (Reason::NotFound, Some("Did you mean bookworm?")));
}

#[tokio::test]
async fn a_stopped_machine_becomes_an_image_and_an_image_a_file() {
    let stage = stage().await;
    stage.put("one.raw", &raw(7));
    stage.done(ANN, "image import one.raw one").await;
    stage.done(ANN, "create golden one --start").await;
    let refusal = stage.refused(ANN, "image publish golden mine").await;
    assert!(refusal.text.contains("may change any moment"), "{refusal:?}");
    done(stage.yes(ANN, "golden: kill").await);
    stage.done(ANN, "image publish golden mine about='with all I need'").await;
    let details = stage.done(ANN, "image info mine").await;
    assert!(details.contains("From: the disk of golden (qcow2)\n") && details.contains("Used by nothing"));
    let mine = stage.folder.path().join("state/images");
    for name in stage.images() {
        assert_eq!(backing_file(&mine.join(name)).unwrap(), None, "an image stands alone");
    }
    stage.done(ANN, "image export mine format=raw").await;
    let file = stage.folder.path().join("state/export/mine.raw");
    assert_eq!(fs::read(&file).unwrap(), raw(7), "what came in at one end comes out at the other");
    assert_eq!(stage.refused(ANN, "image export mine format=raw").await.reason, Reason::Conflict);
    stage.done(ANN, "image export mine").await;
    assert_eq!(fs::read_dir(stage.folder.path().join("state/export")).unwrap().count(), 2);
}

#[tokio::test]
async fn an_archive_for_others_holds_what_we_hold_ourselves() {
    let stage = stage().await;
    stage.put("one.raw", &raw(7));
    stage.done(ANN, "image import one.raw one").await;
    stage.done(ANN, "image export one format=ova").await;
    stage.done(ANN, "create web1 one").await;
    let refusal = stage.refused(OTTO, "web1: export").await;
    assert_eq!(refusal.reason, Reason::NotAllowed);
    stage.done(ANN, "web1: start").await;
    assert!(stage.refused(ANN, "web1: export").await.text.contains("may change any moment"));
    done(stage.yes(ANN, "web1: kill").await);
    let said = stage.done(ANN, "web1: export").await;
    assert!(said.ends_with("web1.ova on this host."), "{said}");
    assert_eq!(stage.refused(ANN, "web1: export").await.reason, Reason::Conflict, "nothing is written over");
    let exports = stage.folder.path().join("state/export");
    for (name, image) in [("one", "again"), ("web1", "machine")] {
        let file = exports.join(format!("{name}.ova"));
        fs::copy(&file, stage.folder.path().join(format!("state/import/{image}.ova"))).unwrap();
        stage.done(ANN, &format!("image import {image}.ova")).await;
        stage.done(ANN, &format!("image export {image} format=raw")).await;
        assert_eq!(fs::read(exports.join(format!("{image}.raw"))).unwrap(), raw(7), "{name}");
    }
    assert_eq!(fs::read_dir(&exports).unwrap().count(), 4, "nothing unfinished is left");
}

#[tokio::test]
async fn a_cd_is_kept_as_it_is_and_no_machine_is_made_from_it() {
    let stage = stage().await;
    let mut cd = vec![0; 40_000];
    cd[32_768..32_774].copy_from_slice(b"\x01CD001");
    stage.put("debian.iso", &cd);
    stage.done(ANN, "image import debian.iso netinst").await;
    assert_eq!(stage.images(), [format!("sha256-{}.iso", hash(&cd))]);
    assert!(stage.refused(ANN, "create web1 netinst").await.text.contains("is a CD"));
}

#[tokio::test]
async fn what_names_other_files_or_leads_out_of_the_folder_is_refused_and_leaves_nothing() {
    let stage = stage().await;
    let mut thin = vec![0; 1 << 16];
    thin[..4].copy_from_slice(b"QFI\xfb");
    thin[7] = 3;
    thin[15] = 200;
    thin[19] = 11;
    thin[28] = 4;
    thin[200..211].copy_from_slice(b"/etc/shadow");
    stage.put("thin.qcow2", &thin);
    let refusal = stage.refused(ANN, "image import thin.qcow2").await;
    assert!(refusal.text.contains("backing file"), "{refusal:?}");
    let import = stage.folder.path().join("state/import");
    symlink(stage.folder.path().join("secret"), import.join("link.raw")).unwrap();
    for name in ["link.raw", "../state.db", "/etc/passwd", "thin.qcow2/x"] {
        let refusal = stage.refused(ANN, &format!("image import {name} format=raw name=x")).await;
        assert!(matches!(refusal.reason, Reason::BadRequest | Reason::NotFound), "{name}: {refusal:?}");
    }
    let wrong = "ab".repeat(32);
    stage.put("one.raw", &raw(1));
    let refusal = stage.refused(ANN, &format!("image import one.raw sha256={wrong}")).await;
    assert!(refusal.text.contains("not what it should be"), "{refusal:?}");
    assert_eq!((stage.images().len(), stage.on_the_way()), (0, 0));
    assert_eq!(stage.agent.events_after(0, 10).await.len(), 0, "nothing happened");
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let stage = stage().await;
    let content = raw(3);
    let fates = vec![Fate::BreaksAfter(1_000_000), Fate::BreaksAfter(500_000), Fate::Says("503 Busy")];
    let web = Web::serve(content.clone(), fates).await;
    let line = format!("image import {} sha256={}", web.url("/debian-12.raw?x=1"), hash(&content));
    let text = stage.done(ANN, &line).await;
    assert!(text.contains("The image debian-12 is here") && !text.contains("Nobody said"), "{text}");
    let asked = web.asked();
    assert!(matches!(asked.as_slice(), [None, Some(_), Some(_), Some(_)]), "{asked:?}");
    assert!(asked[1] < asked[2] && asked[2] == asked[3], "{asked:?}");
    assert_eq!(stage.images(), [format!("sha256-{}.qcow2", hash(&content))]);
}

#[tokio::test]
async fn what_comes_by_http_needs_a_checksum_and_has_to_have_it() {
    let stage = stage().await;
    let web = Web::serve(raw(4), vec![]).await;
    let url = web.url("/a.raw");
    let refusal = stage.refused(ANN, &format!("image import {url}")).await;
    assert_eq!((refusal.reason, refusal.field.as_deref()), (Reason::BadRequest, Some("sha256")));
    assert!(web.asked().is_empty(), "nothing was asked for");
    let refusal = stage.refused(ANN, &format!("image import {url} sha256={}", hash(b"other"))).await;
    assert!(refusal.text.contains("not what it should be"), "{refusal:?}");
    let gone = Web::serve(raw(4), vec![Fate::Says("404 Not Found")]).await;
    let line = format!("image import {} sha256={}", gone.url("/a.raw"), hash(&raw(4)));
    assert!(stage.refused(ANN, &line).await.text.contains("404 Not Found"));
    assert_eq!((stage.images().len(), stage.on_the_way()), (0, 0));
}

#[tokio::test]
async fn what_is_under_way_is_listed_and_can_be_called_off_by_who_may() {
    let stage = stage().await;
    let content = raw(5);
    let web = Web::serve(content.clone(), vec![Fate::StallsAfter(content.len() / 2)]).await;
    let line = format!("image import {} slow sha256={}", web.url("/a"), hash(&content));
    let agent = stage.agent.clone();
    let (tell, mut told) = mpsc::channel(64);
    let asked = stage::asked(ANN, &line);
    let import = tokio::spawn(async move { agent.ask(asked, Some(tell)).await });
    web.stalled.notified().await;
    // Half of it is here: 40 of the 80 percent that the way is.
    while told.recv().await.unwrap() != "slow is being fetched: 40 %" {}
    let list = stage.done(OTTO, "job list").await;
    assert!(list.contains("image import, for ann@example.org") && list.contains("40 %"), "{list}");
    let id = list.lines().last().unwrap().strip_prefix("To call one off: job cancel ").unwrap().to_owned();
    assert_eq!(stage.on_the_way(), 1);
    assert_eq!(stage.refused(OTTO, &format!("job cancel {id}")).await.reason, Reason::NotAllowed);
    let text = stage.done(ANN, &format!("job cancel {id}")).await;
    assert!(text.contains("was cancelled"), "{text}");
    match import.await.unwrap() {
        Answer::Refused(refusal) => {
            assert!(refusal.text.contains("cancelled by ann@example.org"), "{refusal:?}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((stage.images().len(), stage.on_the_way()), (0, 0), "nothing is left");
    assert_eq!(stage.done(OTTO, "job list").await, "Nothing is under way.");
    assert_eq!(stage.refused(ANN, &format!("job cancel {id}")).await.reason, Reason::NotFound);
}

#[tokio::test]
async fn who_asks_again_hears_how_far_it_is() {
    let stage = stage().await;
    let content = raw(6);
    let web = Web::serve(content.clone(), vec![Fate::StallsAfter(content.len() / 2)]).await;
    let line = format!("image import {} slow sha256={}", web.url("/a"), hash(&content));
    let mut asked = stage::asked(ANN, &line);
    asked.key = Some("stanza-1".into());
    let Answer::Done { text, json } = stage.agent.ask(asked.clone(), None).await else { panic!("refused") };
    assert_eq!(
        (json["under_way"].as_bool(), json["percent"].as_u64().is_some()),
        (Some(true), true),
        "{json}"
    );
    assert!(text.contains("slow is being fetched"), "{text}");
    let id = json["job"].as_str().unwrap();
    let again = tokio::spawn({
        let agent = stage.agent.clone();
        async move { agent.ask(asked, None).await }
    });
    stage.done(ANN, &format!("job cancel {id}")).await;
    // Farther first, perhaps; the end at last.
    match again.await.unwrap() {
        Answer::Refused(refusal) => assert!(refusal.text.contains("cancelled"), "{refusal:?}"),
        Answer::Done { json, .. } => assert_eq!(json["under_way"], true),
        other => panic!("{other:?}"),
    }
}

fn manifest(files: &[(&str, &[u8])]) -> String {
    files.iter().map(|(name, content)| format!("SHA256({name})= {}\n", hash(content))).collect()
}

#[tokio::test]
async fn a_description_leads_to_the_disk_beside_it_and_nowhere_else() {
    let stage = stage().await;
    let (one, disk) = (ovf("web-disk1.raw"), raw(1));
    stage.put("Web.ovf", one.as_bytes());
    let refusal = stage.refused(ANN, "image import Web.ovf").await;
    assert!(refusal.text.contains("\"web-disk1.raw\" is missing"), "{refusal:?}");
    stage.put("web-disk1.raw", &disk);
    let names = [("Web.ovf", one.as_bytes()), ("web-disk1.raw", &disk[..])];
    for (what, says) in [
        (manifest(&[names[0], ("web-disk1.raw", b"other")]), "its disk is not what its manifest"),
        (manifest(&[("Web.ovf", b"other"), names[1]]), "\"Web.ovf\" is not what its manifest"),
        (manifest(&names[..1]), "has no SHA-256 or SHA-1 of \"web-disk1.raw\""),
    ] {
        stage.put("Web.mf", what.as_bytes());
        let refusal = stage.refused(ANN, "image import Web.ovf").await;
        assert!(refusal.text.contains(says), "{refusal:?}");
    }
    assert_eq!((stage.images().len(), stage.on_the_way()), (0, 0));
    stage.put("Web.mf", manifest(&names).as_bytes());
    let text = stage.done(ANN, "image import Web.ovf").await;
    assert!(
        text.starts_with("The image web is here: a disk of 3 MiB.") && text.contains(&hash(&disk)),
        "{text}"
    );
    let again = stage.done(ANN, "image import web-disk1.raw").await;
    assert!(again.contains("here already: it is the image web"), "{again}");

    symlink(stage.folder.path().join("secret"), stage.folder.path().join("state/import/link.raw")).unwrap();
    for elsewhere in ["../state.db", "/etc/shadow", "file:///etc/shadow", "%2e%2e/state.db", "link.raw"] {
        stage.put("bad.ovf", ovf(elsewhere).as_bytes());
        let refusal = stage.refused(ANN, "image import bad.ovf").await;
        let known = ["elsewhere than beside it", "is no file in a folder for imports"];
        assert!(known.iter().any(|words| refusal.text.contains(words)), "{elsewhere}: {refusal:?}");
    }
    stage.put("long.ovf", &vec![b' '; (1 << 20) + 1]);
    let refusal = stage.refused(ANN, "image import long.ovf").await;
    assert!(refusal.text.contains("too long"), "{refusal:?}");
    assert_eq!((stage.images().len(), stage.on_the_way()), (1, 0));
}

#[tokio::test]
async fn a_description_of_the_web_leads_to_the_disk_beside_it() {
    let stage = stage().await;
    let (one, disk) = (ovf("disks/a%20b.raw"), raw(5));
    let files = vec![("/x/web.ovf", one.into_bytes()), ("/x/disks/a%20b.raw", disk.clone())];
    let web = Web::serve_files(files, vec![]).await;
    let url = web.url("/x/web.ovf");
    let refusal = stage.refused(ANN, &format!("image import {url}")).await;
    assert_eq!(refusal.field.as_deref(), Some("sha256"), "it comes by http");
    assert!(web.asked().is_empty(), "nothing was asked for");
    let text = stage.done(ANN, &format!("image import {url} sha256={}", hash(&disk))).await;
    assert!(text.contains("The image web is here"), "{text}");
    assert!(stage.done(ANN, "image info web").await.contains(&url), "it says where it came from");
    let wrong = stage.refused(ANN, &format!("image import {url} other sha256={}", hash(b"other"))).await;
    assert!(wrong.text.contains("not what it should be"), "{wrong:?}");
}
