//! Numbers with names: request codes (§2), response codes (§2.7), languages (§1.5), versions (§1.6).
//!
//! Each is a newtype over the number on the wire, so a number that this version does not know survives and is
//! shown as itself.

mod language;
mod request;
mod response;
mod version;

pub use language::Language;
pub use request::RequestCode;
pub use response::ResponseCode;
pub use version::version_text;

/// The named constants of a code, its `name`, and a `Display` that falls back to the number.
macro_rules! codes {
    ($type:ident { $($name:ident = $value:literal,)* }) => {
        impl $type {
            $(
                #[doc = concat!("Number ", $value, ".")]
                pub const $name: $type = $type($value);
            )*

            /// The protocol's name of this number; `None` where it has none here.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.0),
                }
            }
        }
    };
}
use codes;
