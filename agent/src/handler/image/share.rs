//! Share: an image goes to another host, or comes from one. Which of the two is asked, the same happens: the
//! host that takes it looks first whether it has the same, and may have it.

use std::{
    collections::BTreeSet,
    fs::File,
    str::FromStr,
    sync::atomic::{AtomicU8, Ordering},
};

use hypervisor_core::{
    driver::migrate::Half,
    image::{Digest, Format, Kind, Staging, VIRTUAL_BYTES_MAX, room_for},
};
use skerry_stanzas::{
    command::{COMMANDS, Object, host},
    payload::share::{Answer, OFFER, Offer, Place, WANT, Want},
    refusal::{Reason, Refusal},
    reply::{ImageKept, ImageShared, measure},
    safe::safe_line,
};
use tokio::time::{Duration, interval};
use uuid::Uuid;
use xmpp_parsers::jid::{BareJid, Jid};

use super::{
    Handle,
    bring::{Came, Card, Whose, already},
    image_name, is_image_name,
};
use crate::{
    agent::Agent,
    asked::Target,
    crash,
    dispatch::Job,
    images::{
        refusal,
        share::{
            Going,
            receiving::{Arrival, Door},
            sending::Departure,
        },
    },
    migration::Unheard,
    store::images::{self as rows, Stored},
};

/// How many of the hundred an image's way is; what is made of it is the rest.
const WAY_PERCENT: u8 = 80;
/// How often it is looked how far that is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The longest description that is taken over, in characters.
const ABOUT_CHARS_MAX: usize = 500;
/// The longest reason of another host that is shown, in characters.
const REASON_CHARS_MAX: usize = 300;

/// What becomes of an image that is offered.
enum Considered {
    /// The same is here.
    Known(Stored),
    /// It may come.
    New(Card),
}

impl Handle<host::ImageShare> for Agent {
    async fn handle(&self, job: &Job, command: host::ImageShare) -> Result<ImageShared, Refusal> {
        let to = self.peer(&command.to)?;
        let image = self.kept_image(&command.name, "name").await?;
        let called = match &command.called {
            Some(called) => image_name(called, "called")?,
            None => image.name.clone(),
        };
        let going = Going::begin(self, job.id, &to).ok_or_else(too_many)?;
        let keys = keys()?;
        let (file, offer) = self.offer_of(&image, called, job.by(), &keys)?;
        job.say(format!("{} is offered to {to}.", image.name));
        let answer =
            self.tell_share(&to, job.id, OFFER, &offer).await.map_err(|error| unheard(&to, &error))?;
        crash::point("share-offered");
        let answer = match answer {
            Answer::Accepted { place } => {
                self.send(job, &going, (file, offer.file_bytes), place, &keys, &image.name).await?
            }
            answer => answer,
        };
        crash::point("share-told");
        let (there, already) = match answer {
            Answer::Kept { name } => (name, false),
            Answer::Known { name } => (name, true),
            Answer::Refused { reasons } => return Err(refused(&to, &reasons)),
            Answer::Failed { why } => {
                let text = format!("{} was not shared: {}.", image.name, safe_line(&why, REASON_CHARS_MAX));
                return Err(Refusal::new(Reason::Conflict, text).hint("Nothing of it is left there."));
            }
            // Its agent that took it is no more; it may have been done.
            Answer::Nothing => {
                let text = format!("{to} was restarted meanwhile, and knows nothing of it any more.");
                return Err(Refusal::new(Reason::Unavailable, text)
                    .hint("Share it again: nothing is sent that is there."));
            }
            _ => return Err(unheard(&to, &Unheard::Refused("its answer makes no sense".into()))),
        };
        let there = safe_line(&there, 80);
        let sentence = match already {
            true => format!("{to} has that already: it is the image {there} there. Nothing was sent."),
            false => {
                let size = measure::size(offer.file_bytes.div_ceil(1 << 20));
                format!("The image {} is on {to} now, as {there}: {size} went there.", image.name)
            }
        };
        self.note(job, "image.shared", &sentence).await?;
        let sent_bytes = if already { 0 } else { offer.file_bytes };
        Ok(ImageShared { name: image.name, to: to.to_string(), there, already, sent_bytes, sentence })
    }
}

impl Agent {
    /// Sends one, and waits for what becomes of it there.
    async fn send(
        &self,
        job: &Job,
        going: &Going,
        (file, bytes): (File, u64),
        place: Place,
        keys: &Half,
        name: &str,
    ) -> Result<Answer, Refusal> {
        let doing = format!("{name} is going to {}", going.peer);
        let progress = |percent: u8| job.reach(&doing, percent.into(), 100);
        let departure = Departure::new(file, bytes, place, keys, &progress);
        let departure =
            departure.map_err(|why| unheard(&going.peer, &Unheard::Refused(format!("its keys: {why}"))))?;
        let sent = job.unless_called_off(async { Ok(departure.send(going).await) }).await;
        match sent {
            Ok(answer) => Ok(answer),
            Err(called_off) => match going.call_off().await {
                Ok(Answer::GoesOn | Answer::Kept { .. } | Answer::Known { .. }) => {
                    let text = format!("That was too late: {name} stays on {}.", going.peer);
                    Err(Refusal::new(Reason::Conflict, text).hint("\"image delete\" deletes it there."))
                }
                // One that did not hear finds out that nobody sends any more.
                _ => Err(called_off),
            },
        }
    }

    /// Brings one from another host.
    pub(super) async fn pull_from(
        &self,
        job: &Job,
        host: &str,
        name: &str,
        called: Option<&str>,
    ) -> Result<ImageKept, Refusal> {
        let from = self.peer(host).map_err(|refusal| refusal.field("name"))?;
        let name = image_name(name, "name")?;
        let called = called.map_or(Ok(name.clone()), |called| image_name(called, "called"))?;
        let going = Going::begin(self, job.id, &from).ok_or_else(too_many)?;
        let door = Door::open(&self.config()).await.map_err(|why| {
            Refusal::new(Reason::Conflict, format!("No image can come to this host: {why}."))
        })?;
        let want = Want { name, called, by: job.by(), place: door.place.clone() };
        job.say(format!("{from} is asked for {}.", want.name));
        let answer = self.tell_share(&from, job.id, WANT, &want).await;
        crash::point("share-offered");
        let offer = match answer.map_err(|error| unheard(&from, &error))? {
            Answer::Offered { offer } => *offer,
            Answer::Refused { reasons } => return Err(refused(&from, &reasons)),
            _ => return Err(unheard(&from, &Unheard::Refused("its answer makes no sense".into()))),
        };
        let came = self.take_here(job, &going, door, &offer).await;
        if came.is_err() {
            // It need not try for long to get rid of it.
            drop(going.call_off().await);
        }
        came
    }

    /// Takes in what was asked for, if it is not here.
    async fn take_here(
        &self,
        job: &Job,
        going: &Going,
        door: Door,
        offer: &Offer,
    ) -> Result<ImageKept, Refusal> {
        let no = |why: String| {
            let why = safe_line(&why, REASON_CHARS_MAX);
            Refusal::new(Reason::Conflict, format!("{} does not come here: {why}.", offer.called))
        };
        let card = match self.consider_image(&going.peer, offer).await.map_err(no)? {
            Considered::Known(same) => {
                drop(going.call_off().await);
                return Ok(already(&same));
            }
            Considered::New(card) => card,
        };
        let staging = self.stage(job, &card.name)?;
        let mut arrival = door.expect(offer, &staging).map_err(no)?;
        let doing = format!("{} is coming from {}", card.name, going.peer);
        let progress = |percent: u8| job.reach(&doing, percent.into(), 100);
        let making = async { self.make_of(going, &mut arrival, staging, offer, &progress).await.map_err(no) };
        let came = job.unless_called_off(making).await?;
        crash::point("image-finished");
        let kept = match came {
            Came::Known(same) => already(&same),
            Came::New(staged) => self.keep_image(&Whose::of(job), staged, card, "image.imported").await?,
        };
        arrival.end(Answer::Kept { name: kept.name.clone() }).await;
        crash::point("share-told");
        Ok(kept)
    }

    /// Another host offers an image.
    pub(crate) async fn image_offered(&self, from: &Jid, id: Uuid, offer: Offer) -> Answer {
        match self.take_offer(from, id, offer).await {
            Ok(answer) => answer,
            Err(reason) => Answer::Refused { reasons: vec![reason] },
        }
    }

    async fn take_offer(&self, from: &Jid, id: Uuid, offer: Offer) -> Result<Answer, String> {
        self.may_here(&offer.by, "image-pull")?;
        let card = match self.consider_image(from, &offer).await? {
            Considered::Known(same) => return Ok(Answer::Known { name: same.name }),
            Considered::New(card) => card,
        };
        let going = Going::begin(self, id, from).ok_or("it has too many images under way")?;
        let door = Door::open(&self.config()).await?;
        let staging = self.inner.images.files.stage(&id.to_string()).map_err(|error| error.to_string())?;
        crash::point("image-staged");
        let place = door.place.clone();
        let arrival = door.expect(&offer, &staging)?;
        tracing::info!(%from, image = offer.name, bytes = offer.file_bytes, "an image comes from another host");
        let agent = self.clone();
        self.keep(async move { agent.take_shared(going, id, arrival, staging, offer, card).await });
        crash::point("share-accepted");
        Ok(Answer::Accepted { place })
    }

    async fn take_shared(
        &self,
        going: Going,
        id: Uuid,
        mut arrival: Arrival,
        staging: Staging,
        offer: Offer,
        card: Card,
    ) {
        let making = self.make_of(&going, &mut arrival, staging, &offer, &|_| {});
        let came = tokio::select! {
            () = going.called_off() => Err("it was called off".into()),
            came = making => came,
        };
        crash::point("image-finished");
        let answer = match came {
            Ok(_) if !going.decide() => Answer::Failed { why: "it was called off".into() },
            Ok(Came::Known(same)) => Answer::Known { name: same.name },
            Ok(Came::New(staged)) => {
                let whose = Whose { by: offer.by.clone(), entry: id };
                match self.keep_image(&whose, staged, card, "image.imported").await {
                    Ok(kept) if kept.already => Answer::Known { name: kept.name },
                    Ok(kept) => Answer::Kept { name: kept.name },
                    Err(refusal) => Answer::Failed { why: refusal.text.trim_end_matches('.').to_owned() },
                }
            }
            Err(why) => Answer::Failed { why },
        };
        tracing::info!(from = %going.peer, image = offer.name, ?answer, "an image from another host");
        going.ended(answer.clone());
        arrival.end(answer).await;
    }

    /// Takes an image in, and makes of it what is kept.
    async fn make_of(
        &self,
        going: &Going,
        arrival: &mut Arrival,
        staging: Staging,
        offer: &Offer,
        progress: &(dyn Fn(u8) + Send + Sync),
    ) -> Result<Came, String> {
        let of = offer.file_bytes.max(1);
        let mut came = |got: u64| {
            progress(u8::try_from(got.saturating_mul(WAY_PERCENT.into()) / of).unwrap_or(WAY_PERCENT));
        };
        let arrived = arrival.take(going, &mut came).await?;
        crash::point("image-arrived");
        let digest = arrived.digest;
        let known = self.inner.store.run(move |connection| rows::of_content(connection, digest)).await;
        if let Some(known) = known.map_err(|_| "what is there could not be read".to_owned())? {
            return Ok(Came::Known(known));
        }
        let format = if offer.kind == Kind::Cd.word() { Format::Iso } else { Format::Qcow2 };
        let percent = AtomicU8::new(WAY_PERCENT);
        let mut made = |done: u64, of: u64| {
            crash::point("image-converting");
            let rest = done.saturating_mul(u64::from(100 - WAY_PERCENT)) / of.max(1);
            percent.store(WAY_PERCENT.saturating_add(u8::try_from(rest).unwrap_or(0)), Ordering::Relaxed);
        };
        let making = staging.finish(arrived, Some(format), &mut made);
        tokio::pin!(making);
        let mut look = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                staged = &mut making => {
                    let failed = |error| {
                        refusal("it cannot be taken in", error).text.trim_end_matches('.').to_owned()
                    };
                    return staged.map(Came::New).map_err(failed);
                }
                _ = look.tick() => {
                    let percent = percent.load(Ordering::Relaxed);
                    progress(percent);
                    arrival.say_percent(percent).await;
                }
            }
        }
    }

    /// Another host wants an image.
    pub(crate) async fn image_wanted(&self, from: &Jid, id: Uuid, want: Want) -> Answer {
        match self.give(from, id, want).await {
            Ok(offer) => Answer::Offered { offer: Box::new(offer) },
            Err(reason) => Answer::Refused { reasons: vec![reason] },
        }
    }

    async fn give(&self, from: &Jid, id: Uuid, want: Want) -> Result<Offer, String> {
        self.may_here(&want.by, "image-share")?;
        let text = |refusal: Refusal| refusal.text.trim_end_matches('.').to_owned();
        let image = self.kept_image(&want.name, "name").await.map_err(text)?;
        let keys = keys().map_err(text)?;
        let (file, offer) = self.offer_of(&image, want.called, want.by, &keys).map_err(text)?;
        let going = Going::begin(self, id, from).ok_or("it has too many images under way")?;
        let bytes = offer.file_bytes;
        let departure_keys = (want.place, keys);
        let name = image.name;
        self.keep(async move {
            let (place, keys) = departure_keys;
            let departure = match Departure::new(file, bytes, place, &keys, &|_| {}) {
                Ok(departure) => departure,
                Err(why) => return tracing::warn!(to = %going.peer, why, "an image cannot be sent"),
            };
            let end = tokio::select! {
                () = going.called_off() => Answer::Failed { why: "it was called off".into() },
                end = departure.send(&going) => end,
            };
            tracing::info!(to = %going.peer, image = name, ?end, "an image went to another host");
            going.ended(end);
        });
        Ok(offer)
    }

    /// Whether the person that another host names may do this here.
    fn may_here(&self, by: &str, verb: &str) -> Result<(), String> {
        let declaration = COMMANDS.iter().find(|one| one.object == Object::Host && one.verb == verb);
        let allowed = BareJid::new(by).ok().zip(declaration);
        match allowed.is_some_and(|(person, declaration)| self.allows(&person, declaration, &Target::Host)) {
            true => Ok(()),
            false => Err(format!("{} may not share images there", safe_line(by, 80))),
        }
    }

    /// An image's file, and what is said of it to another host.
    fn offer_of(
        &self,
        image: &Stored,
        called: String,
        by: String,
        keys: &Half,
    ) -> Result<(File, Offer), Refusal> {
        let broken = |error: std::io::Error| {
            crate::reference::internal(&format!("The file of {} cannot be read", image.name), &error)
        };
        // Open, it stays readable, should the image be deleted meanwhile.
        let file = File::open(self.inner.images.path(image)).map_err(broken)?;
        let file_bytes = file.metadata().map_err(broken)?.len();
        let same_as = std::iter::once(image.digest).chain(image.same_as.iter().copied());
        let offer = Offer {
            name: image.name.clone(),
            called,
            by,
            same_as: same_as.map(|digest| digest.to_string()).collect(),
            kind: image.kind.word().into(),
            file_bytes,
            size_bytes: image.size_bytes,
            about: image.about.clone(),
            authority: keys.authority.clone(),
        };
        Ok((file, offer))
    }

    /// Whether an image may come here, and what is written down of it.
    async fn consider_image(&self, from: &Jid, offer: &Offer) -> Result<Considered, String> {
        let kind = [Kind::Disk, Kind::Cd].into_iter().find(|kind| kind.word() == offer.kind);
        let kind = kind.ok_or("it is neither a disk nor a CD")?;
        if !is_image_name(&offer.called) || !is_image_name(&offer.name) {
            return Err("that can be no image's name there".into());
        }
        if !(1..=VIRTUAL_BYTES_MAX).contains(&offer.file_bytes) || offer.size_bytes > VIRTUAL_BYTES_MAX {
            return Err("it has an impossible size".into());
        }
        let same: BTreeSet<Digest> = offer
            .same_as
            .iter()
            .take(rows::SAME_AS_MAX)
            .filter_map(|text| Digest::from_str(text).ok())
            .collect();
        let all = self.inner.images.all().await.map_err(|_| "what is there could not be read".to_owned())?;
        let is_it = |image: &Stored| {
            same.contains(&image.digest) || image.same_as.iter().any(|digest| same.contains(digest))
        };
        if let Some(known) = all.into_iter().find(is_it) {
            return Ok(Considered::Known(known));
        }
        if let Err(refusal) = self.free_image_name(&offer.called, "called").await {
            return Err(refusal.text.trim_end_matches('.').to_owned());
        }
        // As it comes, and what is made of it.
        let needed = if kind == Kind::Disk { offer.file_bytes.saturating_mul(2) } else { offer.file_bytes };
        room_for(&self.config().state, needed).map_err(|error| error.to_string())?;
        Ok(Considered::New(Card {
            name: offer.called.clone(),
            source: format!("{from}, where it is {}", offer.name),
            about: safe_line(&offer.about, ABOUT_CHARS_MAX),
            pin: None,
            same_as: same.into_iter().collect(),
        }))
    }
}

fn keys() -> Result<Half, Refusal> {
    Half::make().map_err(|error| crate::reference::internal("No keys could be made", &error))
}

fn too_many() -> Refusal {
    Refusal::new(Reason::Unavailable, "Too many images are on their way already.")
        .hint("\"job list\" shows them.")
}

fn unheard(host: &Jid, error: &Unheard) -> Refusal {
    let error = safe_line(&error.to_string(), REASON_CHARS_MAX);
    Refusal::new(Reason::Unavailable, format!("{host}: {}.", error.trim_end_matches('.')))
        .hint("Both hosts name each other in [peers] of their agents' files.")
}

fn refused(host: &Jid, reasons: &[String]) -> Refusal {
    let reasons: Vec<String> =
        reasons.iter().take(8).map(|reason| safe_line(reason, REASON_CHARS_MAX)).collect();
    Refusal::new(Reason::Conflict, format!("{host} says no: {}.", reasons.join("; ")))
}
