//! What the nom parsers of this module share: their error, and how it becomes a [`Malformed`].

use nom::{
    Err, IResult, Offset,
    error::{ContextError, ErrorKind, ParseError},
};

use super::Malformed;

/// Result of a parser over bytes.
pub(super) type Parsed<'a, T> = IResult<&'a [u8], T, Fault<'a>>;

/// Where a parser gave up, and the innermost thing that it was reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fault<'a> {
    rest: &'a [u8],
    what: Option<&'static str>,
}

impl<'a> Fault<'a> {
    /// A failure at `rest`, to be returned with `?`.
    #[cold]
    pub(super) fn at(rest: &'a [u8], what: &'static str) -> Err<Fault<'a>> {
        Err::Error(Fault {
            rest,
            what: Some(what),
        })
    }
}

impl<'a> ParseError<&'a [u8]> for Fault<'a> {
    fn from_error_kind(rest: &'a [u8], _: ErrorKind) -> Fault<'a> {
        Fault { rest, what: None }
    }

    fn append(_: &'a [u8], _: ErrorKind, other: Fault<'a>) -> Fault<'a> {
        other
    }
}

impl<'a> ContextError<&'a [u8]> for Fault<'a> {
    fn add_context(_: &'a [u8], what: &'static str, other: Fault<'a>) -> Fault<'a> {
        Fault {
            what: other.what.or(Some(what)),
            ..other
        }
    }
}

/// The value of a parser that was given `whole`; on failure the place in it. `what` names the thing where the
/// parser did not.
pub(super) fn finish<'a, T>(
    whole: &'a [u8],
    what: &'static str,
    parsed: Parsed<'a, T>,
) -> Result<T, Malformed> {
    match parsed {
        Ok((_, value)) => Ok(value),
        Err(Err::Error(fault) | Err::Failure(fault)) => Err(Malformed {
            what: fault.what.unwrap_or(what),
            at: whole.offset(fault.rest),
        }),
        Err(Err::Incomplete(_)) => Err(Malformed {
            what,
            at: whole.len(),
        }),
    }
}
