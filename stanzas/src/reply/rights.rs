//! What the commands of rights answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};

reply! {
    /// Who the caller is.
    Whoami {
        /// The bare address.
        jid: String,
        /// The role on the whole host, when there is one.
        role: Option<String>,
        /// The rule that gives it.
        rule: String,
    }
}
reply! {
    /// Whether something is allowed.
    Verdict {
        /// Who asks.
        who: String,
        /// The permission.
        what: String,
        /// On which machine.
        machine: Option<String>,
        /// Whether it is allowed.
        allowed: bool,
        /// The rule that decides.
        rule: String,
        /// What to say so that it would be allowed; none when it is, or when a rule forbids it.
        grant: Option<String>,
    }
}
reply! {
    /// Somebody who may do something.
    Able {
        /// The address, or the domain.
        who: String,
        /// The rule.
        rule: String,
    }
}
reply! {
    /// Who may do something.
    WhoCan {
        /// The permission.
        what: String,
        /// On which machine.
        machine: Option<String>,
        /// One line a rule.
        people: Vec<Able>,
    }
}
reply! {
    /// What somebody may do, or may not.
    GrantLine {
        /// Its number.
        number: u64,
        /// Who: an address or a domain.
        to: String,
        /// Roles, commands and permissions.
        what: Vec<String>,
        /// On what.
        on: Vec<String>,
        /// It forbids.
        forbids: bool,
        /// Until when.
        until: Option<DateTime<Utc>>,
        /// Why.
        because: Option<String>,
        /// Who made it.
        by: String,
        /// When.
        at: DateTime<Utc>,
        /// The host it came from, with its machine.
        from: Option<String>,
        /// The file of rights it came from.
        set: Option<String>,
    }
}
reply! {
    /// What was granted and forbidden.
    GrantList {
        /// One line a grant.
        grants: Vec<GrantLine>,
        /// Whether those of others are among them.
        all: bool,
    }
}
reply! {
    /// Somebody may do something from now on, or no more.
    Granted {
        /// Its number.
        number: u64,
        /// What happened, in a sentence.
        sentence: String,
    }
}
reply! {
    /// A role.
    RoleLine {
        /// Its name.
        name: String,
        /// What it is for, or what it was made of.
        about: String,
        /// Whether it was made here, and can be made anew or deleted.
        own: bool,
        /// Its permissions.
        permissions: Vec<String>,
    }
}
reply! {
    /// The roles.
    RoleList {
        /// One line a role.
        roles: Vec<RoleLine>,
    }
}

impl Reply for Whoami {
    fn text(&self) -> String {
        match &self.role {
            Some(role) => format!("You are {}, with the role {role}: {}", self.jid, self.rule),
            None => format!("You are {}, without a role here: {}", self.jid, self.rule),
        }
    }
}

impl Reply for Verdict {
    fn text(&self) -> String {
        let (answer, may) = if self.allowed { ("Yes", "may") } else { ("No", "may not") };
        let on = self.machine.as_ref().map(|machine| format!(" on {machine}")).unwrap_or_default();
        let how = self.grant.as_ref().map(|grant| format!("\nTo allow it: {grant}")).unwrap_or_default();
        format!("{answer}: {} {may} give the command {}{on}: {}{how}", self.who, self.what, self.rule)
    }
}

impl Reply for WhoCan {
    fn text(&self) -> String {
        let on = self.machine.as_ref().map(|machine| format!(" on {machine}")).unwrap_or_default();
        if self.people.is_empty() {
            return format!("Nobody may give the command {}{on}.", self.what);
        }
        let lines = self.people.iter().map(|able| format!("- {}: {}", able.who, able.rule));
        let lines = lines.collect::<Vec<_>>().join("\n");
        format!("These may give the command {}{on}:\n{lines}", self.what)
    }
}

impl GrantLine {
    /// All of it but who made it, in a sentence without an end.
    pub fn sentence(&self) -> String {
        let (what, on) = (self.what.join(", "), self.on.join(", "));
        let has = if self.forbids { "is denied" } else { "has" };
        let until = self.until.map(|at| format!(" until {}", measure::moment(at))).unwrap_or_default();
        let because = self.because.as_ref().map(|why| format!(" because \"{why}\"")).unwrap_or_default();
        format!("{} {has} {what} on {on}{until}{because}", self.to)
    }
}

impl Reply for GrantList {
    fn text(&self) -> String {
        if self.grants.is_empty() {
            return match self.all {
                true => {
                    "Nothing was granted. To grant something: grant power to otto@example.org on web1".into()
                }
                false => "Nothing was granted to you.".into(),
            };
        }
        let line = |grant: &GrantLine| {
            let at = measure::moment(grant.at);
            let from = grant.from.as_ref().map(|from| format!(", came from {from}")).unwrap_or_default();
            let set = grant.set.as_ref().map(|set| format!(", {set}")).unwrap_or_default();
            format!("- {}: {} (by {}, {at}{from}{set})", grant.number, grant.sentence(), grant.by)
        };
        self.grants.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Reply for Granted {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

impl Reply for RoleLine {
    fn text(&self) -> String {
        format!("*{}*: {}\n{}", self.name, self.about, self.permissions.join(", "))
    }
}

impl Reply for RoleList {
    fn text(&self) -> String {
        let line = |role: &RoleLine| format!("- *{}*: {}", role.name, role.about);
        self.roles.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn who_somebody_is_and_what_they_may_is_said() {
        let who = |role: Option<&str>| {
            Whoami {
                jid: "ann@x".into(),
                role: role.map(str::to_owned),
                rule: "roles.admin names ann@x".into(),
            }
            .text()
        };
        assert_eq!(who(Some("admin")), "You are ann@x, with the role admin: roles.admin names ann@x");
        assert!(who(None).contains("without a role"));
        let verdict = |allowed, machine: Option<&str>, grant: Option<&str>| {
            let [machine, grant] = [machine, grant].map(|text| text.map(str::to_owned));
            let (who, what, rule) = ("ann@x".into(), "kill".into(), "admins may".into());
            Verdict { who, what, machine, allowed, rule, grant }.text()
        };
        assert_eq!(
            verdict(true, Some("web1"), None),
            "Yes: ann@x may give the command kill on web1: admins may"
        );
        assert!(verdict(false, None, None).starts_with("No: ann@x may not give"));
        assert!(
            verdict(false, None, Some("grant kill to ann@x")).ends_with("\nTo allow it: grant kill to ann@x")
        );
    }

    #[test]
    fn a_grant_is_a_sentence() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut grant = GrantLine {
            number: 3,
            to: "otto@x".into(),
            what: vec!["power".into(), "snapshot".into()],
            on: vec!["web1".into(), "label:lab".into()],
            forbids: false,
            until: Some(at),
            because: Some("he is on call".into()),
            by: "ann@x".into(),
            at,
            from: None,
            set: None,
        };
        assert_eq!(
            grant.sentence(),
            "otto@x has power, snapshot on web1, label:lab until 2027-01-15 08:00 UTC because \"he is on call\""
        );
        grant.forbids = true;
        grant.until = None;
        grant.because = None;
        let list = GrantList { grants: vec![grant], all: true };
        assert_eq!(
            list.text(),
            "- 3: otto@x is denied power, snapshot on web1, label:lab (by ann@x, 2027-01-15 08:00 UTC)"
        );
        assert!(GrantList { grants: vec![], all: false }.text().starts_with("Nothing was granted to you"));
    }

    #[test]
    fn who_can_and_what_a_role_holds_are_lists() {
        let able = Able { who: "ann@x".into(), rule: "roles.admin names ann@x".into() };
        let mut who =
            WhoCan { what: "machine.kill".into(), machine: Some("web1".into()), people: vec![able] };
        assert!(who.text().ends_with("on web1:\n- ann@x: roles.admin names ann@x"), "{}", who.text());
        who.people.clear();
        assert_eq!(who.text(), "Nobody may give the command machine.kill on web1.");
        let role = RoleLine {
            name: "night".into(),
            about: "for the night shift".into(),
            own: true,
            permissions: vec!["machine.start".into()],
        };
        assert_eq!(role.text(), "*night*: for the night shift\nmachine.start");
        assert_eq!(RoleList { roles: vec![role] }.text(), "- *night*: for the night shift");
    }
}
