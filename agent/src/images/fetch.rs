//! Bringing an image from the web: https, or http where a checksum is known; no proxy, a few redirects that
//! never lead from https to http; and a download that broke off goes on where it was.

use std::{io::SeekFrom, time::Duration};

use hypervisor_core::image::{Arrived, Digest, Staging, VIRTUAL_BYTES_MAX};
use reqwest::{
    Client, Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
    redirect::{Attempt, Policy},
};
use sha2::{Digest as _, Sha256};
use skerry_stanzas::refusal::{Reason, Refusal};
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt},
};

use super::refusal;

pub(crate) use reqwest::Url;

/// How long a server may take to take a connection.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How long it may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long it may take to say how much it has.
const LENGTH_MAX: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 5;
/// How often in a row it is tried without a byte coming.
const TRIES_MAX: u32 = 5;
/// How long until the next try, when the last one brought nothing; twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
const URL_BYTES_MAX: usize = 2048;
/// After how many bytes it is looked whether there is room, when a server did not say how many come.
const LOOK_EVERY: u64 = 64 << 20;

/// An address of the web that an image may come from.
pub(crate) fn url(text: &str) -> Result<Url, Refusal> {
    let wrong = |why: &str| Refusal::new(Reason::BadRequest, why.to_owned()).field("source");
    let Some(mut url) = Url::parse(text).ok().filter(|url| url.has_host() && text.len() <= URL_BYTES_MAX)
    else {
        return Err(
            wrong("That is no address of the web.").hint("Write it like https://example.org/disk.qcow2")
        );
    };
    if !matches!(url.scheme(), "https" | "http") {
        return Err(wrong("Images come by https, or by http with a checksum."));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("A password in an address would stand in the journal: leave it out."));
    }
    url.set_fragment(None);
    Ok(url)
}

/// A short file of the web.
pub(super) async fn small(source: &str, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let url = url(source)?;
    let none = || refused(&url, "it says that it has none (404 Not Found)");
    small_if_any(&url, bytes_max).await?.ok_or_else(none)
}

/// A short file of the web, where there is one.
pub(super) async fn small_if_any(url: &Url, bytes_max: usize) -> Result<Option<Vec<u8>>, Refusal> {
    let broken = |why: &str| {
        let text = format!("{} does not send {url}: {why}.", host(url));
        Refusal::new(Reason::Unavailable, text).hint("Try again later.")
    };
    let bring = async {
        let sent = client().await?.get(url.clone()).send().await;
        let mut response = sent.map_err(|error| broken(&chain(&error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(broken(&format!("it says {status}"))),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&chain(&error)))? {
            if bytes.len() + chunk.len() > bytes_max {
                return Err(broken("it is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    };
    tokio::time::timeout(SILENCE_MAX, bring).await.unwrap_or_else(|_| Err(broken("it takes too long")))
}

/// How many bytes are there, if the server says so soon.
pub(crate) async fn length(url: &Url) -> Option<u64> {
    let ask = async {
        let answer = client().await.ok()?.head(url.clone()).send().await.ok()?;
        let length = answer.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        length.filter(|_| answer.status() == StatusCode::OK)
    };
    tokio::time::timeout(LENGTH_MAX, ask).await.ok().flatten()
}

/// A download, and how far it is.
struct Download<'a> {
    client: Client,
    url: Url,
    staging: &'a Staging,
    file: File,
    hash: Sha256,
    got: u64,
    of: Option<u64>,
    /// What says that it is still the same thing.
    mark: Option<HeaderValue>,
    /// Up to where there is room.
    room: u64,
    /// The most that may come.
    bytes_max: u64,
}

/// How a try ended.
enum Tried {
    Whole,
    /// Another try may bring more.
    Broken(String),
}

/// Brings it into `staging`. `progress` hears how many bytes of how many are here.
///
/// # Errors
/// It cannot be brought: what the server said, or what is missing here.
pub(crate) async fn fetch(
    url: &Url,
    staging: &Staging,
    bytes_max: Option<u64>,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<Arrived, Refusal> {
    let file = staging.receive().map_err(|error| refusal("It could not be fetched", error))?;
    let mut download = Download {
        client: client().await?,
        url: url.clone(),
        staging,
        file: File::from_std(file),
        hash: Sha256::new(),
        got: 0,
        of: None,
        mark: None,
        room: 0,
        bytes_max: bytes_max.unwrap_or(VIRTUAL_BYTES_MAX),
    };
    let mut failed = 0;
    loop {
        let before = download.got;
        match download.go_on(progress).await? {
            Tried::Whole => break,
            Tried::Broken(why) => {
                failed = if download.got > before { 0 } else { failed + 1 };
                tracing::info!(%why, got = download.got, "a download broke off");
                if failed >= TRIES_MAX {
                    let text = format!("{} does not send it: {why}.", host(url));
                    return Err(Refusal::new(Reason::Unavailable, text).hint("Try again later."));
                }
                if failed > 0 {
                    tokio::time::sleep(PAUSE * 2_u32.pow(failed - 1)).await;
                }
            }
        }
    }
    download.file.flush().await.map_err(unwritten)?;
    Ok(Arrived { digest: Digest::of_bytes(download.hash.finalize().into()), bytes: download.got })
}

async fn client() -> Result<Client, Refusal> {
    let tls =
        tokio::task::spawn_blocking(skerry_link::web).await.unwrap_or_else(|error| Err(error.to_string()));
    let redirects = Policy::custom(|attempt: Attempt<'_>| {
        let from_https = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > REDIRECTS_MAX {
            attempt.error("it leads on and on")
        } else if from_https && attempt.url().scheme() != "https" {
            attempt.error("it leads from https to http")
        } else {
            attempt.follow()
        }
    });
    let failed = |why: String| {
        let reference = crate::reference::fresh();
        tracing::error!(%reference, %why, "nothing can be fetched");
        crate::reference::answer("Nothing can be fetched", &reference)
    };
    Client::builder()
        .tls_backend_preconfigured(tls.map_err(failed)?)
        .no_proxy()
        .redirect(redirects)
        .connect_timeout(CONNECT_MAX)
        .read_timeout(SILENCE_MAX)
        .user_agent(concat!("skerry-agent/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| failed(error.to_string()))
}

impl Download<'_> {
    async fn go_on(&mut self, progress: &mut (dyn FnMut(u64, Option<u64>) + Send)) -> Result<Tried, Refusal> {
        let mut request = self.client.get(self.url.clone()).header(header::ACCEPT_ENCODING, "identity");
        match &self.mark {
            Some(mark) if self.got > 0 => {
                let rest = format!("bytes={}-", self.got);
                request = request.header(header::RANGE, rest).header(header::IF_RANGE, mark);
            }
            _ => self.start_over().await?,
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_redirect() => return Err(refused(&self.url, &chain(&error))),
            Err(error) => return Ok(Tried::Broken(chain(&error))),
        };
        let status = response.status();
        match status {
            StatusCode::OK => {
                self.start_over().await?;
                self.of = response.content_length();
                if self.of.is_some_and(|of| of > self.bytes_max) {
                    return Err(refused(&self.url, "it is larger than it may be"));
                }
                self.mark = mark(response.headers());
            }
            StatusCode::PARTIAL_CONTENT if continues(response.headers(), self.got, self.of) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                self.mark = None;
                return Ok(Tried::Broken("it sent another part than asked for".into()));
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Ok(Tried::Broken(format!("it says {status}")));
            }
            _ => return Err(refused(&self.url, &format!("it says {status}"))),
        }
        self.check_room(self.of.unwrap_or_default())?;
        self.receive(response, progress).await
    }

    async fn receive(
        &mut self,
        mut response: Response,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Tried, Refusal> {
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if self.of.is_none_or(|of| of == self.got) => return Ok(Tried::Whole),
                Ok(None) => return Ok(Tried::Broken("it ended too early".into())),
                Err(error) => return Ok(Tried::Broken(chain(&error))),
            };
            let got = self.got + chunk.len() as u64;
            if self.of.is_some_and(|of| got > of) || got > self.bytes_max {
                return Err(refused(&self.url, "it sends more than it said, or than there may be"));
            }
            if got > self.room {
                self.check_room(got + LOOK_EVERY)?;
            }
            self.file.write_all(&chunk).await.map_err(unwritten)?;
            self.hash.update(&chunk);
            self.got = got;
            progress(got, self.of);
        }
    }

    /// Room up to `needed` bytes in all.
    fn check_room(&mut self, needed: u64) -> Result<(), Refusal> {
        let more = needed.saturating_sub(self.got);
        self.staging.room_for(more).map_err(|error| refusal("It could not be fetched", error))?;
        self.room = self.room.max(needed);
        Ok(())
    }

    async fn start_over(&mut self) -> Result<(), Refusal> {
        if self.got > 0 {
            self.file.set_len(0).await.map_err(unwritten)?;
            self.file.seek(SeekFrom::Start(0)).await.map_err(unwritten)?;
            (self.hash, self.got) = (Sha256::new(), 0);
        }
        Ok(())
    }
}

/// What says whether a thing is still the same: a strong tag, else when it was last changed.
fn mark(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    tag.or_else(|| headers.get(header::LAST_MODIFIED)).cloned()
}

/// Whether a part begins where we are, and ends where the whole ends: `bytes 5-9/10`.
fn continues(headers: &HeaderMap, got: u64, of: Option<u64>) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let parts = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('/'));
    let Some((part, whole)) = parts else { return false };
    let first = part.split_once('-').and_then(|(first, _)| first.parse::<u64>().ok());
    first == Some(got) && (of.is_none() || whole.parse().ok() == of)
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or("the server")
}

fn refused(url: &Url, why: &str) -> Refusal {
    Refusal::new(Reason::Conflict, format!("{} does not give it: {why}.", host(url))).field("source")
}

fn unwritten(error: std::io::Error) -> Refusal {
    let error =
        hypervisor_core::image::ImageError::System { what: "writing the image".into(), source: error };
    refusal("It could not be fetched", error)
}

/// An error and its causes in one line. The address is said elsewhere.
fn chain(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    skerry_stanzas::safe::safe_line(&cause.to_string(), 200)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_of_the_web_and_hold_no_password() {
        assert_eq!(url("https://example.org/a#b").unwrap().as_str(), "https://example.org/a");
        for text in
            ["ftp://example.org/a", "file:///etc/passwd", "https://", "https://a:b@example.org/", "://"]
        {
            assert_eq!(url(text).unwrap_err().reason, Reason::BadRequest, "{text}");
        }
    }

    #[test]
    fn a_part_has_to_be_the_one_asked_for() {
        let fits = |range: &str, got, of| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(range).unwrap());
            continues(&headers, got, of)
        };
        assert!(fits("bytes 5-9/10", 5, Some(10)));
        assert!(fits("bytes 5-9/*", 5, None));
        assert!(!fits("bytes 4-9/10", 5, Some(10)));
        assert!(!fits("bytes 5-9/11", 5, Some(10)));
        assert!(!fits("bytes */10", 5, Some(10)));
        assert!(!fits("5-9", 5, Some(10)));
    }
}
