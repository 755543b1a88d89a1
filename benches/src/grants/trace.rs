//! Hypercalls of the processor that this thread is kept on, counted by the hypervisor: a run of xentrace
//! around some work.
//!
//! It knows nothing of the work. Invariant: when records were lost there is no result.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use halcyon::error::{Doing as _, Failure};

use crate::hypercalls::{self, Tally};

/// How often the start of xentrace is looked for, and how often at most.
const TURN: Duration = Duration::from_millis(20);
const TURNS: u32 = 500;

/// Where the records go, and who writes them.
#[derive(Debug)]
pub(super) struct Tracer {
    file: PathBuf,
    cpu: u32,
    elsewhere: u32,
}

impl Tracer {
    /// A tracer of physical processor `cpu`; what it runs itself runs on processor `elsewhere`.
    pub(super) fn new(cpu: u32, elsewhere: u32) -> Self {
        let file = std::env::temp_dir().join(format!("halcyon-trace-{}", std::process::id()));
        Self {
            file,
            cpu,
            elsewhere,
        }
    }

    /// Does `work` and tells which hypercalls its processor made meanwhile.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> Result<(Tally, T), Failure> {
        let doing = || "trace with xentrace".to_owned();
        fs::write(&self.file, "").doing(doing)?;
        let mut child = self.start().doing(doing)?;
        let begun = self.wait_for_records();
        let done = work();
        end(&mut child).doing(doing)?;
        begun?;
        let records = fs::read(&self.file).doing(doing)?;
        let tally = hypercalls::tally(&records, self.cpu).doing(doing)?;
        match tally.lost {
            0 => Ok((tally, done)),
            lost => Err(Failure::failed(format!(
                "{}: {lost} records were lost; try fewer --requests",
                doing()
            ))),
        }
    }

    /// A shell that ends xentrace, by its own signal, as soon as its input ends: nothing has to be
    /// started for that while calls are counted.
    fn start(&self) -> io::Result<Child> {
        // The whole class of PV events, as Xen selects by class. The buffers stay as large as this for
        // the rest of the boot.
        let script = "xentrace -D -e 0x0020f000 -S 1024 -s 100 \"$0\" 2>/dev/null & \
                      read -r end; kill -TERM $!; wait";
        Command::new("taskset")
            .args(["-c", &self.elsewhere.to_string(), "sh", "-c", script])
            .arg(&self.file)
            .stdin(Stdio::piped())
            .spawn()
    }

    /// There are records as soon as anything runs, this loop among them.
    fn wait_for_records(&self) -> Result<(), Failure> {
        for _ in 0..TURNS {
            if fs::metadata(&self.file).is_ok_and(|file| file.len() > 0) {
                return Ok(());
            }
            std::thread::sleep(TURN);
        }
        let why =
            "xentrace wrote nothing: is it in PATH, is this the control domain, are you root?";
        Err(Failure::failed(why))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Nothing is left to tell of it, and /tmp is emptied some day.
        drop(fs::remove_file(&self.file));
    }
}

/// Ends the shell's input, and waits until xentrace has written what it still had.
fn end(child: &mut Child) -> io::Result<()> {
    drop(child.stdin.take());
    child.wait().map(drop)
}
