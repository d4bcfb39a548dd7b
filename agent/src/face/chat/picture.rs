//! Pictures in a chat.
//!
//! Most clients show one when the message is its address and nothing else, and says so out of band
//! (XEP-0066). Where there is no upload service, the message names a picture that is given in band
//! (XEP-0231), in XHTML-IM (XEP-0071), which the clients with Bits of Binary read.

use minidom::Element;
use skerry_stanzas::reply::ScreenPicture;
use xmpp_parsers::ns as xep;

use super::Words;
use crate::face::{Face, bob, stanza::tag};

/// Up to so many bytes a picture rides in the message itself (XEP-0231 §4).
const RIDES_BYTES_MAX: usize = 8 << 10;

impl Words {
    /// What a command answered; a picture as one.
    pub(super) fn answer(text: String, json: &serde_json::Value) -> Self {
        match ScreenPicture::of(json) {
            None => Self::new(text),
            Some(picture) => Self::picture(picture),
        }
    }

    /// A picture.
    pub(super) fn picture(picture: ScreenPicture) -> Self {
        let text = picture.url.clone().unwrap_or_else(|| format!("{}.", picture.caption()));
        Self { picture: Some(picture), ..Self::new(text) }
    }
}

impl Face {
    /// What shows a picture, beside the body of a message.
    pub(super) fn shown(&self, picture: &ScreenPicture) -> Vec<Element> {
        match (&picture.url, &picture.cid) {
            (Some(url), _) => {
                vec![tag("x", xep::OOB).child(tag("url", xep::OOB).text(url)).into()]
            }
            (None, Some(cid)) => {
                let image = tag("img", xep::XHTML)
                    .attr("src", format!("cid:{cid}"))
                    .attr("alt", picture.caption())
                    .attr("width", picture.width.to_string())
                    .attr("height", picture.height.to_string());
                let caption = tag("p", xep::XHTML).text(format!("{}.", picture.caption()));
                let body = tag("body", xep::XHTML).child(caption).child(tag("p", xep::XHTML).child(image));
                let kept = self.agent.inner.pictures.named(cid);
                let small = kept.filter(|png| png.file.len() <= RIDES_BYTES_MAX);
                let html: Element = tag("html", xep::XHTML_IM).child(body).into();
                small.map(|png| bob::data(&png).into()).into_iter().chain([html]).collect()
            }
            (None, None) => Vec::new(),
        }
    }
}
