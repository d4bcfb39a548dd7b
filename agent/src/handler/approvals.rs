//! Agreeing to what others asked for, refusing it, taking it back, doing without.

use skerry_stanzas::{
    command::host,
    refusal::Refusal,
    reply::{RequestLine, RequestList},
};

use super::Handle;
use crate::{
    agent::Agent,
    approval::{Request, Stage, group},
    dispatch::Job,
};

impl Handle<host::Approve> for Agent {
    async fn handle(&self, job: &Job, command: host::Approve) -> Result<RequestLine, Refusal> {
        self.agree(&job.permit.person(), &command.code, job.proof.as_ref()).await
    }
}

impl Handle<host::Reject> for Agent {
    async fn handle(&self, job: &Job, command: host::Reject) -> Result<RequestLine, Refusal> {
        self.reject(&job.permit.person(), &command.code).await
    }
}

impl Handle<host::Withdraw> for Agent {
    async fn handle(&self, job: &Job, command: host::Withdraw) -> Result<RequestLine, Refusal> {
        self.withdraw(&job.permit.person(), &command.code).await
    }
}

impl Handle<host::BreakGlass> for Agent {
    async fn handle(&self, job: &Job, command: host::BreakGlass) -> Result<RequestLine, Refusal> {
        let proof = job.proof.as_ref();
        self.break_glass(&job.permit.person(), &command.code, &command.because, proof).await
    }
}

impl Handle<host::RequestList> for Agent {
    async fn handle(&self, job: &Job, _command: host::RequestList) -> Result<RequestList, Refusal> {
        let person = job.permit.person();
        let mut requests = Vec::new();
        for group in self.inner.approvals.groups() {
            let mut all: Vec<Request> = group.into_iter().map(|open| open.request).collect();
            all.retain(|it| it.stage == Stage::Waiting && self.may_see_request(&person, it));
            if !all.is_empty() {
                requests.push(self.request_line(&all, &group::effect(&all))?);
            }
        }
        requests.sort_by_key(|request: &RequestLine| request.until);
        Ok(RequestList { requests })
    }
}
