//! Definitions that are changed while their machines run.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use stage::*;

#[tokio::test]
async fn what_can_be_changed_now_is_and_the_rest_says_why_not() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux memory=256M").await;
    let said = stage.done(ANN, "web1: define memory-max=1G vcpus-max=4").await;
    assert!(
        said.contains("memory at most: as it is → 1G") && said.contains("vcpus at most: as it is → 4"),
        "{said}"
    );
    stage.done(ANN, "web1: start").await;
    let said = stage.done(ANN, "web1: define memory=512M vcpus=3").await;
    assert_eq!(said, "web1: vcpus: 1 → 3, memory: 256M → 512M. In effect now.");
    let said = stage.done(ANN, "web1: define memory=768M memory-max=2G").await;
    assert_eq!(
        said,
        "web1 is changed:\n- memory: 512M → 768M (in effect now)\n\
         - memory at most: 1G → 2G (in effect at the next start)"
    );
    let said = stage.done(ANN, "web1: define memory=2G").await;
    assert_eq!(
        said,
        "web1: memory: 768M → 2G. In effect at the next start: it was started with room for 1024M."
    );
    let said = stage.done(ANN, "web1: define nic=forward=8080:80").await;
    assert!(said.ends_with("In effect now."), "{said}");
    // Taken back, it is so again.
    let said = stage.done(ANN, "web1: definition revert 3").await;
    assert!(said.contains("memory: 2G → 512M (in effect now)"), "{said}");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_in_words() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux memory=256M").await;
    stage.done(ANN, "web1: define memory-max=512M vcpus-max=2").await;
    for (line, said, field) in [
        ("memory=1G", "1G of memory do not fit memory_max_mib, which is 512M", "memory"),
        ("vcpus=3", "it has 3 virtual processors, and vcpus_max is 2: raise that", "vcpus"),
        ("memory-max=lots", "memory", "memory-max"),
    ] {
        let refusal = stage.refused(ANN, &format!("web1: define {line}")).await;
        assert!(refusal.text.contains(said), "{refusal:?}");
        assert_eq!(refusal.field.as_deref(), Some(field), "{refusal:?}");
    }
}
