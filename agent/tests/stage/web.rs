//! A web server of one file or a few, on loopback, that breaks off or holds still where a test wants it to.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It is answered wholly.
    Whole,
    /// The connection ends after so many bytes of the body.
    BreaksAfter(usize),
    /// Nothing more comes after so many bytes.
    StallsAfter(usize),
    /// It is answered so.
    Says(&'static str),
}

/// The server; gone when dropped.
pub struct Web {
    port: u16,
    asked: Arc<Mutex<Vec<Option<usize>>>>,
    pub stalled: Arc<Notify>,
    serving: tokio::task::JoinHandle<()>,
}

impl Web {
    /// Serves `content`; the first requests have these fates, all others are answered wholly.
    pub async fn serve(content: Vec<u8>, fates: Vec<Fate>) -> Self {
        Self::serve_files(vec![("", content)], fates).await
    }

    /// The same with several files by their paths; what is called "" is there under any other.
    pub async fn serve_files(files: Vec<(&'static str, Vec<u8>)>, fates: Vec<Fate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, stalled) = (Arc::<Mutex<Vec<Option<usize>>>>::default(), Arc::new(Notify::new()));
        let (log, stalls) = (Arc::clone(&asked), Arc::clone(&stalled));
        let serving = tokio::spawn(async move {
            let mut fates = fates.into_iter();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let fate = fates.next().unwrap_or(Fate::Whole);
                let (files, log, stalls) = (files.clone(), Arc::clone(&log), Arc::clone(&stalls));
                tokio::spawn(async move {
                    let _ = answer(stream, &files, fate, &log, &stalls).await;
                });
            }
        });
        Self { port, asked, stalled, serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// From where each request wanted the file.
    pub fn asked(&self) -> Vec<Option<usize>> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    stream: TcpStream,
    files: &[(&'static str, Vec<u8>)],
    fate: Fate,
    log: &Mutex<Vec<Option<usize>>>,
    stalls: &Notify,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut from, mut asked) = (None, String::new());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if let Some(path) = line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()) {
            asked = path.to_owned();
        }
        let line = line.trim().to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(from);
    let found = files.iter().find(|(name, _)| name.is_empty() || *name == asked);
    let fate = if found.is_none() { Fate::Says("404 Not Found") } else { fate };
    let content = found.map_or(&[][..], |(_, content)| content);
    if let Fate::Says(says) = fate {
        let head = format!("HTTP/1.1 {says}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return stream.write_all(head.as_bytes()).await;
    }
    let (start, status) = match from {
        Some(start) => {
            let (last, all) = (content.len() - 1, content.len());
            (start, format!("206 Partial Content\r\nContent-Range: bytes {start}-{last}/{all}"))
        }
        None => (0, "200 OK".into()),
    };
    let body = &content[start..];
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: \"one\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    match fate {
        Fate::BreaksAfter(bytes) => stream.write_all(&body[..bytes.min(body.len())]).await?,
        Fate::StallsAfter(bytes) => {
            stream.write_all(&body[..bytes.min(body.len())]).await?;
            stream.flush().await?;
            stalls.notify_one();
            std::future::pending::<()>().await;
        }
        Fate::Whole | Fate::Says(_) => stream.write_all(body).await?,
    }
    stream.flush().await
}
