//! The little that the lab reads in ELF files: the names of the shared libraries that one needs,
//! and the kernel inside a bzImage.
//!
//! It knows 64-bit little-endian files only; anything else needs no library. Invariant: nothing in
//! a file makes it panic; what does not make sense is taken for absent.

/// How every ELF file begins.
pub const MAGIC: &[u8] = b"\x7fELF";

/// `p_type` of a segment that is mapped, and of the dynamic section (elf.h).
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
/// Tags of the dynamic section: a needed library, and the address of the string table.
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
/// Bytes of a program header and of an entry of the dynamic section.
const PHDR_LEN: usize = 56;
const DYN_LEN: usize = 16;

/// The `DT_NEEDED` names, in their order.
#[must_use]
pub fn needed(file: &[u8]) -> Vec<String> {
    read_needed(file).unwrap_or_default()
}

fn read_needed(file: &[u8]) -> Option<Vec<String>> {
    if !file.starts_with(MAGIC) {
        return None;
    }
    let headers: Vec<Segment> = segments(file)?;
    let dynamic = headers.iter().find(|segment| segment.kind == PT_DYNAMIC)?;
    let section = file.get(dynamic.offset..)?.get(..dynamic.len)?;
    let entries: Vec<(u64, u64)> = section
        .chunks_exact(DYN_LEN)
        .filter_map(|entry| Some((number(entry, 0, 8)?, number(entry, 8, 8)?)))
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let table = entries.iter().find(|(tag, _)| *tag == DT_STRTAB)?.1;
    let strings = file.get(offset_of(&headers, table)?..)?;
    let names = entries.iter().filter(|(tag, _)| *tag == DT_NEEDED);
    names.map(|(_, at)| string(strings, *at)).collect()
}

struct Segment {
    kind: u64,
    offset: usize,
    address: u64,
    len: usize,
}

fn segments(file: &[u8]) -> Option<Vec<Segment>> {
    let (start, count) = (index(file, 32, 8)?, index(file, 56, 2)?);
    let table = file.get(start..)?.get(..count.checked_mul(PHDR_LEN)?)?;
    let segment = |header: &[u8]| {
        Some(Segment {
            kind: number(header, 0, 4)?,
            offset: index(header, 8, 8)?,
            address: number(header, 16, 8)?,
            len: index(header, 32, 8)?,
        })
    };
    table.chunks_exact(PHDR_LEN).map(segment).collect()
}

/// Where in the file the byte lies that is mapped at this address.
fn offset_of(segments: &[Segment], address: u64) -> Option<usize> {
    let within = |segment: &&Segment| {
        let into = address.checked_sub(segment.address);
        segment.kind == PT_LOAD && into.is_some_and(|into| into < segment.len as u64)
    };
    let segment = segments.iter().find(within)?;
    segment
        .offset
        .checked_add(usize::try_from(address.checked_sub(segment.address)?).ok()?)
}

fn string(table: &[u8], at: u64) -> Option<String> {
    let rest = table.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest.get(..end)?.to_vec()).ok()
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let field = bytes.get(at..)?.get(..len)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

fn index(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    usize::try_from(number(bytes, at, len)?).ok()
}

/// Compressed streams that a bzImage may carry: how each begins and which program undoes it.
pub const COMPRESSIONS: [(&[u8], &str); 3] = [
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x1f\x8b\x08", "gzip"),
];

/// Every place in the file where a compressed stream may begin, with the program that undoes it.
pub fn streams(file: &[u8]) -> impl Iterator<Item = (usize, &'static str)> {
    COMPRESSIONS.iter().flat_map(move |(magic, program)| {
        let starts = file
            .windows(magic.len())
            .enumerate()
            .filter(move |(_, window)| window == magic);
        starts.map(move |(at, _)| (at, *program))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one mapped segment at 0x1000 that holds its dynamic section and strings.
    fn library(needs: &[&str]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut dynamic = Vec::new();
        for name in needs {
            dynamic.push((DT_NEEDED, strings.len() as u64));
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        let dynamic_at = 64 + 2 * PHDR_LEN;
        let strings_at = dynamic_at + (dynamic.len() + 2) * DYN_LEN;
        dynamic.extend([(DT_STRTAB, 0x1000 + strings_at as u64), (0, 0)]);
        let mut file = MAGIC.to_vec();
        file.resize(64, 0);
        file[32] = 64;
        file[56] = 2;
        let len = (strings_at + strings.len()) as u64;
        for (kind, offset, len) in [
            (PT_LOAD, 0, len),
            (PT_DYNAMIC, dynamic_at as u64, dynamic.len() as u64 * 16),
        ] {
            for field in [kind, offset, 0x1000 + offset, 0, len, len, 0] {
                file.extend_from_slice(&field.to_le_bytes());
            }
        }
        for (tag, value) in dynamic {
            file.extend_from_slice(&tag.to_le_bytes());
            file.extend_from_slice(&value.to_le_bytes());
        }
        file.extend_from_slice(&strings);
        file
    }

    #[test]
    fn needed_libraries_are_named_in_their_order() {
        assert_eq!(
            needed(&library(&["libxenlight.so.4.17", "libc.so.6"])),
            ["libxenlight.so.4.17", "libc.so.6"]
        );
    }

    #[test]
    fn a_file_that_needs_nothing_or_is_no_elf_file_names_nothing() {
        assert!(needed(&library(&[])).is_empty());
        assert!(needed(b"#!/bin/sh\n").is_empty());
    }

    #[test]
    fn a_file_cut_anywhere_is_read_without_panic() {
        let whole = library(&["libc.so.6"]);
        let read: Vec<usize> = (0..whole.len())
            .map(|len| needed(&whole[..len]).len())
            .collect();
        assert!(read.iter().all(|names| *names <= 1));
    }

    #[test]
    fn the_running_test_is_static_or_names_the_c_library() {
        let own = std::fs::read("/proc/self/exe").expect("readable");
        assert!(needed(&own).iter().all(|name| name.contains(".so")));
    }

    #[test]
    fn every_possible_beginning_of_a_stream_is_found() {
        let file = b"boot\x1f\x8b\x08rest\x28\xb5\x2f\xfdmore\x1f\x8b\x08";
        let found: Vec<(usize, &str)> = streams(file).collect();
        assert_eq!(found, [(11, "zstd"), (4, "gzip"), (19, "gzip")]);
    }
}
