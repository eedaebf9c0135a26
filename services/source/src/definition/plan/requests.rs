//! Applies a definition to a job: items, and the requests, keys and partitions of items.
//!
//! What goes wrong here is an upstream's doing or a value's; no secret is ever in an error.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use minijinja::Value;
use url::Url;

use crate::{
    Credentials, Env, Item, ItemDraft, ItemError, JobContext, Page, PageParts, Params, Rejection, Request, RequestBody,
    Row, Upload,
    definition::{
        Definition,
        model::{Auth, BodyTemplate, JsonTemplate, Level, Origin, RequestTemplate},
        plan::{
            listing,
            names::{Names, Of},
            pager::Pager,
            windows,
        },
        template::{Destination, MAX_NAME_BYTES, RenderError, Template, cut_name},
    },
    hash::sha256_hex,
    item::Values,
    params::{Param, ParamKind},
};

/// Hex digits of the hash in the key of a batch.
const KEY_DIGITS: usize = 12;

impl Definition {
    /// How many `[[items]]` there are: the levels to expand.
    pub fn levels(&self) -> usize {
        self.items.levels.len()
    }

    /// The items of `level` below `parent` where the definition itself says them; `None` where the upstream
    /// does: then [`Self::listing`] and [`Self::expand`] lead to them.
    pub fn fixed(
        &self,
        level: usize,
        job: &JobContext,
        parent: &ItemDraft,
    ) -> Result<Option<Vec<ItemDraft>>, ItemError> {
        let Some(Level { set, origin }) = self.items.levels.get(level) else { return Ok(None) };
        let list = match origin {
            Origin::Fixed(list) => Cow::Borrowed(list),
            Origin::Dates(windows) => {
                let scope = Value::from_pairs(with(self.job_names(job), tables(&parent.values)));
                Cow::Owned(windows.items(job, &scope)?)
            }
            Origin::Listed(_) | Origin::Uploaded => return Ok(None),
        };
        let draft = |fields: &_| {
            let mut draft = parent.clone();
            draft.values.insert(set.name.clone(), Clone::clone(fields));
            draft
        };
        Ok(Some(list.iter().map(draft).collect()))
    }

    /// The first request that lists the items of `level` (from 0, less than [`Self::levels`]) below `parent`.
    pub fn listing(&self, level: usize, job: &JobContext, parent: &ItemDraft, env: &Env) -> Result<Request, ItemError> {
        self.listing_pages(level, job, parent)?.request(env)
    }

    /// The requests that list the items of `level` below `parent`.
    pub fn listing_pages<'a>(
        &'a self,
        level: usize,
        job: &JobContext,
        parent: &'a ItemDraft,
    ) -> Result<Pager<'a>, ItemError> {
        let level = self.level(level)?;
        let Origin::Listed(listing) = &level.origin else { return Err(is_not_listed(level)) };
        let what = format!("the listing of `{}`", level.set.name);
        let names = with(self.job_names(job), tables(&parent.values));
        Pager::new(self, (&listing.request, &listing.pages), (what, Of::Values(&parent.values)), names)
    }

    /// The name of a level's items.
    pub fn level_name(&self, level: usize) -> &str {
        self.items.levels.get(level).map_or("", |level| &level.set.name)
    }

    /// The items of `level` in the answer to [`Self::listing`]; each carries its parent's values too.
    pub fn expand(&self, level: usize, parent: &ItemDraft, body: &[u8]) -> Result<Vec<ItemDraft>, Rejection> {
        match self.items.levels.get(level) {
            Some(Level { origin: Origin::Listed(_), .. }) => {
                self.expand_page(level, parent, body, PageParts::default()).map(|(drafts, _)| drafts)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The items of `level`, which the upstream lists, in one page of the answer to [`Self::listing`], and what else
    /// is wanted of the page.
    pub fn expand_page(
        &self,
        level: usize,
        parent: &ItemDraft,
        body: &[u8],
        parts: PageParts,
    ) -> Result<(Vec<ItemDraft>, Page), Rejection> {
        match self.items.levels.get(level) {
            Some(listed @ Level { origin: Origin::Listed(listing), .. }) => {
                listing::expand(listed, &listing.records, parent, body, parts)
            }
            _ => Ok(Default::default()),
        }
    }

    /// A draft of the last level made an item, with its key, or with the problem why it has none.
    pub fn item(&self, params: &Params, draft: ItemDraft) -> Item {
        let scope = Value::from_pairs(with(vec![("params", self.params_value(params))], tables(&draft.values)));
        let key = match &self.items.key {
            Some(key) => render("the key", Of::Values(&draft.values), key, &scope),
            None => Err(ItemError("the items of this source are made of an upload".into())),
        };
        match key {
            Ok(key) => Item { key, values: draft.values, problem: None },
            Err(error) => {
                let hash = sha256_hex(serde_json::to_string(&draft.values).unwrap_or_default().as_bytes());
                let key = format!("unnamed-{}", &hash[..KEY_DIGITS]);
                Item { key, values: draft.values, problem: Some(error.to_string()) }
            }
        }
    }

    /// The first request that fetches the file of a task's items: one, or at most [`Self::batch`].
    /// An error where the items are an upload: there a request is made of a row ([`Self::row_request`]).
    pub fn fetch(&self, job: &JobContext, items: &[Item], env: &Env) -> Result<Request, ItemError> {
        self.fetch_pages(job, items)?.request(env)
    }

    /// The requests that fetch the file of a task's items.
    pub fn fetch_pages<'a>(&'a self, job: &JobContext, items: &'a [Item]) -> Result<Pager<'a>, ItemError> {
        if self.upload().is_some() {
            return Err(ItemError("the requests of this source are made of the rows of an upload".into()));
        }
        let fetch = self.requests().ok_or_else(is_loaded)?;
        let (of, names) = self.task_names(job, items)?;
        Pager::new(self, (&fetch.request, &fetch.pages), ("the fetch".to_owned(), of), names)
    }

    /// The request that sends a row. An error where the row has a problem, and where its values make no request.
    pub fn row_request(&self, job: &JobContext, row: &Row, env: &Env) -> Result<Request, ItemError> {
        let upload = self.upload().ok_or_else(|| ItemError("the items of this source are not an upload".into()))?;
        if let Some(problem) = &row.problem {
            return Err(ItemError(problem.clone()));
        }
        let fetch = self.requests().ok_or_else(is_loaded)?;
        let names = with(self.job_names(job), [(upload.name(), row_value(upload, row))]);
        self.request("the request", Of::Line(row.line), names, &fetch.request, env)
    }

    /// The path of [`Self::fetch`]'s requests as the definition writes it: no value is in it. Empty where an upload is
    /// loaded.
    pub fn fetch_path(&self) -> String {
        self.requests().map_or_else(String::new, |fetch| fetch.request.path.source())
    }

    /// Where the window of time ends that an item is, or lies in; `None` where it is none. Of two windows with the same
    /// beginning, the end of the longer one is the greater text.
    pub fn window_end<'a>(&self, item: &'a Item) -> Option<&'a str> {
        let is_window = |level: &&Level| matches!(level.origin, Origin::Dates(_));
        let innermost = self.items.levels.iter().rev().find(is_window)?;
        item.values.get(&innermost.set.name)?.get(windows::TO)?.as_str()
    }

    /// The Hive-style partition of a task's object: `country=singapore/date=2024-05-01`.
    pub fn partition(&self, job: &JobContext, items: &[Item]) -> Result<String, ItemError> {
        let (of, names) = self.task_names(job, items)?;
        let scope = Value::from_pairs(names);
        let parts = self.partition.names.iter().zip(&self.partition.values);
        let parts = parts.map(|(name, value)| Ok(format!("{name}={}", render("the partition", of, value, &scope)?)));
        Ok(parts.collect::<Result<Vec<_>, ItemError>>()?.join("/"))
    }

    /// The `date=` of a job's partition, where it is the same for all of its items; `None` where it depends on them.
    pub fn date(&self, job: &JobContext) -> Option<String> {
        let at = self.partition.names.iter().position(|name| name == "date")?;
        self.partition.values.get(at)?.render(&Value::from_pairs(self.job_names(job))).ok()
    }

    /// The item key of a task's object: that of its only item, or one for the batch, such as
    /// `3439525-and-19-more-0123456789ab`. The same items in the same order give the same key, and others
    /// another.
    pub fn object_item_key(&self, items: &[Item]) -> Result<String, ItemError> {
        let first = self.first(items)?;
        if items.len() == 1 {
            return Ok(first.key.clone());
        }
        // No key holds a line feed, so no two lists of keys are one text.
        let keys: Vec<_> = items.iter().map(|item| item.key.as_str()).collect();
        let hash = sha256_hex(keys.join("\n").as_bytes());
        let rest = format!("-and-{}-more-{}", items.len() - 1, &hash[..KEY_DIGITS]);
        let mut key = first.key.clone();
        cut_name(&mut key, MAX_NAME_BYTES - rest.len());
        Ok(key + &rest)
    }

    /// The first of a task's items, of which there are as many as a task may have.
    fn first<'a>(&self, items: &'a [Item]) -> Result<&'a Item, ItemError> {
        match items {
            [first, ..] if items.len() <= self.items_of_task() => Ok(first),
            _ => {
                let (most, found) = (self.items_of_task(), items.len());
                Err(ItemError(format!("expected a task of 1 to {most} items, found {found}")))
            }
        }
    }

    /// The rows of a task are one item.
    fn items_of_task(&self) -> usize {
        if self.upload().is_some() { 1 } else { self.batch() }
    }

    fn level(&self, level: usize) -> Result<&Level, ItemError> {
        self.items.levels.get(level).ok_or_else(|| ItemError(format!("there is no level {level} of [[items]]")))
    }

    /// What the templates of `[fetch]` and `[store]` see.
    fn task_names<'a>(&self, job: &JobContext, items: &'a [Item]) -> Result<(Of<'a>, Names<'a>), ItemError> {
        let first = self.first(items)?;
        let names = self.job_names(job);
        if self.upload().is_some() {
            return Ok((Of::Values(&first.values), names));
        }
        if self.requests().is_none_or(|fetch| fetch.batch.is_none()) {
            return Ok((Of::Values(&first.values), with(names, tables(&first.values))));
        }
        let batch = items.iter().map(|item| Value::from_pairs(tables(&item.values).collect::<Vec<_>>())).collect();
        Ok((Of::Batch(items), with(names, [("batch", batch)])))
    }

    pub(crate) fn request(
        &self,
        what: &str,
        of: Of<'_>,
        names: Names<'_>,
        request: &RequestTemplate,
        env: &Env,
    ) -> Result<Request, ItemError> {
        let auth = self.auth.as_ref();
        let secret = request.templates().into_iter().chain(auth.into_iter().flat_map(Auth::templates));
        if secret.into_iter().any(Template::is_secret)
            && let Some(name) = self.missing_env(env).next()
        {
            return Err(ItemError(format!("{what} needs the environment variable `{name}`, which is not set")));
        }
        let named = self.env_names.iter().filter_map(|name| Some((name.as_str(), env.get(name)?.as_str())));
        let env = Value::from_pairs(named.collect::<Vec<_>>());
        let scope = Value::from_pairs(with(names, [("env", env)]));
        let writer = Writer { what, of, scope: &scope };
        let query = writer.pairs(&request.query)?;
        let mut headers = writer.pairs(&request.headers)?;
        let mut body = request.body.as_ref().map(|body| writer.body(body)).transpose()?;
        if let Some(body) = &mut body
            && let Some(at) = headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            body.content_type = headers.swap_remove(at).1;
        }
        let text = render(what, of, &request.path, &scope)?;
        let auth = auth.map(|auth| writer.credentials(auth)).transpose()?.unwrap_or_default();
        let request = Request { method: request.method, query, headers, body, auth, ..self.address(request, text) };
        Ok(request)
    }

    /// Where a request goes: an address is shown by its path alone.
    fn address(&self, request: &RequestTemplate, text: String) -> Request {
        match request.path.destination() {
            Destination::Url => {
                let shown = Url::parse(&text).map_or_else(|_| request.path.source(), |url| url.path().to_owned());
                Request { url: Some(text), shown, ..Request::default() }
            }
            _ => Request { path: text.clone(), shown: text, ..Request::default() },
        }
    }

    /// What HTTP's basic authentication makes of a user and a password, where they are from the environment.
    pub fn encoded_secret(&self, env: &Env) -> Option<String> {
        let Some(Auth::Basic(pair)) = &self.auth else { return None };
        if !pair.iter().any(Template::is_secret) {
            return None;
        }
        let env =
            Value::from_pairs(env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>());
        let scope = Value::from_pairs([("env", env)]);
        let [user, password] = [&pair[0], &pair[1]].map(|template| template.render(&scope).ok());
        Some(BASE64.encode(format!("{}:{}", user?, password?)))
    }

    pub(super) fn job_names(&self, job: &JobContext) -> Names<'static> {
        let about = Value::from_pairs([("id", job.id.as_str()), ("date", job.date.as_str())]);
        vec![("params", self.params_value(&job.params)), ("job", about)]
    }

    fn params_value(&self, params: &Params) -> Value {
        let params = self.params.iter().filter_map(|Param { name, kind, .. }| {
            let text = params.0.get(name)?.as_str();
            let typed = match kind {
                ParamKind::Integer => text.parse::<i64>().ok().map(Value::from),
                ParamKind::Boolean => text.parse::<bool>().ok().map(Value::from),
                ParamKind::Date | ParamKind::Datetime | ParamKind::String => None,
            };
            Some((name.as_str(), typed.unwrap_or_else(|| Value::from(text))))
        });
        Value::from_pairs(params.collect::<Vec<_>>())
    }
}

fn with<'a>(mut names: Names<'a>, more: impl IntoIterator<Item = (&'a str, Value)>) -> Names<'a> {
    names.extend(more);
    names
}

fn tables(values: &Values) -> impl Iterator<Item = (&str, Value)> {
    values.iter().map(|(name, fields)| {
        let fields = fields.iter().map(|(name, value)| (name.as_str(), scalar(value)));
        (name.as_str(), Value::from_pairs(fields.collect::<Vec<_>>()))
    })
}

/// A row as templates see it: `none` where a column has no value.
pub(crate) fn row_value(upload: &Upload, row: &Row) -> Value {
    let fields = upload.schema().fields.iter().map(|field| {
        let value = row.values.get(&field.name).map_or_else(|| Value::from(()), scalar);
        (field.name.as_str(), value)
    });
    Value::from_pairs(fields.chain([("line", row.line.into())]).collect::<Vec<_>>())
}

/// Fills the templates of a request.
#[derive(Debug, Clone, Copy)]
struct Writer<'a> {
    what: &'a str,
    of: Of<'a>,
    scope: &'a Value,
}

impl Writer<'_> {
    fn error(&self, error: &RenderError) -> ItemError {
        ItemError(format!("{} cannot be made for {}: {error}", self.what, self.of))
    }

    /// Without those that give `none`.
    fn pairs(&self, pairs: &[(String, Template)]) -> Result<Vec<(String, String)>, ItemError> {
        let mut written = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let text = value.text(self.scope).map_err(|error| self.error(&error))?;
            written.extend(text.map(|text| (name.clone(), text)));
        }
        Ok(written)
    }

    fn body(&self, body: &BodyTemplate) -> Result<RequestBody, ItemError> {
        let (content_type, text) = match body {
            BodyTemplate::Json(json) => ("application/json", self.json(json)?.to_string()),
            BodyTemplate::Form(pairs) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(self.pairs(pairs)?);
                ("application/x-www-form-urlencoded", form.finish())
            }
            BodyTemplate::Text(text) => {
                let text = text.text(self.scope).map_err(|error| self.error(&error))?;
                ("text/plain; charset=utf-8", text.unwrap_or_default())
            }
        };
        Ok(RequestBody { content_type: content_type.to_owned(), text })
    }

    fn credentials(&self, auth: &Auth) -> Result<Credentials, ItemError> {
        let text = |template: &Template| {
            let text = template.text(self.scope).map_err(|error| self.error(&error))?;
            Ok::<_, ItemError>(text.unwrap_or_default())
        };
        let authorization = |value: String| vec![("Authorization".to_owned(), value)];
        Ok(match auth {
            Auth::Bearer(token) => {
                Credentials { headers: authorization(format!("Bearer {}", text(token)?)), ..Credentials::default() }
            }
            Auth::Basic(pair) => {
                let pair = format!("{}:{}", text(&pair[0])?, text(&pair[1])?);
                let encoded = BASE64.encode(pair);
                Credentials { headers: authorization(format!("Basic {encoded}")), ..Credentials::default() }
            }
            Auth::Headers(pairs) => Credentials { headers: self.pairs(pairs)?, ..Credentials::default() },
            Auth::Query(pairs) => Credentials { query: self.pairs(pairs)?, ..Credentials::default() },
        })
    }

    /// Without the members that are one expression giving `none`.
    fn json(&self, json: &JsonTemplate) -> Result<serde_json::Value, ItemError> {
        Ok(match json {
            JsonTemplate::Literal(value) => value.clone(),
            JsonTemplate::Value(template) => template.json(self.scope).map_err(|error| self.error(&error))?,
            JsonTemplate::List(values) => values.iter().map(|value| self.json(value)).collect::<Result<_, _>>()?,
            JsonTemplate::Object(members) => {
                let mut object = serde_json::Map::new();
                for (name, member) in members {
                    let value = self.json(member)?;
                    if !(value.is_null() && matches!(member, JsonTemplate::Value(_))) {
                        object.insert(name.clone(), value);
                    }
                }
                object.into()
            }
        })
    }
}

fn render(what: &str, of: Of<'_>, template: &Template, scope: &Value) -> Result<String, ItemError> {
    template.render(scope).map_err(|error| ItemError(format!("{what} cannot be made for {of}: {error}")))
}

/// An item's value as templates see it. Lists and tables do not occur: a field is of a simple type.
fn scalar(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Bool(value) => (*value).into(),
        serde_json::Value::String(value) => value.as_str().into(),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, Some(number)) => number.into(),
            (None, None, None) => Value::UNDEFINED,
        },
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => Value::UNDEFINED,
    }
}

fn is_loaded() -> ItemError {
    ItemError("the upload of this source is loaded into a table, without a request".into())
}

fn is_not_listed(level: &Level) -> ItemError {
    let by =
        if matches!(level.origin, Origin::Uploaded) { "uploaded by the client" } else { "listed by the definition" };
    ItemError(format!("the items of `{}` are {by}, not by the upstream", level.set.name))
}
