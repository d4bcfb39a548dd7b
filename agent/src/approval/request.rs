//! A request for something that needs the consent of others, as it is written down.

use chrono::{DateTime, Utc};
use hypervisor_core::machine::{MachineId, MachineName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use skerry_stanzas::{
    command::{COMMANDS, Declaration},
    reply::{RequestLine, measure},
    signature::{Keys, Signed},
};
use uuid::Uuid;
use xmpp_parsers::jid::{BareJid, Jid};

use super::window::Window;
use crate::{
    asked::Hop,
    journal::Accepted,
    rights::{Rights, Subject},
};

/// How many consents of which roles a policy asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Need {
    /// The policy.
    pub(crate) policy: String,
    pub(crate) count: u8,
    /// One of these roles.
    pub(crate) from: Vec<String>,
    /// Who can do without.
    pub(crate) emergency: Option<String>,
}

/// A consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreed {
    pub(crate) who: BareJid,
    pub(crate) at: DateTime<Utc>,
    #[serde(default)]
    pub(crate) signature: Option<Signed>,
}

/// A message that was sent about it, or is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// To whom: the address it was or is sent to.
    pub(crate) to: Jid,
    /// Whose it is: the machine's, or none for the host's.
    pub(crate) from: Option<MachineName>,
    /// The message's id.
    pub(crate) id: String,
    /// To all who are in the room of this address.
    #[serde(default)]
    pub(crate) in_room: bool,
    /// It is on its way.
    pub(crate) sent: bool,
    pub(crate) says: Says,
}

impl Shown {
    /// One that is still to be sent, by the host.
    pub(crate) fn new(to: BareJid, in_room: bool, says: Says) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self { to: to.into(), from: None, id, in_room, sent: false, says }
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Says {
    /// It asks for consent.
    Question,
    /// It tells the asker that it waits.
    Answer,
    /// That somebody did without consent, and why.
    Emergency(String),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// It waits for consents, or for its hours.
    Waiting,
    /// It is being carried out: the journal has it.
    Begun,
    /// It is over: what became of it, which is still to be told.
    Over(String),
}

/// Somebody did without consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Emergency {
    pub(crate) by: BareJid,
    pub(crate) because: String,
    #[serde(default)]
    pub(crate) signature: Option<Box<Signed>>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The number it has in the journal, when it is carried out or refused.
    pub(crate) id: Uuid,
    /// What people call it.
    pub(crate) code: String,
    /// What the journal gets.
    pub(crate) accepted: Accepted,
    /// The machine it is about; the host when there is none.
    pub(crate) machine: Option<MachineId>,
    /// The words of the command; none where they hold a secret.
    pub(crate) words: Option<Vec<String>>,
    /// Of the exact command.
    pub(crate) hash: String,
    /// What exactly will be done.
    pub(crate) effect: String,
    pub(crate) needs: Vec<Need>,
    pub(crate) during: Vec<Window>,
    pub(crate) reactions: bool,
    /// Consents are signed, as the request is.
    #[serde(default)]
    pub(crate) signed: bool,
    /// Where it is asked besides.
    #[serde(default)]
    pub(crate) rooms: Vec<BareJid>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
    pub(crate) agreed: Vec<Agreed>,
    pub(crate) emergency: Option<Emergency>,
    pub(crate) messages: Vec<Shown>,
    pub(crate) stage: Stage,
}

/// The hash of an exact command: what, on which machine for its life, with which arguments.
pub(crate) fn hash(permission: &str, machine: Option<MachineId>, args: &serde_json::Value) -> String {
    let mut digest = Sha256::new();
    let machine = machine.map(|id| id.to_string()).unwrap_or_default();
    for field in [permission, &machine, &args.to_string()] {
        // Lengths go in first, so that nothing can move from one field to the next.
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field);
    }
    hex(&digest.finalize())
}

/// In hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Request {
    /// The command.
    pub(crate) fn declaration(&self) -> Option<&'static Declaration> {
        COMMANDS.iter().find(|it| it.permission() == self.accepted.permission)
    }

    /// Who asks.
    pub(crate) fn caller(&self) -> Option<Jid> {
        Jid::new(&self.accepted.caller).ok()
    }

    /// Who asks, without a resource.
    pub(crate) fn person(&self) -> Option<BareJid> {
        self.caller().map(|caller| caller.to_bare())
    }

    /// Whether this person asked for it.
    pub(crate) fn is_by(&self, person: &BareJid) -> bool {
        self.person().as_ref() == Some(person)
    }

    /// `kill`.
    pub(super) fn verb(&self) -> String {
        self.declaration().map_or_else(|| self.accepted.permission.clone(), Declaration::spoken)
    }

    /// `kill db1`.
    pub(crate) fn command(&self) -> String {
        let spoken = self.verb();
        match &self.accepted.name {
            Some(machine) => format!("{spoken} {machine}"),
            None => spoken,
        }
    }

    /// Whether it waits for consents, or for its hours.
    pub(crate) fn is_waiting(&self) -> bool {
        self.stage == Stage::Waiting && Utc::now() < self.until
    }

    /// It is over, and this became of it: what it was to do is needed no more.
    pub(crate) fn end(&mut self, sentence: &str) {
        self.stage = Stage::Over(sentence.to_owned());
        self.words = None;
    }

    /// Its hours, when they do not come before its deadline.
    pub(crate) fn hours_missed(&self, now: DateTime<Utc>) -> Option<String> {
        let hours: Vec<String> = self.during.iter().map(ToString::to_string).collect();
        self.opens(now).is_none().then(|| hours.join(" and "))
    }

    /// For how long it waits still, for people.
    pub(crate) fn time_left(&self) -> String {
        let seconds = (self.until - Utc::now()).num_seconds().max(1).unsigned_abs();
        // Nobody plans by the second.
        measure::duration(if seconds < 90 { seconds } else { (seconds + 30) / 60 * 60 })
    }

    /// What it passed on its way to being carried out: others agreed, unless one did without them.
    pub(crate) fn hops(&self) -> Vec<Hop> {
        let mut hops = self.accepted.hops.clone();
        hops.push(match &self.emergency {
            Some(Emergency { by, because, signature }) => Hop::Emergency {
                code: self.code.clone(),
                by: by.to_string(),
                because: because.clone(),
                signature: signature.clone(),
            },
            None => Hop::Approval {
                code: self.code.clone(),
                agreed: self.agreed.iter().map(|one| one.who.to_string()).collect(),
                signatures: self.agreed.iter().filter_map(|one| one.signature.clone()).collect(),
            },
        });
        hops
    }

    /// Whether a person's consent counts for any of its needs.
    pub(crate) fn takes(
        &self,
        person: &BareJid,
        rights: &Rights,
        on: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> bool {
        !self.is_by(person) && self.needs.iter().any(|need| rights.can_agree(person, &need.from, on, now))
    }

    /// Whether this is a signature of a consent to it, by a key that is this person's now.
    pub(crate) fn has_signed(&self, who: &BareJid, signature: Option<&Signed>, keys: &Keys) -> bool {
        let text = signature.and_then(|signed| signed.checked(keys));
        text.is_some_and(|text| {
            text.caller == *who && text.about.is_some_and(|about| about.id == self.id.to_string())
        })
    }

    /// How many consents each need still lacks, of those whose consent counts now.
    pub(crate) fn missing<'a>(
        &'a self,
        rights: &'a Rights,
        keys: &'a Keys,
        on: &'a Subject<'_>,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = (&'a Need, u8)> {
        self.needs.iter().filter_map(move |need| {
            let counts = |agreed: &&Agreed| {
                !self.is_by(&agreed.who)
                    && rights.can_agree(&agreed.who, &need.from, on, now)
                    && (!self.signed || self.has_signed(&agreed.who, agreed.signature.as_ref(), keys))
            };
            let have = self.agreed.iter().filter(counts).count();
            let lacks = need.count.saturating_sub(u8::try_from(have).unwrap_or(u8::MAX));
            (lacks > 0).then_some((need, lacks))
        })
    }

    /// When all its windows are open together next, if ever before its deadline.
    pub(crate) fn opens(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = now;
        // Each step goes on to the next opening of one that is shut then.
        while at < self.until {
            let local = at.with_timezone(&chrono::Local);
            match self.during.iter().find(|window| !window.is_open(&local)) {
                None => return Some(at),
                Some(shut) => at = shut.opens(&local).filter(|next| *next > at)?,
            }
        }
        None
    }

    /// As it is shown.
    pub(crate) fn line(&self, missing: Vec<String>, now: DateTime<Utc>, sentence: String) -> RequestLine {
        let opens = self.opens(now).filter(|at| *at > now);
        RequestLine {
            code: self.code.clone(),
            by: self.person().map_or_else(|| self.accepted.caller.clone(), |person| person.to_string()),
            what: self.declaration().map(Declaration::spoken).unwrap_or_default(),
            machine: self.accepted.name.clone(),
            effect: self.effect.clone(),
            hash: self.hash.chars().take(16).collect(),
            because: self.accepted.because.clone(),
            agreed: self.agreed.iter().map(|agreed| agreed.who.to_string()).collect(),
            missing,
            not_before: opens,
            until: self.until,
            sentence,
        }
    }
}

/// `1 with the role admin`.
pub(crate) fn lacks(need: &Need, lacks: u8) -> String {
    format!("{lacks} with the role {}", need.from.join(" or "))
}
