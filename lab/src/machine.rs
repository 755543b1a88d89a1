//! One emulated machine: its command line, its console, and its end.
//!
//! It knows nothing of scenarios: it hands on the console's lines and asks after each how long the
//! machine may go on. Invariant: when `run` returns, the emulator is gone.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::error::{Doing as _, Failure};
use crate::image::Image;
use crate::qemu::Qemu;
use crate::scenario::{Disk, Hardware};

/// The machine's memory, and the control domain's part of it.
const MEMORY_MIB: u32 = 3072;
const DOM0_MIB: u32 = 1024;
/// Of the widest model: SMAP crashes the control domain in emulation, RDTSCP breaks nested guests,
/// SMEP and five-level paging cost time and show nothing.
const CPU: &str = "max,-smap,-smep,-la57,-rdtscp";
/// eager-fpu: with lazy switching, processes of the control domain lose vector registers while an
/// HVM guest shares the processor. The log must hold a whole run, for its triple faults are counted.
const XEN_OPTIONS: &str = "console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=warning noreboot spec-ctrl=eager-fpu conring_size=1m";
const LINUX_OPTIONS: &str = "console=hvc0 quiet nokaslr mitigations=off panic=1";

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It said that it was done, or powered off.
    Done,
    /// It ran out of time and was killed.
    OutOfTime,
}

/// What a machine is made of.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The emulator.
    pub qemu: &'a Qemu,
    /// What boots.
    pub image: &'a Image,
    /// What the scenarios ask for.
    pub hardware: &'a Hardware,
    /// Directory of this run: `payload` and `results` in it are shared, scratch disks lie beside.
    pub dir: &'a Path,
}

impl Machine<'_> {
    fn command(&self) -> Result<Command, Failure> {
        let mut command = self.qemu.command();
        let memory = self.hardware.memory_mib.unwrap_or(MEMORY_MIB);
        let processors = self.hardware.processors;
        // With a thread for each processor, one of them stays in a PVH guest for ever now and then,
        // deaf to interrupts.
        let accel = if processors == 1 {
            "tcg,thread=single"
        } else {
            "tcg,thread=multi"
        };
        command.args(["-machine", "q35", "-accel", accel, "-cpu", CPU]);
        command.args(["-smp", &processors.to_string(), "-m", &memory.to_string()]);
        command.args([
            "-nodefaults",
            "-display",
            "none",
            "-vga",
            "none",
            "-monitor",
            "none",
            "-no-reboot",
        ]);
        let xen = format!("{XEN_OPTIONS} dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M");
        command
            .arg("-kernel")
            .arg(self.image.xen())
            .args(["-append", &xen]);
        let (kernel, initrd) = (self.image.vmlinux(), self.image.initrd());
        command.args([
            "-initrd",
            &format!("{} {LINUX_OPTIONS},{}", kernel.display(), initrd.display()),
        ]);
        drive(&mut command, "root", &self.image.root(), "snapshot=on");
        for (index, disk) in self.hardware.disks.iter().enumerate() {
            let id = format!("disk{index}");
            match disk {
                Disk::Debian => drive(&mut command, &id, self.image.debian(), "snapshot=on"),
                Disk::Empty(len_bytes) => {
                    let path = self.dir.join(&id);
                    let made = File::create(&path).and_then(|file| file.set_len(*len_bytes));
                    made.doing(|| format!("creating {}", path.display()))?;
                    drive(&mut command, &id, &path, "cache=unsafe");
                }
            }
        }
        share(
            &mut command,
            "payload",
            &self.dir.join("payload"),
            ",readonly=on",
        );
        share(&mut command, "results", &self.dir.join("results"), "");
        Ok(command)
    }

    /// Boots it and hands every line of its console to `line`, which returns how much longer the
    /// machine may run from then on, or nothing when it has said that it is done.
    pub fn run(
        &self,
        first: Duration,
        mut line: impl FnMut(&str) -> Option<Duration>,
    ) -> Result<End, Failure> {
        let mut command = self.command()?;
        command
            .args(["-serial", "stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command.stderr(log(&self.dir.join("results/qemu-stderr"))?);
        let mut child = command.spawn().doing(|| "starting qemu".to_owned())?;
        let lines = console(child.stdout.take());
        let mut deadline = Instant::now() + first;
        let end = loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) => match line(&text) {
                    Some(longer) => deadline = Instant::now() + longer,
                    None => break End::Done,
                },
                Err(RecvTimeoutError::Timeout) => break End::OutOfTime,
                Err(RecvTimeoutError::Disconnected) => break End::Done,
            }
        };
        self.end(&mut child)?;
        Ok(end)
    }

    /// Boots it with its console on this terminal, until it ends.
    pub fn interact(&self) -> Result<(), Failure> {
        let mut command = self.command()?;
        // Control characters, ^C among them, go to the machine.
        command.args([
            "-chardev",
            "stdio,id=terminal,signal=off",
            "-serial",
            "chardev:terminal",
        ]);
        let mut child = command
            .stdin(Stdio::inherit())
            .spawn()
            .doing(|| "starting qemu".to_owned())?;
        child.wait().doing(|| "waiting for qemu".to_owned())?;
        self.end(&mut child)
    }

    fn end(&self, child: &mut Child) -> Result<(), Failure> {
        // It may be gone already; what is left is to collect it.
        child.kill().doing(|| "ending qemu".to_owned())?;
        child.wait().doing(|| "waiting for qemu's end".to_owned())?;
        let disks = self.hardware.disks.iter().enumerate();
        let mut scratch = disks.filter(|(_, disk)| **disk != Disk::Debian);
        scratch.try_for_each(|(index, _)| {
            let path = self.dir.join(format!("disk{index}"));
            fs::remove_file(&path).doing(|| format!("removing {}", path.display()))
        })
    }
}

fn log(path: &Path) -> Result<File, Failure> {
    File::create(path).doing(|| format!("creating {}", path.display()))
}

fn drive(command: &mut Command, id: &str, path: &Path, option: &str) {
    command.arg("-drive").arg(format!(
        "file={},format=raw,if=none,id={id},{option}",
        path.display()
    ));
    command
        .arg("-device")
        .arg(format!("virtio-blk-pci,drive={id},disable-legacy=on"));
}

fn share(command: &mut Command, tag: &str, dir: &Path, option: &str) {
    command.arg("-fsdev").arg(format!(
        "local,id={tag},path={},security_model=none,multidevs=remap{option}",
        dir.display()
    ));
    command.arg("-device").arg(format!(
        "virtio-9p-pci,fsdev={tag},mount_tag={tag},disable-legacy=on"
    ));
}

/// Reads the console in a thread of its own, which ends with the emulator.
fn console(stdout: Option<ChildStdout>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout?);
        let mut bytes = Vec::new();
        while reader
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|count| count > 0)
        {
            let text = String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\r', '\n'])
                .to_owned();
            sender.send(text).ok()?;
            bytes.clear();
        }
        Some(())
    });
    receiver
}

/// Room for one machine: as many of this machine's processors as it emulates. Where more are emulated
/// than there are, each takes many times as long, and scenarios are bounded in time. The room is free
/// again when the value is dropped, or the process gone.
pub fn room(cache_dir: &Path, processors: u16) -> Result<Vec<File>, Failure> {
    let here = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = usize::from(processors).clamp(1, here);
    let place = |room| log(&cache_dir.join(format!("room-{room}")));
    let rooms = |group: usize| (group * wanted..(group + 1) * wanted).map(place);
    let groups = here / wanted;
    for group in 0..groups {
        let files = rooms(group).collect::<Result<Vec<_>, _>>()?;
        if files.iter().all(|file| file.try_lock().is_ok()) {
            return Ok(files);
        }
    }
    println!("other machines run already; waiting for one to end");
    // In the queue of one group, whichever: whoever looks at all of them now and then has no turn.
    // The rooms of a group are taken in their order, so that no two machines wait for each other.
    let mine = usize::try_from(std::process::id()).unwrap_or(0) % groups;
    let files = rooms(mine).collect::<Result<Vec<_>, _>>()?;
    let taken = files.iter().try_for_each(File::lock);
    taken.doing(|| format!("waiting for room in {}", cache_dir.display()))?;
    Ok(files)
}
