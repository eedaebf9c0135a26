//! The catalog: definitions shipped inside the binary, and every *.toml of the operator's folder.

use std::path::Path;

use anyhow::{Context, bail};
use waybill_source::{Catalog, Env};

use crate::server::settings::Settings;

/// All definitions, checked whole. One that is wrong is refused with every mistake in it.
pub(crate) fn load(settings: &Settings) -> anyhow::Result<Catalog> {
    let shipped = Catalog::shipped();
    let mut catalog = if cfg!(feature = "tables") { shipped.with_tables() } else { shipped };
    if let Some(folder) = &settings.sources {
        for file in definitions(folder)? {
            let text = read(&file)?;
            catalog
                .insert_text(&file.display().to_string(), &text)
                .map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        }
    }
    let with_table = catalog.iter().find(|definition| definition.table().is_some());
    if let Some(definition) = with_table.filter(|_| cfg!(not(feature = "tables"))) {
        bail!(
            "the source `{}` keeps a table, and this waybill is built without the feature `tables`",
            definition.name()
        );
    }
    for source in settings.base_url.keys() {
        if catalog.get(source).is_none() {
            let known: Vec<_> = catalog.iter().map(|definition| definition.name()).collect();
            bail!("setting `base_url` names the source `{source}`; known here: {}", known.join(", "));
        }
    }
    Ok(catalog)
}

/// The environment variables that definitions name, and no others. Secret.
pub(crate) fn environment(catalog: &Catalog) -> Env {
    let names = catalog.iter().flat_map(|definition| definition.env_names());
    names.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect()
}

/// Reads one definition. The limit keeps a wrong path (a data file, a device) from filling memory.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    const MAX_BYTES: u64 = 1 << 20;
    let name = || file.display().to_string();
    let size = std::fs::metadata(file).with_context(name)?.len();
    if size > MAX_BYTES {
        bail!("{}: a definition has at most 1 MiB, this file has {size} bytes", name());
    }
    std::fs::read_to_string(file).with_context(name)
}

fn definitions(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let context = || format!("setting `sources`: {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
