//! One direction of a connection: ranges of bytes by stream offset in, frames out.
