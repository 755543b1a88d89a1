//! Option values as qemu writes them: `first,key=value,switch`, a doubled comma being a comma.
//!
//! Knows no option. Invariant: what [`Pairs`] did not give out, [`Pairs::rest`] names.

/// The parts of a value that were not taken yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pairs {
    parts: Vec<(String, String)>,
}

impl Pairs {
    /// Takes `text` apart. A first part without a key is the value of `first`; any other without
    /// one is a switch that is `on`, or, with a `no` before its name, `off`.
    pub(super) fn parse(text: &str, first: &str) -> Self {
        let parts = split(text).into_iter().enumerate().map(|(at, part)| {
            let named = part
                .split_once('=')
                .map(|(k, v)| (k.to_owned(), v.to_owned()));
            named.unwrap_or_else(|| match at {
                0 => (first.to_owned(), part),
                _ => switch(&part),
            })
        });
        Self {
            parts: parts.collect(),
        }
    }

    /// Takes the value of `key` out.
    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        let at = self.parts.iter().position(|(name, _)| name == key)?;
        Some(self.parts.remove(at).1)
    }

    /// A key that nobody took.
    pub(super) fn rest(&self) -> Option<&str> {
        self.parts.first().map(|(key, _)| key.as_str())
    }
}

fn switch(part: &str) -> (String, String) {
    match part.strip_prefix("no") {
        Some(name) if !name.is_empty() => (name.to_owned(), "off".to_owned()),
        _ => (part.to_owned(), "on".to_owned()),
    }
}

fn split(text: &str) -> Vec<String> {
    // A byte that no word of a command line has stands for the literal comma meanwhile.
    let text = text.replace(",,", "\0");
    let parts = text.split(',');
    parts.map(|part| part.replace('\0', ",")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_first_part_keys_and_switches() {
        let mut pairs = Pairs::parse("socket,id=a,path=/x,server,nowait", "backend");
        assert_eq!(pairs.take("backend").as_deref(), Some("socket"));
        assert_eq!(pairs.take("path").as_deref(), Some("/x"));
        assert_eq!(pairs.take("server").as_deref(), Some("on"));
        assert_eq!(pairs.take("wait").as_deref(), Some("off"));
        assert_eq!(pairs.rest(), Some("id"));
    }

    #[test]
    fn a_doubled_comma_is_a_comma() {
        let mut pairs = Pairs::parse("path=/a,,b=c,id=d", "backend");
        assert_eq!(pairs.take("path").as_deref(), Some("/a,b=c"));
        assert_eq!(pairs.take("id").as_deref(), Some("d"));
        assert_eq!(pairs.rest(), None);
    }
}
