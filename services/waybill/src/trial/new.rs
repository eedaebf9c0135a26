//! `waybill new URL`: a definition drafted from an answer, on standard output. What was done, and what to do next, is on
//! standard error.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use reqwest::Url;
use waybill_source::{Asked, Definition, Draft, DraftAnswer, ItemDraft, JobContext, PageAnswer, Params, Request};

use crate::{
    cli,
    trial::{
        attempt::today,
        client::{Answer, Asker, Origin},
        mask::Mask,
        printer::count,
    },
};

/// Asks for the first page, drafts, and asks for the second page by what was guessed.
pub(crate) async fn run(flags: cli::New) -> anyhow::Result<ExitCode> {
    let headers = flags.headers.iter().map(|header| parse_header(header)).collect::<anyhow::Result<Vec<_>>>()?;
    let url = Url::parse(&flags.url).map_err(|error| anyhow!("the address cannot be read: {error}"))?;
    let asked = Asked::new(&url, &headers, flags.name.as_deref())?;
    let mask = Mask::new(asked.env().values().map(String::as_str));
    draft(&flags, headers, &url, asked, &mask).await.map_err(|error| anyhow!("{}", mask.text(&format!("{error:#}"))))
}

async fn draft(
    flags: &cli::New,
    headers: Vec<(String, String)>,
    url: &Url,
    asked: Asked,
    mask: &Mask,
) -> anyhow::Result<ExitCode> {
    let base = url.origin().ascii_serialization();
    let mut asker = Asker::new(&base, waybill_source::Hosts::default(), Origin::Api, mask.clone())?;
    let first = Request { url: Some(flags.url.clone()), headers, ..Request::default() };
    let answer = ask(&mut asker, &first).await?;
    if !(200..300).contains(&answer.status) {
        let text: String = String::from_utf8_lossy(&answer.body).chars().take(300).collect();
        bail!("the API answers {}, so nothing can be drafted: {}", answer.status, text.trim());
    }
    if answer.is_cut {
        bail!("the answer has more than 10 MB: ask for a smaller part, such as with a `limit` in the query");
    }
    let mut draft = Draft::new(asked, &DraftAnswer { headers: &answer.headers, body: &answer.body })?;
    while let Some(why) = draft.guess().map(str::to_owned) {
        eprintln!("guess: {}", mask.text(&why));
        match second(&mut asker, &mut draft, &answer).await {
            Ok(()) => {
                eprintln!("  page 2 has other records: that is how pages follow each other");
                break;
            }
            Err(reason) => {
                let reason = mask.text(&format!("{reason:#}"));
                eprintln!("  not confirmed: {reason}");
                draft.refute(reason);
            }
        }
    }
    print!("{}", draft.to_toml());
    next_steps(&draft);
    Ok(ExitCode::SUCCESS)
}

async fn ask(asker: &mut Asker, request: &Request) -> anyhow::Result<Answer> {
    let sent = asker.prepare(request)?;
    let answer = asker.ask(&sent).await;
    let status = answer.as_ref().map_or_else(|_| "no answer".to_owned(), |answer| answer.status.to_string());
    eprintln!("{}: {status}", asker.mask().text(&sent.shown()));
    answer
}

/// Asks for the second page as a job would. The error says why it does not confirm the guess.
async fn second(asker: &mut Asker, draft: &mut Draft, first: &Answer) -> anyhow::Result<()> {
    let definition = Definition::parse("the draft", &draft.to_toml())?;
    let env = draft.asked().env().clone();
    let job = JobContext { id: "new".to_owned(), date: today(), params: Params::default() };
    let item = definition.fixed(0, &job, &ItemDraft::default())?.and_then(|items| items.into_iter().next());
    let items = [definition.item(&job.params, item.context("the draft has no item")?)];
    let mut pager = definition.fetch_pages(&job, &items)?;
    let request = pager.request(&env)?;
    let looked = definition.look(&first.body, false);
    let page = looked.page?;
    let seen = PageAnswer {
        status: first.status,
        headers: &first.headers,
        url: &first.url,
        records: page.scanned.records,
        body: Some(&page.body),
        last: page.last.as_ref(),
        digest: looked.digest,
    };
    if !pager.next(&request.query, &seen)? {
        bail!("by this the first page is the last: {}", pager.why());
    }
    let answer = ask(asker, &pager.request(&env)?).await?;
    if !(200..300).contains(&answer.status) {
        bail!("the API answers {} for page 2", answer.status);
    }
    if answer.is_cut {
        bail!("page 2 has more than 10 MB");
    }
    let other = definition.look(&answer.body, false);
    match &other.page {
        Ok(page) if page.scanned.records == 0 => bail!("page 2 has no records"),
        Ok(_) if other.digest == looked.digest => bail!("page 2 has the same records as page 1"),
        // What is wrong with a value was learned from page 1 alone.
        _ => draft.confirm(&first.body, &answer.body).context("page 2 cannot be read")?,
    }
    Ok(())
}

fn next_steps(draft: &Draft) {
    let name = draft.asked().name();
    eprintln!("\nDrafted from {}. Next:", count(draft.records(), "record"));
    eprintln!("  1. save it: waybill new ... > {name}.toml, and read its comments");
    for variable in draft.asked().env().keys() {
        eprintln!("  -  set the credential: export {variable}=...");
    }
    eprintln!("  2. waybill check {name}.toml    every mistake with its line");
    eprintln!("  3. waybill try {name}.toml      asks the API, and shows what a job would read");
    eprintln!("  4. waybill up --sources .       in the folder of {name}.toml, and `waybill submit {name}`");
    if draft.guess().is_none()
        && let Some(more) = draft.more()
    {
        eprintln!("The answer is not all there is: {more}. Say in `pagination` how pages follow each other.");
    }
}

/// `name: value`, as curl takes it. An error shows no value.
fn parse_header(header: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = header.split_once(':').context("-H: expected `name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
