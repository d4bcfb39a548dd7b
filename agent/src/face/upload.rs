//! HTTP File Upload (XEP-0363): a picture put where every client can get it by its address.
//!
//! The service is looked for once after each login, at the server and among its items. Where there is
//! none, or where it fails, the picture is given in band instead: that is never an error.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use minidom::Element;
use reqwest::{
    Client, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use skerry_link::Ask;
use skerry_stanzas::ns;
use tokio::sync::Mutex;
use xmpp_parsers::{jid::Jid, ns as xep};

use super::{
    Face,
    stanza::{Tag, address, tag},
};
use crate::pictures::Uploads;

/// How long the server and the service may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How long the upload itself may take.
const UPLOAD_MAX: Duration = Duration::from_secs(60);
/// How many items of a server are looked at.
const ITEMS_MAX: usize = 32;
/// How many at a time.
const AT_ONCE: usize = 8;
/// The longest address that is given to people.
const URL_BYTES_MAX: usize = 2048;
/// Headers a service may ask for (§5).
const HEADERS: [&str; 3] = ["authorization", "cookie", "expires"];

/// What is known of the server's upload service.
#[derive(Default)]
pub(crate) struct Upload(Mutex<Known>);

#[derive(Clone, Default)]
enum Known {
    /// It has not been looked for since the last login.
    #[default]
    Nothing,
    /// There is none that takes our files.
    None,
    /// This one, and how it is reached.
    Service(Jid, Option<u64>, Client),
}

/// Why a file was not uploaded.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("the service did not give a place for it: {0}")]
    Slot(#[from] Ask),
    #[error("the service's answer makes no sense")]
    Answer,
    #[error("the file has {0} bytes, which is more than the service takes")]
    TooLarge(usize),
    #[error("it could not be sent")]
    Http(#[from] reqwest::Error),
}

#[async_trait]
impl Uploads for Face {
    async fn upload(&self, png: Arc<[u8]>, name: &str) -> Option<String> {
        let Known::Service(service, max, client) = self.upload_service().await else { return None };
        match self.put(&service, max, &client, png, name).await {
            Ok(url) => Some(url),
            Err(error) => {
                tracing::warn!(%service, error = &error as &dyn std::error::Error, "a picture was not uploaded");
                None
            }
        }
    }
}

impl Face {
    /// After a login everything may be different.
    pub(crate) fn forget_upload_service(&self) {
        // Who is just looking for it looks on the new stream already.
        if let Ok(mut known) = self.upload.0.try_lock() {
            *known = Known::Nothing;
        }
    }

    async fn upload_service(&self) -> Known {
        let mut known = self.upload.0.lock().await;
        if let Known::Nothing = *known {
            *known = self.find_upload_service().await;
        }
        known.clone()
    }

    async fn find_upload_service(&self) -> Known {
        let Some(server) = self.server() else { return Known::None };
        let items = match self.ask_of(&server, "get", tag("query", xep::DISCO_ITEMS)).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "the server does not tell its services");
                return Known::None;
            }
        };
        let items = items.get_child("query", xep::DISCO_ITEMS).into_iter().flat_map(Element::children);
        let items = items.filter(|item| item.attr("node").is_none()).filter_map(|item| address(item, "jid"));
        let places: Vec<Jid> = items.take(ITEMS_MAX).chain([server]).collect();
        let looked = stream::iter(places).map(|place| async move { self.takes_files(place).await });
        let mut found = looked.buffered(AT_ONCE).filter_map(async |found| found).boxed();
        match (found.next().await, self.https().await) {
            (Some((service, max)), Some(client)) => {
                tracing::info!(%service, "pictures are uploaded");
                Known::Service(service, max, client)
            }
            _ => Known::None,
        }
    }

    /// The server that serves us: of a component the domain it is a part of.
    fn server(&self) -> Option<Jid> {
        let host = self.addresses().host();
        let domain = host.domain().as_str();
        match self.addresses().is_component() {
            true => Jid::new(domain.split_once('.')?.1).ok(),
            false => Jid::new(domain).ok(),
        }
    }

    /// A place that takes files, and up to how many bytes.
    async fn takes_files(&self, place: Jid) -> Option<(Jid, Option<u64>)> {
        let answer = self.ask_of(&place, "get", tag("query", xep::DISCO_INFO)).await.ok()?;
        let info = answer.get_child("query", xep::DISCO_INFO)?;
        let has = info.children().any(|child| child.attr("var") == Some(xep::HTTP_UPLOAD));
        let fields = info.children().filter(|child| child.is("x", ns::FORMS)).flat_map(Element::children);
        let max = fields
            .filter(|field| field.attr("var") == Some("max-file-size"))
            .find_map(|field| field.get_child("value", ns::FORMS)?.text().trim().parse().ok());
        has.then_some((place, max))
    }

    async fn ask_of(&self, to: &Jid, kind: &'static str, payload: Tag) -> Result<Element, Ask> {
        let component = self.addresses().is_component();
        let iq = tag("iq", ns::CLIENT)
            .attr("type", kind)
            .attr_if("from", component.then(|| self.addresses().host().to_string()))
            .attr("to", to.as_str())
            .child(payload);
        self.wire.ask(iq.into(), ANSWER_MAX).await
    }

    /// What speaks HTTPS with the authorities the link trusts.
    async fn https(&self) -> Option<Client> {
        let ca = self.agent.config().link.ca.clone();
        let tls = tokio::task::spawn_blocking(move || skerry_link::https(ca.as_deref())).await.ok()?;
        let tls = tls.inspect_err(|error| tracing::warn!(%error, "nothing can be uploaded")).ok()?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(UPLOAD_MAX)
            // The service is the server's, which is reached without one.
            .no_proxy();
        client.build().inspect_err(|error| tracing::warn!(%error, "nothing can be uploaded")).ok()
    }

    async fn put(
        &self,
        service: &Jid,
        max: Option<u64>,
        client: &Client,
        png: Arc<[u8]>,
        name: &str,
    ) -> Result<String, UploadError> {
        if max.is_some_and(|max| png.len() as u64 > max) {
            return Err(UploadError::TooLarge(png.len()));
        }
        let request = tag("request", xep::HTTP_UPLOAD)
            .attr("filename", name)
            .attr("size", png.len().to_string())
            .attr("content-type", skerry_stanzas::reply::PNG);
        let answer = self.ask_of(service, "get", request).await?;
        let slot =
            answer.get_child("slot", xep::HTTP_UPLOAD).and_then(Slot::read).ok_or(UploadError::Answer)?;
        let put = client
            .put(slot.put)
            .headers(slot.headers)
            .header("content-type", skerry_stanzas::reply::PNG)
            .body(png.to_vec());
        put.send().await?.error_for_status()?;
        Ok(slot.get.to_string())
    }
}

/// Where a file goes, and where it will be.
#[derive(Debug)]
struct Slot {
    put: Url,
    headers: HeaderMap,
    get: Url,
}

impl Slot {
    fn read(slot: &Element) -> Option<Self> {
        let url = |name: &str| -> Option<(&Element, Url)> {
            let element = slot.get_child(name, xep::HTTP_UPLOAD)?;
            let url = element.attr("url").filter(|url| url.len() <= URL_BYTES_MAX)?;
            // Only what is secured on its way (§11): the picture may show anything.
            Some((element, Url::parse(url).ok().filter(|url| url.scheme() == "https")?))
        };
        let ((put, put_url), (_, get)) = (url("put")?, url("get")?);
        let mut headers = HeaderMap::new();
        for header in put.children().filter(|child| child.is("header", xep::HTTP_UPLOAD)) {
            let name = header.attr("name").unwrap_or_default().to_ascii_lowercase();
            if !HEADERS.contains(&name.as_str()) {
                continue;
            }
            let value: String = header.text().chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(&value).ok()?);
        }
        Some(Self { put: put_url, headers, get })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn slot(put: &str, get: &str) -> Option<Slot> {
        let text = format!("<slot xmlns='{}'>{put}{get}</slot>", xep::HTTP_UPLOAD);
        Slot::read(&text.parse().unwrap())
    }

    #[test]
    fn a_slot_has_two_addresses_and_only_the_headers_that_may_be() {
        let put = "<put url='https://up.example.org/1'><header name='Authorization'>Basic a\nb</header>\
                   <header name='Host'>evil.example.net</header></put>";
        let slot = slot(put, "<get url='https://down.example.org/1.png'/>").unwrap();
        assert_eq!(slot.put.as_str(), "https://up.example.org/1");
        assert_eq!(slot.get.as_str(), "https://down.example.org/1.png");
        assert_eq!(slot.headers.len(), 1);
        assert_eq!(slot.headers["authorization"], "Basic ab");
    }

    #[test]
    fn what_is_not_secured_is_no_slot() {
        let (https, http) = ("url='https://example.org/1'", "url='http://example.org/1'");
        for (put, get) in [(http, https), (https, http), ("", https), ("url='file:///etc/passwd'", https)] {
            assert!(slot(&format!("<put {put}/>"), &format!("<get {get}/>")).is_none(), "{put} {get}");
        }
        assert!(slot("", "<get url='https://example.org/1'/>").is_none());
        assert!(slot(&format!("<put {https}/>"), &format!("<get {https}/>")).is_some());
    }
}
