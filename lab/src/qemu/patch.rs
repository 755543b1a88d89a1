//! Two defects of QEMU's software SVM, worked around in the binary of the cached copy.
//!
//! It knows machine code only as bytes. Invariant: a pattern is found exactly as written and exactly
//! once, or nothing is changed there.

use crate::error::Failure;

/// The least and the greatest value that a byte of the pattern may have.
type Pattern = Vec<(u8, u8)>;

/// The virtual machine's entry (`helper_vmrun`), at the end of injecting an external interrupt.
///
/// The helper delivers the interrupt itself, and also leaves its vector in the CPU's
/// `exception_index`. If the emulating thread is asked out of its loop before the guest exits next,
/// the loop finds the stale index and delivers the same vector again, whether or not the guest has
/// interrupts enabled. A handler that runs on a stack of its own, as 16-bit firmware's do, does not
/// survive that. The store of the vector is what goes; its six bytes become one no-op.
///
/// In order: `mov %reg,disp32(%reg)` (the store), `movl $0,disp32(%reg)`, `movq $-1,disp32(%reg)`,
/// `testb $2,disp32(%rip)`, `jne rel32`, `mov $1,%edx`. Only the register numbers and the displacements
/// are left open.
const STALE_VECTOR: &str = "89 80-bf .. .. .. .. c7 80-87 .. .. .. .. 00 00 00 00 48 c7 80-87 .. .. .. .. ff ff ff ff \
    f6 05 .. .. .. .. 02 0f 85 .. .. .. .. ba 01 00 00 00";
/// A six-byte no-op.
const NO_OPERATION: [u8; 6] = [0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00];

/// The delivery of a pending exit (`x86_cpu_do_interrupt`), before it calls `do_vmexit`.
///
/// Now and then an exit is processed a second time when the CPU has already left the guest, and the
/// hypervisor's registers are then saved into the guest's state: the guest ends with a triple fault.
/// Why it comes to that is not known. There is an assertion here that always holds (nine bytes:
/// `cmpl $-1,disp32(%rax); jne`); in its place goes "not in guest mode: return", that is
/// `testb $0x20,hflags+2(%rax); je` to the function's end. Both offsets belong to this very build,
/// so every byte must be as written.
const EXIT_TWICE: &str =
    "81 fe 00 01 00 00 75 1f 83 b8 a0 47 00 00 ff 75 45 48 83 c4 08 48 8d b8 b0 13 00 00 5b 5d";
/// Where in the pattern the assertion stands, and what replaces it.
const ASSERTION_AT: usize = 8;
const GUEST_MODE_GUARD: [u8; 9] = [0xf6, 0x80, 0x62, 0x14, 0x00, 0x00, 0x20, 0x74, 0x3e];

/// Changes the binary; returns one line for each defect. The first is a condition of running guests
/// at all, the second makes a rare failure rarer, and in another build it is left out.
pub(super) fn apply(binary: &mut [u8]) -> Result<[String; 2], Failure> {
    let store = only(binary, &pattern(STALE_VECTOR)).ok_or_else(|| {
        Failure::new("this build of qemu is not the one whose defect is known: the injected interrupt's store was not found exactly once, nothing was changed")
    })?;
    let guard = only(binary, &pattern(EXIT_TWICE));
    replace(binary, store, &NO_OPERATION);
    let first = format!("stale interrupt vector: patched at {store:#x}");
    let Some(found) = guard else {
        return Ok([
            first,
            "exit processed twice: another build, left as it is".to_owned(),
        ]);
    };
    replace(binary, found + ASSERTION_AT, &GUEST_MODE_GUARD);
    Ok([
        first,
        format!(
            "exit processed twice: patched at {:#x}",
            found + ASSERTION_AT
        ),
    ])
}

fn replace(binary: &mut [u8], at: usize, by: &[u8]) {
    for (old, new) in binary.iter_mut().skip(at).zip(by) {
        *old = *new;
    }
}

/// Reads a pattern: a byte, a range of bytes, or `..` for any.
fn pattern(text: &str) -> Pattern {
    let hex = |digits: &str| u8::from_str_radix(digits, 16).ok();
    let byte = |word: &str| {
        let (low, high) = word.split_once('-').unwrap_or((word, word));
        Some((hex(low)?, hex(high)?))
    };
    text.split_whitespace()
        .map(|word| byte(word).unwrap_or((0, u8::MAX)))
        .collect()
}

/// Where the pattern is, if it is in one place only.
fn only(binary: &[u8], pattern: &[(u8, u8)]) -> Option<usize> {
    let matches = |window: &[u8]| {
        pattern
            .iter()
            .zip(window)
            .all(|((low, high), byte)| (low..=high).contains(&byte))
    };
    let mut places = binary
        .windows(pattern.len())
        .enumerate()
        .filter(|(_, window)| matches(window));
    let (at, _) = places.next()?;
    places.next().is_none().then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<u8> {
        pattern(text)
            .into_iter()
            .map(|(low, high)| low.max(high.min(0x83)))
            .collect()
    }

    fn binary(parts: &[Vec<u8>]) -> Vec<u8> {
        let gap = vec![0x90; 100];
        parts
            .iter()
            .flat_map(|part| [&gap[..], part].concat())
            .chain(gap.clone())
            .collect()
    }

    #[test]
    fn both_defects_are_patched_where_they_are_found_once() {
        let mut file = binary(&[code(STALE_VECTOR), code(EXIT_TWICE)]);
        apply(&mut file).expect("found");
        let second = 200 + code(STALE_VECTOR).len() + ASSERTION_AT;
        assert_eq!(file[100..106], NO_OPERATION);
        assert_eq!(file[second..second + 9], GUEST_MODE_GUARD);
        assert_eq!(
            file[106..].len() + 106,
            binary(&[code(STALE_VECTOR), code(EXIT_TWICE)]).len()
        );
    }

    #[test]
    fn a_pattern_found_twice_changes_nothing() {
        let original = binary(&[code(STALE_VECTOR), code(STALE_VECTOR), code(EXIT_TWICE)]);
        let mut file = original.clone();
        assert!(apply(&mut file).is_err());
        assert_eq!(file, original);
    }

    #[test]
    fn a_pattern_not_found_changes_nothing() {
        let original = binary(&[code(EXIT_TWICE)]);
        let mut file = original.clone();
        assert!(apply(&mut file).is_err());
        assert_eq!(file, original);
    }

    #[test]
    fn another_builds_second_defect_is_left_as_it_is() {
        let mut other = code(EXIT_TWICE);
        other[10] ^= 1;
        let mut file = binary(&[code(STALE_VECTOR), other.clone()]);
        let reports = apply(&mut file).expect("the first is found");
        assert!(reports[1].contains("left as it is"));
        assert!(file.windows(other.len()).any(|window| window == other));
    }

    #[test]
    fn the_guard_is_as_long_as_what_it_replaces() {
        let pattern = code(EXIT_TWICE);
        let assertion = &pattern[ASSERTION_AT..ASSERTION_AT + GUEST_MODE_GUARD.len()];
        assert_eq!(assertion.first(), Some(&0x83));
        assert_eq!(assertion.last(), Some(&0x45));
    }
}
