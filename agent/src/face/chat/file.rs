//! A file somebody sends in the chat of a host: its address, as the upload of any client (XEP-0363) gives it,
//! beside the message (XEP-0066). The host asks whether it is to be imported as an image.

use minidom::Element;
use tokio::sync::mpsc;
use xmpp_parsers::ns as xep;

use super::Message;
use crate::{asked::Target, face::Face};

/// The address of the file that a message is about: said so beside it, or the only word in it, of a kind that
/// images have.
pub(super) fn sent(message: &Element, body: &str) -> Option<String> {
    let beside = message.get_child("x", xep::OOB).and_then(|oob| oob.get_child("url", xep::OOB));
    if let Some(url) = beside {
        return Some(url.text().trim().to_owned()).filter(|url| !url.is_empty());
    }
    let body = body.trim();
    let alone = body.starts_with("https://") && !body.contains(char::is_whitespace);
    let path = body.split(['?', '#']).next().unwrap_or_default().to_lowercase();
    let kinds = [".qcow2", ".img", ".raw", ".vmdk", ".vdi", ".iso", ".ova"];
    (alone && kinds.iter().any(|kind| path.ends_with(kind))).then(|| body.to_owned())
}

impl Face {
    /// Asks whether the file is meant to be an image here. False when there is none, or it was sent to a
    /// machine.
    pub(super) async fn is_given_a_file(&self, message: &Message) -> bool {
        let (Some(url), Target::Host) = (&message.file, &message.target) else { return false };
        let (_, nothing) = mpsc::channel(1);
        self.accompany(message, self.agent.offer_import(&message.from, url), nothing).await;
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn assert_sent(expected: Option<&str>, body: &str, beside: &str) {
        let text = format!("<message xmlns='jabber:client'>{beside}</message>");
        assert_eq!(sent(&text.parse().unwrap(), body).as_deref(), expected, "{body} {beside}");
    }

    #[test]
    fn a_file_is_what_is_said_to_be_one_or_an_address_alone() {
        let oob = "<x xmlns='jabber:x:oob'><url>https://up.example.org/1/x.bin</url></x>";
        assert_sent(Some("https://up.example.org/1/x.bin"), "whatever", oob);
        assert_sent(None, "list", "<x xmlns='jabber:x:oob'/>");
        assert_sent(Some("https://a.org/Debian.QCOW2?x=1"), " https://a.org/Debian.QCOW2?x=1 ", "");
        assert_sent(None, "https://a.org/page.html", "");
        assert_sent(None, "image import https://a.org/x.iso", "");
        assert_sent(None, "http://a.org/x.iso", "");
    }
}
