//! Logging in as a component (XEP-0114 §3).

use minidom::Element;
use secrecy::{ExposeSecret, SecretString};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::{
    LinkConfig, LoginError, connect,
    sieve::{Dialect, Sieve},
    wire::{CLIENT, STREAM, Setback, Socket, Wire, hear, in_time, open_stream, say},
};

/// Connects and proves to know the secret.
pub(crate) async fn log_in(
    config: &LinkConfig,
    domain: &str,
    secret: &SecretString,
) -> Result<Wire, Setback> {
    let places = connect::places(&config.server, domain, false).await?;
    let (tcp, _) = connect::dial(&places, config.answer_max).await?;
    in_time(config.answer_max, shake_hands(Box::new(tcp), config, domain, secret)).await
}

/// Proves to know the secret (XEP-0114 §3) on a new connection.
pub(crate) async fn shake_hands(
    socket: Box<dyn Socket>,
    config: &LinkConfig,
    domain: &str,
    secret: &SecretString,
) -> Result<Wire, Setback> {
    let mut socket = BufWriter::new(socket);
    let header = format!(
        "<?xml version='1.0'?>\
         <stream:stream xmlns='jabber:component:accept' xmlns:stream='{STREAM}' to='{domain}'>"
    );
    socket.write_all(header.as_bytes()).await?;
    socket.flush().await?;
    let sieve = Sieve::new(socket, Dialect::Component, config.stanza_bytes_max);
    let (mut wire, id) = open_stream(sieve, domain).await?;
    let Some(id) = id else {
        // A server that does not know the domain says so instead of giving an id.
        return Err(refused(hear(&mut wire).await));
    };
    let digest = Sha1::new().chain_update(&id).chain_update(secret.expose_secret()).finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    say(&mut wire, &Element::builder("handshake", CLIENT).append(hex).build()).await?;
    match hear(&mut wire).await {
        Ok(answer) if answer.is("handshake", CLIENT) => Ok(wire),
        other => Err(refused(other)),
    }
}

/// What a server's refusal means: it has words for it that mean something else to a client.
fn refused(heard: Result<Element, Setback>) -> Setback {
    let component = |why: String| Setback::Refused(LoginError::Component { why });
    match heard {
        Ok(other) => component(format!("it sent <{}/> where the handshake was due", other.name())),
        Err(Setback::Refused(LoginError::Other { why })) => component(why),
        // RFC 6120 has policy errors here as well; a cut connection is none.
        Err(Setback::Broken(why)) if why.starts_with("the server ended the stream") => component(why),
        Err(other) => other,
    }
}
