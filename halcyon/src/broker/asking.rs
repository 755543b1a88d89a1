//! How a VM process has the host daemon open an image. Runs in a helper thread, for it waits.
//!
//! It knows nothing of images. Invariant: a daemon that is restarted in between is waited for and
//! asked again; an answer that makes no sense, or that does not come in time, is a refusal.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use blkback::Refusal;

use super::Image;
use super::socket::Socket;
use super::wire::{Answer, Question};
use crate::cli::args::KindArg;

/// How often a daemon may end between a question and its answer.
const ATTEMPTS_MAX: u32 = 4;

/// Asks the daemon at `socket` for the image, and gives up at `until`.
pub(super) fn ask(socket: &Path, image: &Image, until: Instant) -> Result<OwnedFd, Refusal> {
    let question = question(image)?;
    for _ in 0..ATTEMPTS_MAX {
        match ask_once(socket, &question, until) {
            Ok(Some((bytes, fd))) => return understood(&bytes, fd),
            // It ended before it answered.
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(late(socket, image));
            }
            Err(error) => return Err(silent(socket, &error)),
        }
    }
    Err(silent(socket, &io::ErrorKind::ConnectionReset.into()))
}

fn question(image: &Image) -> Result<Vec<u8>, Refusal> {
    let device = &image.device;
    let question = KindArg::named(&device.kind).map(|kind| Question {
        domid: device.domid,
        kind,
        devid: device.devid,
        read_only: image.read_only,
        params: image.params.clone(),
    });
    question
        .and_then(|question| question.to_bytes())
        .ok_or_else(|| refusal("its params cannot be asked for".to_owned()))
}

type Message = (Vec<u8>, Option<OwnedFd>);

fn ask_once(socket: &Path, question: &[u8], until: Instant) -> io::Result<Option<Message>> {
    let socket = Socket::connect(socket, until)?;
    match socket.send(question, None) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        sent => sent.and_then(|()| socket.receive()),
    }
}

fn understood(bytes: &[u8], fd: Option<OwnedFd>) -> Result<OwnedFd, Refusal> {
    match (Answer::parse(bytes), fd) {
        (Some(Answer::Opened), Some(fd)) => Ok(fd),
        (Some(Answer::Refused(errno, text)), _) => Err(Refusal { errno, text }),
        _ => Err(refusal(
            "the host daemon gave an answer that makes no sense: is it of another version?".into(),
        )),
    }
}

fn silent(socket: &Path, error: &io::Error) -> Refusal {
    refusal(format!(
        "no host daemon answers at {} ({error}): start `halcyon host`, then attach the disk again",
        socket.display()
    ))
}

/// Nobody knows which of the two it is, for both say nothing.
fn late(socket: &Path, image: &Image) -> Refusal {
    refusal(format!(
        "{}: not opened in time: its storage does not answer, or the host daemon at {} does not",
        image.params,
        socket.display()
    ))
}

fn refusal(text: String) -> Refusal {
    Refusal::new(Refusal::EIO, &io::Error::other(text))
}
