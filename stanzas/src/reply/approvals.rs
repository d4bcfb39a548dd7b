//! What the commands of approval answer.

use chrono::{DateTime, Utc};

use super::{Reply, measure};

reply! {
    /// Something that waits for approval, or did.
    RequestLine {
        /// What to call it.
        code: String,
        /// Who asked for it.
        by: String,
        /// The command, as people say it.
        what: String,
        /// The machine.
        machine: Option<String>,
        /// What exactly will be done.
        effect: String,
        /// The beginning of the hash of the exact command.
        hash: String,
        /// Why.
        because: Option<String>,
        /// Who has agreed.
        agreed: Vec<String>,
        /// Whose consent is missing, in words; empty when nobody's is.
        missing: Vec<String>,
        /// When it is done at the earliest, when that is not now.
        not_before: Option<DateTime<Utc>>,
        /// Until when it waits.
        until: DateTime<Utc>,
        /// What happened last, in a sentence.
        sentence: String,
    }
}
reply! {
    /// What waits for approval.
    RequestList {
        /// One line a request.
        requests: Vec<RequestLine>,
    }
}
reply! {
    /// What needs approval.
    PolicyLine {
        /// Its name.
        name: String,
        /// Commands and roles.
        what: Vec<String>,
        /// On what.
        on: Vec<String>,
        /// How many have to agree.
        need: u8,
        /// With which roles.
        from: Vec<String>,
        /// Seconds.
        within_s: u64,
        /// When it may be done.
        during: Option<String>,
        /// Roles that need none.
        except: Vec<String>,
        /// The role that can do without in an emergency.
        emergency: Option<String>,
        /// Whether a reaction is an answer.
        reactions: bool,
        /// The room where it is asked as well.
        room: Option<String>,
        /// Whether who asks has to sign, and who agrees.
        signed: bool,
        /// Whether it is of the agent's configuration, and changed there.
        configured: bool,
        /// What happened to it, in a sentence; empty in a list.
        sentence: String,
    }
}
reply! {
    /// What needs approval here.
    PolicyList {
        /// One line a policy.
        policies: Vec<PolicyLine>,
    }
}

impl Reply for RequestLine {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

impl RequestLine {
    fn listed(&self) -> String {
        let on = self.machine.as_ref().map(|machine| format!(" {machine}")).unwrap_or_default();
        let why = self.because.as_ref().map(|why| format!(" because \"{why}\"")).unwrap_or_default();
        let agreed = match self.agreed.as_slice() {
            [] => String::new(),
            some => format!("; agreed: {}", some.join(", ")),
        };
        let state = match (self.missing.as_slice(), self.not_before) {
            ([], Some(at)) => format!("approved, and done at {}", measure::moment(at)),
            ([], None) => "approved".to_owned(),
            (missing, _) => {
                format!("needs {}, until {}", missing.join(" and "), measure::moment(self.until))
            }
        };
        format!("- *{}*: {} wants: {}{on}{why}; {state}{agreed}", self.code, self.by, self.what)
    }
}

impl Reply for RequestList {
    fn text(&self) -> String {
        if self.requests.is_empty() {
            return "Nothing waits for approval.".to_owned();
        }
        self.requests.iter().map(RequestLine::listed).collect::<Vec<_>>().join("\n")
    }
}

impl PolicyLine {
    /// All of it in a sentence without an end: `kill on web1 needs 1 with the role admin within 1 h`.
    pub fn rule(&self) -> String {
        if self.need == 0 && self.during.is_none() {
            return format!(
                "{} on {} needs a signature of who asks",
                self.what.join(", "),
                self.on.join(", ")
            );
        }
        let joined = |words: &[String], and: &str| words.join(and);
        let during = self.during.as_ref().map(|hours| format!(", {hours}")).unwrap_or_default();
        let except = match self.except.as_slice() {
            [] => String::new(),
            roles => format!(", but not for who has the role {}", joined(roles, " or ")),
        };
        let room = self.room.as_ref().map(|room| format!(", asked in {room} as well")).unwrap_or_default();
        let signed = if self.signed { ", and all of them sign, as does who asks" } else { "" };
        let emergency = match &self.emergency {
            Some(role) => format!("; in an emergency {role} can do without"),
            None => "; nobody can do without".to_owned(),
        };
        format!(
            "{} on {} needs {} with the role {} within {}{during}{room}{except}{signed}{emergency}",
            joined(&self.what, ", "),
            joined(&self.on, ", "),
            self.need,
            joined(&self.from, " or "),
            measure::duration(self.within_s),
        )
    }
}

impl Reply for PolicyLine {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

impl Reply for PolicyList {
    fn text(&self) -> String {
        if self.policies.is_empty() {
            return "Nothing needs approval here. To change that: policy add careful kill, delete".into();
        }
        let line = |policy: &PolicyLine| {
            let configured = if policy.configured { " (in the configuration)" } else { "" };
            format!("- *{}*: {}{configured}", policy.name, policy.rule())
        };
        self.policies.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> RequestLine {
        RequestLine {
            code: "7f3a".into(),
            by: "otto@x".into(),
            what: "kill".into(),
            machine: Some("db1".into()),
            effect: "db1 loses power".into(),
            hash: "0011aabb".into(),
            because: Some("it hangs".into()),
            agreed: vec!["ann@x".into()],
            missing: vec!["1 with the role admin".into()],
            not_before: None,
            until: DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default(),
            sentence: "You agreed.".into(),
        }
    }

    #[test]
    fn what_waits_is_said_in_a_line() {
        let mut list = RequestList { requests: vec![line()] };
        assert_eq!(
            list.text(),
            "- *7f3a*: otto@x wants: kill db1 because \"it hangs\"; needs 1 with the role admin, \
             until 2027-01-15 08:00 UTC; agreed: ann@x"
        );
        list.requests[0].missing.clear();
        assert!(list.text().contains("; approved; agreed"), "{}", list.text());
        list.requests[0].not_before = DateTime::from_timestamp(1_800_000_000, 0);
        assert!(list.text().contains("approved, and done at 2027-01-15 08:00 UTC"), "{}", list.text());
        assert_eq!(RequestList { requests: vec![] }.text(), "Nothing waits for approval.");
        assert_eq!(line().text(), "You agreed.");
    }

    #[test]
    fn a_policy_is_a_sentence() {
        let mut policy = PolicyLine {
            name: "careful".into(),
            what: vec!["machine.kill".into(), "machine.delete".into()],
            on: vec!["label:prod".into()],
            need: 2,
            from: vec!["operator".into(), "admin".into()],
            within_s: 1800,
            during: Some("mon-fri 08:00-18:00".into()),
            except: vec!["owner".into()],
            emergency: Some("admin".into()),
            reactions: true,
            room: Some("ops@rooms.x".into()),
            signed: true,
            configured: true,
            sentence: String::new(),
        };
        let list = PolicyList { policies: vec![policy.clone()] };
        assert_eq!(
            list.text(),
            "- *careful*: machine.kill, machine.delete on label:prod needs 2 with the role operator or admin \
             within 30 min, mon-fri 08:00-18:00, asked in ops@rooms.x as well, but not for who has the role owner, \
             and all of them sign, as does who asks; in an emergency admin can do without (in the configuration)"
        );
        policy.emergency = None;
        assert!(policy.rule().ends_with("; nobody can do without"));
        policy.signed = false;
        assert!(!policy.rule().contains("sign"));
        (policy.signed, policy.need, policy.during) = (true, 0, None);
        assert_eq!(policy.rule(), "machine.kill, machine.delete on label:prod needs a signature of who asks");
        assert!(PolicyList { policies: vec![] }.text().starts_with("Nothing needs approval"));
    }
}
