//! Quick responses (XEP-0439): answers a person can give with one tap.

use minidom::Element;
use xso::{AsXml, FromXml, error::Error};

use super::bounded;
use crate::ns;

/// One answer on offer: sent as an ordinary message with `value` as its body (§4.1).
#[derive(Clone, Debug, PartialEq, FromXml, AsXml)]
#[xml(namespace = ns::QUICK_RESPONSE, name = "response", deserialize_callback = check)]
pub struct Response {
    /// What is sent.
    #[xml(attribute)]
    pub value: String,
    /// What is shown on the button; the value when there is none.
    #[xml(attribute(default))]
    pub label: Option<String>,
}

impl Response {
    /// An answer that shows what it sends.
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: value.into(), label: None }
    }

    /// With other words on the button.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
}

/// The answers a message offers, at most ten.
pub fn responses(message: &Element) -> Vec<Response> {
    message
        .children()
        .filter(|child| child.is("response", ns::QUICK_RESPONSE))
        .filter_map(|child| Response::try_from(child.clone()).ok())
        .take(10)
        .collect()
}

fn check(response: &mut Response) -> Result<(), Error> {
    bounded(std::iter::once(&response.value).chain(&response.label))
}
