//! A witness asks hosts for the entries between the heads they tell, one page of one host at a time, so
//! that none keeps another waiting; and never asks again at once where it was refused, as each refusal is
//! an entry too.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::Value;
use skerry_stanzas::{audit::Heads, reply::AuditPage};
use tokio::time::Instant;

use super::{
    PAGE,
    entries::{self, Entries, Unkept},
    export,
};
use crate::{
    call::Call,
    failure::{Failure, Kind, Outcome},
    fleet::{Host, agent_of},
};

/// After how long a host is asked again that was away, or gave nothing.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The same where it said no, or gave what is not of its trail.
const REFUSED_FOR: Duration = Duration::from_secs(3600);

/// What there is to do after an answer, and to say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Came {
    /// To be asked next.
    pub(super) next: Option<Request>,
    /// The host contradicts itself.
    pub(super) alarm: Option<String>,
    /// What is worth a line, once.
    pub(super) word: Option<String>,
}

/// A question to a host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) host: String,
    pub(super) after: u64,
}

/// Where the witness is with each host.
pub(super) struct Fetching {
    hosts: BTreeMap<String, Place>,
    heads_file: PathBuf,
    bytes_max: u64,
}

struct Place {
    host: Host,
    entries: Option<Entries>,
    goal: u64,
    /// A page is on its way.
    asking: bool,
    /// Not before then; never when it is none.
    from: Option<Instant>,
    said: Option<String>,
}

impl Fetching {
    /// Keeps nothing yet. `bytes_max` are of one host.
    pub(super) fn of(hosts: &[Host], heads_file: PathBuf, bytes_max: u64) -> Self {
        let place = |host: &Host| Place {
            host: Host { jid: agent_of(&host.jid), name: host.name.clone() },
            entries: None,
            goal: 0,
            asking: false,
            from: Some(Instant::now()),
            said: None,
        };
        let hosts = hosts.iter().map(|host| (host.jid.to_bare().to_string(), place(host))).collect();
        Self { hosts, heads_file, bytes_max }
    }

    /// A host told this head.
    pub(super) fn head(&mut self, host: &str, sequence: u64) -> Came {
        if let Some(place) = self.hosts.get_mut(host) {
            place.goal = place.goal.max(sequence);
        }
        self.next(host)
    }

    /// Those that can be asked again by now.
    pub(super) fn due(&mut self) -> Vec<Came> {
        let hosts: Vec<String> = self.hosts.keys().cloned().collect();
        hosts.iter().map(|host| self.next(host)).collect()
    }

    /// How a request is asked.
    pub(super) fn call(&self, request: &Request) -> Option<Call> {
        Some(Call {
            to: self.hosts.get(&request.host)?.host.jid.clone(),
            node: export().verb.to_owned(),
            declaration: export(),
            argv: vec![format!("--after={}", request.after), format!("--limit={PAGE}")],
            together: None,
        })
    }

    fn next(&mut self, host: &str) -> Came {
        let Some(place) = self.hosts.get_mut(host) else { return Came::default() };
        if place.goal == 0 || place.asking || place.from.is_none_or(|from| from > Instant::now()) {
            return Came::default();
        }
        if place.entries.is_none() {
            match Entries::open(&entries::path(&self.heads_file, host), self.bytes_max) {
                Ok(entries) => place.entries = Some(entries),
                Err(wrong) => {
                    place.from = None;
                    return place.says(format!("{wrong}; its heads alone are kept"));
                }
            }
        }
        let last = place.entries.as_ref().map_or(0, Entries::last);
        if last >= place.goal {
            return Came::default();
        }
        place.asking = true;
        // Of a host that is new to us, what was before its first head could be anything.
        let after = if last == 0 { place.goal - 1 } else { last };
        Came { next: Some(Request { host: host.to_owned(), after }), ..Came::default() }
    }

    /// What it answered.
    pub(super) fn came(&mut self, request: &Request, page: Outcome<Value>, heads: &Heads) -> Came {
        let Some(place) = self.hosts.get_mut(&request.host) else { return Came::default() };
        place.asking = false;
        let odd = |_| Failure::new(Kind::Internal, "it answered no page".to_owned());
        let page = page.and_then(|json| serde_json::from_value::<AuditPage>(json).map_err(odd));
        let goal = if place.is_new() { request.after.saturating_add(1) } else { place.goal };
        let kept = match (page, &mut place.entries) {
            (Ok(page), Some(entries)) => entries.add(&page.rows, goal, heads),
            (Err(failure), _) => return place.failed(&failure),
            (_, None) => return Came::default(),
        };
        match kept {
            Ok(_) => {
                place.said = None;
                self.next(&request.host)
            }
            Err(why) => place.unkept(why, self.bytes_max),
        }
    }
}

impl Place {
    fn is_new(&self) -> bool {
        self.entries.as_ref().is_some_and(|entries| entries.last() == 0)
    }

    fn wait(&mut self, time: Duration) {
        self.from = Instant::now().checked_add(time);
    }

    /// Says something, once until there is something else to say.
    fn says(&mut self, word: String) -> Came {
        let word =
            Some(format!("{}: {word}", self.host.name)).filter(|word| self.said.as_ref() != Some(word));
        if word.is_some() {
            self.said.clone_from(&word);
        }
        Came { word, ..Came::default() }
    }

    fn failed(&mut self, failure: &Failure) -> Came {
        if failure.kind == Kind::NotAllowed {
            self.wait(REFUSED_FOR);
            return self.says(
                "this account may not see its entries, so its heads alone are kept; the role auditor there \
                 lets it"
                    .to_owned(),
            );
        }
        self.wait(AGAIN_AFTER);
        self.says(format!("its entries cannot be had now: {failure}"))
    }

    fn unkept(&mut self, why: Unkept, bytes_max: u64) -> Came {
        match why {
            Unkept::Contradicts(what) => {
                self.wait(REFUSED_FOR);
                let alarm =
                    format!("what {} gives does not lead to the heads it told: {what}", self.host.name);
                Came { alarm: Some(alarm), ..Came::default() }
            }
            Unkept::Full => {
                self.from = None;
                let size = bytes_max >> 20;
                self.says(format!(
                    "its entries have filled the {size} MiB they may take (--entries-max), so its heads alone \
                     are kept from now on; move its file away, and start again"
                ))
            }
            Unkept::Silent => {
                self.wait(AGAIN_AFTER);
                self.says("it gives no entries of what it showed a head of".to_owned())
            }
            Unkept::Io(error) => {
                self.wait(AGAIN_AFTER);
                self.says(format!("its entries cannot be written: {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::json;
    use skerry_stanzas::audit::Row;
    use xmpp_parsers::jid::Jid;

    use super::*;
    use crate::audit::tests::{heads_of, trail};

    const KVM1: &str = "kvm1.example.org";

    fn fetching(folder: &tempfile::TempDir) -> Fetching {
        let heads = folder.path().join("heads.jsonl");
        std::fs::create_dir_all(entries::folder(&heads)).unwrap();
        let host = Host { jid: Jid::new(KVM1).unwrap(), name: "kvm1".into() };
        Fetching::of(&[host], heads, 1 << 20)
    }

    #[track_caller]
    fn page(rows: &[Row]) -> Outcome<Value> {
        Ok(json!({ "rows": rows.iter().map(Row::line).collect::<Vec<_>>() }))
    }

    #[tokio::test(start_paused = true)]
    async fn page_after_page_up_to_the_newest_head() {
        let folder = tempfile::tempdir().unwrap();
        let mut fetching = fetching(&folder);
        let rows = trail(30);
        let heads = heads_of(&[&rows[9], &rows[29]]);
        let first = fetching.head(KVM1, 10).next.unwrap();
        assert_eq!(first.after, 9, "what was before its first head could be anything");
        assert_eq!(fetching.call(&first).unwrap().argv, ["--after=9", "--limit=1000"]);
        assert_eq!(fetching.head(KVM1, 30), Came::default(), "one page at a time");
        let second = fetching.came(&first, page(&rows[9..20]), &heads).next.unwrap();
        assert_eq!(second.after, 10);
        let third = fetching.came(&second, page(&rows[10..20]), &heads).next.unwrap();
        assert_eq!(fetching.came(&third, page(&rows[20..]), &heads), Came::default());
        assert_eq!(fetching.head("eve.example", 5), Came::default(), "no host of ours");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_does_not_ask_again_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut fetching = fetching(&folder);
        let heads = heads_of(&[]);
        let asked = fetching.head(KVM1, 10).next.unwrap();
        let no = || Err(Failure::new(Kind::NotAllowed, "no".to_owned()));
        let word = fetching.came(&asked, no(), &heads).word.unwrap();
        assert!(word.contains("kvm1: this account may not see its entries"), "{word}");
        assert_eq!(fetching.head(KVM1, 11), Came::default(), "the refusal was an entry, too");
        tokio::time::advance(REFUSED_FOR).await;
        let asked = fetching.due().pop().unwrap().next.unwrap();
        assert_eq!(fetching.came(&asked, no(), &heads), Came::default(), "it was said");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_lead_to_its_heads_is_shouted_and_silence_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut fetching = fetching(&folder);
        let rows = trail(3);
        let heads = heads_of(&[&rows[0], &rows[2]]);
        let asked = fetching.head(KVM1, 1).next.unwrap();
        assert!(fetching.came(&asked, Ok(json!({"rows": []})), &heads).word.unwrap().contains("no entries"));
        tokio::time::advance(AGAIN_AFTER).await;
        let asked = fetching.due().pop().unwrap().next.unwrap();
        fetching.came(&asked, page(&rows), &heads);
        let asked = fetching.head(KVM1, 3).next.unwrap();
        let other = Row { body: "{}".into(), ..rows[1].clone() };
        let came = fetching.came(&asked, page(&[other]), &heads);
        assert!(
            came.alarm
                .unwrap()
                .contains("kvm1 gives does not lead to the heads it told: entry 2 was altered")
        );
        assert_eq!(fetching.head(KVM1, 4), Came::default());
        // An answer that is none is as good as none.
        tokio::time::advance(REFUSED_FOR).await;
        let asked = fetching.due().pop().unwrap().next.unwrap();
        assert!(fetching.came(&asked, Ok(json!([])), &heads).word.unwrap().contains("no page"));
    }
}
