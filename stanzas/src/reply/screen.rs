//! What the commands of a machine's screen answer.

use super::Reply;

reply! {
    /// A picture of a screen: an upload's address, or what it is asked for by with the host (XEP-0231).
    ScreenPicture {
        /// The machine.
        name: String,
        /// Where it was uploaded to.
        url: Option<String>,
        /// By what name the machine's address gives it (XEP-0231), for some minutes.
        cid: Option<String>,
        /// What kind of file it is.
        kind: String,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// The size of the file.
        bytes: u64,
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
        format!("The screen of {}, {} × {}", self.name, self.width, self.height)
    }
}

impl Reply for ScreenPicture {
    fn text(&self) -> String {
        match (&self.url, &self.cid) {
            (Some(url), _) => format!("{}: {url}", self.caption()),
            (None, Some(cid)) => format!("{}: cid:{cid}", self.caption()),
            (None, None) => format!("{}.", self.caption()),
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
            url: None,
            cid: Some("sha1+aa@bob.xmpp.org".into()),
            kind: PNG.into(),
            width: 720,
            height: 400,
            bytes: 4711,
        }
    }

    #[test]
    fn a_picture_says_where_it_is() {
        assert_eq!(picture().text(), "The screen of web1, 720 × 400: cid:sha1+aa@bob.xmpp.org");
        let uploaded = ScreenPicture { url: Some("https://example.org/1.png".into()), ..picture() };
        assert_eq!(uploaded.text(), "The screen of web1, 720 × 400: https://example.org/1.png");
    }

    #[test]
    fn a_picture_is_found_in_an_answer_and_only_there() {
        assert_eq!(ScreenPicture::of(&serde_json::to_value(picture()).unwrap()), Some(picture()));
        assert_eq!(ScreenPicture::of(&serde_json::json!({"kind": "disk", "name": "debian"})), None);
        assert_eq!(ScreenPicture::of(&serde_json::json!({"kind": "image/png"})), None);
    }

    #[test]
    fn typing_is_counted() {
        assert_eq!(Typed { name: "web1".into(), keys: 1 }.text(), "Pressed on the keyboard of web1.");
        assert_eq!(Typed { name: "web1".into(), keys: 4 }.text(), "Typed on the keyboard of web1: 4 keys.");
    }
}
