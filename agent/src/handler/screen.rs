//! The screen: a picture of what is to be seen, or a ticket for a viewer.

use std::{sync::Arc, time::Duration};

use hypervisor_core::{
    driver::{DriverError, Picture, Screen},
    lifecycle::State,
};
use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::{PNG, ScreenPicture, ScreenTicket},
};

use super::Handle;
use crate::{
    agent::Agent,
    console,
    dispatch::Job,
    machine::Machine,
    pictures::{self, Subject},
    reference,
    viewer::{self, TICKET_MAX},
};

/// How long a driver may take to draw.
const DRAW_MAX: Duration = Duration::from_secs(20);

impl Handle<machine::Screenshot> for Agent {
    async fn handle(&self, job: &Job, command: machine::Screenshot) -> Result<ScreenPicture, Refusal> {
        self.show_screen(job.machine()?, command.inline).await
    }
}

impl Handle<machine::Watch> for Agent {
    /// One picture. A chat asks for one after another: see `face/chat/watch.rs`.
    async fn handle(&self, job: &Job, _command: machine::Watch) -> Result<ScreenPicture, Refusal> {
        self.show_screen(job.machine()?, false).await
    }
}

impl Handle<machine::Vnc> for Agent {
    /// A ticket. What it opens: see `viewer.rs`.
    async fn handle(&self, job: &Job, command: machine::Vnc) -> Result<ScreenTicket, Refusal> {
        let machine = job.machine()?;
        screen(machine)?;
        let record = machine.record();
        match record.state {
            State::Running | State::Paused | State::Stopping => {}
            _ => return Err(said(machine, DriverError::NotRunning)),
        }
        let (person, typing) = (job.permit.person(), console::declaration("type")?);
        let may_type = !command.view_only
            && self.permit_at_once(job.permit.caller(), typing, job.permit.target()).is_ok();
        let ticket = self.inner.tickets.give(person, machine.card.id, !may_type)?;
        Ok(ScreenTicket {
            name: record.name.to_string(),
            sid: format!("{}{ticket}", viewer::SID),
            view_only: !may_type,
            block_bytes_max: viewer::TOGETHER_MAX as u64,
            good_for_seconds: TICKET_MAX.as_secs(),
        })
    }
}

impl Agent {
    /// What is on a machine's screen: kept for who asks for it in band, and uploaded where that can be.
    async fn show_screen(&self, machine: &Arc<Machine>, inline: bool) -> Result<ScreenPicture, Refusal> {
        let drawn = tokio::time::timeout(DRAW_MAX, screen(machine)?.picture(machine.card.id)).await;
        let drawn = drawn.unwrap_or(Err(DriverError::TimedOut { what: "drawing", limit: DRAW_MAX }));
        let picture = drawn.map_err(|error| said(machine, error))?;
        let record = machine.record();
        let subject = Subject::Screen(machine.card.id);
        self.show_picture(picture, subject, record.name.to_string(), None, inline).await
    }

    /// Makes a picture ready to be seen: kept for who asks for it in band, and uploaded where that can be.
    pub(super) async fn show_picture(
        &self,
        picture: Picture,
        of: Subject,
        name: String,
        title: Option<String>,
        inline: bool,
    ) -> Result<ScreenPicture, Refusal> {
        // Most clients show an address as the picture alone, and this one has to be told in words.
        let blank = picture.is_blank();
        let (whole, small) = tokio::task::spawn_blocking(move || pictures::pngs(picture))
            .await
            .map_err(|error| reference::internal("The picture could not be made", &error))?;
        let kept = &self.inner.pictures;
        let url = match inline || blank {
            true => None,
            false => kept.upload(of, &whole, &small, &format!("{name}.png")).await,
        };
        let shown = if url.is_some() { &whole } else { &small };
        let answer = ScreenPicture {
            name,
            title,
            url: url.clone(),
            cid: Some(small.cid.clone()),
            kind: PNG.into(),
            width: shown.width,
            height: shown.height,
            bytes: shown.file.len() as u64,
            blank,
        };
        kept.keep(of, small, url);
        Ok(answer)
    }
}

/// The screen of a machine that has one.
pub(crate) fn screen(machine: &Machine) -> Result<&dyn Screen, Refusal> {
    let record = machine.record();
    let none = |why: &str| Refusal::new(Reason::NotSupported, format!("{} has no screen{why}.", record.name));
    if !record.definition.graphics {
        let hint =
            "\"console\" shows its serial console; graphics = true in its definition gives it a screen.";
        return Err(none(": it is made without graphics").hint(hint));
    }
    machine.card.driver.screen().ok_or_else(|| none(""))
}

/// What a driver's "no" means to whoever wanted the screen.
pub(crate) fn said(machine: &Machine, error: DriverError) -> Refusal {
    let name = &machine.record().name;
    match error {
        DriverError::NotRunning => {
            Refusal::new(Reason::Conflict, format!("{name} is not running: its screen is dark."))
                .hint("Start it first.")
        }
        DriverError::Unfit(why) => Refusal::new(Reason::Conflict, format!("{name}: {why}.")),
        error => reference::internal(&format!("The screen of {name} could not be reached"), &error),
    }
}
