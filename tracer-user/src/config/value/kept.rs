//! Values about which spans are kept and which trace they belong to.

use std::{collections::BTreeMap, fmt, str::FromStr};

use tracer_core::context::Format;

use super::{Setting, serde_by_text};

/// A part of a whole, from 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Ratio(pub(crate) f64);

impl Default for Ratio {
    fn default() -> Ratio {
        Ratio(1.0)
    }
}

impl TryFrom<f64> for Ratio {
    type Error = String;

    fn try_from(number: f64) -> Result<Ratio, String> {
        (0.0..=1.0)
            .contains(&number)
            .then_some(Ratio(number))
            .ok_or_else(|| format!("`{number}` is not a number from 0 to 1"))
    }
}

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Ratio, String> {
        let number = text.trim().parse::<f64>();
        number
            .map_err(|_| format!("`{text}` is not a number from 0 to 1"))?
            .try_into()
    }
}

/// Numbers a second by pattern, as `pattern=number` each.
pub(crate) type Rates = BTreeMap<String, f64>;

impl Setting for Rates {
    const MANY: bool = true;

    fn set(&mut self, texts: &[&str]) -> Result<(), String> {
        let pair = |text: &&str| {
            let (pattern, number) = text.rsplit_once('=')?;
            Some((pattern.trim().to_owned(), number.trim().parse().ok()?))
        };
        *self = texts
            .iter()
            .filter(|text| !text.trim().is_empty())
            .map(|text| pair(text).ok_or_else(|| format!("`{text}` is not `pattern=number`")))
            .collect::<Result<_, _>>()?;
        Ok(())
    }
}

/// A property that carries a trace context, written `name` or `name=format`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ContextName {
    /// The property's name.
    pub(crate) name: String,
    /// How its value is to be read.
    pub(crate) format: Format,
}

impl FromStr for ContextName {
    type Err = String;

    fn from_str(text: &str) -> Result<ContextName, String> {
        let (name, format) = text.split_once('=').unwrap_or((text, "auto"));
        let known = Format::ALL.map(|(name, _)| name);
        let format = format.trim();
        if name.trim().is_empty() {
            return Err(format!("`{text}` names no property"));
        }
        Ok(ContextName {
            name: name.trim().to_owned(),
            format: format
                .parse()
                .map_err(|()| crate::config::error::not_one_of(format, &known))?,
        })
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.format)
    }
}

serde_by_text!(ContextName, "a property such as `my-trace` or `my-trace=w3c`");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios() {
        for (text, ratio) in [("0", 0.0), ("0.25", 0.25), (" 1 ", 1.0)] {
            assert_eq!(text.parse(), Ok(Ratio(ratio)), "{text}");
        }
        for bad in ["", "-0.1", "1.5", "NaN", "inf", "half"] {
            bad.parse::<Ratio>().unwrap_err();
        }
    }

    #[test]
    fn rates() {
        let mut rates = Rates::new();
        rates.set(&["a=b=2", " {x,y}-* = 0.5 ", ""]).unwrap();
        let expected = [("a=b".to_owned(), 2.0), ("{x,y}-*".to_owned(), 0.5)];
        assert_eq!(rates, Rates::from(expected));
        for bad in ["a", "a=", "a=b"] {
            rates.set(&[bad]).unwrap_err();
        }
    }

    #[test]
    fn context_names() {
        for (text, shown) in [("x", "x=auto"), (" x = w3c", "x=w3c"), ("x=sw8", "x=sw8")] {
            assert_eq!(text.parse::<ContextName>().unwrap().to_string(), shown);
        }
        assert_eq!(
            "=w3c".parse::<ContextName>(),
            Err("`=w3c` names no property".to_owned())
        );
        let problem = "x=w3d".parse::<ContextName>().unwrap_err();
        assert!(problem.contains("`w3c`"), "{problem}");
    }
}
