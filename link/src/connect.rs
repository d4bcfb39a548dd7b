//! From a place to a TCP connection.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, time};

use crate::{
    ServerAddress,
    dns::{self, Place},
    wire::Setback,
};

/// How long one address may take before the next is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The places that the configuration means.
pub(crate) async fn places(
    server: &ServerAddress,
    domain: &str,
    direct: bool,
) -> Result<Vec<Place>, Setback> {
    match server {
        ServerAddress::At(host, port) => Ok(vec![Place { host: host.clone(), port: *port, direct }]),
        ServerAddress::Dns => dns::places(domain, direct).await,
    }
}

/// A connection to the first of the places that takes one, and which it was.
pub(crate) async fn dial(places: &[Place], patience: Duration) -> Result<(TcpStream, Place), Setback> {
    let mut why = String::from("there is no server to try");
    for place in places {
        match time::timeout(patience, dial_one(place)).await {
            Ok(Ok(tcp)) => return Ok((tcp, place.clone())),
            Ok(Err(error)) => why = format!("{}:{}: {error}", place.host, place.port),
            Err(_) => why = format!("{}:{}: no connection within {patience:?}", place.host, place.port),
        }
        tracing::debug!(why, "a server cannot be reached");
    }
    Err(Setback::Broken(why))
}

/// All addresses of a host, IPv6 and IPv4 by turns, each a little after the one before it.
async fn dial_one(place: &Place) -> std::io::Result<TcpStream> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((place.host.as_str(), place.port)).await?.collect();
    let mut waiting = by_turns(found);
    let mut dialling = FuturesUnordered::new();
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = waiting.pop_front() {
            dialling.push(TcpStream::connect(address));
        }
        let head_start = async {
            match waiting.is_empty() {
                true => std::future::pending().await,
                false => time::sleep(HEAD_START).await,
            }
        };
        tokio::select! {
            done = dialling.next() => match done {
                Some(Ok(tcp)) => {
                    // An answer of a few bytes must not wait for the acknowledgement of the one before it.
                    tcp.set_nodelay(true)?;
                    return Ok(tcp);
                }
                Some(Err(error)) => last = error,
                None => return Err(last),
            },
            () = head_start => {}
        }
    }
}

fn by_turns(found: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        found.into_iter().partition(SocketAddr::is_ipv6);
    let mut turns = VecDeque::new();
    while !(first.is_empty() && second.is_empty()) {
        turns.extend(first.pop_front());
        turns.extend(second.pop_front());
    }
    turns
}

/// A place as `see-other-host` writes it: `host`, `host:port` or `[address]:port` (RFC 6120 §4.9.3.19).
pub(crate) fn other_host(written: &str) -> Option<ServerAddress> {
    let written = written.trim();
    if written.is_empty() || written.contains(char::is_whitespace) {
        return None;
    }
    if let Ok(address) = written.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>() {
        return Some(ServerAddress::At(address.to_string(), 5222));
    }
    let (host, port) = match written.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (written, 5222),
    };
    Some(ServerAddress::At(host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn other_hosts_are_read_as_rfc_6120_writes_them() {
        let at = |host: &str, port| Some(ServerAddress::At(host.to_owned(), port));
        assert_eq!(other_host("x.example:5333"), at("x.example", 5333));
        assert_eq!(other_host("x.example"), at("x.example", 5222));
        assert_eq!(other_host("[2001:db8::1]:9222"), at("2001:db8::1", 9222));
        assert_eq!(other_host("[2001:db8::1]"), at("2001:db8::1", 5222));
        assert_eq!(other_host(""), None);
        assert_eq!(other_host("a b"), None);
        assert_eq!(other_host("a:b"), None);
    }

    #[tokio::test]
    async fn the_first_place_that_answers_is_taken() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap().port();
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = gone.local_addr().unwrap().port();
        drop(gone);
        let place = |port| Place { host: "127.0.0.1".to_owned(), port, direct: false };
        let patience = Duration::from_secs(5);
        let (tcp, taken) = dial(&[place(closed), place(open)], patience).await.unwrap();
        assert_eq!(taken, place(open));
        assert!(tcp.nodelay().unwrap());
        let Err(Setback::Broken(why)) = dial(&[place(closed)], patience).await else { panic!("connected") };
        assert!(why.contains(&closed.to_string()), "{why}");
    }
}
