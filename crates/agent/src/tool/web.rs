//! `web_fetch`: the text of a page, from the hosts that the operator has named.
//!
//! ```text
//!   url ─▶ on the list? ─▶ its addresses, without those that are not public ─▶ GET
//!    ▲                                                                          │
//!    └────────────────────────── 3xx, five times at most ───────────────────────┤
//!                                               2xx: what a person would read of it
//! ```
//!
//! Invariant: nothing connects to an address that is not public unless the list names that very
//! address. The connection goes to the addresses that were judged, so a name that means something
//! else a moment later (or in a redirect) leads nowhere.

pub mod allowed;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Response, Url};
use serde_json::json;

use self::allowed::{Allowed, is_public};
use super::http::{read, words};
use super::runner::{Invocation, OutsideTool, RESULT_BYTES_MAX, ToolOutcome, ToolRunner};
use crate::http_client;
use crate::provider::ToolSpec;

/// What the tool is called.
pub const NAME: &str = "web_fetch";

/// How long a page may take, redirects included.
const TIME_MAX: Duration = Duration::from_secs(30);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 5;
/// Bytes of a page that are looked at: markup is several times longer than what it says.
const BODY_BYTES_MAX: usize = 2 << 20;
const URL_BYTES_MAX: usize = 2_048;
/// Characters of a line of text made from HTML.
const WIDTH: usize = 120;

/// Fetches pages.
pub struct WebFetch {
    env: Env,
    allowed: Arc<Allowed>,
    tool: OutsideTool,
    client: reqwest::Client,
}

/// The HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP for {NAME}")]
pub struct WebFetchError(#[source] reqwest::Error);

impl WebFetch {
    /// Fetches from hosts on this list and from no other.
    pub fn new(env: Env, allowed: Allowed) -> Result<Self, WebFetchError> {
        // A proxy would look names up by itself, and connect to what it finds.
        let client = http_client::for_anywhere()
            .no_proxy()
            .connect_timeout(CONNECT_TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(PublicOnly))
            .user_agent(concat!("kelpie/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(WebFetchError)?;
        Ok(Self { env, tool: offered(&allowed), allowed: Arc::new(allowed), client })
    }
}

/// The tool, as a model gets to see it.
fn offered(allowed: &Allowed) -> OutsideTool {
    let spec = ToolSpec {
        name: NAME.to_owned(),
        description: format!("Reads a page of the web as text. It can be at: {allowed}."),
        parameters: json!({
            "type": "object",
            "properties": { "url": { "type": "string", "description": "The page: https://…" } },
            "required": ["url"],
        }),
    };
    OutsideTool::new(spec, true, TIME_MAX).expect("ours is a schema")
}

impl ToolRunner for WebFetch {
    fn tools(&self) -> Vec<OutsideTool> {
        vec![self.tool.clone()]
    }

    fn run(&self, invocation: Invocation) -> BoxFuture<'static, ToolOutcome> {
        let (env, allowed, client) = (self.env.clone(), self.allowed.clone(), self.client.clone());
        async move {
            let page = async {
                let response = answered(&client, &allowed, asked(&invocation.arguments)?).await?;
                text(&env, response).await
            };
            match env.timeout(TIME_MAX, page).await {
                Ok(Ok(text)) => ToolOutcome::ok(text).bounded(),
                Ok(Err(why)) => ToolOutcome::failed(why).bounded(),
                Err(_) => {
                    ToolOutcome::failed(format!("the page did not come within {} s", TIME_MAX.as_secs()))
                }
            }
        }
        .boxed()
    }
}

/// The URL that a call asks for.
fn asked(arguments: &str) -> Result<Url, String> {
    let arguments = super::arguments(arguments)?;
    let url = arguments.get("url").and_then(serde_json::Value::as_str).unwrap_or_default();
    if url.len() > URL_BYTES_MAX {
        return Err(format!("the url has {} bytes; {URL_BYTES_MAX} are allowed", url.len()));
    }
    Url::parse(url).map_err(|error| format!("`{url}` is no url: {error}; it begins with https://"))
}

/// The answer of the page itself, behind all redirects.
async fn answered(client: &reqwest::Client, allowed: &Allowed, mut url: Url) -> Result<Response, String> {
    for _ in 0..=REDIRECTS_MAX {
        allowed.judge(&url)?;
        let sent = client.get(url.clone()).send().await;
        let response = sent.map_err(|error| format!("{url} cannot be reached: {}", words(error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let to = response.headers().get(LOCATION).filter(|_| status.is_redirection());
        let Some(to) = to.and_then(|to| to.to_str().ok()) else {
            return Err(format!("{url} answered HTTP {}", status.as_u16()));
        };
        url = url.join(to).map_err(|error| format!("{url} leads on to `{to}`, which is no url: {error}"))?;
    }
    Err(format!("more than {REDIRECTS_MAX} redirects, the last one to {url}"))
}

/// What a person would read.
async fn text(env: &Env, response: Response) -> Result<String, String> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("text/plain").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let html = matches!(&kind[..], "text/html" | "application/xhtml+xml");
    let plain = kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || matches!(&kind[..], "application/json" | "application/xml" | "application/javascript");
    if !html && !plain {
        return Err(format!("the page is {kind}, which is no text"));
    }
    let body = read(response, if html { BODY_BYTES_MAX } else { RESULT_BYTES_MAX + 1 }).await;
    let (body, cut) = body.map_err(|error| format!("the page broke off: {}", words(error)))?;
    let mut text = if html {
        let page = env.blocking(move || of_html(&body)).await;
        page.ok_or("the page cannot be read as HTML")?
    } else {
        String::from_utf8_lossy(&body).into_owned()
    };
    if html && cut && text.len() <= RESULT_BYTES_MAX {
        text.push_str(&format!("\n[cut here: the page is longer than {BODY_BYTES_MAX} bytes]"));
    }
    Ok(text)
}

/// The text of a page. It takes a while for a long one, so nobody else should wait for it; and
/// a page that the library does not bear harms nobody.
fn of_html(page: &[u8]) -> Option<String> {
    let config = html2text::config::plain().allow_width_overflow();
    let read = AssertUnwindSafe(|| config.string_from_read(page, WIDTH).ok());
    catch_unwind(read).ok().flatten()
}

/// Looks names up, and forgets addresses that are not public.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<_> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(format!("`{}` has no public address", name.as_str()).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        }
        .boxed()
    }
}
