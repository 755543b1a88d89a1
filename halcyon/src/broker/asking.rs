//! How a VM process has the host daemon open an image. Runs in a helper thread, for it waits.
//!
//! It knows nothing of images. Invariant: a daemon that is restarted in between is waited for and
//! asked again; an answer that makes no sense is a refusal.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use blkback::Refusal;

use super::Image;
use super::socket::Socket;
use super::wire::{Answer, Question};
use crate::cli::args::KindArg;

/// How long a daemon that is being restarted is waited for.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a daemon may end between a question and its answer.
const ATTEMPTS_MAX: u32 = 4;

/// Asks the daemon at `socket` for the image.
pub(super) fn ask(socket: &Path, image: &Image) -> Result<OwnedFd, Refusal> {
    let question = question(image)?;
    for _ in 0..ATTEMPTS_MAX {
        match ask_once(socket, &question) {
            Ok(Some((bytes, fd))) => return understood(&bytes, fd),
            // It ended before it answered.
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
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

fn ask_once(socket: &Path, question: &[u8]) -> io::Result<Option<Message>> {
    let socket = Socket::connect(socket, LIMIT)?;
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

fn refusal(text: String) -> Refusal {
    Refusal::new(Refusal::EIO, &io::Error::other(text))
}
