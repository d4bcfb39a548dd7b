//! Numbers for a Prometheus on this very host: a page over HTTP on loopback or on a socket in the file
//! system, where the configuration says so. Nobody is asked who they are, so nobody from elsewhere can
//! come.
//!
//! Few are answered at a time, and none for long: whoever reads slowly is dropped.

mod classic;
mod page;

use std::{
    convert::Infallible,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, CONTENT_TYPE, HOST},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    sync::Semaphore,
};

use crate::{agent::Agent, config::PrometheusListen};

/// How many are answered at a time; who comes then is turned away.
const AT_ONCE: usize = 8;
/// How long one may take from first to last.
const EACH_MAX: Duration = Duration::from_secs(10);
/// How much one may ask.
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// How long is waited after the system let nobody in.
const PAUSE: Duration = Duration::from_secs(1);
/// The format (OpenMetrics 1.0) for those who ask for it.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where it is answered.
pub struct Prometheus {
    at: Listener,
    /// Taken away at the end.
    file: Option<std::path::PathBuf>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Prometheus {
    /// Takes the place. A socket that an earlier agent left is replaced; one that somebody answers at is not.
    ///
    /// # Errors
    /// The place is taken, or may not be used.
    pub async fn listen(place: &PrometheusListen) -> io::Result<Self> {
        match place {
            PrometheusListen::Tcp(address) => {
                Ok(Self { at: Listener::Tcp(TcpListener::bind(address).await?), file: None })
            }
            PrometheusListen::Unix(path) => {
                clear(path).await?;
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Self { at: Listener::Unix(listener), file: Some(path.clone()) })
            }
        }
    }

    /// Where it is answered, on loopback.
    ///
    /// # Errors
    /// It is answered on a socket in the file system.
    pub fn address(&self) -> io::Result<std::net::SocketAddr> {
        match &self.at {
            Listener::Tcp(listener) => listener.local_addr(),
            Listener::Unix(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Answers, for ever.
    pub async fn serve(self, agent: Agent) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let come = match &self.at {
                Listener::Tcp(listener) => {
                    listener.accept().await.map(|(stream, _)| answer(&agent, &room, stream))
                }
                Listener::Unix(listener) => {
                    listener.accept().await.map(|(stream, _)| answer(&agent, &room, stream))
                }
            };
            if let Err(error) = come {
                tracing::warn!(%error, "nobody could be let in to read the numbers");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn clear(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        // A file that is no socket refuses as well: it is somebody's, and for bind to complain of.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
            std::fs::remove_file(path)
        }
        Err(_) => Ok(()),
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Answers one in a task of its own, when there is room.
fn answer(
    agent: &Agent,
    room: &Arc<Semaphore>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let Ok(place) = Arc::clone(room).try_acquire_owned() else { return };
    let agent = agent.clone();
    tokio::spawn(async move {
        let service = service_fn(|request| {
            let agent = agent.clone();
            async move { Ok::<_, Infallible>(page(&agent, &request).await) }
        });
        let mut http = http1::Builder::new();
        http.keep_alive(false).max_buf_size(REQUEST_BYTES_MAX);
        let served =
            tokio::time::timeout(EACH_MAX, http.serve_connection(TokioIo::new(stream), service)).await;
        if !matches!(served, Ok(Ok(()))) {
            tracing::debug!("somebody who read the numbers was dropped");
        }
        drop(place);
    });
}

async fn page(agent: &Agent, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let said = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    };
    // A page of the web that a browser on this host shows could ask as well, by a name that leads here.
    if !request.headers().get(HOST).is_none_or(|host| host.to_str().is_ok_and(is_here)) {
        return said(StatusCode::FORBIDDEN, "Ask by the address, 127.0.0.1, or localhost.\n");
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let page = agent.prometheus_page().await;
            let (format, page) = match takes_openmetrics(request) {
                true => (FORMAT, page),
                false => (classic::FORMAT, classic::classic(&page)),
            };
            let mut response = Response::new(Full::new(Bytes::from(page)));
            response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(format));
            response
        }
        (&Method::GET, _) => said(StatusCode::NOT_FOUND, "The numbers are at /metrics.\n"),
        _ => said(StatusCode::METHOD_NOT_ALLOWED, "Only GET is answered.\n"),
    }
}

/// Whether whoever asks says that they read OpenMetrics, as Prometheus does.
fn takes_openmetrics(request: &Request<Incoming>) -> bool {
    let mut accepted = request.headers().get_all(ACCEPT).iter().filter_map(|header| header.to_str().ok());
    accepted.any(|header| header.contains("application/openmetrics-text"))
}

/// Whether a `Host` header names this host by what it is.
fn is_here(host: &str) -> bool {
    let name = host.parse::<std::net::SocketAddr>().map(|address| address.ip());
    let name = name.or_else(|_| host.trim_matches(['[', ']']).parse());
    match name {
        Ok(address) => address.is_loopback(),
        Err(_) => host.rsplit_once(':').map_or(host, |(name, _)| name) == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn a_host_is_named_by_what_it_is() {
        for here in ["127.0.0.1", "127.0.0.1:9177", "[::1]:9177", "localhost", "localhost:9177"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in
            ["evil.example.org", "evil.example.org:9177", "192.0.2.1:9177", "", "localhost.evil.org:1"]
        {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
