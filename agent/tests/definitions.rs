//! What machines are made of: changed as a whole or in parts, refused, remembered, taken back.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use hypervisor_core::definition::Definition;
use skerry_agent::asked::{Answer, Door, Target};
use skerry_stanzas::{command::Object, refusal::Reason};
use stage::*;

/// The definition as it is shown, without its fence.
async fn toml(stage: &Stage) -> String {
    let shown = stage.done(ANN, "web1: define").await;
    shown.split("```").nth(1).unwrap().trim().to_owned()
}

async fn define(stage: &Stage, toml: &str) -> Answer {
    let asked = skerry_agent::asked::Asked {
        argv: vec![format!("--toml={toml}")],
        target: Target::Machine(name("web1")),
        declaration: declaration(Object::Machine, "define"),
        door: Door::Adhoc,
        ..asked(ANN, "web1: define")
    };
    stage.agent.ask(asked, None).await
}

async fn created() -> Stage {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    stage
}

#[tokio::test]
async fn a_new_machine_has_a_nic_a_screen_and_an_agent_port() {
    let toml = toml(&created().await).await;
    for part in ["graphics = true", "guest_agent = true", "[[nics]]\nname = \"net1\"\nmodel = \"virtio\""] {
        assert!(toml.contains(part), "{toml}");
    }
}

#[tokio::test]
async fn it_is_told_typed_as_well() {
    let stage = created().await;
    for line in ["web1: define", "web1: define vcpus=2"] {
        let Answer::Done { json, .. } = stage.ask(ANN, line).await else { panic!("{line}") };
        let typed: Definition = serde_json::from_value(json["definition"].clone()).unwrap();
        assert_eq!(Ok(typed), Definition::from_toml(json["toml"].as_str().unwrap()), "{line}");
    }
}

#[tokio::test]
async fn what_is_shown_can_be_given_back_changed() {
    let stage = created().await;
    let shown = toml(&stage).await;
    assert!(done(define(&stage, &shown).await).starts_with("The definition of web1"), "nothing changed");
    let more = shown.replace("vcpus = 1", "vcpus = 3") + "\nforwards = [\"8080:80\"]\n";
    let said = done(define(&stage, &more).await);
    assert!(said.contains("vcpus: 1 → 3") && said.contains("user, forwards 8080:80"), "{said}");
    assert!(said.ends_with("In effect now."), "it does not run: {said}");
    let line = format!(
        "web1: define toml='{}' memory=1G vcpus=3",
        toml(&stage).await.replace("vcpus = 3", "vcpus = 2")
    );
    let said = stage.done(ANN, &line).await;
    assert!(said.contains("memory: 512M → 1G") && said.contains("vcpus: 3 → 2"), "{said}");
}

#[tokio::test]
async fn of_a_machine_that_runs_each_change_says_when_it_takes_effect() {
    let stage = created().await;
    stage.done(ANN, "web1: start").await;
    let said = stage.done(ANN, "web1: define cmdline=quiet note=mine").await;
    assert_eq!(
        said,
        "web1 is changed:\n- cmdline: \"console=ttyS0\" → \"quiet\" (in effect at the next start)\n- note: none → \"mine\" (in effect now)"
    );
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_may_be_meant() {
    let stage = created().await;
    let shown = toml(&stage).await;
    let with = |line: &str, instead: &str| {
        assert!(shown.contains(line), "{shown}");
        shown.replace(line, instead)
    };
    let odd = refused(define(&stage, &with("memory_mib", "memroy_mib")).await);
    assert!(odd.text.contains("is \"memory_mib\" meant?"), "{odd:?}");
    assert_eq!((odd.reason, odd.field.as_deref()), (Reason::BadRequest, Some("toml")));
    let none = refused(define(&stage, &with("vcpus = 1", "vcpus = 0")).await);
    assert!(none.text.contains("1 to 255"), "{none:?}");
    let nic = stage.refused(ANN, "web1: define nic=brigde=br0").await;
    assert_eq!(nic.field.as_deref(), Some("nic"));
    assert_eq!(toml(&stage).await, shown, "nothing of it was done");
}

#[tokio::test]
async fn a_file_of_the_host_is_no_ones_disk_unless_it_may_be_named() {
    let stage = created().await;
    let shown = toml(&stage).await;
    let disk = |path: &std::path::Path, format: &str| {
        format!("{shown}\n[[disks]]\npath = \"{}\"\nformat = \"{format}\"\n", path.display())
    };
    let secret = stage.folder.path().join("secret");
    let refusal = refused(define(&stage, &disk(&secret, "raw")).await);
    assert_eq!(refusal.reason, Reason::NotAllowed);
    assert!(refusal.hint.unwrap().contains("[files] allow"));
    // Nor by a link out of its own folder, nor as the image of a disk that is there.
    let own = stage.folder.path().join("state/machines").join(stage.id("web1").to_string());
    std::os::unix::fs::symlink(&secret, own.join("link.raw")).unwrap();
    assert_eq!(refused(define(&stage, &disk(&own.join("link.raw"), "raw")).await).reason, Reason::NotAllowed);
    let image = stage.folder.path().join("image.raw");
    std::fs::write(&image, vec![0; 1 << 20]).unwrap();
    hypervisor_core::driver::disk::overlay(&image, &own.join("thin.qcow2")).await.unwrap();
    let thin = refused(define(&stage, &disk(&own.join("thin.qcow2"), "qcow2")).await);
    assert!(thin.text.contains("image.raw"), "{thin:?}");
    std::fs::write(own.join("own.raw"), "x").unwrap();
    let said = done(define(&stage, &disk(&own.join("own.raw"), "raw")).await);
    assert!(said.contains("disk disk1: none → "), "{said}");
}

#[tokio::test]
async fn a_cd_of_the_host_is_put_in_by_its_name_and_taken_out() {
    let stage = created().await;
    stage.image("debian.qcow2");
    let mut cd = vec![0_u8; 64 << 10];
    cd[32_768..32_774].copy_from_slice(b"\x01CD001");
    std::fs::write(stage.folder.path().join("state/import/netinst.iso"), cd).unwrap();
    stage.done(ANN, "image import netinst.iso debian-12-netinst").await;
    stage.done(ANN, "image import debian.qcow2 debian-12").await;
    let said = stage.done(ANN, "web1: define cd=debian-12-netinst").await;
    assert!(said.contains("disk cd: none → ") && said.contains("sata, CD"), "{said}");
    assert!(done(stage.ask(ANN, "image list").await).contains("web1"), "who has it in uses it");
    let refusal = stage.refused(ANN, "web1: define cd=debian-12").await;
    assert!(refusal.text.contains("is a disk, not a CD"), "{refusal:?}");
    assert_eq!(stage.refused(ANN, "web1: define cd=nothing").await.reason, Reason::NotFound);
    let said = stage.done(ANN, "web1: define cd=none").await;
    assert!(said.contains("→ none"), "{said}");
}

#[tokio::test]
async fn a_folder_is_shared_only_where_it_may_be() {
    let stage = created().await;
    let shown = toml(&stage).await;
    let (open, closed) = (stage.folder.path().join("open"), stage.folder.path().join("closed"));
    for folder in [&open, &closed] {
        std::fs::create_dir_all(folder.join("in")).unwrap();
    }
    std::fs::write(open.join("file"), "x").unwrap();
    std::os::unix::fs::symlink(&closed, open.join("link")).unwrap();
    let mut config = skerry_agent::config::Config::clone(&stage.agent.config());
    config.files.allow.push(open.clone());
    stage.agent.reload(config).unwrap();
    let share = |path: &std::path::Path| {
        format!("{shown}\n[[shares]]\nname = \"src\"\npath = \"{}\"\n", path.display())
    };
    let own = stage.folder.path().join("state/machines").join(stage.id("web1").to_string());
    for not in [closed.join("in"), open.join("link"), open.join("file"), own] {
        assert_eq!(
            refused(define(&stage, &share(&not)).await).reason,
            Reason::NotAllowed,
            "{}",
            not.display()
        );
    }
    let said = done(define(&stage, &share(&open.join("in"))).await);
    assert!(said.contains("share src: none → ") && said.contains("(read-only)"), "{said}");
}

#[tokio::test]
async fn what_it_was_made_of_is_kept_and_comes_back() {
    let stage = created().await;
    let first = toml(&stage).await;
    stage.done(ANN, "web1: define vcpus=2").await;
    stage.done(ANN, "web1: define nic=forward=8080:80 memory=1G").await;
    stage.done(ANN, "web1: label x").await;
    let list = stage.done(ANN, "web1: definition list").await;
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[0].starts_with("- 1: ") && lines[0].ends_with("ann@example.org: created"), "{list}");
    assert!(lines[2].contains("memory: 512M → 1G"), "{list}");
    let said = stage.done(ANN, "web1: definition revert 1").await;
    assert!(said.contains("vcpus: 2 → 1") && said.contains("memory: 1G → 512M"), "{said}");
    assert_eq!(toml(&stage).await, first);
    assert_eq!(stage.done(ANN, "web1: definition list").await.lines().count(), 4);
    assert_eq!(stage.refused(ANN, "web1: definition revert 9").await.reason, Reason::NotFound);
    assert_eq!(stage.refused(OTTO, "web1: definition revert 1").await.reason, Reason::NotAllowed);
    // Another agent remembers the same.
    let stage = stage.restart().await;
    assert_eq!(stage.done(ANN, "web1: definition list").await.lines().count(), 4);
}

#[tokio::test]
async fn of_several_who_change_it_at_once_nobody_is_lost() {
    let stage = created().await;
    let said =
        [("note=here", "here"), ("memory=320M", "320"), ("vcpus=3", "vcpus = 3"), ("order=7", "order = 7")];
    let lines = said.map(|(asked, _)| format!("web1: define {asked}"));
    let answers = futures::future::join_all(lines.iter().map(|line| stage.ask(ANN, line))).await;
    let toml = toml(&stage).await;
    let mut done = 0;
    for (answer, (asked, words)) in answers.into_iter().zip(said) {
        match answer {
            Answer::Done { .. } => {
                assert!(toml.contains(words), "{asked} was done: {toml}");
                done += 1;
            }
            Answer::Refused(refusal) => {
                assert!(refusal.text.contains("by another command meanwhile"), "{refusal:?}");
                assert!(!toml.contains(words), "{asked} was refused: {toml}");
            }
            Answer::Confirm(_) => panic!("{asked} takes nothing away"),
        }
    }
    assert!(done > 0);
}
