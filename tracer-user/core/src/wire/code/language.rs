//! Language codes (§1.5).

use super::codes;

/// Language of a frame's sender, as it claims. Binary headers carry the number, JSON headers the name or,
/// from some clients, the number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Language(pub u8);

codes!(Language {
    JAVA = 0,
    CPP = 1,
    DOTNET = 2,
    PYTHON = 3,
    DELPHI = 4,
    ERLANG = 5,
    RUBY = 6,
    OTHER = 7,
    HTTP = 8,
    GO = 9,
    PHP = 10,
    OMS = 11,
    RUST = 12,
    NODE_JS = 13,
});

impl Language {
    /// The language that the JSON key `language` names, in any case; [`Language::OTHER`] where it is none of
    /// the table's names.
    pub fn from_name(name: &[u8]) -> Language {
        (0..=Language::NODE_JS.0)
            .map(Language)
            .find(|l| l.name().is_some_and(|n| n.as_bytes().eq_ignore_ascii_case(name)))
            .unwrap_or(Language::OTHER)
    }

    /// The language with this number; [`Language::OTHER`] where it does not fit into the wire's byte.
    pub fn from_number(number: i64) -> Language {
        u8::try_from(number).map_or(Language::OTHER, Language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (name, language) in [
            ("JAVA", Language::JAVA),
            ("other", Language::OTHER),
            ("NODE_JS", Language(13)),
            ("KLINGON", Language(7)),
        ] {
            assert_eq!(Language::from_name(name.as_bytes()), language, "{name}");
        }
        assert_eq!(Language::from_number(3), Language::PYTHON);
        assert_eq!(Language::from_number(-1), Language::OTHER);
        assert_eq!(Language(9).to_string(), "GO");
        assert_eq!(Language(77).to_string(), "77");
    }
}
