//! `stead serve`.

use crate::{print, told};
use anyhow::{Context, Result, bail};
use std::io::IsTerminal;
use std::sync::Arc;
use stead_server::app::{self, App};
use stead_server::clock::{SystemClock, SystemEntropy};
use stead_server::config::{Config, Place};
use stead_server::http::Door;
use stead_server::http::front::{self, Apart, Deadlines, Front, Listener, Service};
use stead_server::store::Location;
use stead_server::workspaces::FirstStart;
use stead_server::{data_dir, jobs};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Runs the server until it is told to stop.
pub(crate) async fn serve(mut config: Config) -> Result<()> {
    log(&config);
    // Before anybody is told that the server is ready, and may want to stop it.
    let signals = Signals::listen()?;
    data_dir::prepare(&config.data_dir).map_err(anyhow::Error::msg)?;
    let tls = match &config.tls {
        Some((certificate, key)) => Some(front::tls(certificate, key).map_err(anyhow::Error::msg)?),
        None => None,
    };
    // Before the store is opened: what is in use fails at once, and says so.
    let place = Place::Tcp(config.listen);
    let listener = Listener::bind(&place).await.with_context(|| format!("listen: {}", config.listen))?;
    if let Ok(bound) = listener.address().parse() {
        // Port 0 is whichever was free; links must name that one.
        config.listen = bound;
    }
    let verification = match &config.verify_listen {
        Some(place) => Some(Apart::bind(place).await.with_context(|| format!("verify-listen: {place}"))?),
        None => None,
    };
    let database_is_new = match &config.database {
        Location::Sqlite { file, durable } => {
            if !durable {
                tracing::warn!("synchronous=normal: a power cut loses acknowledged changes");
            }
            !file.exists()
        }
        // Whether it has keys is known only later; the pepper of a second node must come from the first.
        Location::Postgres { .. } => true,
    };
    let ring = data_dir::ring(&config, &SystemEntropy, database_is_new).map_err(anyhow::Error::msg)?;
    let mut made = None;
    if config.operator_api_key.is_none() {
        made = data_dir::make_operator_key(&config.data_dir, &SystemEntropy).map_err(anyhow::Error::msg)?;
        let credential = data_dir::operator_key(&config.data_dir, &config.format).map_err(anyhow::Error::msg)?;
        config.operator_api_key = Some(credential);
    }
    let built = app::build(&config, ring, Box::new(SystemClock::new()), Box::new(SystemEntropy)).await;
    let (app, first) = match built {
        Ok(built) => built,
        Err(failure) => return Err(told(failure).context("the server can't start")),
    };
    let url = config.url();
    print(&format!("Stead is ready at {url}"))?;
    if let Some(verification) = &verification {
        print(&format!("Verification is ready at {}", with_scheme("http", verification.address())))?;
    }
    if let Some(file) = made {
        // Where it is, and never what it is.
        print(&format!("The operator's credential, for `stead workspaces`, is in {}", file.display()))?;
    }
    if let Some(first) = first {
        print(&welcome(&url, &first))?;
    }
    let background = jobs::start(&app);
    let listeners = 1 + usize::from(verification.is_some());
    let front = |door, tls| Front {
        service: Service::new(app.clone(), door),
        tls,
        deadlines: Deadlines::default(),
        connections: front::connections(config.max_connections, listeners),
    };
    let (tell, mut told) = watch::channel(false);
    let until_told = async move { drop(told.wait_for(|told| *told).await) };
    let verification = verification.map(|apart| apart.serve(front(Door::Verification, None), until_told));
    let until_stopped = async {
        signals.stopped(app.clone()).await;
        tell.send_replace(true);
    };
    listener.serve(front(Door::Public, tls), until_stopped).await;
    if let Some(verification) = verification {
        verification.ended().await;
    }
    jobs::finish(&app, background).await;
    if *app.store.broken().borrow() {
        bail!("the store failed; start again to see what is on the disk");
    }
    Ok(())
}

/// The signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they no longer end the process by themselves.
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Done when the process is told to stop, or the store has failed for good.
    async fn stopped(mut self, app: Arc<App>) {
        let mut broken = app.store.broken();
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = broken.wait_for(|broken| *broken) => tracing::error!("the store has failed"),
        }
        tracing::info!("stopping");
    }
}

fn log(config: &Config) {
    // To standard error, so that standard output holds what the first start has to say and nothing else.
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info"))
        .with_ansi(terminal)
        .with_writer(std::io::stderr);
    if config.log_json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_target(false).init();
    }
}

fn with_scheme(scheme: &str, address: &str) -> String {
    if address.starts_with("unix:") { address.to_owned() } else { format!("{scheme}://{address}") }
}

/// What the first start prints: the key, once, and lines to paste.
fn welcome(url: &str, first: &FirstStart) -> String {
    let key = match &first.admin_api_key {
        Some(secret) => format!(
            "Your admin API key, shown this once. Keep it where you keep passwords:\n\n    {}\n\nTo try it, paste this:\n\n    export STEAD_KEY={}",
            secret.expose(),
            secret.expose()
        ),
        None => "The admin API key is the one from STEAD_ADMIN_API_KEY. To try it, paste this:\n\n    export STEAD_KEY=$STEAD_ADMIN_API_KEY".into(),
    };
    format!(
        r#"
{key}
    export STEAD={url}
    call() {{ curl -sS "$STEAD$2" -X "$1" -H "xi-api-key: $STEAD_KEY" -H 'content-type: application/json' ${{3:+-d "$3"}}; echo; }}
    field() {{ sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }}

    # a service account, and a key for it
    ACCOUNT=$(call POST /v1/service-accounts '{{"name":"ci"}}' | field service_account_id)
    KEY=$(call POST /v1/service-accounts/$ACCOUNT/api-keys '{{"name":"deploy","permissions":["text_to_speech"]}}')
    SECRET=$(echo "$KEY" | field api_key); KEY=$(echo "$KEY" | field key_id)

    # may it? yes; and no, with the reason
    call POST /v1/api-keys/verify '{{"api_key":"'$SECRET'","permissions":["text_to_speech"]}}'
    call POST /v1/api-keys/verify '{{"api_key":"'$SECRET'","permissions":["voices_write"],"explain":true}}'

    # a successor; the old key goes on for an hour. Then an end to the old one
    call POST /v1/service-accounts/$ACCOUNT/api-keys/$KEY/rotate '{{"grace_period_seconds":3600}}'
    call DELETE /v1/service-accounts/$ACCOUNT/api-keys/$KEY
    call POST /v1/api-keys/verify '{{"api_key":"'$SECRET'"}}'
"#
    )
}
