//! `waybill try FILE`: asks the API by a definition, and shows what a job would make of the answers.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context as _, bail};
use serde_json::Value as Json;
use waybill_source::{
    DefaultsFrom, Definition, Env, Inference, Item, ItemDraft, JobContext, LookedRecord, PageAnswer, PageParts, Pager,
    Rejection, parse_date,
};

use crate::{
    cli,
    server::catalog,
    trial::{
        client::{Answer, Asker, Origin},
        fixture::Fixture,
        mask::{HIDDEN, Mask},
        printer::{Printer, count, value_text, values},
    },
};

/// Records shown of a page.
const SHOWN_RECORDS: usize = 3;
/// Differences shown.
const SHOWN_DIFFERENCES: usize = 20;
/// Listings asked for on the way to an item: somebody waits, and the API has a limit.
const LISTINGS: usize = 20;

/// Tries a definition. The exit status is 0 only if all is well.
pub(crate) async fn run(flags: cli::Try) -> anyhow::Result<ExitCode> {
    let name = flags.file.display().to_string();
    let definition = match Definition::parse(&name, &catalog::read(&flags.file)?) {
        Ok(definition) => definition,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return Ok(ExitCode::FAILURE);
        }
    };
    if definition.upload().is_some() {
        bail!(
            "{name}: each row of an uploaded file is a request that may change something at the upstream, so there is \
             nothing to try without doing it. `waybill check {name}` checks the definition; a file of one row, submitted \
             with `waybill submit {} --file row.csv`, tries it",
            definition.name()
        );
    }
    if let Some(format) = definition.loads_upload() {
        bail!(
            "{name}: a file is loaded into a table, and nothing is asked of an upstream. `waybill check {name}` checks the \
             definition; a file of a few records, submitted with `waybill submit {} --file few.{}`, tries it",
            definition.name(),
            format.extension()
        );
    }
    let replayed = flags.replay.as_deref().map(Fixture::open).transpose()?;
    let given = given(&flags.params)?;
    let env = environment(&definition, replayed.is_some());
    if let Some(message) = missing(&definition, &name, &given, &env) {
        eprintln!("waybill: {message}");
        return Ok(ExitCode::FAILURE);
    }
    let date = replayed.as_ref().map_or_else(today, |fixture| fixture.date().to_owned());
    let day = parse_date(&date).context("the fixture has no date")?;
    // Nobody remembers an earlier job here: what stands for the first one is taken.
    let params = definition.bind(&given, DefaultsFrom { day, previous: None })?;
    let job = JobContext { id: "try".to_owned(), date, params };
    // In a replay there are no secrets, and what stands for them is shown.
    let secrets: Vec<&str> = if replayed.is_some() { Vec::new() } else { env.values().map(String::as_str).collect() };
    let pair = definition.encoded_secret(&env).filter(|_| replayed.is_none());
    let mask = Mask::new(secrets.into_iter().chain(pair.as_deref()));
    let base = match &replayed {
        Some(fixture) => fixture.base_url().to_owned(),
        None => flags.base_url.clone().unwrap_or_else(|| definition.base_url().to_owned()),
    };
    let origin = match (replayed, &flags.save) {
        (Some(fixture), _) => Origin::Replayed(fixture),
        (None, Some(folder)) => Origin::Saved(Fixture::create(folder, definition.name(), &job.date, &base)?),
        (None, None) => Origin::Api,
    };
    let out = Printer::new(mask.clone());
    let asker = Asker::new(&base, definition.hosts().clone(), origin, mask.clone())?;
    let mut attempt = Attempt { definition: &definition, job, env, asker, out: &out, flags: &flags };
    attempt.run(&base).await.map_err(|error| anyhow::anyhow!("{}", mask.text(&format!("{error:#}"))))
}

/// Today in UTC.
pub(crate) fn today() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

fn given(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').with_context(|| format!("expected name=value, found {word:?}"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

fn environment(definition: &Definition, is_replay: bool) -> Env {
    let value = |name: &String| if is_replay { Some(HIDDEN.to_owned()) } else { std::env::var(name).ok() };
    definition.env_names().iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
}

/// All that is missing, and the command that has it.
fn missing(definition: &Definition, file: &str, given: &BTreeMap<String, String>, env: &Env) -> Option<String> {
    let variables: Vec<_> = definition.missing_env(env).collect();
    let params: Vec<_> =
        definition.params().filter(|(name, _, default)| default.is_none() && !given.contains_key(*name)).collect();
    if variables.is_empty() && params.is_empty() {
        return None;
    }
    let mut lines = vec![format!("{} cannot be tried without", definition.name())];
    lines.extend(params.iter().map(|(name, kind, ..)| format!("  {name}: a parameter, of type {kind}")));
    lines.extend(
        variables.iter().map(|name| format!("  {name}: an environment variable that its requests are made of")),
    );
    let words = variables.iter().map(|name| format!("{name}=...")).chain(["waybill try".to_owned(), file.to_owned()]);
    let words = words.chain(given.iter().map(|(name, value)| format!("{name}={value}")));
    let words = words.chain(params.iter().map(|(name, kind, ..)| format!("{name}={}", example(kind))));
    lines.push(format!("so: {}", words.collect::<Vec<_>>().join(" ")));
    Some(lines.join("\n"))
}

fn example(kind: &str) -> &'static str {
    match kind {
        "date" => "2024-05-01",
        "datetime" => "2024-05-01T00:00:00Z",
        "integer" => "1",
        "boolean" => "true",
        _ => "...",
    }
}

/// One run.
struct Attempt<'a> {
    definition: &'a Definition,
    job: JobContext,
    env: Env,
    asker: Asker,
    out: &'a Printer,
    flags: &'a cli::Try,
}

/// What a page had.
struct PageRead {
    records: u64,
    body: Json,
    last: Option<Json>,
    digest: u64,
}

impl Attempt<'_> {
    async fn run(&mut self, base: &str) -> anyhow::Result<ExitCode> {
        let (definition, out) = (self.definition, self.out);
        println!("{}: {}", definition.name(), definition.title());
        out.line(&format!(
            "asks {base}{}",
            if self.flags.replay.is_some() { ", from what was saved of it" } else { "" }
        ));
        for warning in definition.warnings() {
            out.line(&warning.to_string());
        }
        let drafts = self.items().await?;
        let items: Vec<_> = drafts.into_iter().map(|draft| definition.item(&self.job.params, draft)).collect();
        if items.is_empty() && out.problems() == 0 {
            out.problem("there is no item, so nothing is fetched");
        }
        for batch in items.chunks(definition.batch()) {
            self.fetch(batch).await?;
        }
        self.end()
    }

    fn end(&self) -> anyhow::Result<ExitCode> {
        self.out.section("result");
        let problems = self.out.problems();
        if problems > 0 {
            // Its words are ours: no credential can be in them.
            println!(
                "  {} wrong: see above",
                if problems == 1 { "1 thing is".to_owned() } else { format!("{problems} things are") }
            );
            return Ok(ExitCode::FAILURE);
        }
        self.out.line("all is well; nothing was stored in a bucket");
        if let Some(folder) = &self.flags.save {
            self.out.line(&format!(
                "saved without credentials: the same command with `--replay {0}` in place of `--save {0}` needs no network",
                folder.display()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The first items of the last level, depth first.
    async fn items(&mut self) -> anyhow::Result<Vec<ItemDraft>> {
        let (definition, out) = (self.definition, self.out);
        out.section("items");
        let mut found = Vec::new();
        let mut open = vec![(0, ItemDraft::default())];
        let mut listings = 0;
        let mut shown = vec![false; definition.levels()];
        while let Some((level, draft)) = open.pop() {
            if found.len() == self.flags.items {
                break;
            }
            if level == definition.levels() {
                found.push(draft);
                continue;
            }
            let name = definition.level_name(level).to_owned();
            let (children, has_more) = match definition.fixed(level, &self.job, &draft)? {
                Some(children) => {
                    if !shown[level] {
                        out.line(&format!(
                            "{name}: {}, which the definition says",
                            count(children.len() as u64, "item")
                        ));
                    }
                    (children, false)
                }
                None if listings == LISTINGS => {
                    out.problem(&format!("{LISTINGS} listings led to too few items: no more are asked for"));
                    break;
                }
                None => {
                    listings += 1;
                    out.line(&format!("{name}: listed by the API"));
                    self.list(level, &draft).await?
                }
            };
            if let Some(first) = children.first().and_then(|child| child.values.get(&name)) {
                if !shown[level] {
                    out.detail(&format!(
                        "the first: {}",
                        values(first.iter().map(|(name, value)| (name, Some(value))))
                    ));
                }
                shown[level] = true;
            } else if !has_more {
                out.detail(&format!("there is no `{name}` here"));
            }
            open.extend(children.into_iter().rev().map(|child| (level + 1, child)));
        }
        Ok(found)
    }

    /// The items of a level below `parent`, and whether there may be more.
    async fn list(&mut self, level: usize, parent: &ItemDraft) -> anyhow::Result<(Vec<ItemDraft>, bool)> {
        let (definition, out, job) = (self.definition, self.out, self.job.clone());
        let pager = definition.listing_pages(level, &job, parent)?;
        let mut children = Vec::new();
        let has_more = self
            .follow(pager, |answer| {
                let parts = PageParts { body: true, last: true, lines: true };
                match definition.expand_page(level, parent, &answer.body, parts) {
                    Ok((drafts, page)) => {
                        out.detail(&count(drafts.len() as u64, "item"));
                        let records = drafts.len() as u64;
                        children.extend(drafts);
                        let digest = digest(&page.lines);
                        Some(PageRead { records, body: page.body, last: page.last, digest })
                    }
                    Err(rejection) => {
                        out.problem(&format!("a job refuses this listing: {}", refusal(&rejection, |_| None)));
                        None
                    }
                }
            })
            .await?;
        Ok((children, has_more))
    }

    /// Fetches the object of an item, or of a batch.
    async fn fetch(&mut self, items: &[Item]) -> anyhow::Result<()> {
        let (definition, out, job) = (self.definition, self.out, self.job.clone());
        let keys: Vec<_> = items.iter().map(|item| item.key.as_str()).collect();
        out.section(&format!("fetch of {}", keys.join(", ")));
        if definition.batch() > 1 {
            out.line(&format!(
                "items are fetched in batches of at most {}; --items says how many are in this one. Whether each of them \
                 is in the answer only a job looks at.",
                definition.batch()
            ));
        }
        for problem in items.iter().filter_map(|item| item.problem.as_deref()) {
            out.problem(problem);
        }
        let key = definition.partition(&job, items).and_then(|partition| {
            Ok(format!("data/{}/{partition}/{}", definition.name(), definition.object_item_key(items)?))
        });
        match key {
            Ok(key) => out.line(&format!("a job stores it as {key}.*.{}", definition.format().extension())),
            Err(error) => out.problem(&error.to_string()),
        }
        let pager = definition.fetch_pages(&job, items)?;
        let (mut before, mut inference) = (0, Inference::default());
        let wanted = self.flags.record;
        self.follow(pager, |answer| {
            let looked = definition.look(&answer.body, answer.is_cut);
            inference.add(definition.answer_format(), definition.record_path(), &answer.body);
            let good = looked.page.as_ref().map_or_else(|rejection| rejection.record - 1, |page| page.scanned.records);
            show_records(out, definition, answer, before, good, looked.page.is_ok());
            let number = wanted.and_then(|wanted| wanted.checked_sub(before)).filter(|number| *number > 0);
            if let Some(record) = number.and_then(|number| definition.record(&answer.body, number)) {
                out.line(&format!("record {}, as it came and as the schema reads it", wanted.unwrap_or_default()));
                out.detail(&record.value.to_string());
                show_fields(out, &record);
            }
            before += good;
            match looked.page {
                Ok(page) => Some(PageRead { records: good, body: page.body, last: page.last, digest: looked.digest }),
                Err(rejection) => {
                    let path = |name: &str| {
                        let field = definition.schema().fields.iter().find(|field| field.name == name)?;
                        Some(format!("`{}` at {}", field.name, field.path))
                    };
                    out.problem(&format!("a job refuses this answer: {}", refusal(&rejection, path)));
                    if let Some(record) = definition.record(&answer.body, rejection.record) {
                        out.detail(&format!("record {} is {}", rejection.record, value_text(&record.value)));
                    }
                    None
                }
            }
        })
        .await?;
        self.show_schema(&inference);
        Ok(())
    }

    /// Asks for page after page. Whether there may be more.
    async fn follow(
        &mut self,
        mut pager: Pager<'_>,
        mut read: impl FnMut(&Answer) -> Option<PageRead>,
    ) -> anyhow::Result<bool> {
        let out = self.out;
        loop {
            let page = pager.page();
            let request = pager.request(&self.env)?;
            let sent = match self.asker.prepare(&request) {
                Ok(sent) => sent,
                Err(error) => {
                    out.problem(&format!("{error:#}"));
                    return Ok(false);
                }
            };
            let with = sent.auth_headers();
            let with = if with.is_empty() { String::new() } else { format!(", with {}: ***", with.join(", ")) };
            let which = if pager.has_pages() { format!("page {page}: ") } else { String::new() };
            out.line(&format!("{which}{}{with}", sent.shown()));
            let answer = match self.asker.ask(&sent).await {
                Ok(answer) => answer,
                Err(error) => {
                    out.problem(&format!("{error:#}"));
                    return Ok(false);
                }
            };
            out.answer(&answer);
            if !(200..300).contains(&answer.status) {
                let names: Vec<_> = self.definition.env_names().iter().cloned().collect();
                out.refusal(&answer, &names);
                return Ok(false);
            }
            let Some(found) = read(&answer) else { return Ok(false) };
            if answer.is_cut {
                out.detail("whether there are pages cannot be seen of a part");
                return Ok(true);
            }
            let seen = PageAnswer {
                status: answer.status,
                headers: &answer.headers,
                url: &answer.url,
                records: found.records,
                body: Some(&found.body),
                last: found.last.as_ref(),
                digest: found.digest,
            };
            match pager.next(&request.query, &seen) {
                Ok(false) => {
                    let ends = if pager.has_pages() { "paging stops" } else { "this is all" };
                    out.detail(&format!("{ends}: {}", pager.why()));
                    return Ok(false);
                }
                Ok(true) => out.detail(&format!("paging goes on: {}", pager.why())),
                Err(error) => {
                    out.problem(&format!("a job fails here: the answer {error}"));
                    return Ok(true);
                }
            }
            if page == self.flags.pages {
                let next = self.asker.prepare(&pager.request(&self.env)?).map(|sent| sent.shown());
                let next = next.map(|next| format!(", {next}")).unwrap_or_default();
                out.detail(&format!("page {} would be next{next}: `--pages {}` asks for it", page + 1, page + 1));
                return Ok(true);
            }
        }
    }

    fn show_schema(&self, inference: &Inference) {
        let (definition, out) = (self.definition, self.out);
        if inference.records() == 0 {
            out.line("no record came, so nothing is known of their fields");
            return;
        }
        let differences = inference.differences(definition.schema());
        out.line(&format!(
            "[record] beside what {} have (members that it does not name are ignored, and stored):",
            count(inference.records(), "record")
        ));
        if differences.is_empty() {
            out.detail("the same fields");
        }
        for difference in differences.iter().take(SHOWN_DIFFERENCES) {
            out.detail(difference);
        }
        if let Some(more) = differences.len().checked_sub(SHOWN_DIFFERENCES).filter(|more| *more > 0) {
            out.detail(&format!("and {more} more"));
        }
    }
}

/// The first records of a page, as the schema reads them.
fn show_records(out: &Printer, definition: &Definition, answer: &Answer, before: u64, good: u64, is_whole: bool) {
    let which = match (is_whole, answer.is_cut) {
        (true, false) => "as [record] says",
        (true, true) => "as [record] says, in what was looked at",
        (false, _) => "before one that is not as [record] says",
    };
    out.detail(&format!("{} {which}", count(good, "record")));
    let most = usize::try_from(good).unwrap_or(usize::MAX).min(SHOWN_RECORDS);
    for (record, number) in definition.first_records(&answer.body).iter().take(most).zip(before + 1..) {
        out.detail(&format!(
            "  {number}: {}",
            values(record.fields.iter().map(|(name, value)| (name, value.as_ref())))
        ));
    }
}

fn show_fields(out: &Printer, record: &LookedRecord) {
    for (name, value) in &record.fields {
        let value = value.as_ref().map_or_else(|| "no value".to_owned(), Json::to_string);
        out.detail(&format!("  {name} = {value}"));
    }
}

/// `record 2, byte 17, $.id: expected an integer, found "x"`
fn refusal(rejection: &Rejection, path: impl Fn(&str) -> Option<String>) -> String {
    let line = rejection.line.map(|line| format!(", line {line}")).unwrap_or_default();
    let field =
        rejection.field.as_ref().map(|name| format!(", {}", path(name).unwrap_or_else(|| format!("field `{name}`"))));
    format!(
        "record {}{line}, byte {}{}: expected {}, found {}",
        rejection.record,
        rejection.offset,
        field.unwrap_or_default(),
        rejection.expected,
        rejection.found
    )
}

fn digest(lines: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    hasher.write(lines);
    hasher.finish()
}
