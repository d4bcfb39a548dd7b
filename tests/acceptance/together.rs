//! Machines of several hosts in one command: one code on all of them, one consent, by `skerry`.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use skerry_tests::lab::{Lab, Wanted};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);

async fn done(lab: &Lab, role: &str, arguments: &[&str]) -> Value {
    let output = lab.skerry(role, &[&["-o", "json"], arguments].concat()).await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn two_hosts(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).hosts(2).up().await.unwrap();
    for (host, machine) in [("kvm1", "a1"), ("kvm1", "a2"), ("kvm2", "b1"), ("kvm2", "b2")] {
        done(&lab, "admin", &["create", host, machine, "linux"]).await;
        done(&lab, "admin", &["start", machine]).await;
    }
    for machine in ["a1", "a2", "b1"] {
        done(&lab, "admin", &["label", machine, "prod"]).await;
    }
    for host in ["kvm1", "kvm2"] {
        let rule = ["policy", "add", "--host", host, "--name=careful", "--what=kill", "--on=label:prod"];
        done(&lab, "admin", &rule).await;
    }

    let asks = ["kill", "label:prod", "--because", "the storm comes"];
    let mut asker =
        lab.skerry_command("operator", &asks).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Each host says what waits there; the code is the same.
    let mut said = BufReader::new(asker.stderr.take().unwrap()).lines();
    let mut codes = Vec::new();
    for names in ["kill a1 and a2 needs the consent of", "kill b1 needs the consent of"] {
        let line = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().unwrap();
        assert!(line.contains(names), "{line}");
        codes.extend(line.split(['(', ')']).nth(1).map(str::to_owned));
    }
    assert!(codes[0].starts_with("operator-"), "{codes:?}");
    assert_eq!(codes[0], codes[1]);

    let requests = done(&lab, "admin", &["request", "list"]).await;
    assert_eq!(requests.to_string().matches(codes[0].as_str()).count(), 2, "one line a host: {requests}");
    let none = lab.skerry("admin", &["approve", "operator-none"]).await.unwrap();
    assert!(String::from_utf8_lossy(&none.stderr).contains("no request operator-none waits"), "{none:?}");
    done(&lab, "admin", &["approve", &codes[0]]).await;
    let ended = timeout(PATIENCE, asker.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended:?}");
    for (machine, state) in [("a1", "stopped"), ("a2", "stopped"), ("b1", "stopped"), ("b2", "running")] {
        assert_eq!(done(&lab, "admin", &["status", machine]).await["state"], state, "{machine}");
    }
    lab.down().await.unwrap();
}

#[tokio::test]
async fn one_consent_for_two_hosts_on_prosody_as_components() {
    two_hosts("prosody", "component").await;
}

#[tokio::test]
async fn one_consent_for_two_hosts_on_ejabberd_with_accounts() {
    two_hosts("ejabberd", "single").await;
}
