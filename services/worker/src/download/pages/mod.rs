//! A file that comes in several answers, each of which says whether there is another one.

pub(crate) mod answer;
pub(crate) mod fetch;
mod sink;

use waybill_source::{Definition, Pager};

use crate::{
    context::Context,
    download::{client::Target, refusal::mask},
};

/// Where the next page is asked for. An address that an upstream gave may repeat what it was sent, and so may what is wrong
/// with it.
pub(crate) fn target(context: &Context, definition: &Definition, pager: &Pager<'_>) -> Result<Target, String> {
    let env = &context.worker.env;
    let request = pager.request(env).map_err(|error| error.to_string());
    let target = request.and_then(|request| context.upstream.target(definition, &request));
    let mut target = target.map_err(|reason| mask(&reason, definition, env))?;
    target.path = mask(&target.path, definition, env);
    Ok(target)
}
