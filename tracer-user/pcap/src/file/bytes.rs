//! The bytes of a file, unpacked where they are in gzip, with a window in front of what is not read yet.

use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;

/// Least bytes that are asked for at once.
const STEP: usize = 64 * 1024;

pub(super) struct Bytes {
    input: Box<dyn Read>,
    packed: bool,
    buffer: Vec<u8>,
    /// Where in the buffer what is not consumed starts.
    start: usize,
    /// Where in the file that is.
    offset: u64,
    ended: bool,
}

impl Bytes {
    pub(super) fn new(mut input: impl Read + 'static) -> io::Result<Bytes> {
        let mut magic = Vec::new();
        input.by_ref().take(2).read_to_end(&mut magic)?;
        let packed = magic == [0x1f, 0x8b];
        let input = Cursor::new(magic).chain(input);
        let input: Box<dyn Read> = if packed {
            Box::new(MultiGzDecoder::new(input))
        } else {
            Box::new(input)
        };
        Ok(Bytes {
            input,
            packed,
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            ended: false,
        })
    }

    /// The file is in gzip: offsets are those of what it holds.
    pub(super) fn is_packed(&self) -> bool {
        self.packed
    }

    /// What is there and not consumed.
    pub(super) fn get(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Offset in the file of what is not consumed.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.get().len());
        self.start += n;
        self.offset += n as u64;
    }

    /// Reads until `n` bytes are there or the file ends. Reads no further than the input gives at once, so that a
    /// pipe is read as it fills.
    pub(super) fn fill(&mut self, n: usize) -> io::Result<()> {
        while self.get().len() < n && !self.ended {
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let have = self.buffer.len();
            self.buffer.resize(have + STEP, 0);
            let result = self.input.read(self.buffer.get_mut(have..).unwrap_or_default());
            self.buffer.truncate(have + *result.as_ref().unwrap_or(&0));
            match result {
                Ok(got) => self.ended = got == 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
