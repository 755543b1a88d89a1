//! Payloads to requests. Strict: what does not have the form that its operation asks for is
//! refused, but for the reserved strings, which are ignored as Xen's server does.

use abi::io::xs_wire::Op;
use abi::{DomId, Port};

use super::{Request, TOKEN_MAX, number, strings};
use crate::{Path, StoreError};

impl Request {
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
