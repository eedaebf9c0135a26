//! Every definition that this process knows, by name.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Definition, Diagnostics};

/// The definitions in force: those shipped inside the binary, and the operator's own.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    by_name: BTreeMap<String, Arc<Definition>>,
}

impl Catalog {
    /// The definitions shipped inside the binary.
    pub fn shipped() -> Self {
        todo!()
    }

    /// Adds a definition; one of the same name takes the place of the shipped one.
    pub fn insert(&mut self, definition: Definition) {
        todo!()
    }

    /// Parses `text` and adds it. `file` only names the text in diagnostics.
    pub fn insert_text(&mut self, file: &str, text: &str) -> Result<(), Diagnostics> {
        todo!()
    }

    /// The definition called `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<Definition>> {
        self.by_name.get(name)
    }

    /// All definitions, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.by_name.values()
    }
}
