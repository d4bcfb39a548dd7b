//! A person's client for tests: our own link, logged in to an account of a lab.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use minidom::Element;
use skerry_link::{Link, LinkConfig, LinkEvent, LinkHandle, Login, ServerAddress};
use skerry_stanzas::{
    adhoc::{Action, AdhocCommand, Status},
    form, ns,
};
use tokio::{sync::mpsc, time::timeout};
use xmpp_parsers::jid::Jid;

use crate::lab::{Server, User};

/// How long anything a test waits for may take: long enough for the slowest day of two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Logged in.
pub struct Client {
    /// Our full address.
    pub jid: Jid,
    /// To send and ask with.
    pub handle: LinkHandle,
    events: mpsc::Receiver<LinkEvent>,
}

impl Client {
    /// Logs in and appears.
    ///
    /// # Errors
    /// The server does not let us in.
    pub async fn log_in(server: &Server, user: &User) -> Result<Self> {
        let mut config = LinkConfig::new(Login::Account {
            jid: user.jid.parse()?,
            password: user.password.clone().into(),
        });
        config.server = ServerAddress::At(server.address.clone(), server.port);
        config.ca = Some(server.ca.clone());
        let Link { handle, mut events } = Link::open(config);
        let jid = loop {
            match timeout(PATIENCE, events.recv()).await.context("no login")? {
                Some(LinkEvent::Up { jid, .. }) => break jid,
                Some(LinkEvent::Refused(why)) => bail!("{}: {why}", user.jid),
                Some(_) => {}
                None => bail!("the link closed"),
            }
        };
        handle.send(Element::bare("presence", ns::CLIENT)).await?;
        Ok(Self { jid, handle, events })
    }

    /// Asks, and gives the whole answer.
    ///
    /// # Errors
    /// Not sent, not answered, or answered with an error.
    pub async fn ask(&self, kind: &str, to: Option<&str>, payload: Element) -> Result<Element> {
        let iq = Element::builder("iq", ns::CLIENT).attr("type".try_into()?, kind);
        let iq = match to {
            Some(to) => iq.attr("to".try_into()?, to),
            None => iq,
        };
        Ok(self.handle.ask(iq.append(payload).build(), PATIENCE).await?)
    }

    /// Carries out an ad-hoc command the way a bot does: the filled form with the first request, and
    /// "yes" to a confirmation. Gives the completed command.
    ///
    /// # Errors
    /// Not answered, or refused with a stanza error.
    pub async fn command(&self, to: &str, node: &str, argv: &[&str]) -> Result<AdhocCommand> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let request = AdhocCommand::request(node, Some(form::submit(&argv)));
        let answer = self.stage(to, &request).await?;
        match answer.status {
            Some(Status::Executing) => {
                self.stage(to, &answer.follow(Action::Complete, Some(form::submit_confirm(true)))).await
            }
            _ => Ok(answer),
        }
    }

    /// One stage of an ad-hoc command.
    ///
    /// # Errors
    /// Not answered, or refused with a stanza error.
    pub async fn stage(&self, to: &str, request: &AdhocCommand) -> Result<AdhocCommand> {
        let answer = self.ask("set", Some(to), request.to_element()).await?;
        let payload = answer.children().next().context("an answer with nothing in it")?;
        AdhocCommand::parse(payload).map_err(|condition| anyhow::anyhow!("{condition:?}"))
    }

    /// Says something in a chat.
    ///
    /// # Errors
    /// Not connected.
    pub async fn say(&self, to: &str, text: &str) -> Result<()> {
        let id = uuid::Uuid::new_v4().to_string();
        let body = Element::builder("body", ns::CLIENT).append(text);
        let message = Element::builder("message", ns::CLIENT)
            .attr("type".try_into()?, "chat")
            .attr("to".try_into()?, to)
            .attr("id".try_into()?, id)
            .append(body)
            .build();
        Ok(self.handle.send(message).await?)
    }

    /// Waits for a stanza.
    ///
    /// # Errors
    /// None came in time; the error shows those that did.
    pub async fn expect(&mut self, what: &str, wanted: impl Fn(&Element) -> bool) -> Result<Element> {
        let mut seen = Vec::new();
        let search = async {
            while let Some(event) = self.events.recv().await {
                match event {
                    LinkEvent::Stanza(stanza) if wanted(&stanza) => return Some(stanza),
                    LinkEvent::Stanza(stanza) => seen.push(String::from(&stanza)),
                    // Back after a break: as any client, it appears again.
                    LinkEvent::Up { resumed: false, .. } => {
                        let _down_again = self.handle.send(Element::bare("presence", ns::CLIENT)).await;
                    }
                    _ => {}
                }
            }
            None
        };
        match timeout(PATIENCE, search).await {
            Ok(Some(stanza)) => Ok(stanza),
            Ok(None) => bail!("the link closed before {what} came"),
            Err(_) => bail!("{what} did not come; what came:\n{}", seen.join("\n")),
        }
    }

    /// Takes what came unasked so far, and forgets it. Who takes nothing for long is told nothing more by its
    /// link, and hears no answers either.
    pub fn forget(&mut self) {
        while self.events.try_recv().is_ok() {}
    }

    /// Waits until somebody says something we wait for.
    ///
    /// # Errors
    /// Nobody did in time.
    pub async fn hear(&mut self, from: &str, part: &str) -> Result<String> {
        let what = format!("{part:?} from {from}");
        let heard = self.expect(&what, |stanza| {
            stanza.name() == "message"
                && stanza.attr("from").is_some_and(|it| it == from || it.starts_with(&format!("{from}/")))
                && body(stanza).is_some_and(|body| body.contains(part))
        });
        Ok(body(&heard.await?).unwrap_or_default())
    }
}

/// What a message says.
pub fn body(message: &Element) -> Option<String> {
    message.get_child("body", ns::CLIENT).map(Element::text)
}

/// What a presence shows: `available`, the word of its `show`, or its type.
pub fn shown(presence: &Element) -> String {
    match (presence.attr("type"), presence.get_child("show", ns::CLIENT)) {
        (Some(kind), _) => kind.to_owned(),
        (None, Some(show)) => show.text(),
        (None, None) => "available".to_owned(),
    }
}
