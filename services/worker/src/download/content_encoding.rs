//! `Content-Encoding`: a body is decoded as it arrives, at most [`PIECE`] bytes at once, however much a few encoded
//! bytes become. The decoder is fed the encoded bytes in order, so that a resumed download goes on in it.

use std::{collections::VecDeque, fmt};

use bytes::{Buf, Bytes, BytesMut};
use compression_codecs::{
    BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
    core::util::{PartialBuffer, WriteBuffer},
    zstd::params::DParameter,
};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use crate::retry::Fault;

/// What is asked for.
pub(crate) const ACCEPTED: &str = "gzip, deflate, br, zstd";

/// The most bytes that are decoded at once.
const PIECE: usize = 64 << 10;

/// So many bytes, or the whole of a smaller body, say whether it is encoded at all.
const PREFIX: usize = 512;

/// 8 MiB: RFC 9659 forbids larger windows, which would be memory of ours.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A body on its way from the encoded bytes to those that are stored.
pub(crate) struct Decoder {
    /// As the header has it, in lower case; empty where there is none.
    encoding: String,
    state: State,
    /// Encoded bytes that were not looked at yet.
    input: BytesMut,
    /// Where nothing has to be decoded, the bytes as they came.
    plain: VecDeque<Bytes>,
    output: Vec<u8>,
    is_last: bool,
}

enum State {
    Plain,
    /// Too few bytes to say whether they are encoded.
    Prefix,
    Encoded(Box<dyn DecodeV2 + Send + Sync>),
    /// A member of the stream has ended; several make one body.
    MemberEnd(Box<dyn DecodeV2 + Send + Sync>),
}

impl Decoder {
    /// For a body with these headers.
    pub(crate) fn new(headers: &HeaderMap) -> Self {
        let encoding = encoding(headers);
        let state = if encoding.is_empty() { State::Plain } else { State::Prefix };
        Self { encoding, state, input: BytesMut::new(), plain: VecDeque::new(), output: Vec::new(), is_last: false }
    }

    /// Whether a part with these headers can follow what came so far. RFC 9110 lets a 206 leave the header out.
    pub(crate) fn can_go_on(&self, headers: &HeaderMap) -> bool {
        !headers.contains_key(CONTENT_ENCODING) || encoding(headers) == self.encoding
    }

    /// Takes the next bytes as they came.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        match self.state {
            State::Plain => self.plain.push_back(chunk),
            _ => self.input.extend_from_slice(&chunk),
        }
    }

    /// Says that the last byte was pushed.
    pub(crate) fn end(&mut self) {
        self.is_last = true;
    }

    /// The next decoded bytes; `None` where more have to be pushed, or the body has ended.
    pub(crate) fn pull(&mut self, path: &str) -> Result<Option<Bytes>, Fault> {
        if matches!(self.state, State::Prefix) && (self.input.len() >= PREFIX || self.is_last) {
            self.state = match codec(&self.encoding, &self.input) {
                _ if is_text(&self.input) => State::Plain,
                Some(codec) => State::Encoded(codec),
                None => return Err(self.wrong(path, "which the body is not")),
            };
            if matches!(self.state, State::Plain) {
                self.plain.push_back(self.input.split().freeze());
            }
        }
        loop {
            match &mut self.state {
                State::Plain => return Ok(self.plain.pop_front()),
                State::Prefix => return Ok(None),
                State::MemberEnd(_) if self.input.is_empty() => return Ok(None),
                State::MemberEnd(_) => self.next_member(path)?,
                State::Encoded(_) if self.input.is_empty() && !self.is_last => return Ok(None),
                State::Encoded(_) => {
                    let piece = self.decode(path)?;
                    if !piece.is_empty() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }

    fn decode(&mut self, path: &str) -> Result<Bytes, Fault> {
        let State::Encoded(codec) = &mut self.state else { return Ok(Bytes::new()) };
        self.output.resize(PIECE, 0);
        let mut output = WriteBuffer::new_initialized(&mut self.output);
        let had = self.input.len();
        let step = if had > 0 {
            let mut input = PartialBuffer::new(&self.input[..]);
            let step = codec.decode(&mut input, &mut output);
            let taken = input.written_len();
            self.input.advance(taken);
            step
        } else {
            codec.flush(&mut output).map(|_| false)
        };
        let written = output.written_len();
        let is_stuck = written == 0 && self.input.len() == had;
        match step {
            Ok(true) => self.end_member(),
            Ok(false) if is_stuck && had == 0 => {
                if !codec.finish(&mut output).is_ok_and(|is_whole| is_whole) {
                    return Err(Fault::transient(format!(
                        "the download of {path} ended in the middle of its Content-Encoding `{}`",
                        self.encoding
                    )));
                }
                self.end_member();
            }
            Ok(false) if is_stuck => return Err(self.wrong(path, "and the body cannot be decoded")),
            Ok(false) => {}
            Err(error) => return Err(self.wrong(path, &format!("and the body cannot be decoded: {error}"))),
        }
        Ok(Bytes::copy_from_slice(&self.output[..written]))
    }

    fn end_member(&mut self) {
        if let State::Encoded(codec) = std::mem::replace(&mut self.state, State::Prefix) {
            self.state = State::MemberEnd(codec);
        }
    }

    fn next_member(&mut self, path: &str) -> Result<(), Fault> {
        let begins = match &*self.encoding {
            "gzip" | "x-gzip" => self.input.starts_with(&[0x1f]),
            "zstd" => true,
            _ => false,
        };
        if let State::MemberEnd(mut codec) = std::mem::replace(&mut self.state, State::Prefix)
            && begins
            && codec.reinit().is_ok()
        {
            self.state = State::Encoded(codec);
            return Ok(());
        }
        Err(self.wrong(path, "and there is more behind the end of the body"))
    }

    fn wrong(&self, path: &str, what: &str) -> Fault {
        let encoding = &self.encoding;
        Fault::permanent(format!("the upstream answered {path} with the Content-Encoding `{encoding}`, {what}"))
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

/// All of the headers, without `identity`, which changes nothing.
fn encoding(headers: &HeaderMap) -> String {
    let values = headers.get_all(CONTENT_ENCODING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let all = values.collect::<Vec<_>>().join(",").to_ascii_lowercase();
    let names = all.split(',').map(str::trim).filter(|name| !matches!(*name, "" | "identity"));
    names.collect::<Vec<_>>().join(", ")
}

/// `None` where this is not how such a body begins, or the encoding is none that is known.
fn codec(encoding: &str, prefix: &[u8]) -> Option<Box<dyn DecodeV2 + Send + Sync>> {
    match (encoding, prefix) {
        ("gzip" | "x-gzip", [0x1f, 0x8b, ..]) => Some(Box::new(GzipDecoder::new())),
        // A zlib stream, as RFC 9110 has it, or deflate alone, as some send it.
        ("deflate", [cmf, flags, ..])
            if cmf & 0xf == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)).is_multiple_of(31) =>
        {
            Some(Box::new(ZlibDecoder::new()))
        }
        ("deflate", [_, ..]) => Some(Box::new(DeflateDecoder::new())),
        ("br", [_, ..]) => Some(Box::new(BrotliDecoder::new())),
        ("zstd", [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) => {
            Some(Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)])))
        }
        _ => None,
    }
}

/// Whether a body begins as texts do, and no encoded one. The last character may be cut.
fn is_text(prefix: &[u8]) -> bool {
    let is_utf8 = match str::from_utf8(prefix) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && prefix.len() >= PREFIX,
    };
    is_utf8 && prefix.iter().all(|byte| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\n' | b'\r'))
}

#[cfg(test)]
pub(crate) mod tests {
    use compression_codecs::{
        BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder, core::Level,
    };
    use reqwest::header::HeaderValue;

    use super::*;

    fn encode(mut codec: impl EncodeV2, plain: &[u8]) -> Vec<u8> {
        let mut output = vec![0; plain.len() + 4_096];
        let mut buffer = WriteBuffer::new_initialized(&mut output);
        let mut input = PartialBuffer::new(plain);
        while !input.unwritten().is_empty() {
            codec.encode(&mut input, &mut buffer).unwrap();
        }
        while !codec.finish(&mut buffer).unwrap() {}
        let written = buffer.written_len();
        output.truncate(written);
        output
    }

    fn encoded(encoding: &str, plain: &[u8]) -> Vec<u8> {
        match encoding {
            "gzip" | "X-Gzip" => encode(GzipEncoder::new(Level::Fastest.into()), plain),
            "deflate" => encode(ZlibEncoder::new(Level::Fastest.into()), plain),
            "raw deflate" => encode(DeflateEncoder::new(Level::Fastest.into()), plain),
            "br" => encode(BrotliEncoder::new(Default::default()), plain),
            "zstd" => encode(ZstdEncoder::new(3), plain),
            other => panic!("{other}"),
        }
    }

    /// What comes out of so many bytes at a time.
    fn decode(encoding: &str, body: &[u8], at_once: usize) -> Result<Vec<u8>, Fault> {
        let encoding = HeaderValue::from_str(encoding.trim_start_matches("raw ")).unwrap();
        let mut decoder = Decoder::new(&HeaderMap::from_iter([(CONTENT_ENCODING, encoding)]));
        let mut decoded = Vec::new();
        let chunks = body.chunks(at_once).map(|chunk| Some(Bytes::copy_from_slice(chunk)));
        for chunk in chunks.chain([None]) {
            match chunk {
                Some(chunk) => decoder.push(chunk),
                None => decoder.end(),
            }
            while let Some(piece) = decoder.pull("/x")? {
                assert!(piece.len() <= PIECE.max(at_once));
                decoded.extend_from_slice(&piece);
            }
        }
        Ok(decoded)
    }

    const ENCODINGS: [&str; 6] = ["gzip", "X-Gzip", "deflate", "raw deflate", "br", "zstd"];

    fn random(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..length).map(|_| random.u8(b'a'..=b'z')).collect()
    }

    #[test]
    fn every_encoding_is_decoded_however_it_is_cut() {
        for encoding in ENCODINGS {
            for plain in [b"[]".to_vec(), b"[ ]".repeat(1_000), random(2 * PIECE + 1), vec![b' '; 1 << 20]] {
                let body = encoded(encoding, &plain);
                for at_once in [7, 1_000, body.len()] {
                    let decoded = decode(encoding, &body, at_once).unwrap();
                    assert!(decoded == plain, "{encoding}: {} in pieces of {at_once}", plain.len());
                }
            }
        }
    }

    #[test]
    fn a_stream_that_is_cut_fails() {
        for encoding in ENCODINGS {
            let body = encoded(encoding, &random(5_000));
            for length in [body.len() - 1, body.len() / 2, 20] {
                let fault = decode(encoding, &body[..length], 512).unwrap_err();
                let named = encoding.trim_start_matches("raw ").to_ascii_lowercase();
                let expected = format!("the download of /x ended in the middle of its Content-Encoding `{named}`");
                assert_eq!(fault.to_string(), expected);
                assert!(matches!(fault, Fault::Transient { .. }));
            }
        }
    }

    #[test]
    fn a_plain_body_is_taken_as_it_is_and_any_other_is_an_error_that_names_the_encoding() {
        for encoding in ["gzip", "deflate", "br", "zstd", "utf-8", "gzip, br"] {
            for plain in ["[]".to_owned(), "[{\"a\": \"ü🚌\"}]\r\n\t".repeat(1_000), String::new()] {
                assert_eq!(decode(encoding, plain.as_bytes(), 100).unwrap(), plain.as_bytes(), "{encoding}");
            }
            let fault = decode(encoding, &[0xff; 2_000], 100).unwrap_err();
            assert!(matches!(fault, Fault::Permanent(_)));
            assert!(
                fault
                    .to_string()
                    .starts_with(&format!("the upstream answered /x with the Content-Encoding `{encoding}`, "))
            );
        }
        let twice = encoded("br", &encoded("gzip", b"[]"));
        let fault = decode("gzip, br", &twice, 100).unwrap_err();
        insta::assert_snapshot!(fault, @"the upstream answered /x with the Content-Encoding `gzip, br`, which the body is not");
    }

    #[test]
    fn several_members_are_one_body_and_anything_else_behind_it_is_an_error() {
        for encoding in ["gzip", "zstd"] {
            let body = [encoded(encoding, b"[1,"), encoded(encoding, b"2]")].concat();
            assert_eq!(decode(encoding, &body, 5).unwrap(), b"[1,2]", "{encoding}");
        }
        for encoding in ENCODINGS {
            let body = [encoded(encoding, b"[]"), b"more".to_vec()].concat();
            assert!(decode(encoding, &body, 5).is_err(), "{encoding}");
        }
    }
}
