//! A guest with its monitor, as an agent would have it.

#![allow(dead_code)] // Each test takes what it needs.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use skerry_vmm::{
    control::{Ask, Happened, Said},
    plan::{Disk, Plan, VERSION},
};
use tempfile::TempDir;

/// In an emulated processor's emulated KVM all is slow, now and then very slow.
const LIMIT: Duration = Duration::from_secs(180);

/// What a guest is made of.
pub struct Made {
    pub kernel: PathBuf,
    pub initrd: Option<PathBuf>,
    pub processors: u32,
    /// Bytes.
    pub memory: u64,
    /// Bytes, and whether only read.
    pub disks: Vec<(u64, bool)>,
}

/// A guest that was started.
pub struct Guest {
    folder: TempDir,
    process: Child,
    control: BufReader<UnixStream>,
    console: UnixStream,
    /// What was read of the console and not yet waited for.
    seen: String,
    happened: Vec<Happened>,
}

fn connect(path: PathBuf, process: &mut Child) -> UnixStream {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(&path) {
            Ok(stream) => return stream,
            Err(error) => {
                assert!(begun.elapsed() < LIMIT, "{}: {error}", path.display());
                assert_eq!(process.try_wait().unwrap(), None, "it ended");
                thread::yield_now();
            }
        }
    }
}

impl Guest {
    /// Starts one.
    pub fn start(made: Made) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let within = |name: &str| folder.path().join(name);
        let mut disks = Vec::new();
        for (which, (bytes, read_only)) in made.disks.iter().enumerate() {
            let file = within(&format!("disk{which}"));
            File::create(&file).unwrap().set_len(*bytes).unwrap();
            disks.push(Disk { file, read_only: *read_only, serial: format!("disk{which}") });
        }
        let plan = Plan {
            version: VERSION,
            processors: made.processors,
            memory: made.memory,
            kernel: made.kernel,
            initrd: made.initrd,
            command_line: "console=ttyS0 quiet panic=1 cryptomgr.notests 8250.nr_uarts=1".into(),
            disks,
            nics: Vec::new(),
            log: within("console.log"),
            console: within("console.sock"),
            control: within("control.sock"),
        };
        fs::write(within("plan"), serde_json::to_string(&plan).unwrap()).unwrap();
        let program =
            std::env::var_os("SKERRY_VMM").unwrap_or_else(|| env!("CARGO_BIN_EXE_skerry-vmm").into());
        let mut process = Command::new(program).arg("run").arg(within("plan")).spawn().unwrap();
        let control = connect(plan.control, &mut process);
        let console = connect(plan.console, &mut process);
        console.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        control.set_read_timeout(Some(LIMIT)).unwrap();
        let mut guest = Self {
            folder,
            process,
            control: BufReader::new(control),
            console,
            seen: String::new(),
            happened: Vec::new(),
        };
        assert_eq!(guest.heard(), Said::Hello { version: skerry_vmm::control::VERSION });
        assert_eq!(guest.ask(&Ask::Go), Said::Done);
        guest
    }

    /// A disk's file.
    pub fn disk(&self, which: usize) -> PathBuf {
        self.folder.path().join(format!("disk{which}"))
    }

    fn heard(&mut self) -> Said {
        let mut line = String::new();
        self.control.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Asks for something, and has the answer.
    pub fn ask(&mut self, ask: &Ask) -> Said {
        let mut line = serde_json::to_string(ask).unwrap();
        line.push('\n');
        self.control.get_mut().write_all(line.as_bytes()).unwrap();
        loop {
            match self.heard() {
                Said::Happened { what } => self.happened.push(what),
                said => return said,
            }
        }
    }

    /// What the guest did unasked, the oldest first.
    pub fn happened(&mut self) -> Happened {
        if !self.happened.is_empty() {
            return self.happened.remove(0);
        }
        match self.heard() {
            Said::Happened { what } => what,
            other => panic!("{other:?}"),
        }
    }

    /// Types on the console.
    pub fn type_in(&mut self, text: &str) {
        self.console.write_all(text.as_bytes()).unwrap();
    }

    fn read(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let count = self.console.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count
    }

    /// What the console says until this, which it says.
    pub fn until(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(begun.elapsed() < LIMIT, "it never said {text:?}, but {:?}", self.seen);
            self.read();
        }
    }

    /// Bytes the console has said when it says nothing more for a while.
    pub fn settled(&mut self) -> usize {
        while self.read() > 0 {}
        self.seen.len()
    }

    /// What a command of the guest's shell prints.
    pub fn run(&mut self, command: &str) -> String {
        self.type_in(&format!("echo be''gin; {command}; echo e''nd\n"));
        self.until("begin\r\n");
        let said = self.until("end\r\n");
        said.trim_end_matches("end\r\n").replace("\r\n", "\n").trim().to_owned()
    }

    /// What its console has kept.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("console.log")).unwrap()
    }

    /// Whether each of its threads can make few system calls alone (seccomp's filters).
    pub fn is_bounded(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let bounded = |status: String| status.lines().any(|line| line == "Seccomp:\t2");
        threads
            .into_iter()
            .all(|thread| bounded(fs::read_to_string(thread.unwrap().path().join("status")).unwrap()))
    }

    /// Whether one who says this on a connection of his own is hung up on.
    pub fn is_hung_up_after(&mut self, line: &str) -> bool {
        let mut other = connect(self.folder.path().join("control.sock"), &mut self.process);
        other.set_read_timeout(Some(LIMIT)).unwrap();
        // What is too long may not be taken whole.
        let _ = other.write_all(line.as_bytes());
        let mut heard = String::new();
        let end = other.read_to_string(&mut heard);
        heard.contains("hello")
            && (end.is_ok() || end.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset)
    }

    /// How its process ended.
    pub fn end(mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // One that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
