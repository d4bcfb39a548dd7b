//! A file that was sent in a chat: whether it is to be an image here.

use std::time::Duration;

use chrono::Utc;
use skerry_stanzas::{
    command::{COMMANDS, Object},
    refusal::{Reason, Refusal},
    reply::measure,
};
use xmpp_parsers::jid::Jid;

use super::name_of_file;
use crate::{
    agent::Agent,
    asked::{Answer, Asked, Confirmation, Door, Target},
    images::{length, web_address},
};

/// How long the import is waited for: its progress is seen meanwhile.
const PATIENCE: Duration = Duration::from_secs(600);
/// The largest file that is taken so: what is larger is imported by a command.
const BYTES_MAX: u64 = 64 << 30;

impl Agent {
    /// Asks whether the file at this address is to be imported, if that person may import any. What is there
    /// is not fetched before.
    pub(crate) async fn offer_import(&self, caller: &Jid, url: &str) -> Answer {
        self.offer(caller, url).await.map_or_else(Answer::Refused, Answer::Confirm)
    }

    async fn offer(&self, caller: &Jid, url: &str) -> Result<Confirmation, Refusal> {
        let import = |known: &&skerry_stanzas::command::Declaration| {
            known.object == Object::Host && known.verb == "image-import"
        };
        let declaration = COMMANDS
            .iter()
            .find(import)
            .ok_or_else(|| Refusal::new(Reason::NotSupported, "Images cannot be imported here."))?;
        let _permit = self.permit(caller, declaration, &Target::Host)?;
        let url = web_address(url)?;
        if url.scheme() != "https" {
            return Err(Refusal::new(Reason::BadRequest, "A file in a chat is taken by https only.")
                .hint("\"image import ADDRESS sha256=…\" takes one by http, held to its checksum."));
        }
        let file = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        let shown = skerry_stanzas::safe::safe_line(file, 80);
        let Some(name) = name_of_file(file) else {
            return Err(Refusal::new(Reason::BadRequest, "That file has no name an image could have.")
                .hint(format!("\"image import {url} NAME\" gives it one.")));
        };
        let size = match length(&url).await {
            Some(bytes) if bytes > BYTES_MAX => {
                let text = format!("{shown} has {}: too much for a chat.", measure::size(bytes >> 20));
                return Err(
                    Refusal::new(Reason::Limit, text).hint(format!("Give the command: image import {url}"))
                );
            }
            Some(bytes) => measure::size(bytes.div_ceil(1 << 20)),
            None => "of unknown size".into(),
        };
        let host = url.host_str().unwrap_or_default();
        let sentence = format!("Import {shown} ({size}, from {host}) as the image {name}?");
        let asked = Asked {
            caller: caller.clone(),
            target: Target::Host,
            declaration,
            argv: vec![format!("--source={url}"), format!("--name={name}")],
            door: Door::Chat,
            key: None,
            patience: PATIENCE,
            hops: Vec::new(),
            together: None,
            signature: None,
        };
        self.inner.confirmations.put(asked, sentence, Utc::now())
    }
}
