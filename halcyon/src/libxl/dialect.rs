//! The command line of qemu, as libxl writes it for a device model, as one value.
//!
//! It opens nothing and asks nobody. A monitor is a `-mon` and the `-chardev` that it names.
//! Invariant: every word is acted upon, moot, listed in [`Serve::unused`], or refused.

use std::os::fd::RawFd;
use std::path::PathBuf;

use abi::DomId;

use super::options::{Fate, asks_for_nothing, known};
use super::pairs::Pairs;

/// Monitors of one process: libxl has one and libxenstat another.
pub const MONITORS_MAX: usize = 2;

/// How libxl names what it makes of `channel=`, before the number.
const CHANNEL: &str = "libxl-channel";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// The version.
    Version,
    /// To be asked what can be asked for; there is no guest.
    Probe(Vec<Monitor>),
    /// The disks of a guest.
    Serve(Serve),
}

/// What it takes to serve a guest.
#[derive(Debug, PartialEq, Eq)]
pub struct Serve {
    /// The guest.
    pub domid: DomId,
    /// Where commands come from.
    pub monitors: Vec<Monitor>,
    /// Says "prelaunch" to those who ask, until told to go on.
    pub is_paused: bool,
    /// Options whose wish is not to be had.
    pub unused: Vec<String>,
}

/// A socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Its name.
    pub id: String,
    /// Which one.
    pub place: Place,
}

/// See [`Monitor`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To be made.
    Path(PathBuf),
    /// Made by our parent, and inherited.
    Inherited(RawFd),
}

/// Whether a command line that begins with this word is one of qemu's: its options have one dash
/// and long names, ours two.
#[must_use]
pub fn is_spoken(first: &str) -> bool {
    let long = first.len() > 2 || first == "-S";
    long && first.starts_with('-') && !first.starts_with("--")
}

/// Reads a command line, or says in one line what is wrong with it.
pub fn parse(words: &[String]) -> Result<Order, String> {
    if words.iter().any(|word| word == "-version") {
        return Ok(Order::Version);
    }
    // Before anything else: what libxl says to an emulator of HVM guests would fail at some option
    // that has nothing to do with the reason.
    let machine = machine(words)?;
    let mut read = Read::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        read.option(word, &mut words)?;
    }
    let monitors = monitors(read.chardevs, read.monitors)?;
    match (machine, read.domid) {
        (Machine::None, _) => Ok(Order::Probe(monitors)),
        (Machine::Xenpv, Some(domid)) => Ok(Order::Serve(Serve {
            domid,
            monitors,
            is_paused: read.is_paused,
            unused: read.unused,
        })),
        (Machine::Xenpv, None) => Err("-xen-domid is missing: which guest?".into()),
    }
}

#[derive(Clone, Copy)]
enum Machine {
    Xenpv,
    None,
}

fn machine(words: &[String]) -> Result<Machine, String> {
    let named = words.iter().zip(words.iter().skip(1));
    let mut values = named.filter(|(option, _)| matches!(option.as_str(), "-machine" | "-M"));
    let Some((_, value)) = values.next_back() else {
        return Err("-machine is missing: xenpv, for a PV or PVH guest".into());
    };
    match value.split(',').next() {
        Some("xenpv") => Ok(Machine::Xenpv),
        Some("none") => Ok(Machine::None),
        Some("xenfv" | "pc") => Err(
            "this is an HVM guest, and there is no device model for HVM guests here yet: remove \
             device_model_override from its configuration"
                .into(),
        ),
        _ => Err(format!("-machine {value}: only xenpv is known")),
    }
}

/// What was read so far.
#[derive(Default)]
struct Read {
    domid: Option<DomId>,
    chardevs: Vec<String>,
    monitors: Vec<String>,
    is_paused: bool,
    unused: Vec<String>,
}

impl Read {
    fn option<'a>(
        &mut self,
        word: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        let Some(option) = known(word) else {
            return Err(format!(
                "{word}: not an option that is known here; see device_model_args in the guest's \
                 configuration"
            ));
        };
        let value = if option.takes_value {
            rest.next()
        } else {
            None
        };
        let value = match value {
            None if option.takes_value => return Err(format!("{word}: its value is missing")),
            value => value.map_or("", String::as_str),
        };
        match option.fate {
            Fate::Meant => self.meant(option.name, value)?,
            Fate::Moot => {}
            Fate::Unused | Fate::Absent(_) if asks_for_nothing(value) => {}
            Fate::Unused => self
                .unused
                .push(format!("{word} {value}").trim_end().to_owned()),
            Fate::Refused(why) | Fate::Absent(why) => {
                let asked = format!("{word} {value}");
                return Err(format!("{}: {why}", asked.trim_end()));
            }
        }
        Ok(())
    }

    fn meant(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option {
            "-S" => self.is_paused = true,
            "-xen-domid" => self.domid = Some(domid(value)?),
            "-chardev" => self.chardevs.push(value.to_owned()),
            "-mon" => self.monitors.push(value.to_owned()),
            // The machine was looked at before.
            _ => {}
        }
        Ok(())
    }
}

fn domid(text: &str) -> Result<DomId, String> {
    let domid = text.parse().ok().map(DomId);
    let guest = domid.filter(|domid| (DomId(1)..DomId::FIRST_RESERVED).contains(domid));
    guest.ok_or_else(|| format!("-xen-domid {text}: not the number of a guest"))
}

/// Brings monitors and the sockets they name together.
fn monitors(chardevs: Vec<String>, monitors: Vec<String>) -> Result<Vec<Monitor>, String> {
    let mut sockets = chardevs
        .into_iter()
        .map(|text| socket(&text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut found = Vec::new();
    for text in monitors {
        let id = monitored(&text)?;
        let at = sockets.iter().position(|socket| socket.id == id);
        let at = at.ok_or_else(|| format!("-mon {text}: there is no such -chardev"))?;
        found.push(sockets.remove(at));
    }
    if let Some(idle) = sockets.first() {
        return Err(no_console(&idle.id));
    }
    if found.len() > MONITORS_MAX {
        return Err(format!("-mon: more than {MONITORS_MAX} monitors"));
    }
    match repeated(&found) {
        Some(monitor) => Err(format!(
            "-chardev {}: another one has its socket already",
            monitor.id
        )),
        None => Ok(found),
    }
}

/// A monitor on the socket of one before it: a descriptor has one owner, and a path one listener.
fn repeated(monitors: &[Monitor]) -> Option<&Monitor> {
    let mut numbered = monitors.iter().enumerate();
    let found = numbered.find(|(at, monitor)| {
        let mut before = monitors.iter().take(*at);
        before.any(|earlier| earlier.place == monitor.place)
    });
    found.map(|(_, monitor)| monitor)
}

fn no_console(id: &str) -> String {
    format!(
        "-chardev {id}: no monitor, and consoles are not served here; remove channel= from the \
         guest's configuration"
    )
}

fn monitored(text: &str) -> Result<String, String> {
    let mut pairs = Pairs::parse(text, "chardev");
    let (id, mode) = (pairs.take("chardev"), pairs.take("mode"));
    match (id, mode.as_deref(), pairs.rest()) {
        (Some(id), Some("control"), None) => Ok(id),
        _ => Err(format!("-mon {text}: expected chardev=ID,mode=control")),
    }
}

fn socket(text: &str) -> Result<Monitor, String> {
    let mut pairs = Pairs::parse(text, "backend");
    let mut take = |key| pairs.take(key);
    let (backend, id, server) = (take("backend"), take("id"), take("server"));
    let (path, fd, waits) = (take("path"), take("fd"), take("wait"));
    let is_socket = backend.as_deref() == Some("socket");
    if let Some(id) = id
        .as_deref()
        .filter(|id| !is_socket || id.starts_with(CHANNEL))
    {
        return Err(no_console(id));
    }
    let place = match (path, fd.map(|fd| fd.parse())) {
        (Some(path), None) => Some(Place::Path(path.into())),
        (None, Some(Ok(fd))) => Some(Place::Inherited(fd)),
        _ => None,
    };
    let as_known = is_socket
        && server.as_deref() == Some("on")
        && waits.as_deref() == Some("off")
        && pairs.rest().is_none();
    match (id, place, as_known) {
        (Some(id), Some(place), true) => Ok(Monitor { id, place }),
        _ => Err(format!(
            "-chardev {text}: expected socket,id=ID,path=PATH|fd=N,server=on,wait=off"
        )),
    }
}

#[cfg(test)]
mod tests;
