//! The host that takes an image: it listens where machines come in, and says from which byte on it needs it.

use std::{io, net::SocketAddr};

use hypervisor_core::{
    driver::migrate::Half,
    image::{Arrived, Digest, Staging},
};
use sha2::{Digest as _, Sha256};
use skerry_link::direct::{End, Reached, Way};
use skerry_stanzas::payload::share::{Answer, Offer, Place};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{AGAIN, APART_MAX, Going, Line, PIECE_BYTES, SILENCE_MAX};
use crate::{config::Config, crash};

/// Connections that are looked at once: who is not the other host is found out by the keys.
const KNOCKING_MAX: usize = 8;

/// Where an image will come in.
pub(crate) struct Door {
    listener: TcpListener,
    keys: Half,
    pub(crate) place: Place,
}

/// An image on its way in.
pub(crate) struct Arrival {
    listener: TcpListener,
    reached: Reached,
    knocking: JoinSet<io::Result<Way>>,
    /// The way it comes by, once it does.
    way: Option<Way>,
    file: File,
    hash: Sha256,
    got: u64,
    file_bytes: u64,
    /// The last percent that was said.
    percent: u8,
}

/// Why a way ended.
enum Broken {
    /// Another may do better.
    Way(String),
    /// No other will.
    For(String),
}

impl Door {
    /// Opens one where this host says that others reach it.
    ///
    /// # Errors
    /// Why it cannot, for people.
    pub(crate) async fn open(config: &Config) -> Result<Self, String> {
        let Some(address) = config.migration.listen else {
            return Err(
                "it does not say where it can be reached (migration.listen in its agent's file)".into()
            );
        };
        let keys = Half::make().map_err(|error| format!("it cannot make keys: {error}"))?;
        let (first, last) = config.migration.ports;
        for port in first..=last {
            if let Ok(listener) = TcpListener::bind(SocketAddr::new(address, port)).await {
                let place = Place { address, port, authority: keys.authority.clone() };
                return Ok(Self { listener, keys, place });
            }
        }
        Err(format!("none of its ports {first} to {last} at {address} is free"))
    }

    /// Waits for what is offered.
    ///
    /// # Errors
    /// The keys of the other host are none, or there is no room.
    pub(crate) fn expect(self, offer: &Offer, staging: &Staging) -> Result<Arrival, String> {
        let keys = self.keys.with(&offer.authority);
        let end = End { certificate: &keys.certificate, key: &keys.key, authorities: &keys.authorities };
        let reached = Reached::new(end)?;
        let file = staging.receive().map_err(|error| error.to_string())?;
        Ok(Arrival {
            listener: self.listener,
            reached,
            knocking: JoinSet::new(),
            way: None,
            file: File::from_std(file),
            hash: Sha256::new(),
            got: 0,
            file_bytes: offer.file_bytes,
            percent: 0,
        })
    }
}

impl Arrival {
    /// Takes it in, until it is whole. `progress` hears how many bytes of it are here.
    ///
    /// # Errors
    /// Why it does not come, for people.
    pub(crate) async fn take(
        &mut self,
        going: &Going,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Arrived, String> {
        let mut apart = Instant::now();
        loop {
            let why = match self.way().await {
                Some(mut way) => match self.take_by(&mut way, progress).await {
                    Ok(()) => {
                        self.way = Some(way);
                        let digest = Digest::of_bytes(self.hash.clone().finalize().into());
                        return Ok(Arrived { digest, bytes: self.got });
                    }
                    Err(Broken::For(why)) => return Err(why),
                    Err(Broken::Way(why)) => {
                        apart = Instant::now();
                        why
                    }
                },
                None => "nothing comes".into(),
            };
            tracing::info!(peer = %going.peer, why, got = self.got, "an image does not come just now");
            match going.ask().await {
                Ok(Answer::GoesOn) | Err(_) if apart.elapsed() < APART_MAX => {}
                Ok(Answer::GoesOn) => return Err(format!("nothing comes from {}", going.peer)),
                Ok(_) => return Err(format!("{} gave it up", going.peer)),
                Err(error) => return Err(format!("{}: {error}", going.peer)),
            }
        }
    }

    /// A connection of the other host, if there is one soon.
    async fn way(&mut self) -> Option<Way> {
        let knocks = async {
            loop {
                tokio::select! {
                    Some(known) = self.knocking.join_next() => match known {
                        Ok(Ok(way)) => return way,
                        Ok(Err(error)) => tracing::debug!(%error, "somebody else knocked"),
                        Err(error) => tracing::debug!(%error, "a knock was lost"),
                    },
                    knock = self.listener.accept(), if self.knocking.len() < KNOCKING_MAX => {
                        let Ok((tcp, _)) = knock else { continue };
                        let reached = self.reached.clone();
                        self.knocking.spawn(async move {
                            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
                            timeout(SILENCE_MAX, reached.accept(tcp)).await.map_err(late)?
                        });
                    }
                }
            }
        };
        timeout(AGAIN * 2, knocks).await.ok()
    }

    async fn take_by(&mut self, way: &mut Way, progress: &mut (dyn FnMut(u64) + Send)) -> Result<(), Broken> {
        say(way, &Line::From(self.got)).await?;
        let mut piece = vec![0; PIECE_BYTES];
        while self.got < self.file_bytes {
            let left = usize::try_from(self.file_bytes - self.got).unwrap_or(PIECE_BYTES);
            let room = piece.get_mut(..left.min(PIECE_BYTES)).unwrap_or_default();
            let count = within(way.read(room)).await?;
            let came = room.get(..count).unwrap_or_default();
            if came.is_empty() {
                return Err(Broken::Way("it ended too early".into()));
            }
            crash::point("share-arriving");
            self.file.write_all(came).await.map_err(|error| unwritten(&error))?;
            self.hash.update(came);
            self.got += count as u64;
            progress(self.got);
            let percent = u8::try_from(self.got * 80 / self.file_bytes).unwrap_or(80);
            if percent > self.percent {
                self.percent = percent;
                say(way, &Line::Percent(percent)).await?;
            }
        }
        self.file.flush().await.map_err(|error| unwritten(&error))?;
        let mut theirs = [0; 32];
        within(way.read_exact(&mut theirs)).await?;
        match self.hash.clone().finalize().as_slice() == theirs {
            true => Ok(()),
            false => Err(Broken::For("what came is not what was sent: its SHA-256 is another".into())),
        }
    }

    /// Says how far it is; who does not hear asks.
    pub(crate) async fn say_percent(&mut self, percent: u8) {
        if percent > self.percent
            && let Some(way) = &mut self.way
        {
            self.percent = percent;
            if say(way, &Line::Percent(percent)).await.is_err() {
                self.way = None;
            }
        }
    }

    /// Says how it ended; who does not hear asks.
    pub(crate) async fn end(self, answer: Answer) {
        if let Some(mut way) = self.way
            && say(&mut way, &Line::End(answer)).await.is_ok()
        {
            drop(timeout(SILENCE_MAX, way.shutdown()).await);
        }
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> Result<T, Broken> {
    match timeout(SILENCE_MAX, work).await {
        Ok(done) => done.map_err(|error| Broken::Way(error.to_string())),
        Err(_) => Err(Broken::Way("nothing came for too long".into())),
    }
}

async fn say(way: &mut Way, line: &Line) -> Result<(), Broken> {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    within(async {
        way.write_all(&text).await?;
        way.flush().await
    })
    .await
}

fn unwritten(error: &io::Error) -> Broken {
    Broken::For(match error.kind() {
        io::ErrorKind::StorageFull => "its disk is full".into(),
        _ => format!("it cannot write it down: {error}"),
    })
}
