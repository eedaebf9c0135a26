//! The file format: a header of 48 bytes, then a protobuf message.
//!
//! The header tells apart what is garbage, cut, changed and newer, before anything of the message is believed.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{Reason, View, name::Name, proto::Segment};

const MAGIC: &[u8; 7] = b"waybill";
const FORMAT: u16 = 1;
const HEADER: usize = 48;
const HASH: usize = 32;

/// Bytes that a segment has more than its entries, for each of them.
pub(crate) const ENTRY_OVERHEAD: usize = 8;

pub(crate) fn encode_segment<V: View>(entries: impl Iterator<Item = Bytes>) -> Bytes {
    encode_framed(b'S', V::SCHEMA, &Segment { entries: entries.collect() })
}

pub(crate) fn encode_snapshot<V: View>(view: &V) -> Bytes {
    encode_framed(b'M', V::SCHEMA, &view.to_snapshot())
}

/// The view of a segment or snapshot.
pub(crate) fn decode<V: View>(name: Name, object: Bytes, max_entries: usize) -> Result<V, Reason> {
    match name {
        Name::Segment(_) => {
            let segment: Segment = decode_framed(b'S', V::SCHEMA, object)?;
            let found = segment.entries.len();
            if found == 0 || found > max_entries {
                return Err(Reason::EntryCount { found, limit: max_entries });
            }
            let mut view = V::default();
            for entry in segment.entries {
                view.apply(&V::Entry::decode(entry)?);
            }
            Ok(view)
        }
        Name::Snapshot(..) => V::from_snapshot(decode_framed(b'M', V::SCHEMA, object)?).map_err(Reason::View),
    }
}

/// What [`encode_framed`] framed.
///
/// # Errors
/// Where it is cut or changed, of another kind, or a newer release wrote it.
pub fn decode_framed<M: Message + Default>(kind: u8, schema: u16, object: Bytes) -> Result<M, Reason> {
    Ok(M::decode(message(kind, schema, object)?)?)
}

/// A message in the frame that segments and snapshots have, under a kind of its own: also for objects beside the journal
/// that hold what was in it.
pub fn encode_framed(kind: u8, schema: u16, message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut object = BytesMut::with_capacity(HEADER + len);
    object.put_slice(MAGIC);
    object.put_u8(kind);
    object.put_u16_le(FORMAT);
    object.put_u16_le(schema);
    // Longer ones are refused before they are written, as they could not be read.
    object.put_u32_le(u32::try_from(len).unwrap_or(u32::MAX));
    object.put_bytes(0, HASH);
    message.encode_raw(&mut object);
    let hash = checksum(&object);
    object[HEADER - HASH..HEADER].copy_from_slice(&hash);
    object.freeze()
}

/// Of the header's other fields and the message.
fn checksum(object: &[u8]) -> [u8; HASH] {
    Sha256::new().chain_update(&object[..HEADER - HASH]).chain_update(&object[HEADER..]).finalize().into()
}

fn message(kind: u8, known: u16, object: Bytes) -> Result<Bytes, Reason> {
    if object.is_empty() {
        return Err(Reason::Empty);
    }
    if !object.starts_with(&MAGIC[..object.len().min(MAGIC.len())]) {
        return Err(Reason::ForeignContent);
    }
    let found = object.len() as u64;
    if object.len() < HEADER {
        return Err(Reason::Length { expected: HEADER as u64, found });
    }
    let mut header = &object[MAGIC.len()..HEADER - HASH];
    let found_kind = header.get_u8();
    let format = header.get_u16_le();
    if format > FORMAT {
        return Err(Reason::NewerFormat { found: format, known: FORMAT });
    }
    let schema = header.get_u16_le();
    let expected = u64::from(header.get_u32_le()) + HEADER as u64;
    if expected != found {
        return Err(Reason::Length { expected, found });
    }
    if object[HEADER - HASH..HEADER] != checksum(&object) {
        return Err(Reason::Checksum);
    }
    if found_kind != kind {
        return Err(Reason::WrongKind);
    }
    if schema > known {
        return Err(Reason::NewerSchema { found: schema, known });
    }
    Ok(object.slice(HEADER..))
}
