//! One capture file as a sequence of packets and notes: pcap (all byte orders, micro- and nanoseconds, the variant
//! of old Linux kernels) and pcapng (several sections and interfaces), each also in gzip.
//!
//! Blocks are cut out by their own length here, so that a block is parsed only when it is whole and every error has
//! its place; `pcap-parser` reads what is in them.

mod bytes;
mod ng;
mod time;

use std::io::Read;

use pcap_parser::{
    PcapHeader, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
};

use self::{bytes::Bytes, ng::Section, time::Resolution};
use crate::{
    error::{Damage, FileError},
    limits,
};

/// What was read last. One is used again and again, so that its memory is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    /// Nanoseconds since 1970; of a note, that of the item before.
    pub(crate) time: u64,
    /// What it is.
    pub(crate) kind: Kind,
    /// The captured bytes of a packet.
    pub(crate) data: Vec<u8>,
    /// Its length on the wire.
    pub(crate) length: u32,
    /// What the recorder noted at the packet, or by itself; else empty.
    pub(crate) note: Vec<u8>,
}

/// What an item is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Kind {
    /// A packet of this link type (`LINKTYPE_` number).
    Packet(i32),
    /// A note of the recorder.
    #[default]
    Note,
    /// A packet of an interface that the file does not describe.
    NoInterface,
}

/// A file that is being read.
pub(crate) struct File {
    name: String,
    bytes: Bytes,
    form: Form,
    /// Time of the last packet.
    time: u64,
}

enum Form {
    Pcap(PcapHeader),
    Ng(Section),
}

impl File {
    /// Looks at the first bytes.
    ///
    /// # Errors
    /// [`FileError::Read`], and [`FileError::NotACapture`] where the bytes are something else, also none at all.
    pub(crate) fn new(name: &str, input: impl Read + 'static) -> Result<File, FileError> {
        let read = |cause| FileError::Read {
            name: name.to_owned(),
            cause,
        };
        let mut bytes = Bytes::new(input).map_err(read)?;
        bytes.fill(24).map_err(read)?;
        let start = bytes.get();
        let form = match start.first_chunk() {
            Some([0x0a, 0x0d, 0x0d, 0x0a]) => Some(Form::Ng(Section::default())),
            _ => parse_pcap_header(start)
                .ok()
                .map(|(_, header)| Form::Pcap(header)),
        };
        let Some(form) = form else {
            let head = start.get(..8).unwrap_or(start);
            let start = match head {
                [] => "nothing (it is empty)".to_owned(),
                _ => format!("\"{}\"", head.escape_ascii()),
            };
            return Err(FileError::NotACapture {
                name: name.to_owned(),
                start,
            });
        };
        if let Form::Pcap(header) = &form {
            bytes.consume(header.size());
        }
        Ok(File {
            name: name.to_owned(),
            bytes,
            form,
            time: 0,
        })
    }

    /// Reads the next item. `false`: the file ends here.
    ///
    /// # Errors
    /// [`FileError::Damaged`] where the rest cannot be read; call it no more then.
    pub(crate) fn next(&mut self, item: &mut Item) -> Result<bool, FileError> {
        loop {
            let length = match self.whole_block() {
                Ok(None) => return Ok(false),
                Ok(Some(length)) => length,
                Err(what) => return Err(self.damaged(what)),
            };
            let block = self.bytes.get().get(..length).unwrap_or_default();
            let found = match &mut self.form {
                Form::Pcap(header) => pcap_packet(header, block, item),
                Form::Ng(section) => section.block(block, item),
            };
            let found = found.map_err(|what| self.damaged(what))?;
            self.bytes.consume(length);
            if found {
                match item.kind {
                    Kind::Packet(_) => self.time = item.time,
                    _ => item.time = self.time,
                }
                return Ok(true);
            }
        }
    }

    /// Length of the next block or packet record, once all of it is there; `None` at the file's end.
    fn whole_block(&mut self) -> Result<Option<usize>, String> {
        let head = match &self.form {
            Form::Pcap(header) if header.is_modified_format() => 24,
            Form::Pcap(_) => 16,
            Form::Ng(_) => 12,
        };
        self.fill(head)?;
        let start = self.bytes.get();
        if start.is_empty() {
            return Ok(None);
        }
        if start.len() < head {
            return Err(format!("the file ends within the head of a {}", self.form.unit()));
        }
        let length = match &self.form {
            Form::Pcap(header) => head + captured(header, start)?,
            Form::Ng(section) => section.length(start)?,
        };
        self.fill(length)?;
        match self.bytes.get().len() {
            n if n >= length => Ok(Some(length)),
            n => Err(format!(
                "the file ends within a {} of {length} bytes, of which it has {n}",
                self.form.unit()
            )),
        }
    }

    fn fill(&mut self, n: usize) -> Result<(), String> {
        self.bytes
            .fill(n)
            .map_err(|error| format!("cannot be read on: {error}"))
    }

    fn damaged(&self, what: String) -> FileError {
        FileError::Damaged {
            name: self.name.clone(),
            damage: Damage {
                offset: self.bytes.offset(),
                packed: self.bytes.is_packed(),
                what,
            },
        }
    }
}

impl Form {
    fn unit(&self) -> &'static str {
        match self {
            Form::Pcap(_) => "packet record",
            Form::Ng(_) => "block",
        }
    }
}

/// Captured length in a packet record's head.
fn captured(header: &PcapHeader, head: &[u8]) -> Result<usize, String> {
    let word = head
        .get(8..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or_default();
    let captured = if header.is_bigendian() {
        u32::from_be_bytes(word)
    } else {
        u32::from_le_bytes(word)
    };
    match captured as usize {
        n if n <= limits::PACKET => Ok(n),
        n => Err(format!(
            "a packet of {n} bytes, more than the {} that are possible",
            limits::PACKET
        )),
    }
}

fn pcap_packet(header: &PcapHeader, block: &[u8], item: &mut Item) -> Result<bool, String> {
    let parsed = if header.is_modified_format() {
        parse_pcap_frame_modified(block)
    } else if header.is_bigendian() {
        parse_pcap_frame_be(block)
    } else {
        parse_pcap_frame(block)
    };
    let (_, packet) = parsed.map_err(|_| "a packet record that makes no sense".to_owned())?;
    let fraction = if header.is_nanosecond_precision() {
        1
    } else {
        1_000
    };
    item.time = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_usec) * fraction;
    // the upper bits say how long the frame check sequence is, which no capture of TCP over Ethernet has
    item.kind = Kind::Packet(header.network.0 & 0xffff);
    item.length = packet.origlen.max(packet.caplen);
    item.data.clear();
    item.data.extend_from_slice(packet.data);
    item.note.clear();
    Ok(true)
}
