//! `skerry` as a script meets it: on both servers and both links the same words, the same JSON, the same
//! exit codes.

use std::{os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::Value;
use skerry_tests::lab::{Lab, Wanted, program, run};

/// What was answered, as JSON.
async fn json(lab: &Lab, arguments: &[&str]) -> Value {
    let output = lab.skerry("admin", &[&["-o", "json"], arguments].concat()).await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The exit code, and what was said on stderr.
async fn fails(lab: &Lab, role: &str, arguments: &[&str]) -> (i32, String) {
    let output = lab.skerry(role, arguments).await.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
fn is_list(value: &Value, names: &[&str]) {
    let rows = value.as_array().unwrap();
    let found: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(found, names);
    for (row, key) in rows.iter().flat_map(|row| ["name", "jid", "host", "state"].map(|key| (row, key))) {
        assert!(row[key].is_string(), "{key}: {row}");
    }
}

/// Two hosts, on each a `web1`, on the second a `db`: by every name, in every form.
async fn a_script_gets_along(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).hosts(2).up().await.unwrap();
    is_list(&json(&lab, &["list"]).await, &[]);
    json(&lab, &["create", "kvm1", "web1", "linux"]).await;
    json(&lab, &["create", "kvm2", "web1", "linux"]).await;
    json(&lab, &["create", "kvm2", "db", "linux"]).await;

    is_list(&json(&lab, &["list"]).await, &["web1", "db", "web1"]);
    is_list(&json(&lab, &["list", "kvm1"]).await, &["web1"]);
    is_list(&json(&lab, &["list", "kvm1", "kvm2"]).await, &["web1", "db", "web1"]);
    is_list(&json(&lab, &["list", "--host", "kvm2", "state=running"]).await, &[]);

    let host = lab.host().jid.clone();
    assert_eq!(json(&lab, &["start", "db"]).await["state"], "running");
    assert_eq!(json(&lab, &["start", &format!("{host}/web1")]).await["state"], "running");
    assert_eq!(json(&lab, &["status", "kvm1/web1"]).await["host"], host.as_str());
    let both = json(&lab, &["status", "kvm1/web1", "db"]).await;
    assert_eq!(both.as_array().unwrap().len(), 2);
    if link == "component" {
        assert_eq!(json(&lab, &["status", &format!("web1@{host}")]).await["name"], "web1");
    }

    let (code, said) = fails(&lab, "admin", &["start", "web1"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("kvm1/web1") && said.contains("kvm2/web1"), "{said}");

    exit_codes(&lab).await;
    waiting(&lab).await;
}

async fn exit_codes(lab: &Lab) {
    let is_component = !lab.host().jid.contains('@');
    for (role, arguments, code, says) in [
        ("admin", vec!["start", "nosuch"], 1, "no machine"),
        ("admin", vec!["create", "kvm2", "db", "linux"], 1, "already"),
        ("admin", vec!["start"], 2, "which machine"),
        ("admin", vec!["start", "db", "--no-such"], 2, "no-such"),
        ("admin", vec!["kill", "db"], 2, "--yes"),
        ("viewer", vec!["shutdown", "db"], 3, "operator"),
        // A stranger finds a component among the server's services, an account nowhere.
        ("stranger", vec!["list"], if is_component { 3 } else { 4 }, ""),
    ] {
        let (got, said) = fails(lab, role, &arguments).await;
        assert_eq!(got, code, "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    assert_eq!(json(lab, &["status", "db"]).await["state"], "running", "nothing was done");
}

/// The host answers "under way" after 15 s: `skerry` waits for the end all the same, or does not.
async fn waiting(lab: &Lab) {
    json(lab, &["kill", "db", "--yes"]).await;
    json(lab, &["define", "db", "cmdline=fake.start=17s"]).await;
    let started = json(lab, &["start", "db"]).await;
    assert_eq!(started["state"], "running", "{started}");
    assert!(started.get("under_way").is_none(), "{started}");
}

#[tokio::test]
async fn a_script_gets_along_on_prosody_as_a_component() {
    a_script_gets_along("prosody", "component").await;
}

#[tokio::test]
async fn a_script_gets_along_on_prosody_with_an_account() {
    a_script_gets_along("prosody", "single").await;
}

#[tokio::test]
async fn a_script_gets_along_on_ejabberd_as_a_component() {
    a_script_gets_along("ejabberd", "component").await;
}

#[tokio::test]
async fn a_script_gets_along_on_ejabberd_with_an_account() {
    a_script_gets_along("ejabberd", "single").await;
}

/// The admin's configuration with its lines about the password replaced.
fn with_password(lab: &Lab, line: &str) -> (tempfile::TempDir, String) {
    let text = std::fs::read_to_string(&lab.user("admin").config).unwrap();
    let kept: Vec<&str> = text.lines().filter(|kept| !kept.starts_with("password")).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, format!("{line}\n{}\n", kept.join("\n"))).unwrap();
    let file = file.display().to_string();
    (folder, file)
}

#[tokio::test]
async fn passwords_come_from_commands_and_wrong_ones_are_told_in_a_sentence() {
    for server in ["prosody", "ejabberd"] {
        let mut lab = Wanted::new(server, "component").up().await.unwrap();
        let password = lab.user("admin").password.clone();
        let folder = tempfile::tempdir().unwrap();
        let command = folder.path().join("password");
        std::fs::write(&command, format!("#!/bin/sh\necho '{password}'\n")).unwrap();
        std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o700)).unwrap();

        let (_kept, config) = with_password(&lab, &format!("password_command = {:?}", command));
        let output = run(&["--config", &config, "list"]).await.unwrap();
        assert!(output.status.success(), "{output:?}");

        let (_kept, config) = with_password(&lab, "password_command = \"echo wrong\"");
        let output = run(&["--config", &config, "list"]).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.lines().next().unwrap().contains("refused the password"), "{said}");

        lab.crash("kvm1").await.unwrap();
        assert_eq!(fails(&lab, "admin", &["list"]).await.0, 4);
        lab.start("kvm1").await.unwrap();
        lab.crash("server").await.unwrap();
        let (code, said) = fails(&lab, "admin", &["list"]).await;
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("cannot reach the server"), "{said}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let lab = Wanted::new("prosody", "component").machines(3).up().await.unwrap();
    let mut child = tokio::process::Command::new(program("skerry"))
        .args(["--config", &lab.user("admin").config.display().to_string(), "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
}
