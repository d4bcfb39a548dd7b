//! The host that has an image: it connects to the one that takes it, again when that broke, and sends from
//! the byte on that is missing there.

use std::io::{self, SeekFrom};

use hypervisor_core::driver::migrate::{Half, TLS_NAME};
use sha2::{Digest as _, Sha256};
use skerry_link::direct::{End, Reaching};
use skerry_stanzas::payload::share::{Answer, Place};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{AGAIN, APART_MAX, Going, Line, PIECE_BYTES, SILENCE_MAX, line};
use crate::crash;

/// An image on its way out.
pub(crate) struct Departure<'a> {
    file: File,
    file_bytes: u64,
    place: Place,
    reaching: Reaching,
    /// Of the bytes before `hashed`.
    hash: Sha256,
    hashed: u64,
    progress: Progress<'a>,
}

/// Hears how many of a hundred are done.
type Progress<'a> = &'a (dyn Fn(u8) + Send + Sync);

impl<'a> Departure<'a> {
    /// Of an open file, to a place.
    ///
    /// # Errors
    /// The keys of the other host are none.
    pub(crate) fn new(
        file: std::fs::File,
        file_bytes: u64,
        place: Place,
        keys: &Half,
        progress: Progress<'a>,
    ) -> Result<Self, String> {
        let keys = keys.with(&place.authority);
        let end = End { certificate: &keys.certificate, key: &keys.key, authorities: &keys.authorities };
        let reaching = Reaching::new(end, TLS_NAME)?;
        let (hash, hashed) = (Sha256::new(), 0);
        Ok(Self { file: File::from_std(file), file_bytes, place, reaching, hash, hashed, progress })
    }

    /// Sends it, and waits for what becomes of it: [`Answer::Kept`], [`Answer::Known`] or
    /// [`Answer::Failed`].
    pub(crate) async fn send(mut self, going: &Going) -> Answer {
        let mut apart = Instant::now();
        loop {
            let (reached, tried) = (self.hashed, self.send_once().await);
            let why = match tried {
                Ok(Some(end)) => return end,
                Ok(None) => "it was hung up".to_owned(),
                Err(error) => error.to_string(),
            };
            tracing::info!(peer = %going.peer, why, sent = self.hashed, "an image cannot be sent just now");
            if self.hashed > reached {
                apart = Instant::now();
            }
            match going.ask().await {
                // All of it is there: what is made of it may take its time.
                Ok(Answer::GoesOn) if self.hashed == self.file_bytes => apart = Instant::now(),
                Ok(Answer::GoesOn) | Err(_) if apart.elapsed() < APART_MAX => {}
                Ok(Answer::GoesOn) => return failed(format!("{} cannot be reached: {why}", going.peer)),
                Ok(end) => return end,
                Err(error) => return failed(format!("{}: {error}", going.peer)),
            }
            sleep(AGAIN).await;
        }
    }

    /// One connection; `None` when it ended without a word.
    async fn send_once(&mut self) -> io::Result<Option<Answer>> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let tcp = TcpStream::connect((self.place.address, self.place.port));
        let tcp = timeout(SILENCE_MAX, tcp).await.map_err(late)??;
        let way = timeout(SILENCE_MAX, self.reaching.connect(tcp)).await.map_err(late)??;
        let (hears, mut says) = tokio::io::split(way);
        let mut hears = BufReader::new(hears);
        let first = timeout(SILENCE_MAX, line(&mut hears)).await.map_err(late)?;
        let Some(Line::From(from)) = first.filter(|first| matches!(first, Line::From(_))) else {
            return Ok(None);
        };
        // Nothing was sent that was not hashed.
        if from > self.hashed {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let progress = self.progress;
        let hearing = async {
            loop {
                match line(&mut hears).await {
                    Some(Line::Percent(percent)) => progress(percent.min(99)),
                    Some(Line::End(end)) => return Some(end),
                    Some(Line::From(_)) | None => return None,
                }
            }
        };
        let sending = async {
            self.send_from(&mut says, from).await?;
            crash::point("share-sent");
            // What becomes of it is heard.
            std::future::pending::<io::Result<()>>().await
        };
        tokio::select! {
            end = hearing => Ok(end),
            sent = sending => sent.map(|()| None),
        }
    }

    async fn send_from(&mut self, to: &mut (impl AsyncWrite + Unpin), from: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(from)).await?;
        let (mut at, mut piece) = (from, vec![0; PIECE_BYTES]);
        while at < self.file_bytes {
            let left = usize::try_from(self.file_bytes - at).unwrap_or(PIECE_BYTES);
            let room = piece.get_mut(..left.min(PIECE_BYTES)).unwrap_or_default();
            let count = self.file.read(room).await?;
            let read = room.get(..count).unwrap_or_default();
            if read.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let known = usize::try_from(self.hashed.saturating_sub(at)).unwrap_or(usize::MAX).min(count);
            self.hash.update(read.get(known..).unwrap_or_default());
            self.hashed = self.hashed.max(at + count as u64);
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            timeout(SILENCE_MAX, to.write_all(read)).await.map_err(late)??;
            crash::point("share-sending");
            at += count as u64;
        }
        to.write_all(&self.hash.clone().finalize()).await?;
        to.flush().await
    }
}

fn failed(why: String) -> Answer {
    Answer::Failed { why }
}
