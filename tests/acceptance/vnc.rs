//! The screen of a real guest in a viewer that nobody here wrote (gvnccapture, of gtk-vnc), through real
//! servers: byte by byte what QEMU draws.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use skerry_tests::lab::{Lab, Wanted};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::real_guests::Guest;

/// `skerry vnc web1`, and the display it is at. Killed when dropped.
struct Tunnel {
    _process: Child,
    display: u64,
}

impl Tunnel {
    async fn open(lab: &Lab, role: &str, more: &[&str]) -> Self {
        let mut command = lab.skerry_command(role, &[&["vnc", "web1", "-o", "json"], more].concat());
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("skerry vnc said {line:?}"));
        assert_eq!(told["machine"], "web1");
        assert_eq!(told["view_only"], role == "viewer");
        Self { _process: process, display: told["display"].as_u64().unwrap() }
    }

    /// What a viewer sees; whether it saw anything.
    async fn capture(&self, file: &Path) -> bool {
        let mut viewer = Command::new("gvnccapture");
        viewer.arg("--quiet").arg(format!("127.0.0.1:{}", self.display)).arg(file);
        let done = viewer.stdin(Stdio::null()).output().await;
        done.expect("gvnccapture, of Debian's gvncviewer: scripts/test installs it").status.success()
    }
}

fn pixels(file: &Path) -> (u32, u32, Vec<u8>) {
    let mut reader =
        png::Decoder::new(std::io::BufReader::new(std::fs::File::open(file).unwrap())).read_info().unwrap();
    let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut buffer).unwrap();
    buffer.truncate(frame.buffer_size());
    let channels = frame.color_type.samples();
    let rgb = buffer.chunks_exact(channels).flat_map(|pixel| pixel[..3].to_vec()).collect();
    (frame.width, frame.height, rgb)
}

/// A viewer sees what a screenshot shows; a cursor may blink between the two.
async fn sees_the_screen(lab: &Lab, tunnel: &Tunnel, folder: &Path) {
    let (seen, drawn) = (folder.join("seen.png"), folder.join("drawn.png"));
    for _ in 0..50 {
        assert!(tunnel.capture(&seen).await, "the viewer saw nothing");
        let out = drawn.display().to_string();
        assert!(lab.skerry("viewer", &["screenshot", "web1", "--out", &out]).await.unwrap().status.success());
        let (seen, drawn) = (pixels(&seen), pixels(&drawn));
        assert!(seen.2.iter().any(|byte| *byte != seen.2[0]), "there is something to see");
        if seen == drawn {
            return;
        }
    }
    panic!("what the viewer sees is not what is drawn: look into {}", folder.display());
}

async fn a_viewer_sees_what_is_drawn(server: &'static str, link: &'static str) {
    let lab = Wanted::new(server, link).machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "operator").await;
    let refused = lab.skerry("operator", &["vnc", "web1"]).await.unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("web1 is not running: its screen is dark"), "{said}");
    guest.ask("start", &[]).await;
    guest.booted().await;

    let folder = tempfile::tempdir().unwrap();
    let tunnel = Tunnel::open(&lab, "operator", &[]).await;
    sees_the_screen(&lab, &tunnel, folder.path()).await;
    let looks_on = Tunnel::open(&lab, "viewer", &[]).await;
    sees_the_screen(&lab, &looks_on, folder.path()).await;
    // With a program for a viewer, which is told where, and whose end is the end.
    let file = folder.path().join("started.png");
    let viewer = format!("gvnccapture --quiet 127.0.0.1:{{display}} {}", file.display());
    let done = lab.skerry("operator", &["vnc", "web1", "--viewer", &viewer]).await.unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(pixels(&file).0, pixels(&folder.path().join("seen.png")).0);

    guest.ask("kill", &[]).await;
    assert!(!looks_on.capture(&folder.path().join("dark.png")).await, "there is nothing to be seen any more");
    drop((tunnel, looks_on));
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_viewer_sees_what_is_drawn_through_a_component_of_prosody() {
    a_viewer_sees_what_is_drawn("prosody", "component").await;
}

#[tokio::test]
async fn a_viewer_sees_what_is_drawn_through_an_account_on_ejabberd() {
    a_viewer_sees_what_is_drawn("ejabberd", "single").await;
}
