//! One record whose fields lie anywhere in it: values are read along a trie of their paths.
//!
//! A path that leads nowhere, because a member is missing, null or of another type, is no value, as in RFC 9535.

use crate::{
    FieldType,
    scan::{
        MAX_DEPTH,
        compiled_schema::{Column, Row, Value},
        csv::columns_wanted,
        error::{Step, missing, wrong},
        excerpt::quoted,
        kept::Kept,
        object::RecordSink,
        skip::Skip,
        token::{after_space, literal, name},
        trie::{ROOT, Trie},
    },
};

impl RecordSink {
    /// Reads the record at `pos`, inside `depth` other containers and a member of this name, and says where it ends.
    #[inline(never)]
    pub(super) fn nested(&mut self, bytes: &[u8], pos: usize, depth: usize, name: Option<&str>) -> Step<usize> {
        self.row.clear();
        if !self.kept.is_nothing() {
            self.begin_row();
        }
        let Some(trie) = &mut self.shape.trie else { return self.object(bytes, pos, depth) };
        let mut walk = Walk { bytes, columns: &self.shape.fields, trie, row: &mut self.row, kept: &mut self.kept };
        let end = walk.value(ROOT, pos, depth)?;
        if let Some(name) = name {
            walk.names(name, pos)?;
        }
        self.check_required(end - 1)?;
        Ok(end)
    }
}

/// Reads one record.
struct Walk<'a> {
    bytes: &'a [u8],
    columns: &'a [Column],
    trie: &'a mut Trie,
    row: &'a mut Row,
    kept: &'a mut Kept,
}

impl Walk<'_> {
    /// Reads the value at `pos`, inside `depth` containers, and says where it ends.
    fn value(&mut self, at: usize, pos: usize, depth: usize) -> Step<usize> {
        let node = &self.trie.nodes[at];
        let (field, is_open) = (node.field, at == ROOT && (self.trie.is_closed || self.trie.width.is_some()));
        let end = match self.bytes.get(pos) {
            Some(b'{') if is_open || !node.keys.is_empty() => Some(self.members(at, pos, depth)?),
            Some(b'[') if is_open || !node.elements.is_empty() => Some(self.elements(at, pos, depth)?),
            _ => None,
        };
        match field {
            Some(field) => self.field(field, pos, depth, end),
            None => end.map_or_else(|| skip(self.bytes, pos, depth), Ok),
        }
    }

    /// Reads the value at `pos` as a field. `end` is where it ends, where that is known.
    #[inline(always)]
    fn field(&mut self, field: usize, pos: usize, depth: usize, end: Option<usize>) -> Step<usize> {
        let column = &self.columns[field];
        let end = match column.kind {
            FieldType::Object | FieldType::Array | FieldType::Any => self.composite(field, pos, depth, end)?,
            _ => column.read(self.bytes, pos, field, self.row)?,
        };
        if !self.kept.is_nothing() {
            self.kept.keep(field, column.kind, self.bytes, pos..end);
        }
        Ok(end)
    }

    fn composite(&mut self, field: usize, pos: usize, depth: usize, end: Option<usize>) -> Step<usize> {
        let column = &self.columns[field];
        let refused = || missing(self.bytes, pos, column.expected.clone()).in_field(field);
        let fits = match (column.kind, self.bytes.get(pos)) {
            (_, Some(b'n')) => {
                let end = literal(self.bytes, pos, "null").map_err(|stop| stop.in_field(field))?;
                return if column.required { Err(refused()) } else { Ok(end) };
            }
            (FieldType::Object, Some(byte)) => *byte == b'{',
            (FieldType::Array, Some(byte)) => *byte == b'[',
            (_, byte) => byte.is_some(),
        };
        if !fits {
            return Err(refused());
        }
        let end = end.map_or_else(|| skip(self.bytes, pos, depth), Ok)?;
        self.row.set(field, Value::Text);
        Ok(end)
    }

    /// Reads the object at `pos`.
    fn members(&mut self, at: usize, pos: usize, depth: usize) -> Step<usize> {
        check_depth(pos, depth)?;
        let (mut seen, mut last) = (0_u64, self.trie.nodes[at].keys.len());
        let mut pos = after_space(self.bytes, pos + 1);
        if self.bytes.get(pos) == Some(&b'}') {
            return Ok(pos + 1);
        }
        loop {
            let (key, end) = self.key(at, pos, last)?;
            let colon = after_space(self.bytes, end);
            if self.bytes.get(colon) != Some(&b':') {
                return Err(missing(self.bytes, colon, "`:`"));
            }
            let value = after_space(self.bytes, colon + 1);
            let end = match key {
                Some(key) => {
                    let node = self.trie.nodes[at].keys[key].node;
                    if seen >> key & 1 == 1 {
                        let stop = wrong(pos, "every member once");
                        return Err(match self.trie.nodes[node].field {
                            Some(field) => stop.in_field(field),
                            None => stop,
                        });
                    }
                    seen |= 1 << key;
                    last = key;
                    self.value(node, value, depth + 1)?
                }
                None if at == ROOT && self.trie.is_closed => {
                    return Err(wrong(pos, "no member that is not a field of [record]"));
                }
                None => skip(self.bytes, value, depth + 1)?,
            };
            pos = after_space(self.bytes, end);
            match self.bytes.get(pos) {
                Some(b',') => pos = after_space(self.bytes, pos + 1),
                Some(b'}') => return Ok(pos + 1),
                _ => return Err(missing(self.bytes, pos, "`,` or `}`")),
            }
        }
    }

    /// Reads the array at `pos`.
    fn elements(&mut self, at: usize, pos: usize, depth: usize) -> Step<usize> {
        check_depth(pos, depth)?;
        let width = if at == ROOT { self.trie.width } else { None };
        let (mut index, mut wanted) = (0, 0);
        let mut pos = after_space(self.bytes, pos + 1);
        if self.bytes.get(pos) == Some(&b']') {
            return Ok(pos + 1);
        }
        loop {
            if width == Some(index) {
                return Err(missing(self.bytes, pos, format!("at most {}", columns_wanted(index))));
            }
            let end = match self.trie.nodes[at].elements.get(wanted) {
                Some((known, node)) if *known == index => {
                    wanted += 1;
                    self.value(*node, pos, depth + 1)?
                }
                _ => skip(self.bytes, pos, depth + 1)?,
            };
            index += 1;
            pos = after_space(self.bytes, end);
            match self.bytes.get(pos) {
                Some(b',') => pos = after_space(self.bytes, pos + 1),
                Some(b']') => return Ok(pos + 1),
                _ => return Err(missing(self.bytes, pos, "`,` or `]`")),
            }
        }
    }

    /// The key that the string at `pos` is, and where the string ends. `last` is the key before it.
    #[inline(always)]
    fn key(&mut self, at: usize, pos: usize, last: usize) -> Step<(Option<usize>, usize)> {
        let node = &self.trie.nodes[at];
        let likely = node.next[last];
        if let Some(key) = node.keys.get(likely)
            && self.bytes[pos..].starts_with(&key.spelled)
        {
            return Ok((Some(likely), pos + key.spelled.len()));
        }
        self.any_key(at, pos, last)
    }

    #[inline(never)]
    fn any_key(&mut self, at: usize, pos: usize, last: usize) -> Step<(Option<usize>, usize)> {
        let (name, end) = name(self.bytes, pos)?;
        let node = &mut self.trie.nodes[at];
        let key = node.keys.iter().position(|key| key.name.as_bytes() == &*name);
        if let Some(key) = key {
            node.next[last] = key;
        }
        Ok((key, end))
    }

    /// The fields that are the record's name; the record is at `pos`.
    fn names(&mut self, name: &str, pos: usize) -> Step<()> {
        for field in &self.trie.names {
            let column = &self.columns[*field];
            let Some(value) = column.value(name.as_bytes()) else {
                let stop = wrong(pos, column.expected_of(name.as_bytes())).in_field(*field);
                return Err(stop.saying(format!("the name {}", quoted(name.as_bytes()))));
            };
            self.row.set(*field, value);
            if let Some(values) = self.kept.row() {
                values[*field] = column.item_value(value, name.as_bytes());
            }
        }
        Ok(())
    }
}

fn check_depth(pos: usize, depth: usize) -> Step<()> {
    if depth < MAX_DEPTH { Ok(()) } else { Err(wrong(pos, "at most 128 levels")) }
}

fn skip(bytes: &[u8], pos: usize, depth: usize) -> Step<usize> {
    let mut end = pos;
    Skip::new(depth).read(bytes, &mut end, bytes.len())?;
    Ok(end)
}
