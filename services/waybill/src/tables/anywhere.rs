//! Where a command's work is done: by the Waybill that runs, or by one that lives as long as the command.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::ServerFlags,
    client::Client,
    server::{self, listen_address::ListenAddress, settings::Settings, signals, target::Target},
};

/// How long it is asked whether a Waybill runs on this machine.
const KNOCK: Duration = Duration::from_secs(2);

/// Does `work` with the Waybill at WAYBILL_URL, else with the one that runs on this machine with these settings, else with
/// one that this process is meanwhile.
pub(crate) async fn anywhere<T>(
    flags: &ServerFlags,
    alone_as: Target,
    work: impl AsyncFnOnce(&Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if std::env::var_os("WAYBILL_URL").is_some() {
        return work(&Client::from_env()?).await;
    }
    let settings = Settings::load(flags)?;
    let local = Client::local(&settings)?;
    if matches!(tokio::time::timeout(KNOCK, local.ready()).await, Ok(Ok((true, _)))) {
        return work(&local).await;
    }
    if alone_as.works() && (settings.s3_bucket.is_some() || settings.amqp_url.is_some()) {
        bail!("no Waybill answers at {}: WAYBILL_URL says where the one is that works on this bucket", local.base());
    }
    alone(settings, alone_as, work).await
}

async fn alone<T>(
    settings: Settings,
    target: Target,
    work: impl AsyncFnOnce(&Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let place = settings.s3_bucket.clone().unwrap_or_else(|| settings.data.display().to_string());
    eprintln!("no Waybill runs here, so this works alone on {place}");
    let (listen, s3_listen) = (ListenAddress::default_port(0), ListenAddress::default_port(0));
    // Nobody else is to be served: what guards a server's port has no part in this.
    let settings =
        Settings { listen, s3_listen, keys: Vec::new(), tls_cert: None, tls_key: None, hits: false, ..settings };
    let interrupted = signals::shutdown()?;
    let stop = CancellationToken::new();
    let running = server::start(target, &settings, stop.clone()).await?;
    let client = Client::new(&running.url)?;
    let done = tokio::select! {
        done = work(&client) => done,
        () = interrupted.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    stop.cancel();
    running.ended.await.context("the server within this command ended badly")??;
    done
}
