//! `skerry screenshot web1 --out FILE`: the picture in band, by Bits of Binary (XEP-0231).

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use minidom::Element;
use skerry_stanzas::reply::ScreenPicture;

use crate::{
    call::Reply,
    failure::{Failure, Kind, Outcome},
    plan::Planned,
    session::Session,
    wire,
};

/// Bits of Binary.
const BOB: &str = "urn:xmpp:bob";
/// What begins a PNG.
const PNG_BEGINS: &[u8] = b"\x89PNG\r\n\x1a\n";
/// A picture of a hundred kB takes a throttled account most of a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// Gets the picture of an answer and writes it into a file; the answer then says so.
///
/// # Errors
/// The host no longer has it, or the file cannot be written.
pub async fn save(session: &Session, planned: &Planned, reply: Reply, file: &Path) -> Outcome<Reply> {
    let picture = ScreenPicture::of(&reply.json);
    let Some((picture, cid)) = picture.and_then(|picture| picture.cid.clone().map(|cid| (picture, cid)))
    else {
        return Err(Failure::new(Kind::Internal, "the host answered without a picture"));
    };
    let ask = wire::get(Some(&planned.call.to), wire::element("data", BOB, &[("cid", &cid)]));
    let data = session.ask(ask, PATIENCE).await?;
    let bytes = data
        .as_ref()
        .and_then(png)
        .ok_or_else(|| Failure::new(Kind::Internal, "what the host gave is no picture"))?;
    tokio::fs::write(file, bytes).await.map_err(|error| {
        Failure::new(Kind::Refused, format!("{} cannot be written: {error}", file.display()))
    })?;
    Ok(Reply { text: format!("{}: {}", picture.caption(), file.display()), ..reply })
}

/// The file in a `<data/>`.
pub(crate) fn png(data: &Element) -> Option<Vec<u8>> {
    let text: String = data.text().split_whitespace().collect();
    BASE64.decode(text).ok().filter(|bytes| data.is("data", BOB) && bytes.starts_with(PNG_BEGINS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn only_a_picture_is_taken_for_one() {
        let data = |inner: &str| png(&format!("<data xmlns='{BOB}'>{inner}</data>").parse().unwrap());
        let file = [PNG_BEGINS, b"more"].concat();
        let encoded = BASE64.encode(&file);
        assert_eq!(data(&encoded), Some(file.clone()));
        assert_eq!(data(&format!("{}\n{}", &encoded[..5], &encoded[5..])), Some(file));
        assert_eq!(data(&BASE64.encode(b"#!/bin/sh")), None);
        assert_eq!(data("not base64"), None);
    }
}
