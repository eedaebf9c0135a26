//! `dates = { from, to, step, unit, lookback, future }`: windows of time as the items of a level.

use toml::{Spanned, de::DeValue};

use crate::{
    FieldType,
    definition::{
        model::{Items, Origin},
        parse::{
            diagnostic::Report,
            reader::{Node, Table, boolean},
            store::Partition,
        },
        plan::{
            calendar::Step,
            windows::{self, Windows},
        },
        template::{Destination, Template, scope::Scope},
    },
};

/// Reads the table; mistakes in `step` and `unit` are reported here, and not by [`fields`].
pub(crate) fn read(report: &mut Report<'_>, node: Node<'_, '_>, above: &Scope<'_>) -> Option<Windows> {
    let mut table = Table::open(report, node, "`dates`")?;
    let (from, to) = (bound(report, &mut table, "from", above), bound(report, &mut table, "to", above));
    if table.optional("step").is_none() {
        report.add_with_help(table.at(), "`dates` lacks `step`", "how long a window is: P1D, P7D, P1M, P1Y, PT1H");
    }
    let step = length(report, &mut table, "step", None);
    let unit = length(report, &mut table, "unit", Some(Step::Days(1)));
    let lookback = length(report, &mut table, "lookback", Some(Step::Days(0)));
    let future = table.optional("future").map_or(Some(true), |node| boolean(report, node, "future"));
    if let (Some(step), Some(unit)) = (step, unit)
        && !unit.fits_into(step)
    {
        let at = table.optional("unit").map_or(table.at(), |node| node.span().start);
        let help = "`last` is `to` less a `unit`: say `unit = \"PT1S\"`, or what the upstream counts in";
        report.add_with_help(at, "`unit` is longer than `step`", help);
    }
    table.close(report);
    Some(Windows { from: from?, to: to?, step: step?, unit: unit?, lookback: lookback?, future: future? })
}

fn bound(report: &mut Report<'_>, table: &mut Table<'_, '_>, key: &'static str, above: &Scope<'_>) -> Option<Template> {
    let text = table.string(report, key)?;
    let template = above.template(report, text, Destination::Text)?;
    if template.is_secret() {
        report.add_with_help(text.at, "`env` is not offered here", "windows are in keys, which everybody sees");
        return None;
    }
    Some(template)
}

/// A length that may be zero where nothing is.
fn length(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    key: &'static str,
    default: Option<Step>,
) -> Option<Step> {
    let may_be_zero = default.is_some_and(Step::is_zero);
    if table.optional(key).is_none() {
        return default;
    }
    let text = table.string(report, key)?;
    let step = Step::parse(text.value).filter(|step| may_be_zero || !step.is_zero());
    if step.is_none() {
        let help = "one unit of the calendar: P1D, P7D, P1M, P1Y, PT1H, PT15M";
        report.add_with_help(text.at, format!("`{}` is no length for `{key}`", text.value), help);
    }
    step
}

/// The fields of a window, as good as can be said of a table that may have mistakes.
pub(crate) fn fields(node: Node<'_, '_>) -> Vec<(String, FieldType)> {
    let length = |key: &str| {
        let text = node.get_ref().as_table().and_then(|table| table.get(key))?.get_ref().as_str()?;
        Step::parse(text)
    };
    let kind = |step: Option<Step>| match step {
        Some(step) if !step.is_of_days() => FieldType::Datetime,
        _ => FieldType::Date,
    };
    let (step, last) =
        (kind(length("step")), kind(length("step").filter(|step| !step.is_of_days()).or(length("unit"))));
    windows::NAMES.into_iter().map(str::to_owned).zip([step, step, last]).collect()
}

/// Every window must be in the key or in the partition: otherwise one would take the place of another.
pub(crate) fn check_names(
    report: &mut Report<'_>,
    nodes: &[Spanned<DeValue<'_>>],
    items: &Items,
    partition: &Partition,
) {
    let named = items.key.iter().chain(&partition.values).flat_map(Template::references);
    let named: Vec<_> = named.collect();
    for (level, node) in items.levels.iter().zip(nodes) {
        let name = &level.set.name;
        let is_named = named.iter().any(|found| found.split('.').next() == Some(name));
        if matches!(level.origin, Origin::Dates(_)) && !is_named {
            let message = format!("the windows of `{name}` are neither in the key nor in the partition");
            let help = format!("one would take the place of another: write `{{{{ {name}.from }}}}` into one of them");
            report.add_with_help(node.span().start, message, help);
        }
    }
}
