//! Version ordinals (§1.6): places in an enumeration that lists each version's snapshot and then itself.

/// Ordinal of 4.0.0; ten patch versions for each minor one follow, two ordinals each.
const V4_0_0: i32 = 213;
/// The place behind 5.9.9, which stands for every later version.
const HIGHER_VERSION: i32 = 612;
/// The one 3.x ordinal still seen: ali-ons claims it.
const V3_4_9: i32 = 121;

/// The version that an ordinal stands for, such as `5.3.3` or `5.4.0-SNAPSHOT`. `None` for 3.x other than
/// 3.4.9, for ordinals beyond the enumeration, and for numbers that are no ordinals.
pub fn version_text(ordinal: i32) -> Option<String> {
    if ordinal == V3_4_9 {
        return Some("3.4.9".to_owned());
    }
    // a snapshot stands one place before its release
    if !(V4_0_0 - 1..HIGHER_VERSION).contains(&ordinal) {
        return None;
    }
    let release = (ordinal - V4_0_0 + 1) / 2;
    let snapshot = if (ordinal - V4_0_0) % 2 == 0 {
        ""
    } else {
        "-SNAPSHOT"
    };
    Some(format!(
        "{}.{}.{}{snapshot}",
        4 + release / 100,
        release / 10 % 10,
        release % 10
    ))
}

#[cfg(test)]
mod tests {
    use super::version_text;

    #[test]
    fn table_of_the_specification() {
        for (ordinal, text) in [
            (121, "3.4.9"),
            (213, "4.0.0"),
            (233, "4.1.0"),
            (253, "4.2.0"),
            (273, "4.3.0"),
            (293, "4.4.0"),
            (313, "4.5.0"),
            (317, "4.5.2"),
            (333, "4.6.0"),
            (353, "4.7.0"),
            (355, "4.7.1"),
            (373, "4.8.0"),
            (393, "4.9.0"),
            (395, "4.9.1"),
            (399, "4.9.3"),
            (401, "4.9.4"),
            (407, "4.9.7"),
            (409, "4.9.8"),
            (413, "5.0.0"),
            (433, "5.1.0"),
            (441, "5.1.4"),
            (453, "5.2.0"),
            (473, "5.3.0"),
            (475, "5.3.1"),
            (477, "5.3.2"),
            (479, "5.3.3"),
            (493, "5.4.0"),
            (513, "5.5.0"),
            (611, "5.9.9"),
            (212, "4.0.0-SNAPSHOT"),
            (478, "5.3.3-SNAPSHOT"),
        ] {
            assert_eq!(version_text(ordinal).as_deref(), Some(text), "{ordinal}");
        }
        for unknown in [i32::MIN, -1, 0, 1, 120, 211, 612, 613, i32::MAX] {
            assert_eq!(version_text(unknown), None, "{unknown}");
        }
    }
}
