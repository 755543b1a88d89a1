//! A disk as the command line spells it: `[FORMAT:]PATH[,VDEV][,r|w]`.
//!
//! It opens nothing. The numbering of virtual devices is that of xen-vbd-interface(7).

use crate::error::{Exit, Failure};

/// What to give a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// `params` of the backend: the format, where one was named, and the path.
    pub params: String,
    /// The guest's name for it: xvda.
    pub vdev: Option<String>,
    /// Whether the guest may write.
    pub writable: bool,
}

/// Reads a disk argument. Writable unless it says `r`.
pub fn parse(text: &str) -> Result<DiskSpec, Failure> {
    let mut parts = text.split(',');
    let params = parts.next().filter(|params| !params.is_empty());
    let params = params
        .ok_or_else(|| wrong(text, "the path is missing"))?
        .to_owned();
    let mut spec = DiskSpec {
        params,
        vdev: None,
        writable: true,
    };
    for part in parts {
        match part {
            "r" | "ro" => spec.writable = false,
            "w" | "rw" => spec.writable = true,
            vdev if device_number(vdev).is_some() => spec.vdev = Some(vdev.to_owned()),
            other => return Err(wrong(text, &format!("{other:?} is neither xvdX, r nor w"))),
        }
    }
    Ok(spec)
}

fn wrong(text: &str, why: &str) -> Failure {
    let usage = "expected [FORMAT:]PATH[,VDEV][,r|w]";
    Failure::new(Exit::Usage, format!("disk {text:?}: {why}; {usage}"))
}

/// The number of a whole disk `xvdX`: major 202 with 16 partitions for the first sixteen, bit 28
/// and 256 partitions from there on.
#[must_use]
pub fn device_number(vdev: &str) -> Option<u32> {
    let letters = vdev.strip_prefix("xvd")?;
    let index = match *letters.as_bytes() {
        [one @ b'a'..=b'z'] => u32::from(one - b'a'),
        [high @ b'a'..=b'z', low @ b'a'..=b'z'] => {
            26 * (u32::from(high - b'a') + 1) + u32::from(low - b'a')
        }
        _ => return None,
    };
    Some(if index < 16 {
        202 << 8 | index << 4
    } else {
        1 << 28 | index << 8
    })
}

/// The name of disk number `index`, counted from xvda.
#[must_use]
pub fn device_name(index: u8) -> String {
    let letter = |n: u8| char::from(b'a' + n % 26);
    match index / 26 {
        0 => format!("xvd{}", letter(index)),
        high => format!("xvd{}{}", letter(high - 1), letter(index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_path_is_a_writable_disk_without_a_name() {
        let spec = parse("raw:/a:b.img").unwrap();
        assert_eq!(
            spec,
            DiskSpec {
                params: "raw:/a:b.img".into(),
                vdev: None,
                writable: true
            }
        );
    }

    #[test]
    fn the_order_of_name_and_mode_does_not_matter() {
        assert_eq!(parse("/a,r,xvdb").unwrap(), parse("/a,xvdb,r").unwrap());
    }

    #[test]
    fn an_unknown_part_is_a_usage_error() {
        let failure = parse("/a,sda").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("\"sda\""));
    }

    #[test]
    fn names_and_numbers_follow_the_vbd_interface() {
        assert_eq!(device_number("xvda"), Some(51712));
        assert_eq!(device_number("xvdp"), Some(51712 + 15 * 16));
        assert_eq!(device_number("xvdq"), Some(1 << 28 | 16 << 8));
        assert_eq!(device_number("xvdaa"), Some(1 << 28 | 26 << 8));
        assert_eq!(device_number("hda"), None);
        assert_eq!(device_name(0), "xvda");
        assert_eq!(device_name(26), "xvdaa");
        assert_eq!(device_name(25), "xvdz");
    }
}
