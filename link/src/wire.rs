//! An XML stream of elements over a sieved socket, and what goes wrong while one is set up.

use std::{io, time::Duration};

use futures::{SinkExt, StreamExt};
use minidom::Element;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufWriter};
use tokio_xmpp::xmlstream::{ReadError, StreamHeader, Timeouts, XmlStream, initiate_stream};

use crate::{LoginError, sieve::Sieve};

/// The one namespace of stanzas, on both kinds of stream.
pub(crate) const CLIENT: &str = "jabber:client";
pub(crate) const STREAM: &str = "http://etherx.jabber.org/streams";
const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";

/// TCP, TLS, or a pipe in tests.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A sieved socket. The writer below it makes one packet of a burst of stanzas: the XML stream above
/// hands over each by itself and flushes when there are no more.
pub(crate) type Sieved = Sieve<BufWriter<Box<dyn Socket>>>;

/// An XML stream. Its items are plain elements: reading one cannot fail on a value some XEP does not know.
pub(crate) type Wire = XmlStream<Sieved, Element>;

/// Why there is no session (any more).
#[derive(Debug)]
pub(crate) enum Setback {
    /// The server does not want us; trying again soon is of no use.
    Refused(LoginError),
    /// The network, or the server as a program.
    Broken(String),
    /// `see-other-host` (RFC 6120 §4.9.3.19): it wants us elsewhere.
    Elsewhere(String),
}

impl From<io::Error> for Setback {
    fn from(error: io::Error) -> Self {
        Self::Broken(chain(&error))
    }
}

/// An error with everything beneath it, once each.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        source = cause.source();
    }
    said
}

/// Opens an XML stream. The time-outs of tokio-xmpp's stream are out of reach: silence is the session's
/// to judge, and its own would end the stream by itself.
///
/// Features are not parsed here, since one value unknown to the typed parser would refuse them all.
/// Returns the server's stream id (RFC 6120 §4.7.3) besides.
pub(crate) async fn open_stream<Io: AsyncBufRead + AsyncWrite + Unpin>(
    io: Io,
    to: &str,
) -> Result<(XmlStream<Io, Element>, Option<String>), Setback> {
    let never = Duration::from_secs(100 * 365 * 24 * 3600);
    let timeouts = Timeouts { read_timeout: never, response_timeout: never };
    let header = StreamHeader { to: Some(to.into()), ..StreamHeader::default() };
    let mut pending = initiate_stream(io, CLIENT, header, timeouts).await?;
    let id = pending.take_header().id.map(|id| id.into_owned());
    Ok((pending.skip_features(), id))
}

/// Sends one element now.
pub(crate) async fn say<Io: AsyncWrite + Unpin>(
    wire: &mut XmlStream<Io, Element>,
    element: &Element,
) -> Result<(), Setback> {
    Ok(SinkExt::<&Element>::send(wire, element).await?)
}

/// The next element; a stream error is a [`Setback`].
pub(crate) async fn hear<Io: AsyncBufRead + Unpin>(
    wire: &mut XmlStream<Io, Element>,
) -> Result<Element, Setback> {
    heard(wire.next().await)
}

/// Bounds a part of the way in.
pub(crate) async fn in_time<T>(
    patience: Duration,
    way: impl Future<Output = Result<T, Setback>>,
) -> Result<T, Setback> {
    match tokio::time::timeout(patience, way).await {
        Ok(done) => done,
        Err(_) => Err(Setback::Broken(format!("the server did not let us in within {patience:?}"))),
    }
}

/// What came, as far as a session can go on with it.
pub(crate) fn heard(item: Option<Result<Element, ReadError>>) -> Result<Element, Setback> {
    match item {
        Some(Ok(element)) if element.is("error", STREAM) => Err(stream_error(&element)),
        Some(Ok(element)) => Ok(element),
        Some(Err(ReadError::StreamFooterReceived)) => {
            Err(Setback::Broken("the server closed the stream".to_owned()))
        }
        // As rustls and as rxml say that nothing more comes.
        Some(Err(ReadError::HardError(error)))
            if error.kind() == io::ErrorKind::UnexpectedEof || error.to_string().contains("eof") =>
        {
            Err(Setback::Broken("the connection was closed".to_owned()))
        }
        Some(Err(ReadError::HardError(error))) => Err(error.into()),
        Some(Err(error)) => Err(Setback::Broken(error.to_string())),
        None => Err(Setback::Broken("the connection was closed".to_owned())),
    }
}

/// A stream error (RFC 6120 §4.9) as what it means for us.
fn stream_error(error: &Element) -> Setback {
    let child = |wanted: bool| {
        error.children().find(|child| child.has_ns(STREAM_ERRORS) && (child.name() == "text") == wanted)
    };
    let condition = child(false).map_or("undefined-condition", Element::name);
    let text = child(true).map(Element::text).filter(|text| !text.trim().is_empty());
    let why = match &text {
        Some(text) => format!("{condition} ({})", text.trim()),
        None => condition.to_owned(),
    };
    match condition {
        "see-other-host" => Setback::Elsewhere(child(false).map(Element::text).unwrap_or_default()),
        "conflict" => Setback::Refused(LoginError::Other {
            why: format!("somebody else has logged in at this address: {why}"),
        }),
        "not-authorized" => Setback::Refused(LoginError::Credentials),
        "host-unknown" | "host-gone" | "invalid-from" => Setback::Refused(LoginError::Other { why }),
        _ => Setback::Broken(format!("the server ended the stream: {why}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn error(inner: &str) -> Setback {
        let xml = format!("<e:error xmlns:e='{STREAM}'>{inner}</e:error>");
        heard(Some(Ok(xml.parse().unwrap()))).unwrap_err()
    }

    #[test]
    fn stream_errors_say_whether_trying_again_helps() {
        let ns = STREAM_ERRORS;
        let conflict = error(&format!("<conflict xmlns='{ns}'/><text xmlns='{ns}'>Replaced</text>"));
        assert!(matches!(conflict, Setback::Refused(LoginError::Other { why }) if why.contains("Replaced")));
        let elsewhere = error(&format!("<see-other-host xmlns='{ns}'>[::1]:5223</see-other-host>"));
        assert!(matches!(elsewhere, Setback::Elsewhere(host) if host == "[::1]:5223"));
        let shutdown = error(&format!("<system-shutdown xmlns='{ns}'/>"));
        assert!(matches!(shutdown, Setback::Broken(why) if why.contains("system-shutdown")));
    }
}
