//! Why an upload is not accepted.

use crate::params::readable;

/// Why an upload is not accepted: what was found, and what to do. A row that is wrong is no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// There are no bytes.
    #[error("the file is empty: its first line must name the columns {}", listed(.expected))]
    Empty {
        /// The columns that every row must have.
        expected: Vec<String>,
    },
    /// It is a file of another kind.
    #[error("the file is {kind}: upload a CSV file, which is text (in a spreadsheet: save as CSV UTF-8)")]
    NotText {
        /// `a PNG image`.
        kind: &'static str,
    },
    /// A byte is not part of a text in UTF-8.
    #[error("line {line}, byte {offset}: expected UTF-8, found \\x{byte:02x}: save the file as UTF-8")]
    NotUtf8 {
        /// Which byte of the file, from 0.
        offset: u64,
        /// Which line of the file, from 1.
        line: u64,
        /// The byte.
        byte: u8,
    },
    /// The header line is too long to be one.
    #[error("the header line is longer than 1 MiB: look for a quote in it that is not closed")]
    HeaderTooLong,
    /// Lines end in a carriage return alone, as on old Macs.
    #[error("lines end in a carriage return without a line feed: save the file as CSV UTF-8")]
    BareReturns,
    /// The header line cannot be split into columns.
    #[error(
        "the header line: {problem}: put a name with a quote or a comma in it into quotes, and double those within"
    )]
    BadHeader {
        /// What was expected, and what was found.
        problem: String,
    },
    /// The header line lacks columns.
    #[error("the header line lacks {}{}", listed(.missing), found_columns(.found, *.separator))]
    MissingColumns {
        /// The names that are missing.
        missing: Vec<String>,
        /// The names that are there.
        found: Vec<String>,
        /// What may separate the columns in place of `,`: `` `;` ``, `tabs`.
        separator: Option<&'static str>,
    },
    /// A column is there more than once.
    #[error("the header line has the column `{name}` more than once: leave one, since each row has one value of it")]
    DuplicateColumn {
        /// The column's name.
        name: String,
    },
    /// There is nothing below the header.
    #[error("the file has a header line and no rows: add a line for each row")]
    NoRows,
    /// The source's items are not the rows of an upload.
    #[error("the source `{source_name}` takes no upload: submit a job without a file")]
    NotAnUpload {
        /// The source's name.
        source_name: String,
    },
}

/// The most names that a message lists.
const MAX_LISTED: usize = 10;

/// `` `a`, `b` and 3 more ``
fn listed(names: &[String]) -> String {
    let shown: Vec<_> =
        names.iter().take(MAX_LISTED).map(|name| format!("`{}`", readable(name).escape_debug())).collect();
    let more = names.len().saturating_sub(MAX_LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

fn found_columns(found: &[String], separator: Option<&str>) -> String {
    match (found, separator) {
        ([name], _) if name.is_empty() => ": it is an empty line".to_owned(),
        (_, Some(separator)) => {
            format!(", and has {}: columns seem to be separated by {separator}; save the file with `,`", listed(found))
        }
        _ => format!(", and has {}: names must be equal to the letter", listed(found)),
    }
}
