//! Requests: every operation that a client may send, with its payload decoded.

use abi::io::xs_wire::{Op, PAYLOAD_MAX};
use abi::{DomId, Port};

use super::{TOKEN_MAX, number, strings};
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

    /// Reads a request. An operation that nobody knows is [`StoreError::Unsupported`], a payload
    /// that does not fit its operation is [`StoreError::Invalid`].
    pub fn decode(op: Op, payload: &[u8]) -> Result<Self, StoreError> {
        match op {
            Op::WRITE => return decode_write(payload),
            Op::TRANSACTION_START => return Ok(Self::TransactionStart),
            Op::RESET_WATCHES => return Ok(Self::ResetWatches),
            _ => {}
        }
        let words = strings(payload).ok_or(StoreError::Invalid)?;
        decode_node(op, &words)
            .or_else(|| decode_watch(op, &words))
            .or_else(|| decode_domain(op, &words))
            .or_else(|| decode_quota(op, &words))
            .unwrap_or(Err(StoreError::Unsupported))
    }
}

/// `None`: not one of these operations.
type Decoded = Option<Result<Request, StoreError>>;

fn decode_write(payload: &[u8]) -> Result<Request, StoreError> {
    let end = payload
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(StoreError::Invalid)?;
    let (path, rest) = payload.split_at_checked(end).ok_or(StoreError::Invalid)?;
    let path = std::str::from_utf8(path).map_err(|_| StoreError::Invalid)?;
    let value = rest.strip_prefix(b"\0").unwrap_or(rest);
    Ok(Request::Write(parse_path(path)?, value.to_vec()))
}

fn decode_node(op: Op, words: &[&str]) -> Decoded {
    Some(match (op, words) {
        (Op::DIRECTORY, [path]) => parse_path(path).map(Request::Directory),
        (Op::READ, [path]) => parse_path(path).map(Request::Read),
        (Op::GET_PERMS, [path]) => parse_path(path).map(Request::GetPerms),
        (Op::MKDIR, [path]) => parse_path(path).map(Request::Mkdir),
        (Op::RM, [path]) => parse_path(path).map(Request::Rm),
        (Op::SET_PERMS, [path, first, rest @ ..]) => parse_set_perms(path, first, rest),
        (Op::DIRECTORY_PART, [path, offset]) => parse_path(path).and_then(|path| {
            Ok(Request::DirectoryPart {
                path,
                offset: parse_number(offset)?,
            })
        }),
        (
            Op::DIRECTORY
            | Op::READ
            | Op::GET_PERMS
            | Op::MKDIR
            | Op::RM
            | Op::SET_PERMS
            | Op::DIRECTORY_PART,
            _,
        ) => Err(StoreError::Invalid),
        _ => return None,
    })
}

fn parse_set_perms(path: &str, first: &str, rest: &[&str]) -> Result<Request, StoreError> {
    let mut perms = vec![first.parse()?];
    for text in rest {
        perms.push(text.parse()?);
    }
    Ok(Request::SetPerms(parse_path(path)?, perms))
}

fn decode_watch(op: Op, words: &[&str]) -> Decoded {
    Some(match (op, words) {
        (Op::WATCH, [path, token] | [path, token, ""]) => parse_watch(path, token, None),
        (Op::WATCH, [path, token, depth]) => {
            parse_number(depth).and_then(|depth| parse_watch(path, token, Some(depth)))
        }
        (Op::UNWATCH, [path, token] | [path, token, _]) => {
            parse_path(path).map(|path| Request::Unwatch {
                path,
                token: (*token).to_owned(),
            })
        }
        (Op::TRANSACTION_END, ["T"]) => Ok(Request::TransactionEnd { commit: true }),
        (Op::TRANSACTION_END, ["F"]) => Ok(Request::TransactionEnd { commit: false }),
        (Op::WATCH | Op::UNWATCH | Op::TRANSACTION_END, _) => Err(StoreError::Invalid),
        _ => return None,
    })
}

fn parse_watch(path: &str, token: &str, depth: Option<u32>) -> Result<Request, StoreError> {
    if token.len() > TOKEN_MAX {
        return Err(StoreError::Invalid);
    }
    Ok(Request::Watch {
        path: parse_path(path)?,
        token: token.to_owned(),
        depth,
    })
}

fn decode_domain(op: Op, words: &[&str]) -> Decoded {
    Some(match (op, words) {
        (Op::INTRODUCE, [domid, mfn, port] | [domid, mfn, port, _]) => {
            parse_introduce(domid, mfn, port)
        }
        (Op::RELEASE, [domid]) => parse_domid(domid).map(Request::Release),
        (Op::GET_DOMAIN_PATH, [domid]) => parse_domid(domid).map(Request::GetDomainPath),
        (Op::IS_DOMAIN_INTRODUCED, [domid]) => parse_domid(domid).map(Request::IsDomainIntroduced),
        (Op::RESUME, [domid]) => parse_domid(domid).map(Request::Resume),
        (Op::SET_TARGET, [domid, target]) => parse_domid(domid).and_then(|domid| {
            Ok(Request::SetTarget {
                domid,
                target: parse_domid(target)?,
            })
        }),
        (Op::GET_FEATURE, [] | [""]) => Ok(Request::GetFeature(None)),
        (Op::GET_FEATURE, [domid]) => parse_domid(domid).map(|id| Request::GetFeature(Some(id))),
        (Op::SET_FEATURE, [domid, features]) => parse_domid(domid).and_then(|domid| {
            Ok(Request::SetFeature {
                domid,
                features: parse_number(features)?,
            })
        }),
        (
            Op::INTRODUCE
            | Op::RELEASE
            | Op::GET_DOMAIN_PATH
            | Op::IS_DOMAIN_INTRODUCED
            | Op::RESUME
            | Op::SET_TARGET
            | Op::GET_FEATURE
            | Op::SET_FEATURE,
            _,
        ) => Err(StoreError::Invalid),
        _ => return None,
    })
}

fn parse_introduce(domid: &str, mfn: &str, port: &str) -> Result<Request, StoreError> {
    Ok(Request::Introduce {
        domid: parse_domid(domid)?,
        mfn: mfn.parse().map_err(|_| StoreError::Invalid)?,
        port: Port(parse_number(port)?),
    })
}

fn decode_quota(op: Op, words: &[&str]) -> Decoded {
    let named = |domid, name: &str| Request::GetQuota {
        domid,
        name: Some(name.to_owned()),
    };
    Some(match (op, words) {
        (Op::CONTROL, [_, ..]) => Ok(Request::Control(
            words.iter().map(|word| (*word).to_owned()).collect(),
        )),
        (Op::GET_QUOTA, [] | [""]) => Ok(Request::GetQuota {
            domid: None,
            name: None,
        }),
        (Op::GET_QUOTA, [name]) => Ok(named(None, name)),
        (Op::GET_QUOTA, [domid, name]) => parse_domid(domid).map(|id| named(Some(id), name)),
        (Op::SET_QUOTA, [name, value]) => parse_quota(None, name, value),
        (Op::SET_QUOTA, [domid, name, value]) => {
            parse_domid(domid).and_then(|domid| parse_quota(Some(domid), name, value))
        }
        (Op::CONTROL | Op::GET_QUOTA | Op::SET_QUOTA, _) => Err(StoreError::Invalid),
        _ => return None,
    })
}

fn parse_quota(domid: Option<DomId>, name: &str, value: &str) -> Result<Request, StoreError> {
    Ok(Request::SetQuota {
        domid,
        name: name.to_owned(),
        value: parse_number(value)?,
    })
}

fn parse_path(text: &str) -> Result<Path, StoreError> {
    Path::new(text).map_err(|_| StoreError::Invalid)
}

fn parse_domid(text: &str) -> Result<DomId, StoreError> {
    parse_number(text).map(DomId)
}

fn parse_number<N: std::str::FromStr>(text: &str) -> Result<N, StoreError> {
    number(text).ok_or(StoreError::Invalid)
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
