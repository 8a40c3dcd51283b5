//! What the fuzz targets share: scripts of records as bytes.
//!
//! A fuzzer mutates bytes, the engine wants records, and most of what a record says follows from the one before
//! it. So a script is a list of short operations, from which offsets and times are computed. Any bytes are a
//! script. One operation:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | bits 0–2 what, bit 3 direction (0 sent, 1 received), bits 4–5 connection, bit 6 role or whether it was seen from its start |
//! | 1 | milliseconds since the operation before; [`What::Time`]: seconds |
//! | 2 | length, big-endian |
//! | length | [`What::Data`] only: the bytes, as far as there are |

mod script;

pub use script::{Event, Script, What, run, split};
