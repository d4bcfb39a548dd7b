//! Disks, snapshots and clones as people ask for them, on the fake driver.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{fs, path::PathBuf, time::Duration};

use skerry_agent::asked::Answer;
use skerry_stanzas::refusal::Reason;
use stage::{ANN, OTTO, Stage, VERA, asked, done, question, stage};
use tokio::sync::mpsc;

async fn with_disk() -> Stage {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    stage.done(ANN, "web1: disk create data 1G").await;
    stage
}

fn own(stage: &Stage, machine: &str) -> PathBuf {
    stage.folder.path().join("state/machines").join(stage.id(machine).0.to_string())
}

#[tokio::test]
async fn a_detached_disk_stays_until_it_is_deleted() {
    let stage = with_disk().await;
    let file = own(&stage, "web1").join("disks/data.qcow2");
    assert_eq!(
        stage.done(ANN, "web1: disk list").await,
        "1 disk:\n- data: 1 GiB (1 KiB used), qcow2, virtio"
    );
    let refusal = stage.refused(ANN, "web1: disk create data 2G").await;
    assert!(refusal.text.contains("has a disk data already"), "{refusal:?}");
    let said = stage.done(ANN, "web1: disk detach data").await;
    assert_eq!(
        said,
        "web1 no longer has its disk data. \"disk attach data\" brings it back, \"disk delete data\" deletes it."
    );
    let refusal = stage.refused(ANN, "web1: disk create data 2G").await;
    assert!(refusal.sentence().contains("disk attach data"), "{refusal:?}");
    assert!(stage.done(ANN, "web1: disk list").await.contains("detached"));
    stage.done(ANN, "web1: disk attach data name=old").await;
    assert!(stage.done(ANN, "web1: disk list").await.starts_with("1 disk:\n- old:"));
    let refusal = stage.refused(ANN, "web1: disk create data 2G").await;
    assert!(refusal.text.contains("is a disk of it twice"), "another's file is not made anew: {refusal:?}");
    assert!(file.exists());
    stage.done(ANN, "web1: disk detach old").await;
    done(stage.yes(ANN, "web1: disk delete data").await);
    assert!(!file.exists());
    assert_eq!(stage.refused(ANN, "web1: disk attach data").await.reason, Reason::NotFound);
}

#[tokio::test]
async fn a_strangers_file_is_attached_with_care_and_never_touched() {
    let stage = with_disk().await;
    stage.done(ANN, "create web2 linux").await;
    let at = |name: &str| stage.folder.path().canonicalize().unwrap().join(name);
    let text = |path: PathBuf| path.display().to_string();
    fs::copy(own(&stage, "web1").join("disks/data.qcow2"), at("theirs.qcow2")).unwrap();
    let said = stage.done(ANN, &format!("web1: disk attach {}", text(at("theirs.qcow2")))).await;
    assert!(said.ends_with("as its disk disk1."), "{said}");
    let refusal = stage.refused(ANN, &format!("web2: disk attach {}", text(at("theirs.qcow2")))).await;
    assert!(refusal.text.contains("is a disk of web1 already"), "{refusal:?}");
    let said = stage.done(ANN, "web1: disk detach disk1").await;
    assert!(said.contains("stays as it is"), "{said}");
    assert!(at("theirs.qcow2").exists());
    let missing = stage.ask(ANN, "web1: disk delete disk1").await;
    assert!(matches!(missing, Answer::Refused(_)), "{missing:?}");
    fs::copy(at("theirs.qcow2"), at("odd")).unwrap();
    std::os::unix::fs::symlink(own(&stage, "web1").join("disks/data.qcow2"), at("link.qcow2")).unwrap();
    fs::write(at("leads.qcow2"), r#"{"size_bytes":1,"backing":"/etc/shadow"}"#).unwrap();
    for (what, why) in [
        (text(at("odd")), "How"),
        (text(at("missing.raw")), "cannot be found"),
        (text(at("link.qcow2")), "one of the agent's own files"),
        (text(at("state")), "neither a file"),
        (text(at("leads.qcow2")), "needs a further file"),
        ("odd".into(), "no detached disk"),
    ] {
        let refusal = stage.refused(ANN, &format!("web2: disk attach {what}")).await;
        assert!(refusal.text.contains(why), "{what}: {refusal:?}");
    }
    assert_eq!(stage.done(ANN, "web2: disk list").await, "web2 has no disk. Make one: disk create NAME SIZE");
}

#[tokio::test]
async fn what_cannot_be_a_disk_is_refused_before_anything_is_made() {
    let stage = with_disk().await;
    for (line, why) in [
        ("web1: disk create ../x 1G", "cannot be"),
        ("web1: disk create x 1", "of what"),
        ("web1: disk create x 1K", "1M to 64T"),
        ("web1: disk create x 65T", "1M to 64T"),
        ("web1: disk resize data 1M", "never made smaller"),
        ("web1: disk resize x 2G", "has no disk"),
        ("web1: disk detach x", "has no disk"),
    ] {
        let refusal = stage.refused(ANN, line).await;
        assert!(refusal.sentence().contains(why), "{line}: {refusal:?}");
    }
    assert_eq!(fs::read_dir(own(&stage, "web1").join("disks")).unwrap().count(), 1);
    assert_eq!(stage.refused(OTTO, "web1: disk create x 1G").await.reason, Reason::NotAllowed);
    let said = stage.done(ANN, "web1: disk resize data 1G").await;
    assert_eq!(said, "The disk data of web1 has 1 GiB already.");
}

#[tokio::test]
async fn snapshots_are_gone_back_to_after_a_question_that_says_what_is_lost() {
    let stage = with_disk().await;
    assert!(stage.done(VERA, "web1: snapshot list").await.contains("has no snapshots"));
    stage.done(OTTO, "web1: snapshot take a").await;
    stage.done(ANN, "web1: disk resize data 2G").await;
    stage.done(OTTO, "web1: snapshot take b").await;
    let question = question(stage.ask(OTTO, "web1: snapshot revert a").await);
    assert_eq!(
        question.sentence,
        "This puts web1 back to the snapshot a: all that was written to data since then is lost. A new snapshot \
         taken first would keep it."
    );
    done(stage.yes(OTTO, "web1: snapshot revert a").await);
    assert!(stage.done(VERA, "web1: disk list").await.contains("- data: 1 GiB"));
    stage.done(OTTO, "web1: snapshot take c").await;
    let tree = stage.done(VERA, "web1: snapshot tree").await;
    let names: Vec<&str> = tree.lines().map(|line| line.split(" (2").next().unwrap()).collect();
    assert_eq!(names, ["```", "a", "  b", "  c", "    (now)", "```"], "{tree}");
    done(stage.yes(OTTO, "web1: snapshot delete a").await);
    let tree = stage.done(VERA, "web1: snapshot tree").await;
    assert!(tree.contains("\nb (") && tree.contains("\nc ("), "children stay: {tree}");
    for (line, why) in [
        ("web1: snapshot take c", "already"),
        ("web1: snapshot take 1", "cannot be the name"),
        ("web1: snapshot take x --memory", "does not run"),
    ] {
        let refusal = stage.refused(OTTO, line).await;
        assert!(refusal.text.contains(why), "{line}: {refusal:?}");
    }
    for n in 2..32 {
        stage.done(OTTO, &format!("web1: snapshot take n{n}")).await;
    }
    assert_eq!(stage.refused(OTTO, "web1: snapshot take more").await.reason, Reason::Limit);
}

#[tokio::test]
async fn a_machine_that_runs_goes_back_only_to_what_fits() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: start").await;
    stage.done(ANN, "web1: snapshot take disks").await;
    stage.done(ANN, "web1: snapshot take all --memory").await;
    let no = stage.refused(ANN, "web1: snapshot revert disks").await;
    assert!(no.text.contains("no memory to go on from"), "{no:?}");
    done(stage.yes(ANN, "web1: snapshot revert all").await);
    assert_eq!(stage.state("web1"), "running");
    stage.done(ANN, "web1: disk create more 1G").await;
    let no = stage::refused(stage.yes(ANN, "web1: snapshot revert all").await);
    assert!(no.text.contains("not made as it was then"), "{no:?}");
    done(stage.yes(ANN, "web1: kill").await);
    let said = done(stage.yes(ANN, "web1: snapshot revert all").await);
    assert!(said.contains("its memory of then is there"), "{said}");
}

#[tokio::test]
async fn a_clone_has_its_own_identity_and_says_what_it_stands_on() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: clone web2").await;
    stage.done(ANN, "web2: clone web3").await;
    stage.done(ANN, "web1: clone web4 --full").await;
    assert_ne!(stage.id("web1"), stage.id("web2"));
    let bases = || fs::read_dir(stage.folder.path().join("state/bases")).unwrap().count();
    assert_eq!(bases(), 2);
    for (machine, thin) in [("web1", true), ("web2", true), ("web3", true), ("web4", false)] {
        let list = stage.done(ANN, &format!("{machine}: disk list")).await;
        assert_eq!(list.contains("thin copy of"), thin, "{machine}: {list}");
    }
    let no = stage.refused(ANN, "web1: clone web2").await;
    assert_eq!(no.reason, Reason::Conflict);
    stage.done(ANN, "web1: snapshot take a").await;
    let no = stage.refused(ANN, "web1: clone web5").await;
    assert!(no.sentence().contains("--full"), "{no:?}");
    stage.done(ANN, "web1: start").await;
    assert!(stage.refused(ANN, "web1: clone web5").await.sentence().contains("--full"));
    let said = stage.done(ANN, "web1: clone web5 --full").await;
    assert!(said.contains("its disks as they were when that began"), "{said}");
    assert!(!stage.done(ANN, "web5: disk list").await.contains("thin copy of"));
}

#[tokio::test]
async fn a_clone_remembers_what_its_firmware_and_its_tpm_did() {
    let stage = with_disk().await;
    let remembered = ["uefi-vars.fd", "tpm/tpm2-00.permall"];
    fs::create_dir(own(&stage, "web1").join("tpm")).unwrap();
    for name in remembered {
        fs::write(own(&stage, "web1").join(name), name).unwrap();
    }
    fs::write(own(&stage, "web1").join("console.log"), "what web1 said").unwrap();
    stage.done(ANN, "web1: start").await;
    for name in ["web2", "web3"] {
        let said = stage.done(ANN, &format!("web1: clone {name} --full")).await;
        assert!(said.contains("Its TPM has the same secrets."), "{said}");
        for file in remembered {
            assert_eq!(fs::read_to_string(own(&stage, name).join(file)).unwrap(), file);
        }
        assert!(!own(&stage, name).join("console.log").exists());
        if stage.state("web1") == "running" {
            stage.done(ANN, "web1: shutdown").await;
        }
    }
}

#[tokio::test]
async fn nothing_starts_while_its_disks_are_worked_on() {
    let stage = with_disk().await;
    let hour = Duration::from_secs(3600);
    stage.faults().slow(hour);
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let agent = stage.agent.clone();
    let mut clone = asked(ANN, "web1: clone web2 --full");
    clone.patience = 2 * hour;
    let cloning = tokio::spawn(async move { agent.ask(clone, Some(tell)).await });
    assert_eq!(told.recv().await.as_deref(), Some("web2 is being made from web1."));
    for line in ["web1: start", "web1: disk create x 1G", "web1: snapshot take b"] {
        let refusal = stage.refused(ANN, line).await;
        assert!(refusal.text.contains("Something is being done to the disks of web1"), "{line}: {refusal:?}");
    }
    let no = stage::refused(stage.yes(ANN, "web1: delete").await);
    assert!(no.text.contains("Something is being done"), "{no:?}");
    stage.faults().slow(Duration::ZERO);
    tokio::time::pause();
    tokio::time::advance(hour).await;
    tokio::time::resume();
    done(cloning.await.unwrap());
    stage.done(ANN, "web1: start").await;
}

#[tokio::test]
async fn a_clone_that_is_called_off_leaves_the_machine_as_it_was() {
    let stage = with_disk().await;
    let disk = own(&stage, "web1").join("disks/data.qcow2");
    let before = fs::read(&disk).unwrap();
    stage.faults().slow(Duration::from_secs(3600));
    let (progress, mut told) = mpsc::channel(16);
    let cloning = tokio::spawn({
        let (agent, asked) = (stage.agent.clone(), asked(ANN, "web1: clone web2 --full"));
        async move { agent.ask(asked, Some(progress)).await }
    });
    assert_eq!(told.recv().await.unwrap(), "web2 is being made from web1.");
    let id = loop {
        let list = stage.done(ANN, "job list").await;
        let last = list.lines().last().unwrap_or_default();
        if let Some(id) = last.strip_prefix("To call one off: job cancel ") {
            break id.to_owned();
        }
        tokio::task::yield_now().await;
    };
    stage.done(ANN, &format!("job cancel {id}")).await;
    let refusal = stage::refused(cloning.await.unwrap());
    assert!(refusal.text.contains("was cancelled by ann@example.org"), "{refusal:?}");
    assert_eq!(fs::read(&disk).unwrap(), before);
    let machines = fs::read_dir(stage.folder.path().join("state/machines")).unwrap();
    assert_eq!(machines.count(), 1, "a folder without a machine");
    stage.faults().slow(Duration::ZERO);
    stage.done(ANN, "web1: clone web2").await;
}

#[tokio::test]
async fn a_guest_stands_still_while_its_disks_are_taken() {
    let stage = with_disk().await;
    assert!(stage.done(OTTO, "web1: snapshot take off quiesce=yes").await.ends_with("is taken."));
    stage.done(ANN, "web1: start").await;
    let id = stage.id("web1");
    let said = stage.done(OTTO, "web1: snapshot take still quiesce=yes").await;
    assert!(said.contains("is taken: of its disks. Its file systems stood still for "), "{said}");
    let said = stage.done(ANN, "web1: clone web2 --full quiesce=yes").await;
    assert!(said.contains("Its file systems stood still for "), "{said}");
    assert!(!stage.world.is_still(id), "it goes on");
    let said = stage.done(OTTO, "web1: snapshot take torn quiesce=no").await;
    assert!(said.contains("as a power cut would leave them. (Not quiesced: it was not to be.)"), "{said}");
    let list = stage.done(VERA, "web1: snapshot list").await;
    let torn: Vec<bool> = list.lines().skip(1).map(|line| line.contains("a power cut")).collect();
    assert_eq!(torn, [false, false, true], "{list}");
    stage.done(OTTO, "web1: fsfreeze 10m").await;
    let said = stage.done(OTTO, "web1: snapshot take before").await;
    assert!(said.ends_with("Its file systems hold still, as they did before."), "{said}");
    assert!(stage.world.is_still(id), "who asked for it before decides how long");
    let refusal = stage.refused(OTTO, "web1: snapshot take m --memory").await;
    assert!(
        refusal.sentence().contains("fsthaw"),
        "in its memory it would stand still for ever: {refusal:?}"
    );
    stage.done(OTTO, "web1: fsthaw").await;
    let refusal = stage.refused(OTTO, "web1: snapshot take m --memory quiesce=yes").await;
    assert_eq!(refusal.reason, Reason::BadRequest);
    let note = own(&stage, "web1").join("frozen.json");
    assert!(!note.exists(), "no note is left");
}

#[tokio::test]
async fn one_that_cannot_stand_still_is_said_to_and_refused_where_it_must() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: start").await;
    stage.done(ANN, "web1: pause").await;
    let refusal = stage.refused(OTTO, "web1: snapshot take a quiesce=yes").await;
    assert!(refusal.sentence().contains("is not held still: it is paused. quiesce=no"), "{refusal:?}");
    assert!(stage.done(OTTO, "web1: snapshot take a").await.ends_with("(Not quiesced: it is paused.)"));
    stage.done(ANN, "web1: resume").await;
    // One that says it does, and does not: nothing is left of what was to be whole.
    stage.faults().restless(stage.id("web1"));
    for line in ["web1: snapshot take b quiesce=yes", "web1: clone web2 --full quiesce=yes"] {
        let refusal = stage.refused(ANN, line).await;
        assert!(refusal.text.contains("it went on before all was taken"), "{line}: {refusal:?}");
    }
    assert!(!stage.done(VERA, "web1: snapshot list").await.contains("- b"));
    assert_eq!(fs::read_dir(stage.folder.path().join("state/machines")).unwrap().count(), 1);
    let said = stage.done(OTTO, "web1: snapshot take b").await;
    assert!(said.ends_with("(Not quiesced: it went on before all was taken.)"), "{said}");
}

#[tokio::test]
async fn a_guest_goes_on_when_its_copy_is_called_off() {
    let stage = with_disk().await;
    stage.done(ANN, "web1: start").await;
    let id = stage.id("web1");
    stage.faults().slow(Duration::from_millis(50));
    let (hears, mut told) = mpsc::channel(16);
    let cloning = tokio::spawn({
        let (agent, asked) = (stage.agent.clone(), asked(ANN, "web1: clone web2 --full"));
        async move { agent.ask(asked, Some(hears)).await }
    });
    told.recv().await.unwrap();
    while !stage.world.is_still(id) {
        tokio::task::yield_now().await;
    }
    // What comes next does not end.
    stage.faults().slow(Duration::from_secs(3600));
    let list = stage.done(ANN, "job list").await;
    let job = list.lines().last().unwrap().strip_prefix("To call one off: job cancel ").unwrap();
    stage.done(ANN, &format!("job cancel {job}")).await;
    stage.faults().slow(Duration::ZERO);
    while stage.world.is_still(id) {
        tokio::task::yield_now().await;
    }
    assert!(stage::refused(cloning.await.unwrap()).text.contains("was cancelled"));
}

#[tokio::test]
async fn a_disk_moves_where_files_may_be_and_back() {
    let stage = with_disk().await;
    let elsewhere = stage.folder.path().canonicalize().unwrap().join("fast");
    fs::create_dir(&elsewhere).unwrap();
    let to = elsewhere.join("web1-data.qcow2");
    let line = format!("web1: disk move data {}", to.display());
    assert_eq!(stage.refused(ANN, &line).await.reason, Reason::NotAllowed, "the configuration says where");
    assert_eq!(stage.refused(OTTO, &line).await.reason, Reason::NotAllowed);
    let mut config = skerry_agent::config::Config::clone(&stage.agent.config());
    config.files.allow = vec![elsewhere.clone()];
    stage.agent.reload(config).unwrap();

    stage.done(ANN, "web1: start").await;
    let own = own(&stage, "web1").join("disks/data.qcow2");
    let said = stage.done(ANN, &line).await;
    assert_eq!(said, format!("The disk data of web1 is in {} now.", to.display()));
    assert!(to.exists() && !own.exists(), "it is in one place");
    let said = stage.done(ANN, &line).await;
    assert!(said.contains("is there already"), "{said}");
    done(stage.yes(ANN, "web1: kill").await);
    let said = stage.done(ANN, "web1: disk move data own").await;
    assert!(said.ends_with("stays as it is, and is needed no more."), "{said}");
    assert!(to.exists() && own.exists(), "what lies elsewhere is not ours to remove");
    let refusal = stage.refused(ANN, &line).await;
    assert_eq!(refusal.reason, Reason::Conflict, "nothing is written over: {refusal:?}");
    assert_eq!(fs::read_dir(own.parent().unwrap()).unwrap().count(), 1, "no note is left");

    stage.done(ANN, "web1: snapshot take a").await;
    fs::remove_file(&to).unwrap();
    let refusal = stage.refused(ANN, &line).await;
    assert!(refusal.text.ends_with("which would stay behind: a."), "{refusal:?}");
    for (to, reason) in [("data2.qcow2", Reason::BadRequest), ("/etc/x.qcow2", Reason::NotAllowed)] {
        assert_eq!(stage.refused(ANN, &format!("web1: disk move data {to}")).await.reason, reason, "{to}");
    }
}
