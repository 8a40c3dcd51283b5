//! Blocks of a pcapng section.

use pcap_parser::{
    Block, InterfaceDescriptionBlock, OptionCode, PcapNGOption, parse_block_be, parse_block_le,
    traits::PcapNGPacketBlock,
};

use super::{Item, Kind, Resolution};
use crate::{limits, note};

const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// What old programs write in place of an enhanced packet block.
const PACKET_BLOCK: u32 = 2;

/// The old form of a packet.
struct PacketBlock<'a> {
    interface: usize,
    stamp: u64,
    data: &'a [u8],
    length: u32,
}

/// What a section says about the blocks that follow.
#[derive(Debug, Default)]
pub(super) struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: i32,
    snap_length: u32,
    resolution: Resolution,
}

impl Section {
    /// Length of the block that starts with these 12 bytes or more.
    pub(super) fn length(&self, start: &[u8]) -> Result<usize, String> {
        let word = |at: usize| start.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied();
        let (kind, length, order) = (word(0), word(4).unwrap_or_default(), word(8).unwrap_or_default());
        let big_endian = if kind == Some(SECTION_HEADER) {
            match (u32::from_le_bytes(order), u32::from_be_bytes(order)) {
                (BYTE_ORDER, _) => false,
                (_, BYTE_ORDER) => true,
                (other, _) => {
                    return Err(format!(
                        "a section header without byte order mark ({other:#010x})"
                    ));
                }
            }
        } else {
            self.big_endian
        };
        let length = if big_endian {
            u32::from_be_bytes(length)
        } else {
            u32::from_le_bytes(length)
        };
        match length as usize {
            n if n > limits::BLOCK => Err(format!(
                "a block of {n} bytes, more than the {} that are read",
                limits::BLOCK
            )),
            n if n < 12 || !n.is_multiple_of(4) => Err(format!("a block of {n} bytes, which cannot be")),
            n => Ok(n),
        }
    }

    /// Takes in a whole block. Returns whether it made an item.
    pub(super) fn block(&mut self, block: &[u8], item: &mut Item) -> Result<bool, String> {
        let parsed = if self.big_endian {
            parse_block_be(block)
        } else {
            parse_block_le(block)
        };
        let Ok((_, block)) = parsed else {
            return Err("a block that makes no sense".to_owned());
        };
        match block {
            Block::SectionHeader(header) => {
                self.big_endian = header.big_endian();
                self.interfaces.clear();
                Ok(false)
            }
            Block::InterfaceDescription(description) => {
                if self.interfaces.len() >= limits::INTERFACES {
                    return Err(format!("more than {} interfaces", limits::INTERFACES));
                }
                let interface = self.interface(&description)?;
                self.interfaces.push(interface);
                Ok(false)
            }
            Block::EnhancedPacket(packet) => {
                let stamp = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let interface = self.interfaces.get(packet.if_id as usize);
                fill(item, interface, packet.packet_data(), packet.orig_len());
                if let Some(interface) = interface {
                    item.time = interface.resolution.nanoseconds(stamp);
                }
                if let Some(note) = packet.options.iter().find_map(|option| self.note(option)) {
                    item.note.extend_from_slice(note);
                }
                Ok(true)
            }
            Block::SimplePacket(packet) => {
                // it has neither time nor interface: those of the packet before, and the first one
                let time = item.time;
                let interface = self.interfaces.first();
                let captured = interface.map_or(u32::MAX, |i| match i.snap_length {
                    0 => u32::MAX,
                    n => n,
                });
                let captured = packet.origlen.min(captured) as usize;
                let data = packet.data.get(..captured).unwrap_or(packet.data);
                fill(item, interface, data, packet.origlen);
                item.time = time;
                Ok(true)
            }
            // the parser gives the number as if it were in little-endian order
            Block::Unknown(block) if block.block_type.to_le_bytes() == self.word(PACKET_BLOCK) => {
                let time = item.time;
                let old = self.packet_block(block.data);
                let old = old.ok_or_else(|| "a packet block that makes no sense".to_owned())?;
                let interface = self.interfaces.get(old.interface);
                fill(item, interface, old.data, old.length);
                item.time = interface.map_or(time, |interface| interface.resolution.nanoseconds(old.stamp));
                Ok(true)
            }
            Block::Custom(custom) if custom.pen == note::ENTERPRISE => {
                let Some(note) = note::of_ours(custom.data) else {
                    return Ok(false);
                };
                item.kind = Kind::Note;
                item.data.clear();
                item.length = 0;
                item.note.clear();
                item.note.extend_from_slice(note);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn word(&self, word: u32) -> [u8; 4] {
        if self.big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        }
    }

    /// Interface, count of drops, time stamp, captured length, length, bytes; then options.
    fn packet_block<'a>(&self, data: &'a [u8]) -> Option<PacketBlock<'a>> {
        let (head, rest) = data.split_first_chunk::<20>()?;
        let word = |at: usize| {
            let word = head.get(at..)?.first_chunk().copied()?;
            Some(if self.big_endian {
                u32::from_be_bytes(word)
            } else {
                u32::from_le_bytes(word)
            })
        };
        // both halves of the first word are numbers of their own
        let interface = if self.big_endian {
            word(0)? >> 16
        } else {
            word(0)? & 0xffff
        };
        Some(PacketBlock {
            interface: interface as usize,
            stamp: u64::from(word(4)?) << 32 | u64::from(word(8)?),
            data: rest.get(..word(12)? as usize)?,
            length: word(16)?,
        })
    }

    fn interface(&self, description: &InterfaceDescriptionBlock<'_>) -> Result<Interface, String> {
        // in the section's byte order, which the parser does not look at here
        let offset = description
            .options
            .iter()
            .find(|option| option.code == OptionCode::IfTsoffset)
            .and_then(|option| option.as_bytes().ok()?.first_chunk::<8>().copied());
        let offset = offset.map_or(0, |bytes| {
            if self.big_endian {
                i64::from_be_bytes(bytes)
            } else {
                i64::from_le_bytes(bytes)
            }
        });
        Ok(Interface {
            link: description.linktype.0,
            snap_length: description.snaplen,
            resolution: Resolution::new(description.if_tsresol, offset)?,
        })
    }

    /// The recorder's note in a custom option: enterprise number, then the note.
    fn note<'a>(&self, option: &'a PcapNGOption<'_>) -> Option<&'a [u8]> {
        if option.code != OptionCode::Custom2989 {
            return None;
        }
        let (number, data) = option.as_bytes().ok()?.split_first_chunk::<4>()?;
        let number = if self.big_endian {
            u32::from_be_bytes(*number)
        } else {
            u32::from_le_bytes(*number)
        };
        (number == note::ENTERPRISE)
            .then(|| note::of_ours(data))
            .flatten()
    }
}

fn fill(item: &mut Item, interface: Option<&Interface>, data: &[u8], length: u32) {
    item.kind = interface.map_or(Kind::NoInterface, |i| Kind::Packet(i.link));
    item.length = length.max(u32::try_from(data.len()).unwrap_or(u32::MAX));
    item.data.clear();
    item.data.extend_from_slice(data);
    item.note.clear();
}
