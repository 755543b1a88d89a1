//! Amounts of bytes as the command line spells them: `4096`, `64K`, `48M`, `1G`, and ranges of them,
//! `16M..48M`.

use std::ops::Range;

/// Reads an amount of bytes; the suffixes are powers of 1024.
///
/// # Errors
/// What is wrong with the text.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no amount of bytes such as 4096, 64K or 48M");
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Reads a range of bytes, the end excluded: `16M..48M`.
///
/// # Errors
/// What is wrong with the text.
pub fn range(text: &str) -> Result<Range<u64>, String> {
    let (start, end) = text
        .split_once("..")
        .ok_or_else(|| format!("{text:?} is no range such as 16M..48M"))?;
    let range = bytes(start)?..bytes(end)?;
    if range.is_empty() {
        return Err(format!("the range {text} is empty"));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("64K"), Ok(65536));
        assert_eq!(bytes("3m"), Ok(3 << 20));
        assert_eq!(bytes("2G"), Ok(2 << 30));
    }

    #[test]
    fn what_is_no_amount_is_named() {
        let refused = ["", "K", "64KB", "-1", "99999999999G"].map(bytes);
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
    }

    #[test]
    fn a_range_has_two_ends_and_something_between() {
        assert_eq!(range("1M..2M"), Ok(1 << 20..2 << 20));
        let refused = ["1M", "2M..1M", "1M..1M"].map(range);
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
    }
}
