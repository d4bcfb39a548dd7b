//! The way of a request from the person to the command: who passed it on, and why it came. What the caller
//! says of itself nobody vouches for, and it is kept as said; what the agent did itself it knows.

use serde::{Deserialize, Serialize};
use skerry_stanzas::{payload::Via, signature::Signed};

/// One step of the way of a request. In the journal, in the order of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Hop {
    /// The program that sent it, as it calls itself: `skerry`, a bot. Said by the caller.
    Program {
        /// What it calls itself.
        name: String,
        /// Its version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// The name of the computer it runs on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<String>,
        /// On whose behalf it asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        behalf: Option<String>,
    },
    /// A schedule of this host, which asks as who made it. Known.
    Schedule {
        /// Its title.
        title: String,
        /// Who made it.
        made_by: String,
    },
    /// Others agreed to it, on this host. Known.
    Approval {
        /// The code of the request.
        code: String,
        /// The bare addresses of all who agreed, in the order in which they did.
        agreed: Vec<String>,
        /// Their signatures, where they had to sign.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        signatures: Vec<Signed>,
    },
    /// Somebody did without the consent of others, on this host. Known.
    Emergency {
        /// The code of the request.
        code: String,
        /// Who.
        #[serde(rename = "who")]
        by: String,
        /// Why.
        because: String,
        /// Their signature, where they had to sign.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Box<Signed>>,
    },
}

impl Hop {
    /// Whether it is only said by the caller, and nobody vouches for it.
    pub fn is_said(&self) -> bool {
        matches!(self, Self::Program { .. })
    }

    /// In words.
    pub fn sentence(&self) -> String {
        match self {
            Self::Program { name, version, on, behalf } => {
                let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                let on = on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default();
                let behalf = behalf.as_ref().map(|whom| format!(" for {whom}")).unwrap_or_default();
                format!("{name}{version}{on}{behalf} (says who asked)")
            }
            Self::Schedule { title, made_by } => format!("the schedule {title} of {made_by}"),
            Self::Emergency { code, by, because, .. } => {
                format!("done without approval by {by} ({code}), because {because:?}")
            }
            Self::Approval { code, agreed, .. } => format!("agreed to by {} ({code})", agreed.join(", ")),
        }
    }
}

impl From<Via> for Hop {
    fn from(via: Via) -> Self {
        Self::Program { name: via.by, version: via.version, on: via.on, behalf: via.behalf }
    }
}

/// What a stanza says of its way.
pub(crate) fn said(payload: &minidom::Element) -> Vec<Hop> {
    Via::of(payload).into_iter().map(Hop::from).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_said_is_told_from_what_is_known() {
        let said = Hop::from(Via {
            by: "skerry".into(),
            version: Some("0.3".into()),
            on: Some("desk".into()),
            behalf: None,
        });
        assert!(said.is_said() && said.sentence() == "skerry 0.3 on desk (says who asked)");
        let known = Hop::Approval {
            code: "7f3a".into(),
            agreed: vec!["bob@x".into(), "eve@x".into()],
            signatures: vec![],
        };
        assert!(!known.is_said());
        assert_eq!(known.sentence(), "agreed to by bob@x, eve@x (7f3a)");
        let alone = Hop::Emergency {
            code: "7f3a".into(),
            by: "bob@x".into(),
            because: "fire".into(),
            signature: None,
        };
        assert_eq!(alone.sentence(), "done without approval by bob@x (7f3a), because \"fire\"");
        for hop in [said, known, alone] {
            let text = serde_json::to_string(&hop).unwrap();
            assert_eq!(serde_json::from_str::<Hop>(&text).unwrap(), hop, "{text}");
        }
    }
}
