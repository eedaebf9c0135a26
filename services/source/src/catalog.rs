//! Every definition that this process knows, by name.
//!
//! Definitions come in as text; no file is opened here.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Definition, Diagnostics};

/// The definitions in force: those shipped inside the binary, and the operator's own.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    by_name: BTreeMap<String, Arc<Definition>>,
}

/// File name and text of each definition inside the binary that asks an upstream.
const SHIPPED: [(&str, &str); 3] = [
    ("buses.toml", include_str!("../sources/buses.toml")),
    ("relay.toml", include_str!("../sources/relay.toml")),
    ("weather.toml", include_str!("../sources/weather.toml")),
];

/// The same of those that load a file into a table.
const SHIPPED_TABLES: [(&str, &str); 6] = [
    ("author.toml", include_str!("../sources/author.toml")),
    ("book.toml", include_str!("../sources/book.toml")),
    ("movie.toml", include_str!("../sources/movie.toml")),
    ("review.toml", include_str!("../sources/review.toml")),
    ("stream.toml", include_str!("../sources/stream.toml")),
    ("user.toml", include_str!("../sources/user.toml")),
];

impl Catalog {
    /// The definitions shipped inside the binary that ask an upstream.
    pub fn shipped() -> Self {
        Self::default().with_shipped(&SHIPPED)
    }

    /// The same, and those that load a file into a table: for a process that has tables. The operator's own come later.
    #[must_use]
    pub fn with_tables(self) -> Self {
        self.with_shipped(&SHIPPED_TABLES)
    }

    fn with_shipped(mut self, shipped: &[(&str, &str)]) -> Self {
        for (file, text) in shipped {
            self.insert_text(file, text).expect("what is shipped is parsed in a test");
        }
        self
    }

    /// Adds a definition; one of the same name takes the place of the shipped one.
    pub fn insert(&mut self, definition: Definition) {
        self.by_name.insert(definition.name().to_owned(), Arc::new(definition));
    }

    /// Parses `text` and adds it. `file` only names the text in diagnostics.
    pub fn insert_text(&mut self, file: &str, text: &str) -> Result<(), Diagnostics> {
        self.insert(Definition::parse(file, text)?);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_parses() {
        let names = |catalog: &Catalog| catalog.iter().map(|source| source.name()).collect::<Vec<_>>().join(" ");
        assert_eq!(names(&Catalog::shipped()), "buses relay weather");
        let catalog = Catalog::shipped().with_tables();
        assert_eq!(names(&catalog), "author book buses movie relay review stream user weather");
        let tables = catalog.iter().filter(|definition| definition.table().is_some()).count();
        assert_eq!(tables, SHIPPED_TABLES.len());
    }

    #[test]
    fn the_operators_own_takes_the_place_of_the_shipped_one() {
        let mut catalog = Catalog::shipped();
        let text = SHIPPED[0].1.replace("Bus departures of every city", "Our buses");
        catalog.insert_text("ours.toml", &text).unwrap();
        assert_eq!(catalog.get("buses").unwrap().title(), "Our buses on one day");
        assert_eq!(catalog.iter().count(), SHIPPED.len());
        assert!(catalog.insert_text("bad.toml", "name = 1").is_err());
    }
}
