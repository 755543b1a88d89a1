//! Whether a VM process may have the image that it asks for: if it stands in xenstore for a device of
//! the guest that the process serves. Who serves whom is for others to say.
//!
//! It opens nothing and asks nothing itself. Invariant: what it permits is what the toolstack wrote.

use abi::io::blkif::keys;
use disk::spec::ImageSpec;
use xenstore::{Reply, Step, StoreError};

use super::tree::{self, Name};
use crate::broker::wire::Question;

/// Reads what decides on a question.
pub(super) fn steps(question: &Question) -> Option<Vec<Step>> {
    let name = Name {
        kind: question.kind,
        devid: question.devid,
    };
    let read = |key| tree::read(question.domid, name, key);
    Some(vec![
        read(keys::PARAMS)?,
        read(keys::MODE)?,
        tree::vm(question.domid)?,
    ])
}

/// Whether the toolstack gave the guest what is asked for.
pub(super) fn permitted(
    question: &Question,
    replies: &[Result<Reply, StoreError>],
) -> Result<ImageSpec, &'static str> {
    let value = |at: usize| replies.get(at)?.as_ref().ok()?.value();
    if value(0) != Some(question.params.as_bytes()) {
        return Err("this is not what stands in xenstore for the device");
    }
    let writable = value(1).is_some_and(|mode| mode.contains(&b'w'));
    if !question.read_only && !writable {
        return Err("the device is for reading only");
    }
    ImageSpec::parse(question.params.as_bytes()).map_err(|_| "its params name no image")
}

/// A question, and what stands in xenstore: for the tests of whoever is asked.
#[cfg(test)]
pub(super) mod examples {
    use abi::DomId;

    use super::*;
    use crate::cli::args::KindArg;

    pub(in crate::host) fn question(read_only: bool, params: &str) -> Question {
        Question {
            domid: DomId(7),
            kind: KindArg::Vbd3,
            devid: 51712,
            read_only,
            params: params.into(),
        }
    }

    pub(in crate::host) fn stands(params: &str, mode: &str) -> Vec<Result<Reply, StoreError>> {
        [params, mode]
            .map(|text| Ok(Reply::Value(text.into())))
            .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::examples::{question, stands};
    use super::*;

    #[test]
    fn a_process_gets_what_xenstore_gives_its_guest() {
        let asked = permitted(&question(false, "raw:/a"), &stands("raw:/a", "w"));
        assert_eq!(asked.unwrap().path, Path::new("/a"));
        assert!(permitted(&question(true, "raw:/a"), &stands("raw:/a", "r")).is_ok());
    }

    #[test]
    fn a_process_gets_nothing_else() {
        assert!(permitted(&question(false, "/etc/shadow"), &stands("raw:/a", "w")).is_err());
        assert!(permitted(&question(false, "raw:/a"), &stands("raw:/a", "r")).is_err());
        let gone = [Err(StoreError::NotFound), Err(StoreError::NotFound)];
        assert!(permitted(&question(true, "raw:/a"), &gone).is_err());
    }
}
