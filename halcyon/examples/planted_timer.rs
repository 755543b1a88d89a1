//! A VM process with a planted fault: a timer that is armed again whenever it has passed.
//!
//! It serves its guest well. Invariant: the timer is the only difference to `halcyon vm`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use halcyon::vm::live::LiveImages;
use halcyon::vm::{Ended, Turn, Vm, streams};
use reactor::live::Uring;
use reactor::{Nanos, Reactor as _, Sleep, Token};

mod planted;

/// Slow enough to be overlooked.
const PERIOD: Nanos = 1_000_000_000;

/// The loop sets no deadlines of its own, so this one is nobody else's.
const TOKEN: Token = Token {
    owner: streams::OWNER,
    layer: 1,
    tag: 0,
};

fn main() -> ExitCode {
    planted::main(|process| process.run(serve))
}

fn serve(vm: &mut Vm<Uring, LiveImages>, reactor: &mut Uring) -> Result<(), Ended> {
    let mut completions = Vec::with_capacity(64);
    reactor.set_deadline(TOKEN, reactor.now() + PERIOD);
    loop {
        let sleep = match vm.turn(reactor, &mut completions)? {
            Turn::Again => Sleep::No,
            Turn::Idle => Sleep::UntilWork,
            Turn::Done => return Ok(()),
        };
        reactor.wait(sleep, &mut completions);
        if completions
            .extract_if(.., |completion| completion.token == TOKEN)
            .count()
            > 0
        {
            reactor.set_deadline(TOKEN, reactor.now() + PERIOD);
        }
    }
}
