//! What the commands of a machine's screen answer.

use super::Reply;

reply! {
    /// A picture, of a screen or a graph: an upload's address, or what it is asked for by with the host
    /// (XEP-0231).
    ScreenPicture {
        /// The machine, or the host.
        name: String,
        /// What it shows, when that is no screen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Where it was uploaded to.
        url: Option<String>,
        /// By what name that address gives it (XEP-0231), for some minutes.
        cid: Option<String>,
        /// What kind of file it is.
        kind: String,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// The size of the file.
        bytes: u64,
        /// Whether nothing is to be seen on it: all of one colour. Then it is not uploaded.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        blank: bool,
    }
}
reply! {
    /// A ticket to a screen: it opens one bytestream (XEP-0047) with the machine, by `<iq/>`, that speaks RFB
    /// (RFC 6143). For its person alone.
    ScreenTicket {
        /// The machine.
        name: String,
        /// The session id to open the bytestream with.
        sid: String,
        /// Whether what is typed and pointed at is left out.
        view_only: bool,
        /// The largest block, in bytes before base64.
        block_bytes_max: u64,
        /// Until when the bytestream must be opened.
        good_for_seconds: u64,
    }
}
reply! {
    /// Keys were pressed.
    Typed {
        /// The machine.
        name: String,
        /// How many, those held down together counted as one.
        keys: u32,
    }
}

/// What kind of file a picture of a screen is.
pub const PNG: &str = "image/png";

impl ScreenPicture {
    /// The picture in an answer, when it is one.
    pub fn of(answer: &serde_json::Value) -> Option<Self> {
        (answer.get("kind")?.as_str()? == PNG).then(|| serde_json::from_value(answer.clone()).ok())?
    }

    /// What it shows, in a few words.
    pub fn caption(&self) -> String {
        match &self.title {
            Some(title) => title.clone(),
            None if self.blank => format!(
                "The screen of {}, {} × {}, is blank: nothing was drawn on it yet, or its guest has switched it off (a \
                 key may wake it)",
                self.name, self.width, self.height
            ),
            None => format!("The screen of {}, {} × {}", self.name, self.width, self.height),
        }
    }
}

impl Reply for ScreenPicture {
    fn text(&self) -> String {
        match (&self.url, &self.cid) {
            (Some(url), _) => format!("{}: {url}", self.caption()),
            (None, Some(cid)) if self.blank => format!("{}. cid:{cid}", self.caption()),
            (None, Some(cid)) => format!("{}: cid:{cid}", self.caption()),
            (None, None) => format!("{}.", self.caption()),
        }
    }
}

impl Reply for ScreenTicket {
    fn text(&self) -> String {
        let how = format!("A VNC viewer gets to the screen of {0} by: skerry vnc {0}", self.name);
        match self.view_only {
            true => format!("{how} (to look; typing there is not for you, or not wanted)"),
            false => how,
        }
    }
}

impl Reply for Typed {
    fn text(&self) -> String {
        match self.keys {
            1 => format!("Pressed on the keyboard of {}.", self.name),
            keys => format!("Typed on the keyboard of {}: {keys} keys.", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn picture() -> ScreenPicture {
        ScreenPicture {
            name: "web1".into(),
            title: None,
            url: None,
            cid: Some("sha1+aa@bob.xmpp.org".into()),
            kind: PNG.into(),
            width: 720,
            height: 400,
            bytes: 4711,
            blank: false,
        }
    }

    #[test]
    fn a_picture_says_where_it_is() {
        assert_eq!(picture().text(), "The screen of web1, 720 × 400: cid:sha1+aa@bob.xmpp.org");
        let uploaded = ScreenPicture { url: Some("https://example.org/1.png".into()), ..picture() };
        assert_eq!(uploaded.text(), "The screen of web1, 720 × 400: https://example.org/1.png");
        let blank = ScreenPicture { blank: true, ..picture() };
        assert_eq!(
            blank.text(),
            "The screen of web1, 720 × 400, is blank: nothing was drawn on it yet, or its guest has switched it off (a \
             key may wake it). cid:sha1+aa@bob.xmpp.org"
        );
        let graph = ScreenPicture { title: Some("web1: processors, the last hour".into()), ..uploaded };
        assert_eq!(graph.text(), "web1: processors, the last hour: https://example.org/1.png");
    }

    #[test]
    fn a_picture_is_found_in_an_answer_and_only_there() {
        assert_eq!(ScreenPicture::of(&serde_json::to_value(picture()).unwrap()), Some(picture()));
        assert_eq!(ScreenPicture::of(&serde_json::json!({"kind": "disk", "name": "debian"})), None);
        assert_eq!(ScreenPicture::of(&serde_json::json!({"kind": "image/png"})), None);
    }

    #[test]
    fn a_ticket_is_not_in_the_words_which_servers_keep() {
        let ticket = ScreenTicket {
            name: "web1".into(),
            sid: "vnc:4711".into(),
            view_only: false,
            block_bytes_max: 32768,
            good_for_seconds: 60,
        };
        assert_eq!(ticket.text(), "A VNC viewer gets to the screen of web1 by: skerry vnc web1");
        assert!(!ScreenTicket { view_only: true, ..ticket }.text().contains("4711"));
    }

    #[test]
    fn typing_is_counted() {
        assert_eq!(Typed { name: "web1".into(), keys: 1 }.text(), "Pressed on the keyboard of web1.");
        assert_eq!(Typed { name: "web1".into(), keys: 4 }.text(), "Typed on the keyboard of web1: 4 keys.");
    }
}
