//! The roles that can be granted.

use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
    reply::{RoleLine, RoleList},
};

use super::{Handle, grants::unknown};
use crate::{
    agent::Agent,
    crash,
    dispatch::Job,
    rights::{Rights, role},
    store::grants::{self, ROLES_MAX},
};

fn line(rights: &Rights, name: &str) -> Option<RoleLine> {
    let permissions = role::permissions(name, &rights.defined);
    let built_in = role::BUILT_IN.iter().find(|role| role.name == name);
    match built_in {
        Some(role) => Some(RoleLine { name: name.into(), about: role.about.into(), own: false, permissions }),
        None => rights.defined.contains_key(name).then(|| RoleLine {
            name: name.into(),
            about: permissions.join(", "),
            own: true,
            permissions,
        }),
    }
}

impl Agent {
    /// Who defines a role gives what it holds to all who have it.
    fn may_rule(&self, job: &Job) -> Result<(), Refusal> {
        match self.is_admin(&job.permit.person()) {
            true => Ok(()),
            false => {
                Err(Refusal::new(Reason::NotAllowed, "Roles are defined by an admin of the whole host.")
                    .hint("Ask one of them."))
            }
        }
    }
}

fn missing(rights: &Rights, name: &str) -> Refusal {
    let names = rights.role_names();
    let near = skerry_stanzas::words::nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
    unknown(format!("There is no role {:?}.", skerry_stanzas::safe::safe_line(name, 40)), near, "name")
}

impl Handle<host::RoleList> for Agent {
    async fn handle(&self, _job: &Job, _command: host::RoleList) -> Result<RoleList, Refusal> {
        let rights = self.rights();
        Ok(RoleList { roles: rights.role_names().iter().filter_map(|name| line(&rights, name)).collect() })
    }
}

impl Handle<host::RoleShow> for Agent {
    async fn handle(&self, _job: &Job, command: host::RoleShow) -> Result<RoleLine, Refusal> {
        let rights = self.rights();
        line(&rights, &command.name).ok_or_else(|| missing(&rights, &command.name))
    }
}

impl Handle<host::RoleDefine> for Agent {
    async fn handle(&self, job: &Job, command: host::RoleDefine) -> Result<RoleLine, Refusal> {
        let host::RoleDefine { name, holds } = command;
        if !role::is_name(&name) {
            let text = format!("{name:?} cannot be the name of a role of yours.");
            return Err(Refusal::new(Reason::BadRequest, text)
                .field("name")
                .hint("Small letters, digits and -, and no name that a role or command has already."));
        }
        self.may_rule(job)?;
        let _one = self.inner.ruling.lock().await;
        let rights = self.rights();
        if rights.defined.len() >= ROLES_MAX && !rights.defined.contains_key(&name) {
            return Err(Refusal::new(Reason::Limit, format!("There are {ROLES_MAX} roles already."))
                .hint("\"role delete NAME\" deletes one."));
        }
        let permissions = role::made_of(&holds, &rights.defined);
        let permissions = permissions.map_err(|(text, near)| unknown(text, near, "holds"))?;
        let (stored, held) = (name.clone(), permissions.clone());
        self.inner.store.run(move |connection| grants::define(connection, &stored, &held, None)).await?;
        crash::point("role-stored");
        self.change_rights(|rights| {
            rights.sets_of_roles.remove(&name);
            rights.defined.insert(name.clone(), permissions);
        });
        self.inner.publisher.rights_changed();
        self.note(job, "host.role-defined", &format!("{} made the role {name}.", job.by())).await?;
        let rights = self.rights();
        line(&rights, &name).ok_or_else(|| missing(&rights, &name))
    }
}

impl Handle<host::RoleDelete> for Agent {
    async fn handle(&self, job: &Job, command: host::RoleDelete) -> Result<RoleLine, Refusal> {
        let name = command.name;
        self.may_rule(job)?;
        let _one = self.inner.ruling.lock().await;
        let rights = self.rights();
        let gone = line(&rights, &name).filter(|line| line.own).ok_or_else(|| missing(&rights, &name))?;
        let holders = rights.grants.iter().filter(|grant| grant.what.contains(&name));
        let holders: Vec<String> = holders.map(|grant| grant.number.to_string()).collect();
        if !holders.is_empty() {
            let text = format!("The role {name} is granted: {}.", holders.join(", "));
            return Err(Refusal::new(Reason::Conflict, text)
                .field("name")
                .hint("\"revoke NUMBER\" takes a grant back."));
        }
        let stored = name.clone();
        self.inner.store.run(move |connection| grants::undefine(connection, &stored)).await?;
        crash::point("role-stored");
        self.change_rights(|rights| rights.undefine(&name));
        self.note(job, "host.role-deleted", &format!("{} deleted the role {name}.", job.by())).await?;
        Ok(RoleLine { about: "deleted".into(), ..gone })
    }
}
