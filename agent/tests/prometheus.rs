//! The page for Prometheus, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::{config::PrometheusListen, prometheus::Prometheus};
use stage::{ANN, stage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

async fn asked(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/openmetrics-text; version=1.0.0, \
    text/plain;q=0.5\r\n\r\n";

/// A small parser of the text format: what a line is, and that each family is described before its numbers.
fn families(page: &str) -> Vec<String> {
    let mut described = Vec::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described.push(rest.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = name.strip_suffix("_total").unwrap_or(name);
            assert_eq!(described.last().map(String::as_str), Some(family), "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(page.ends_with("# EOF\n"));
    described
}

#[tokio::test]
async fn numbers_are_read_on_loopback_and_nothing_else_is() {
    let stage = stage().await;
    for line in ["create web1 linux --start", "create web2 linux"] {
        stage.done(ANN, line).await;
    }
    let prometheus = Prometheus::listen(&PrometheusListen::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = prometheus.address().unwrap();
    let serving = tokio::spawn(prometheus.serve(stage.agent.clone()));
    let ask = async |request: &str| asked(TcpStream::connect(address).await.unwrap(), request).await;
    let answer = ask(GET).await;
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text"), "{head}");
    let families = families(page);
    for family in
        ["skerry_machine_cpu_seconds", "skerry_host_memory_bytes", "skerry_machines", "skerry_commands"]
    {
        assert!(families.contains(&family.to_owned()), "{families:?}");
    }
    assert!(page.contains("skerry_machines{state=\"running\"} 1.0\n"), "{page}");
    assert!(page.contains("skerry_machine_resident_bytes{machine=\"web1\"} 536870912.0\n"), "{page}");
    assert!(page.contains("skerry_commands_total{command=\"host.create\",outcome=\"done\"} 2.0\n"), "{page}");
    assert!(!page.contains("machine=\"web2\""), "one that is off uses nothing");
    // Who does not say that they read that is given the older format.
    let answer = ask("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n").await;
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(page.contains("# TYPE skerry_commands_total counter\n") && !page.contains("# EOF"), "{page}");
    assert!(ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.starts_with("HTTP/1.1 404"));
    assert!(ask("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.starts_with("HTTP/1.1 405"));
    assert!(ask("GET /metrics HTTP/1.1\r\nHost: evil.example.org\r\n\r\n").await.starts_with("HTTP/1.1 403"));
    assert!(ask("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    serving.abort();
}

#[tokio::test]
async fn who_reads_slowly_keeps_nobody_else_waiting_for_long() {
    let stage = stage().await;
    let prometheus = Prometheus::listen(&PrometheusListen::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = prometheus.address().unwrap();
    let serving = tokio::spawn(prometheus.serve(stage.agent.clone()));
    // As many as there is room for ask nothing; those who come then are turned away at once.
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut turned_away = TcpStream::connect(address).await.unwrap();
    assert_eq!(turned_away.read(&mut [0; 16]).await.unwrap(), 0);
    // And when those are dropped, somebody else is answered.
    for mut one in silent {
        assert_eq!(one.read(&mut [0; 16]).await.unwrap(), 0, "dropped");
    }
    let answer = asked(TcpStream::connect(address).await.unwrap(), GET).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serving.abort();
}

#[tokio::test]
async fn a_socket_that_was_left_is_replaced_and_one_in_use_is_not() {
    let stage = stage().await;
    let path = stage.folder.path().join("numbers.sock");
    // What an agent that was killed leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let place = PrometheusListen::Unix(path.clone());
    let prometheus = Prometheus::listen(&place).await.unwrap();
    assert!(Prometheus::listen(&place).await.is_err(), "somebody answers there");
    assert!(path.exists());
    let serving = tokio::spawn(prometheus.serve(stage.agent.clone()));
    let answer = asked(UnixStream::connect(&path).await.unwrap(), "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("skerry_link_up 0.0"), "{answer}");
    serving.abort();
    assert!(serving.await.is_err());
    assert!(!path.exists(), "it is taken away at the end");
    std::fs::write(&path, "a file").unwrap();
    assert!(Prometheus::listen(&place).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file", "somebody else's file is left alone");
}
