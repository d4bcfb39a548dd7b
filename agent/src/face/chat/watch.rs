//! A screen that is watched: one message with its picture, corrected (XEP-0308) when there is another to
//! be seen.

use std::{sync::Arc, time::Duration};

use skerry_stanzas::{command::machine, reply::ScreenPicture, words};
use tokio::time::{Instant, sleep_until};

use super::{
    Message, Words,
    live::{Kind, LEAVE, Place},
};
use crate::{
    asked::{Answer, Asked, Target},
    face::Face,
};

/// As often as a screen is looked at, at most and at least.
const EVERY_MIN: Duration = Duration::from_secs(2);
const EVERY_MAX: Duration = Duration::from_secs(3600);
/// As long as one is watched at most.
const DURING_MAX: Duration = Duration::from_secs(12 * 3600);

impl Face {
    /// Watches a screen, when that is what was asked for.
    pub(super) async fn watches(self: &Arc<Self>, message: &Message, asked: &Asked) -> bool {
        let Target::Machine(name) = &asked.target else { return false };
        if asked.declaration.verb != "watch" {
            return false;
        }
        // What cannot be read is refused where everything is.
        let Ok(wanted) = words::parse::<machine::Watch>(&asked.argv) else { return false };
        let every = wanted.every.clamp(EVERY_MIN, EVERY_MAX);
        let until = Instant::now() + wanted.during.min(DURING_MAX);
        let (face, told, place) = (Arc::clone(self), message.clone(), Place::of(message, Kind::Watch));
        let begun =
            self.lives.begin(place.clone(), None, format!("I no longer watch the screen of {name}."), {
                let (asked, name) = (asked.clone(), name.to_string());
                move |number| {
                    let work = async move {
                        let ended = face.watch(&told, &asked, &name, every, until).await;
                        face.speak(&told, &Words::new(ended), None).await;
                        // Last, as it ends this task.
                        face.lives.is_over(&place, number);
                    };
                    tokio::spawn(work).abort_handle()
                }
            });
        if !begun {
            let words = Words::new("Too much is open already. Leave another console or screen first.");
            self.speak(message, &words, None).await;
        }
        true
    }

    /// Shows the screen as it changes; why it ended.
    async fn watch(
        &self,
        message: &Message,
        asked: &Asked,
        name: &str,
        every: Duration,
        until: Instant,
    ) -> String {
        let mut first: Option<String> = None;
        let mut seen: Option<String> = None;
        loop {
            let begun = Instant::now();
            // Asked for each time, so that a right that was taken away is gone here too.
            let picture = match self.agent.ask(asked.clone(), None).await {
                Answer::Done { json, .. } => ScreenPicture::of(&json),
                Answer::Refused(refusal) => return refusal.sentence(),
                Answer::Confirm(_) => None,
            };
            if let Some(picture) = picture.filter(|picture| picture.cid != seen) {
                seen.clone_from(&picture.cid);
                let sent = self.speak_on(message, &Words::picture(picture), first.as_deref(), true).await;
                if first.is_none() {
                    let text = format!(
                        "I look every {}, and show what changes. Write {LEAVE} to end it.",
                        humantime::format_duration(every)
                    );
                    self.speak(message, &Words::new(text).buttons([LEAVE]), None).await;
                }
                first.get_or_insert(sent);
            }
            let next = begun + every;
            if next > until {
                return format!(
                    "I no longer watch the screen of {name}: its time is over. Say watch for more."
                );
            }
            sleep_until(next).await;
        }
    }
}
