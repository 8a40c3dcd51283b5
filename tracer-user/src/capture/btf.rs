//! Reads where members of kernel structures are, what values enumerators have, and what parameters functions have, from the
//! kernel's own type information (BTF).
//!
//! aya parses BTF too, but its types are private to it; the one maintained parser crate is under the LGPL, which
//! does not go with a static binary. What is needed here is one pass over the type table.
//!
//! Format: Documentation/bpf/btf.rst of the kernel. Only structs, unions, enumerations, functions, and the kinds that merely
//! name another type (typedef, const, volatile, restrict, type tag) are followed.

use std::collections::HashMap;

/// Why type information could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BtfError {
    /// The bytes are not BTF of this machine's byte order.
    #[error("not BTF of this machine's byte order")]
    NotBtf,
    /// The table ends in the middle of a type.
    #[error("type information ends at byte {0}, in the middle of a type")]
    Truncated(usize),
    /// A member that the kernel side needs does not exist.
    #[error("this kernel has no `{structure}.{path}`")]
    NoMember {
        /// Name of the structure.
        structure: String,
        /// The member, with dots between nested ones.
        path: String,
    },
    /// An enumerator that the kernel side needs does not exist.
    #[error("this kernel has no `{name}` in `enum {enumeration}`")]
    NoEnumerator {
        /// Name of the enumeration.
        enumeration: String,
        /// The enumerator.
        name: String,
    },
}

/// Type information of a kernel.
pub(crate) struct Btf<'a> {
    bytes: &'a [u8],
    /// Where each type is; index is the type's id.
    types: Vec<u32>,
    /// Where names start.
    strings: usize,
    /// Structures, unions and enumerations by name.
    by_name: HashMap<&'a [u8], Vec<u32>>,
    /// Prototypes of functions by name.
    functions: HashMap<&'a [u8], u32>,
}

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNCTION: u32 = 12;
const PROTOTYPE: u32 = 13;

impl<'a> Btf<'a> {
    /// Walks the type table once. `wanted` are the structures, enumerations and functions that will be asked for.
    pub(crate) fn parse(bytes: &'a [u8], wanted: &[&str]) -> Result<Btf<'a>, BtfError> {
        let magic = bytes
            .get(..2)
            .and_then(|b| b.try_into().ok())
            .map(u16::from_ne_bytes);
        if magic != Some(MAGIC) {
            return Err(BtfError::NotBtf);
        }
        let header = word(bytes, 4)? as usize;
        let first = header + word(bytes, 8)? as usize;
        let end = first + word(bytes, 12)? as usize;
        let strings = header + word(bytes, 16)? as usize;
        let mut btf = Btf {
            bytes,
            types: vec![0],
            strings,
            by_name: HashMap::new(),
            functions: HashMap::new(),
        };
        let mut at = first;
        while at < end {
            let info = word(bytes, at + 4)?;
            let (kind, count) = (kind(info), members(info));
            if matches!(kind, STRUCT | UNION | ENUM | FUNCTION) {
                let name = btf.name(word(bytes, at)?);
                if !wanted.iter().any(|w| w.as_bytes() == name) {
                } else if kind == FUNCTION {
                    btf.functions.insert(name, word(bytes, at + 8)?);
                } else {
                    btf.by_name.entry(name).or_default().push(btf.types.len() as u32);
                }
            }
            btf.types
                .push(u32::try_from(at).map_err(|_| BtfError::Truncated(at))?);
            at += 12 + trailing(kind, count);
        }
        Ok(btf)
    }

    /// Offset in bytes of a member, such as `__sk_common.skc_dport` of `sock`. Members of anonymous structures and
    /// unions are found too.
    pub(crate) fn offset(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let found = self
            .by_name
            .get(structure.as_bytes())
            .into_iter()
            .flatten()
            .find_map(|&id| {
                path.split('.').try_fold((0, id), |(offset, id), member| {
                    let (inner, ty) = self.member(id, member.as_bytes(), 0)?;
                    Some((offset + inner, ty))
                })
            });
        let none = || BtfError::NoMember {
            structure: structure.into(),
            path: path.into(),
        };
        found.map(|(bits, _)| bits / 8).ok_or_else(none)
    }

    /// The value of an enumerator.
    pub(crate) fn enumerator(&self, enumeration: &str, name: &str) -> Result<u32, BtfError> {
        let mut ids = self.by_name.get(enumeration.as_bytes()).into_iter().flatten();
        let found = ids.find_map(|&id| self.value(id, name.as_bytes()));
        found.ok_or_else(|| BtfError::NoEnumerator {
            enumeration: enumeration.into(),
            name: name.into(),
        })
    }

    fn value(&self, id: u32, name: &[u8]) -> Option<u32> {
        let at = *self.types.get(id as usize)? as usize;
        let info = word(self.bytes, at + 4).ok()?;
        if kind(info) != ENUM {
            return None;
        }
        (0..members(info)).find_map(|i| {
            let at = at + 12 + i * 8;
            let named = self.name(word(self.bytes, at).ok()?) == name;
            named.then(|| word(self.bytes, at + 4).ok())?
        })
    }

    /// Names of a function's parameters, in order. `None`: there is no such function.
    pub(crate) fn parameters(&self, function: &str) -> Option<Vec<String>> {
        let prototype = *self.functions.get(function.as_bytes())?;
        let at = *self.types.get(prototype as usize)? as usize;
        let info = word(self.bytes, at + 4).ok()?;
        if kind(info) != PROTOTYPE {
            return None;
        }
        let name = |i| {
            let name = self.name(word(self.bytes, at + 12 + i * 8).ok()?);
            Some(String::from_utf8_lossy(name).into_owned())
        };
        (0..members(info)).map(name).collect()
    }

    /// (offset in bits, type) of a member.
    fn member(&self, id: u32, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        const DEEPEST: u32 = 16;
        let at = *self.types.get(self.resolve(id)? as usize)? as usize;
        let info = word(self.bytes, at + 4).ok()?;
        if !matches!(kind(info), STRUCT | UNION) || depth > DEEPEST {
            return None;
        }
        let bitfields = info >> 31 == 1;
        (0..members(info)).find_map(|i| {
            let at = at + 12 + i * 12;
            let member = self.name(word(self.bytes, at).ok()?);
            let ty = word(self.bytes, at + 4).ok()?;
            let raw = word(self.bytes, at + 8).ok()?;
            let offset = if bitfields { raw & 0xff_ffff } else { raw };
            if member == name {
                Some((offset, ty))
            } else if member.is_empty() {
                let (inner, ty) = self.member(ty, name, depth + 1)?;
                Some((offset + inner, ty))
            } else {
                None
            }
        })
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        const LONGEST: u32 = 32;
        for _ in 0..LONGEST {
            let at = *self.types.get(id as usize)? as usize;
            match kind(word(self.bytes, at + 4).ok()?) {
                8 | 9 | 10 | 11 | 18 => id = word(self.bytes, at + 8).ok()?,
                _ => return Some(id),
            }
        }
        None
    }

    fn name(&self, offset: u32) -> &'a [u8] {
        let rest = self
            .bytes
            .get(self.strings + offset as usize..)
            .unwrap_or_default();
        let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
        &rest[..end]
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let bytes = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    bytes.map(u32::from_ne_bytes).ok_or(BtfError::Truncated(at))
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

fn members(info: u32) -> usize {
    (info & 0xffff) as usize
}

/// Bytes behind the common 12 bytes of a type.
fn trailing(kind: u32, count: usize) -> usize {
    match kind {
        // int, variable, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        // struct, union, variable section, 64-bit enum
        STRUCT | UNION | 15 | 19 => count * 12,
        // enum, function prototype
        ENUM | PROTOTYPE => count * 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct s { u32 a; struct { u32 b; typedef t c; }; }`, `u32 f(u32 a, u32 b)` and `enum e { a, b = 7 }` by hand: member
    /// offsets in bits.
    fn sample() -> Vec<u8> {
        let strings = b"\0s\0a\0b\0c\0t\0f\0e\0";
        let mut types: Vec<u8> = Vec::new();
        let mut add = |words: &[u32]| words.iter().for_each(|w| types.extend(w.to_ne_bytes()));
        add(&[0, 1 << 24, 4, 32]); // 1: int
        add(&[0, 4 << 24 | 2, 8, 5, 1, 0, 7, 3, 32]); // 2: anonymous struct { b, c }
        add(&[9, 8 << 24, 1]); // 3: typedef t
        add(&[1, 4 << 24 | 2, 12, 3, 1, 0, 0, 2, 32]); // 4: struct s { a, anonymous }
        add(&[0, 13 << 24 | 2, 1, 3, 1, 5, 1]); // 5: prototype (a, b)
        add(&[11, 12 << 24, 5]); // 6: function f
        add(&[13, 6 << 24 | 2, 4, 3, 0, 5, 7]); // 7: enum e { a, b }
        let mut out = Vec::new();
        out.extend(MAGIC.to_ne_bytes());
        out.extend([1, 0]);
        for w in [
            24,
            0,
            types.len() as u32,
            types.len() as u32,
            strings.len() as u32,
        ] {
            out.extend(w.to_ne_bytes());
        }
        out.extend(types);
        out.extend(strings);
        out
    }

    #[test]
    fn members_of_anonymous_structures_are_found() {
        let bytes = sample();
        let btf = Btf::parse(&bytes, &["s"]).unwrap();
        assert_eq!(btf.offset("s", "a").unwrap(), 0);
        assert_eq!(btf.offset("s", "b").unwrap(), 4);
        assert_eq!(btf.offset("s", "c").unwrap(), 8);
    }

    #[test]
    fn parameters_have_names() {
        let bytes = sample();
        let btf = Btf::parse(&bytes, &["f"]).unwrap();
        assert_eq!(btf.parameters("f").unwrap(), ["a", "b"]);
        assert_eq!(btf.parameters("s"), None);
    }

    #[test]
    fn enumerators_have_values() {
        let bytes = sample();
        let btf = Btf::parse(&bytes, &["e", "s"]).unwrap();
        assert_eq!(
            (
                btf.enumerator("e", "a").unwrap(),
                btf.enumerator("e", "b").unwrap()
            ),
            (0, 7)
        );
        let error = btf.enumerator("e", "c").unwrap_err().to_string();
        assert_eq!(error, "this kernel has no `c` in `enum e`");
        assert!(btf.enumerator("s", "a").is_err() && btf.offset("e", "a").is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let bytes = sample();
        let btf = Btf::parse(&bytes, &["s"]).unwrap();
        let error = btf.offset("s", "nope").unwrap_err().to_string();
        assert_eq!(error, "this kernel has no `s.nope`");
    }

    #[test]
    fn truncation_never_panics() {
        let bytes = sample();
        for n in 0..bytes.len() {
            if let Ok(btf) = Btf::parse(&bytes[..n], &["s", "f", "e"]) {
                let _ = (
                    btf.offset("s", "c"),
                    btf.parameters("f"),
                    btf.enumerator("e", "b"),
                );
            }
        }
    }
}
