//! Requests: every operation that a client may send, with its payload decoded.

use abi::io::xs_wire::{Op, PAYLOAD_MAX};
use abi::{DomId, Port};

use crate::{Path, Perm, StoreError};

/// A request whose payload has the right form. Paths are as the client wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are named as in docs/misc/xenstore.txt"
)]
pub enum Request {
    /// CONTROL: a command of the daemon and its parameters, each without NUL.
    Control(Vec<String>),
    /// DIRECTORY.
    Directory(Path),
    /// READ.
    Read(Path),
    /// GET_PERMS.
    GetPerms(Path),
    /// WATCH, with the optional depth of Xen 4.22.
    Watch {
        path: Path,
        token: String,
        depth: Option<u32>,
    },
    /// UNWATCH.
    Unwatch { path: Path, token: String },
    /// TRANSACTION_START.
    TransactionStart,
    /// TRANSACTION_END: `T` commits, `F` discards.
    TransactionEnd { commit: bool },
    /// INTRODUCE: the frame of the domain's ring page (signed on the wire) and its event channel.
    Introduce { domid: DomId, mfn: i64, port: Port },
    /// RELEASE.
    Release(DomId),
    /// GET_DOMAIN_PATH.
    GetDomainPath(DomId),
    /// WRITE.
    Write(Path, Vec<u8>),
    /// MKDIR.
    Mkdir(Path),
    /// RM.
    Rm(Path),
    /// SET_PERMS: at least one entry.
    SetPerms(Path, Vec<Perm>),
    /// IS_DOMAIN_INTRODUCED.
    IsDomainIntroduced(DomId),
    /// RESUME.
    Resume(DomId),
    /// SET_TARGET: `domid` gets the rights of `target`.
    SetTarget { domid: DomId, target: DomId },
    /// RESET_WATCHES, which drops transactions too.
    ResetWatches,
    /// DIRECTORY_PART: from this byte of the list of names.
    DirectoryPart { path: Path, offset: u32 },
    /// GET_FEATURE: of a domain, or all that the server has (Xen 4.22).
    GetFeature(Option<DomId>),
    /// SET_FEATURE (Xen 4.22).
    SetFeature { domid: DomId, features: u32 },
    /// GET_QUOTA: of a domain or the default; without a name, the list of names (Xen 4.22).
    GetQuota {
        domid: Option<DomId>,
        name: Option<String>,
    },
    /// SET_QUOTA (Xen 4.22).
    SetQuota {
        domid: Option<DomId>,
        name: String,
        value: u32,
    },
}

impl Request {
    /// The number of the operation.
    pub fn op(&self) -> Op {
        match self {
            Self::Control(_) => Op::CONTROL,
            Self::Directory(_) => Op::DIRECTORY,
            Self::Read(_) => Op::READ,
            Self::GetPerms(_) => Op::GET_PERMS,
            Self::Watch { .. } => Op::WATCH,
            Self::Unwatch { .. } => Op::UNWATCH,
            Self::TransactionStart => Op::TRANSACTION_START,
            Self::TransactionEnd { .. } => Op::TRANSACTION_END,
            Self::Introduce { .. } => Op::INTRODUCE,
            Self::Release(_) => Op::RELEASE,
            Self::GetDomainPath(_) => Op::GET_DOMAIN_PATH,
            Self::Write(..) => Op::WRITE,
            Self::Mkdir(_) => Op::MKDIR,
            Self::Rm(_) => Op::RM,
            Self::SetPerms(..) => Op::SET_PERMS,
            Self::IsDomainIntroduced(_) => Op::IS_DOMAIN_INTRODUCED,
            Self::Resume(_) => Op::RESUME,
            Self::SetTarget { .. } => Op::SET_TARGET,
            Self::ResetWatches => Op::RESET_WATCHES,
            Self::DirectoryPart { .. } => Op::DIRECTORY_PART,
            Self::GetFeature(_) => Op::GET_FEATURE,
            Self::SetFeature { .. } => Op::SET_FEATURE,
            Self::GetQuota { .. } => Op::GET_QUOTA,
            Self::SetQuota { .. } => Op::SET_QUOTA,
        }
    }

    /// The payload, or [`StoreError::TooBig`] if it exceeds 4096 bytes.
    pub fn payload(&self) -> Result<Vec<u8>, StoreError> {
        let payload = self.encode();
        if payload.len() > PAYLOAD_MAX {
            Err(StoreError::TooBig)
        } else {
            Ok(payload)
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Control(words) => joined(words),
            Self::Directory(path)
            | Self::Read(path)
            | Self::GetPerms(path)
            | Self::Mkdir(path)
            | Self::Rm(path) => joined(&[path]),
            Self::Watch {
                path,
                token,
                depth: None,
            }
            | Self::Unwatch { path, token } => joined(&[path.as_str(), token]),
            Self::Watch {
                path,
                token,
                depth: Some(depth),
            } => joined(&[path.as_str(), token, &depth.to_string()]),
            Self::TransactionStart | Self::ResetWatches => vec![0],
            Self::TransactionEnd { commit } => joined(&[if *commit { "T" } else { "F" }]),
            Self::Introduce { domid, mfn, port } => {
                joined(&[domid.to_string(), mfn.to_string(), port.to_string()])
            }
            Self::Release(domid)
            | Self::GetDomainPath(domid)
            | Self::IsDomainIntroduced(domid)
            | Self::Resume(domid) => joined(&[domid.to_string()]),
            Self::Write(path, value) => [path.as_str().as_bytes(), b"\0", value].concat(),
            Self::SetPerms(path, perms) => [joined(&[path]), super::perms(perms)].concat(),
            Self::SetTarget { domid, target } => joined(&[domid.to_string(), target.to_string()]),
            Self::DirectoryPart { path, offset } => joined(&[path.as_str(), &offset.to_string()]),
            Self::GetFeature(None) => vec![0],
            Self::GetFeature(Some(domid)) => joined(&[domid.to_string()]),
            Self::SetFeature { domid, features } => {
                joined(&[domid.to_string(), features.to_string()])
            }
            Self::GetQuota { domid, name } => quota_words(*domid, name.as_deref(), None),
            Self::SetQuota { domid, name, value } => quota_words(*domid, Some(name), Some(*value)),
        }
    }
}

fn joined<S: AsRef<str>>(words: &[S]) -> Vec<u8> {
    super::names(words.iter().map(AsRef::as_ref))
}

fn quota_words(domid: Option<DomId>, name: Option<&str>, value: Option<u32>) -> Vec<u8> {
    let words = [
        domid.map(|domid| domid.to_string()),
        name.map(str::to_owned),
        value.map(|value| value.to_string()),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() {
        vec![0]
    } else {
        joined(&words)
    }
}
