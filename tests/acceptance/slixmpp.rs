//! The main job by a client that nobody here wrote: slixmpp, driven by tests/clients/drive_slixmpp.py.

use std::{path::Path, process::Stdio};

use skerry_tests::lab::Wanted;

async fn the_whole_story(server: &'static str, link: &'static str) {
    drive("drive_slixmpp.py", server, link).await;
}

/// Runs a script of tests/clients/ on a lab; what it says is shown when it does not end well.
pub async fn drive(script: &str, server: &'static str, link: &'static str) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = top.join("build/python/bin/python");
    assert!(python.exists(), "slixmpp is not here: scripts/test acceptance installs it into build/python");
    let lab = Wanted::new(server, link).up().await.unwrap();
    let output = tokio::process::Command::new(python)
        .arg(top.join("tests/clients").join(script))
        .arg(lab.dir().join("lab.json"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    lab.down().await.unwrap();
}

#[tokio::test]
async fn slixmpp_does_the_main_job_with_components_on_prosody() {
    the_whole_story("prosody", "component").await;
}

#[tokio::test]
async fn slixmpp_does_the_main_job_with_components_on_ejabberd() {
    the_whole_story("ejabberd", "component").await;
}

#[tokio::test]
async fn slixmpp_does_the_main_job_with_accounts_on_prosody() {
    the_whole_story("prosody", "single").await;
}

#[tokio::test]
async fn slixmpp_does_the_main_job_with_accounts_on_ejabberd() {
    the_whole_story("ejabberd", "single").await;
}
