//! JSON that nobody asked for: read past, but still checked, and without recursion.

use crate::scan::{
    MAX_DEPTH,
    error::{Step, ended, wrong},
    token::{after_space, literal, number, string_rest},
};

/// Where in a value we are. It can be left between any two tokens, and within a string, and taken up again
/// with the next bytes: a value outside of records may be larger than what is ever kept of a file.
#[derive(Debug)]
pub(super) struct Skip {
    place: Section,
    /// The containers that are open, the innermost lowest: 1 is an object.
    kinds: u128,
    /// How many they are.
    depth: usize,
    /// How many are open around the value.
    outside: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Value,
    /// Behind a `[`.
    ValueOrEnd,
    /// Behind a `{`.
    NameOrEnd,
    Name,
    Colon,
    /// Behind the opening quote.
    InName,
    InText,
    AfterValue,
}

impl Skip {
    /// Before a value that lies in `outside` containers.
    pub(super) fn new(outside: usize) -> Self {
        Self { place: Section::Value, kinds: 0, depth: 0, outside }
    }

    /// Moves `pos` behind the value, or as far as all is well. A number has at most `limit` bytes.
    pub(super) fn read(&mut self, bytes: &[u8], pos: &mut usize, limit: usize) -> Step<()> {
        loop {
            match self.place {
                Section::InName => {
                    string_rest(bytes, pos)?;
                    self.place = Section::Colon;
                }
                Section::InText => {
                    string_rest(bytes, pos)?;
                    self.place = Section::AfterValue;
                }
                _ => {}
            }
            if self.place == Section::AfterValue && self.depth == 0 {
                return Ok(());
            }
            *pos = after_space(bytes, *pos);
            self.token(bytes, pos, limit)?;
        }
    }

    /// Reads the token at `pos`; of a string, the opening quote.
    fn token(&mut self, bytes: &[u8], pos: &mut usize, limit: usize) -> Step<()> {
        use Section::{AfterValue, Colon, InName, InText, Name, NameOrEnd, Value, ValueOrEnd};
        let Some(byte) = bytes.get(*pos) else { return Err(ended(self.expected())) };
        let in_object = self.kinds & 1 == 1;
        let token = &bytes[..bytes.len().min(pos.saturating_add(limit))];
        (self.place, *pos) = match (self.place, byte) {
            (Value | ValueOrEnd, b'"') => (InText, *pos + 1),
            (Value | ValueOrEnd, b'-' | b'0'..=b'9') => (AfterValue, number(token, *pos)?),
            (Value | ValueOrEnd, b't') => (AfterValue, literal(token, *pos, "true")?),
            (Value | ValueOrEnd, b'f') => (AfterValue, literal(token, *pos, "false")?),
            (Value | ValueOrEnd, b'n') => (AfterValue, literal(token, *pos, "null")?),
            (Value | ValueOrEnd, b'{' | b'[') => {
                if self.outside + self.depth >= MAX_DEPTH {
                    return Err(wrong(*pos, "at most 128 levels"));
                }
                self.depth += 1;
                self.kinds = self.kinds << 1 | u128::from(*byte == b'{');
                (if *byte == b'{' { NameOrEnd } else { ValueOrEnd }, *pos + 1)
            }
            (NameOrEnd | Name, b'"') => (InName, *pos + 1),
            (Colon, b':') => (Value, *pos + 1),
            (AfterValue, b',') => (if in_object { Name } else { Value }, *pos + 1),
            (NameOrEnd, b'}') | (ValueOrEnd, b']') => self.close(*pos),
            (AfterValue, b'}') if in_object => self.close(*pos),
            (AfterValue, b']') if !in_object => self.close(*pos),
            _ => return Err(wrong(*pos, self.expected())),
        };
        Ok(())
    }

    fn close(&mut self, pos: usize) -> (Section, usize) {
        self.depth -= 1;
        self.kinds >>= 1;
        (Section::AfterValue, pos + 1)
    }

    fn expected(&self) -> &'static str {
        match self.place {
            Section::Value => "a value",
            Section::ValueOrEnd => "a value or `]`",
            Section::NameOrEnd => "a name in quotes or `}`",
            Section::Name => "a name in quotes",
            Section::Colon => "`:`",
            Section::InName | Section::InText => "a closing quote",
            Section::AfterValue if self.kinds & 1 == 1 => "`,` or `}`",
            Section::AfterValue => "`,` or `]`",
        }
    }
}
