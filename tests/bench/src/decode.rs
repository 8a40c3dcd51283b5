//! What every decoder is asked for: where a message goes, who sends it, its id, keys, tag and trace context.

use std::sync::Arc;

use tracer_core::{
    context::{Carriers, look_up_in},
    model::Timestamp,
    stream::{Event, Stream},
    wire::{Body, Header, Properties, header::Codec},
};

/// What was found, so that nothing of the work can be left out: the sum of the lengths of the texts.
pub type Found = usize;

/// Reads a send's header and the properties in it; `raw` is the header without envelope.
///
/// # Panics
/// Where it is none.
pub fn send(codec: Codec, raw: Arc<[u8]>) -> Found {
    let Ok(header) = Header::parse(codec, raw) else {
        panic!("no header");
    };
    let text = |name| header.field(name).map_or(0, |text| text.len());
    let properties = header.properties().unwrap_or_default();
    text("a") + text("b") + header.int("e").map_or(0, |id| id as usize) + message(&properties)
}

/// Reads the whole answer to a pull and the properties of its messages.
///
/// # Panics
/// Where it is none.
pub fn pull(frame: &[u8]) -> Found {
    let mut stream = Stream::starting_at(0);
    stream.push(0, frame.len() as u32, frame, Timestamp(0), Timestamp(1));
    let Some(Event::Frame(frame)) = stream.poll() else {
        panic!("no frame");
    };
    let Body::Messages(messages) = &frame.body else {
        panic!("no messages");
    };
    messages
        .iter()
        .map(|found| found.topic.len() + found.queue_id as usize + message(&found.properties))
        .sum()
}

/// What a message's properties say, in one pass as the engine reads them.
fn message(properties: &Properties) -> Found {
    let (mut found, mut carriers) = (0, Carriers::default());
    for (name, value) in properties.entries().texts() {
        match name {
            b"UNIQ_KEY" | b"KEYS" | b"TAGS" => found += value.map_or(0, str::len),
            _ => carriers.note(name, value),
        }
    }
    let carried = look_up_in(&carriers, properties, &[]).carried;
    found + carried.map_or(0, |carried| usize::from(carried.context.span_id.0[0]) + 55)
}
