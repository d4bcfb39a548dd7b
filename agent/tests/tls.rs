//! Images by https, from a server of this test whose authority the agent is told to trust: what is pinned at
//! its first use, and where redirects may lead.
//!
//! The authorities of the system are read from the environment, so the agent is this test's own binary, run
//! again as [`over_tls`].
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sha2::{Digest, Sha256};
use skerry_stanzas::refusal::Reason;
use stage::{ANN, done, stage};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

const FOLDER: &str = "SKERRY_TEST_FOLDER";

/// A raw disk with a boot record, different with each seed.
fn disk(seed: u8) -> Vec<u8> {
    let mut content = vec![seed; 1 << 20];
    content[510..512].copy_from_slice(b"\x55\xaa");
    content
}

/// Writes an authority and a certificate of it for `localhost`; gives the server's configuration.
fn certificates(folder: &Path) -> ServerConfig {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server =
        CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], key)
        .unwrap()
}

/// Serves what is there now at `/disk.raw`; `/moved` leads there, `/down` to http, `/round` to itself. After
/// `/change` there is something else.
async fn serve(tls: Option<TlsAcceptor>, now: Arc<Mutex<Vec<u8>>>, plain: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, now) = (tls.clone(), Arc::clone(&now));
            tokio::spawn(async move {
                match tls {
                    Some(tls) => answer(tls.accept(stream).await?, &now, plain).await,
                    None => answer(stream, &now, plain).await,
                }
            });
        }
    });
    port
}

async fn answer<S: AsyncReadExt + AsyncWriteExt + Unpin>(
    stream: S,
    now: &Mutex<Vec<u8>>,
    plain: u16,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let leads = |to: &str| format!("302 Found\r\nLocation: {to}\r\nContent-Length: 0");
    let (head, body) = match first.split(' ').nth(1).unwrap_or_default() {
        "/disk.raw" => {
            let body = now.lock().unwrap().clone();
            (format!("200 OK\r\nContent-Length: {}", body.len()), body)
        }
        "/moved" => (leads("/disk.raw"), vec![]),
        "/down" => (leads(&format!("http://localhost:{plain}/disk.raw")), vec![]),
        "/change" => {
            *now.lock().unwrap() = disk(2);
            ("404 Not Found\r\nContent-Length: 0".into(), vec![])
        }
        "/round" => (leads("/round"), vec![]),
        _ => ("404 Not Found\r\nContent-Length: 0".into(), vec![]),
    };
    stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.flush().await?;
    stream.shutdown().await
}

#[tokio::test]
async fn what_comes_by_https_is_pinned_and_redirects_lead_to_nothing_less() {
    let folder = tempfile::tempdir().unwrap();
    let tls = TlsAcceptor::from(Arc::new(certificates(folder.path())));
    let now = Arc::new(Mutex::new(disk(1)));
    let plain = serve(None, Arc::clone(&now), 0).await;
    let port = serve(Some(tls), Arc::clone(&now), plain).await;
    for (trusted, expected) in [(true, "1"), (false, "0")] {
        let ca = if trusted { folder.path().join("ca.pem") } else { folder.path().join("none.pem") };
        std::fs::write(folder.path().join("none.pem"), "").unwrap();
        let mut run = tokio::process::Command::from(Command::new(std::env::current_exe().unwrap()));
        run.args(["--exact", "over_tls", "--ignored", "--nocapture"]);
        run.env("SSL_CERT_FILE", ca).env_remove("SSL_CERT_DIR").env(FOLDER, format!("{port} {expected}"));
        let output = run.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
#[ignore = "run by the other, which serves"]
async fn over_tls() {
    let Ok(told) = std::env::var(FOLDER) else { return };
    let (port, trusted) = told.split_once(' ').unwrap();
    let stage = stage().await;
    let url = |path: &str| format!("https://localhost:{port}{path}");
    if trusted == "0" {
        let refusal = stage.refused(ANN, &format!("image import {} x", url("/disk.raw"))).await;
        assert_eq!(refusal.reason, Reason::Unavailable, "a server nobody vouches for: {refusal:?}");
        return;
    }
    let said = stage.done(ANN, &format!("image import {} one", url("/moved"))).await;
    assert!(said.contains("is held to from now on"), "{said}");
    assert!(stage.done(ANN, &format!("image import {} again", url("/moved"))).await.contains("here already"));
    for (path, why) in [("/down", "from https to http"), ("/round", "on and on"), ("/gone", "404")] {
        let refusal = stage.refused(ANN, &format!("image import {} x", url(path))).await;
        assert!(refusal.reason == Reason::Conflict && refusal.text.contains(why), "{path}: {refusal:?}");
    }
    // The image goes, the pin stays, also over the agent's end: what is there now is not what was.
    done(stage.yes(ANN, "image delete one").await);
    stage.refused(ANN, &format!("image import {} x", url("/change"))).await;
    let stage = stage.restart().await;
    let refusal = stage.refused(ANN, &format!("image import {} x", url("/moved"))).await;
    assert!(refusal.text.contains("not what it should be"), "{refusal:?}");
    let hash: String = Sha256::digest(disk(2)).iter().map(|byte| format!("{byte:02x}")).collect();
    let said = stage.done(ANN, &format!("image import {} two sha256={hash}", url("/moved"))).await;
    assert!(!said.contains("is held to"), "who says what it should be needs no pin: {said}");
}
