//! Hexadecimal digits, by table: ids and escapes are full of them.

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
/// What no digit is worth.
const NONE: u8 = 0xff;

/// The value of a digit of either case; more than 15 where it is none.
#[inline]
pub(crate) fn of_either_case(digit: u8) -> u8 {
    const VALUES: [u8; 256] = values(&[LOWER, UPPER]);
    look_up(&VALUES, digit)
}

/// The value of a lower-case digit; likewise.
#[inline]
pub(crate) fn of_lower_case(digit: u8) -> u8 {
    const VALUES: [u8; 256] = values(&[LOWER]);
    look_up(&VALUES, digit)
}

/// What eight lower-case digits stand for, two a byte; `None` where some are none.
#[inline]
pub(crate) fn of_lower_case_word(digits: [u8; 8]) -> Option<[u8; 4]> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let digits = u64::from_le_bytes(digits);
    // the top bit of each ASCII byte that is `least` or more
    let from = |least: u8| (digits | TOPS) - u64::from(least) * ONES;
    let numbers = from(b'0') & !from(b'9' + 1);
    let letters = from(b'a') & !from(b'f' + 1);
    if (digits | !(numbers | letters)) & TOPS != 0 {
        return None;
    }
    // `a` ends in 1 and stands for 10
    let values = (digits & (15 * ONES)) + 9 * ((letters & TOPS) >> 7);
    let pairs = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let [a, _, b, _, c, _, d, _] = pairs.to_le_bytes();
    Some([a, b, c, d])
}

#[inline]
fn look_up(values: &[u8; 256], digit: u8) -> u8 {
    values.get(usize::from(digit)).copied().unwrap_or(NONE)
}

/// Values by digit, where each of these sets has the digits in the order of their values.
#[expect(clippy::indexing_slicing, reason = "done by the compiler")]
const fn values(sets: &[&[u8; 16]]) -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut set = 0;
    while set < sets.len() {
        let mut value = 0;
        while value < 16 {
            values[sets[set][value] as usize] = value as u8;
            value += 1;
        }
        set += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        for byte in 0..=u8::MAX {
            let value = char::from(byte).to_digit(16).map_or(0xff, |digit| digit as u8);
            assert_eq!(of_either_case(byte), value, "{byte}");
            let lower = if byte.is_ascii_uppercase() { 0xff } else { value };
            assert_eq!(of_lower_case(byte), lower, "{byte}");
            for at in 0..8 {
                let mut word = *b"09af5b6e";
                word[at] = byte;
                let values = word.map(of_lower_case);
                let (pairs, _) = values.as_chunks::<2>();
                let expected: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
                let all = values.iter().all(|value| *value < 16);
                assert_eq!(
                    of_lower_case_word(word).map(Vec::from),
                    all.then_some(expected),
                    "{byte} at {at}"
                );
            }
        }
    }
}
