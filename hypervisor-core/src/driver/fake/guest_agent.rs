//! What runs in a fake guest: a few programs, files, passwords, and file systems that hold still.
//!
//! | program | does |
//! |---|---|
//! | `echo`, `true`, `false`, `exit N` | what they do everywhere |
//! | `cat` | writes what it is given to read |
//! | `hang` | does not end |

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    Fake,
    world::{FakeWorld, held},
};
use crate::{
    driver::{
        DriverError, Launch,
        guest_agent::{
            FILE_BYTES_MAX, FilePart, GuestAddress, GuestAgent, GuestSeen, INPUT_BYTES_MAX, Ran, Trimmed,
        },
    },
    machine::MachineId,
};

/// Files and programs a fake guest remembers.
const REMEMBERED_MAX: usize = 64;

/// What is inside a guest. It outlives its driver, and not its machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Within {
    /// Whether its agent listens.
    listens: bool,
    /// The hardware address of its first NIC.
    mac: Option<String>,
    programs: Vec<Program>,
    begun: i64,
    files: BTreeMap<String, Vec<u8>>,
    /// Of its users; `#` before those that were given as hashes.
    passwords: BTreeMap<String, String>,
    frozen: bool,
}

/// A program that was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Program {
    number: i64,
    command: Vec<String>,
    /// What it is given to read.
    input: Vec<u8>,
}

impl Within {
    /// One that has just booted.
    pub(super) fn booted(launch: &Launch) -> Self {
        let mac = launch.definition.nics.first().map(|nic| nic.address(launch.id).to_string());
        Self { listens: launch.definition.guest_agent, mac, ..Self::default() }
    }
}

fn no(what: &str) -> DriverError {
    DriverError::Unfit(format!("its guest agent says no: {what}"))
}

impl FakeWorld {
    /// Looks into a guest that runs and listens, and keeps what was changed there.
    fn within<T>(
        &self,
        id: MachineId,
        look: impl FnOnce(&mut Within) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let mut inside = held(&self.0.inside);
        let within = &mut inside.on(id)?.within;
        if !within.listens {
            return Err(DriverError::Unfit("no guest agent answers in it".into()));
        }
        let before = within.clone();
        let seen = look(within)?;
        if *within != before {
            inside.keep(id);
        }
        Ok(seen)
    }

    /// Whether the file systems of a guest hold still, for tests.
    pub fn is_still(&self, id: MachineId) -> bool {
        self.within(id, |within| Ok(within.frozen)).unwrap_or(false)
    }

    /// The password of a user of a guest, for tests; `#` before a hash.
    pub fn password(&self, id: MachineId, user: &str) -> Option<String> {
        self.within(id, |within| Ok(within.passwords.get(user).cloned())).ok().flatten()
    }
}

/// What a program does; `None` while it goes on.
fn run(command: &[String], input: &[u8]) -> Result<Option<Ran>, DriverError> {
    let ended = |code: i32, output: Vec<u8>| Ok(Some(Ran { code: Some(code), output, ..Ran::default() }));
    match command.split_first().map(|(program, words)| (program.as_str(), words)) {
        Some(("echo", words)) => ended(0, format!("{}\n", words.join(" ")).into_bytes()),
        Some(("true", _)) => ended(0, Vec::new()),
        Some(("false", _)) => ended(1, Vec::new()),
        Some(("cat", _)) => ended(0, input.to_vec()),
        Some(("exit", [code])) => ended(code.parse().unwrap_or(2), Vec::new()),
        Some(("hang", _)) => Ok(None),
        _ => Err(no("there is no such program")),
    }
}

#[async_trait]
impl GuestAgent for Fake {
    async fn listens(&self, id: MachineId) -> Result<bool, DriverError> {
        self.slowly().await;
        match self.world().within(id, |_| Ok(())) {
            Ok(()) => Ok(true),
            Err(DriverError::Unfit(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn begin(&self, id: MachineId, command: &[String], input: &[u8]) -> Result<i64, DriverError> {
        self.slowly().await;
        if input.len() > INPUT_BYTES_MAX {
            return Err(no("that is too much to read"));
        }
        self.world().within(id, |within| {
            run(command, input)?;
            if within.programs.len() >= REMEMBERED_MAX {
                within.programs.remove(0);
            }
            within.begun += 1;
            let (number, command, input) = (within.begun, command.to_vec(), input.to_vec());
            within.programs.push(Program { number, command, input });
            Ok(number)
        })
    }

    async fn ended(&self, id: MachineId, program: i64) -> Result<Option<Ran>, DriverError> {
        self.slowly().await;
        self.world().within(id, |within| {
            let known = within.programs.iter().find(|known| known.number == program);
            let known = known.ok_or_else(|| no("there is no such program"))?;
            let ran = run(&known.command, &known.input)?;
            if ran.is_some() {
                within.programs.retain(|known| known.number != program);
            }
            Ok(ran)
        })
    }

    async fn read(
        &self,
        id: MachineId,
        path: &str,
        from: u64,
        bytes_max: usize,
    ) -> Result<FilePart, DriverError> {
        self.slowly().await;
        self.world().within(id, |within| {
            let file = within.files.get(path).ok_or_else(|| no("there is no such file"))?;
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(file.len());
            let to = from.saturating_add(bytes_max.min(FILE_BYTES_MAX)).min(file.len());
            Ok(FilePart { bytes: file[from..to].to_vec(), ends: to == file.len() })
        })
    }

    async fn write(&self, id: MachineId, path: &str, bytes: &[u8], append: bool) -> Result<(), DriverError> {
        self.slowly().await;
        self.world().within(id, |within| {
            if within.frozen {
                return Err(no("its file systems hold still"));
            }
            if bytes.len() > FILE_BYTES_MAX || within.files.len() >= REMEMBERED_MAX {
                return Err(no("there is no room"));
            }
            let file = within.files.entry(path.to_owned()).or_default();
            if !append {
                file.clear();
            }
            file.extend_from_slice(bytes);
            Ok(())
        })
    }

    async fn set_password(
        &self,
        id: MachineId,
        user: &str,
        password: &str,
        hashed: bool,
    ) -> Result<(), DriverError> {
        self.slowly().await;
        self.world().within(id, |within| {
            if user != "root" {
                return Err(no("there is no such user"));
            }
            let mark = if hashed { "#" } else { "" };
            within.passwords.insert(user.to_owned(), format!("{mark}{password}"));
            Ok(())
        })
    }

    async fn freeze(&self, id: MachineId) -> Result<u64, DriverError> {
        self.slowly().await;
        let restless = held(&self.world().0.inside).orders.restless.contains(&id);
        self.world().within(id, |within| Ok(u64::from(!std::mem::replace(&mut within.frozen, !restless))))
    }

    async fn thaw(&self, id: MachineId) -> Result<u64, DriverError> {
        self.slowly().await;
        self.world().within(id, |within| Ok(u64::from(std::mem::replace(&mut within.frozen, false))))
    }

    async fn is_frozen(&self, id: MachineId) -> Result<bool, DriverError> {
        self.slowly().await;
        self.world().within(id, |within| Ok(within.frozen))
    }

    async fn trim(&self, id: MachineId, _limit: std::time::Duration) -> Result<Trimmed, DriverError> {
        self.slowly().await;
        self.world().within(id, |within| match within.frozen {
            true => Err(no("its file systems hold still")),
            false => Ok(Trimmed { bytes: 1 << 20, file_systems: 1, refused: None }),
        })
    }

    async fn describe(&self, id: MachineId, _limit: std::time::Duration) -> Result<GuestSeen, DriverError> {
        self.slowly().await;
        self.world().within(id, |within| {
            Ok(GuestSeen {
                agent: Some("fake".into()),
                os: Some("Fake OS 1".into()),
                kernel: Some("1.0".into()),
                hostname: Some("guest".into()),
                addresses: vec![GuestAddress {
                    address: std::net::Ipv4Addr::new(10, 0, 2, 15).into(),
                    nic: "eth0".into(),
                    mac: within.mac.clone(),
                }],
            })
        })
    }
}
