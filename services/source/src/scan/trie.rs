//! The paths of a schema's fields as a trie, where they are not all plain members of the record.

use crate::{
    FieldPath, Schema,
    path::{Segment, ValuePath},
};

/// The node of the record itself.
pub(super) const ROOT: usize = 0;

/// What a record may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    Object,
    Array,
    Any,
}

/// Which fields lie where in a record.
#[derive(Debug)]
pub(super) struct Trie {
    pub(super) nodes: Vec<Node>,
    pub(super) kind: RecordKind,
    /// Fields that are the record's own name in an object.
    pub(super) names: Vec<usize>,
    /// Whether the record has no other members.
    pub(super) is_closed: bool,
    /// How many elements a record has at most, where a header says so.
    pub(super) width: Option<usize>,
}

/// One value of a record.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The field that this value is.
    pub(super) field: Option<usize>,
    pub(super) keys: Vec<Key>,
    /// Which key came last behind each, as in [`super::object::RecordSink`].
    pub(super) next: Vec<usize>,
    /// Elements by their index, ascending.
    pub(super) elements: Vec<(usize, usize)>,
}

/// A member that leads to fields.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    /// The name as a JSON string, in the spelling that writers use.
    pub(super) spelled: Vec<u8>,
    pub(super) node: usize,
}

impl Trie {
    /// `None` where each field is a member of the record and a single value: then keys alone will do.
    pub(super) fn of(schema: &Schema) -> Option<Self> {
        let is_flat = |field: &crate::Field| field.path.as_member().is_some() && !field.kind.is_composite();
        if !schema.is_closed && !schema.fields.is_empty() && schema.fields.iter().all(is_flat) {
            return None;
        }
        let mut trie = Self::with(schema.is_closed);
        for (at, field) in schema.fields.iter().enumerate() {
            match &field.path {
                FieldPath::Name => trie.names.push(at),
                FieldPath::Value(path) => {
                    let node = trie.node(path);
                    trie.nodes[node].field = Some(at);
                }
            }
        }
        let root = &trie.nodes[ROOT];
        trie.kind = match (root.keys.is_empty(), root.elements.is_empty()) {
            _ if root.field.is_some() => RecordKind::Any,
            (false, true) => RecordKind::Object,
            (true, false) => RecordKind::Array,
            _ => RecordKind::Any,
        };
        // A field that is the whole record has every member in it.
        trie.is_closed &= root.field.is_none();
        trie.finish();
        Some(trie)
    }

    /// Of rows whose elements are these fields.
    pub(super) fn of_columns(columns: &[Option<usize>]) -> Self {
        let mut trie = Self { kind: RecordKind::Array, width: Some(columns.len()), ..Self::with(false) };
        for (at, field) in columns.iter().enumerate() {
            if field.is_some() {
                let node = trie.node(&ValuePath { segments: vec![Segment::Index(at)] });
                trie.nodes[node].field = *field;
            }
        }
        trie.finish();
        trie
    }

    fn with(is_closed: bool) -> Self {
        Self { nodes: vec![Node::default()], kind: RecordKind::Any, names: Vec::new(), is_closed, width: None }
    }

    /// The node at a path, made where it is not there yet.
    fn node(&mut self, path: &ValuePath) -> usize {
        path.segments.iter().fold(ROOT, |at, segment| {
            let new = self.nodes.len();
            let node = &mut self.nodes[at];
            let found = match segment {
                Segment::Member(name) => node.keys.iter().find(|key| key.name == *name).map(|key| key.node),
                Segment::Index(index) => node.elements.iter().find(|(at, _)| at == index).map(|(_, node)| *node),
            };
            if let Some(found) = found {
                return found;
            }
            match segment {
                Segment::Member(name) => node.keys.push(Key {
                    name: name.clone(),
                    spelled: serde_json::to_vec(name).expect("a text can be written as JSON"),
                    node: new,
                }),
                Segment::Index(index) => node.elements.push((*index, new)),
            }
            self.nodes.push(Node::default());
            new
        })
    }

    fn finish(&mut self) {
        for node in &mut self.nodes {
            node.next = (1..node.keys.len() + 1).chain([0]).collect();
            node.elements.sort_unstable();
        }
    }
}

impl RecordKind {
    /// Whether a record can begin with this byte.
    pub(super) fn begins_with(self, byte: u8) -> bool {
        match self {
            Self::Object => byte == b'{',
            Self::Array => byte == b'[',
            Self::Any => matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'),
        }
    }

    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Any => "a value",
        }
    }
}
