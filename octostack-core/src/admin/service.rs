use super::access::{self, Access, Facts, Token};
use super::action::Action;
use super::override_page::{OverridePage, Place};
use super::page::{self, Content, Page, Render};
use super::{Admin, Shared, policyz, probes, statusz};
use crate::health::Probe;
use crate::inspect::overrides::Actor;
use crate::server::Peer;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The most that a request may send.
const MAX_BODY: usize = 64 * 1024;

/// How long it may take to send that.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The most that is kept of the name that a caller gives.
const MAX_ACTOR: usize = 128;

/// What a path leads to.
enum Route<'a> {
    Probe(Probe, Option<String>),
    Index,
    Status,
    Policies,
    Policy(String),
    Page(&'a Page, &'a Render),
    Overrides(&'a Page, &'a OverridePage, Place),
    Action(&'a Page, &'a Action),
    Nothing,
}

impl<'a> Route<'a> {
    fn of(admin: &'a Shared, path: &str) -> Self {
        if let Some(probe) = Probe::at(path) {
            return Self::Probe(probe, None);
        }
        if let Some(name) = path.strip_prefix("/readyz/").filter(|name| !name.is_empty()) {
            let check = page::percent_decoded(name);
            return check.map_or(Self::Nothing, |name| Self::Probe(Probe::Ready, Some(name)));
        }
        match path {
            "/" => return Self::Index,
            "/statusz" => return Self::Status,
            "/policyz" | "/policyz/" => return Self::Policies,
            _ => {}
        }
        if let Some(name) = path.strip_prefix("/policyz/") {
            return page::percent_decoded(name).map_or(Self::Nothing, Self::Policy);
        }
        let found = admin.pages.iter().find_map(|page| Some((page, page.rest(path)?)));
        match found.map(|(page, rest)| (page, &page.content, rest)) {
            Some((page, Content::Own(render), _)) => Self::Page(page, render),
            Some((page, Content::Overrides(things), rest)) => {
                Place::of(rest).map_or(Self::Nothing, |place| Self::Overrides(page, things, place))
            }
            Some((page, Content::Action(action), _)) => Self::Action(page, action),
            None => Self::Nothing,
        }
    }

    const fn access(&self) -> Access {
        match self {
            Self::Probe(..) => Access::Anyone,
            Self::Page(page, _) | Self::Overrides(page, ..) | Self::Action(page, _) => page.access,
            // What is not there is told only to those who may see what is.
            Self::Index | Self::Status | Self::Policies | Self::Policy(_) | Self::Nothing => {
                Access::Operators
            }
        }
    }

    /// Whether a request with this method says in its body what to change.
    fn listens(&self, method: &Method) -> bool {
        match self {
            Self::Policy(_) | Self::Overrides(_, _, Place::Override(_)) => *method == Method::PUT,
            Self::Action(..) => *method == Method::POST,
            _ => false,
        }
    }
}

impl<B> tower_service::Service<Request<B>> for Admin
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let admin = Arc::clone(&self.shared);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let response = admin.answer(&parts, body).await;
            Ok(finish(response, parts.method == Method::HEAD))
        })
    }
}

impl Shared {
    async fn answer<B>(&self, parts: &Parts, body: B) -> Response<Bytes>
    where
        B: Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let route = Route::of(self, parts.uri.path());
        let facts = Facts::of(parts, !body.is_end_stream());
        let tokens = self.tokens.load();
        // Anybody may probe, and not everybody is told why it fails.
        let reasons = matches!(route, Route::Probe(..))
            && access::decide(&facts, Access::Operators, self.setting, &tokens).is_ok();
        let token = match access::decide(&facts, route.access(), self.setting, &tokens) {
            Ok(token) => token,
            Err(no) => return page::refusal(no.status, no.detail, &[]),
        };
        drop(tokens); // so that a slow body does not keep old tokens alive
        let body = if route.listens(&parts.method) {
            match read(body).await {
                Ok(body) => body,
                Err(refusal) => return refusal,
            }
        } else {
            Bytes::new()
        };
        if let (Route::Action(_, action), &Method::POST) = (&route, &parts.method) {
            return action.answer(&body, actor(parts, token)).await;
        }
        // A page asks items of other crates. One that panics must not hide why the service fails
        // behind a closed connection.
        let look = AssertUnwindSafe(|| self.respond(&route, parts, &body, (token, reasons)));
        catch_unwind(look).unwrap_or_else(|_| {
            let detail = "the page panicked; the log says where";
            page::refusal(StatusCode::INTERNAL_SERVER_ERROR, detail, &[])
        })
    }

    fn respond(
        &self,
        route: &Route<'_>,
        parts: &Parts,
        body: &[u8],
        (token, reasons): (Option<Token>, bool),
    ) -> Response<Bytes> {
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        match route {
            Route::Probe(probe, check) => {
                probes::answer(self, (*probe, check.as_deref()), parts, reasons)
            }
            Route::Nothing => {
                page::refusal(StatusCode::NOT_FOUND, "no such page; `/` lists them", &[])
            }
            Route::Policy(name) => match parts.method {
                Method::PUT => policyz::set(&self.registry, name, body, &actor(parts, token)),
                Method::DELETE => policyz::end(&self.registry, name, &actor(parts, token)),
                _ if reads => policyz::show(&self.registry, name),
                _ => page::wrong_method("GET, HEAD, PUT, DELETE"),
            },
            Route::Overrides(_, things, Place::Override(name)) => match parts.method {
                Method::PUT => things.set(&self.registry, parts, name, body, &actor(parts, token)),
                Method::DELETE => things.end(&self.registry, parts, name, &actor(parts, token)),
                _ => page::wrong_method("PUT, DELETE"),
            },
            Route::Action(..) => page::wrong_method("POST"),
            _ if !reads => page::wrong_method("GET, HEAD"),
            Route::Index => page::text(self.index()),
            Route::Status => page::status(&statusz::status(self)),
            Route::Policies => policyz::list(&self.registry),
            Route::Page(_, render) => render(parts),
            Route::Overrides(_, things, Place::List) => things.look(&self.registry, parts, None),
            Route::Overrides(_, things, Place::One(name)) => {
                things.look(&self.registry, parts, Some(name))
            }
        }
    }

    fn index(&self) -> String {
        let own = [
            ("/livez", "does the process work"),
            (
                "/readyz",
                "should it get traffic; ?verbose, ?exclude={check}, ?group={name}, /readyz/{check}",
            ),
            ("/startupz", "has it started"),
            ("/statusz", "who this is, what is abnormal, the last events"),
            ("/policyz", "the policies; /policyz/{name} shows and changes one"),
        ];
        let added = self.pages.iter().map(|p| (p.path.as_str(), p.about.as_str()));
        let mut text = format!("{} {}\n\n", self.identity.name, self.identity.version);
        for (path, about) in own.into_iter().chain(added) {
            let _ = writeln!(text, "{path:<12} {about}"); // writing to a String cannot fail
        }
        text
    }
}

/// What every answer has in common.
fn finish(response: Response<Bytes>, is_head: bool) -> Response<Full<Bytes>> {
    let (mut parts, body) = response.into_parts();
    let headers = &mut parts.headers;
    let no_sniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_head {
        // Whoever made the answer may have known that already, and left the body out.
        let length = HeaderValue::from(body.len());
        headers.entry(header::CONTENT_LENGTH).or_insert(length);
        return Response::from_parts(parts, Full::default());
    }
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    Response::from_parts(parts, Full::new(body))
}

async fn read<B>(body: B) -> Result<Bytes, Response<Bytes>>
where
    B: Body,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let body = std::pin::pin!(Limited::new(body, MAX_BODY));
    let (status, detail) = match tokio::time::timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB")
        }
        Ok(Err(_)) => (StatusCode::BAD_REQUEST, "the body did not come to its end"),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the body took more than 10 s"),
    };
    Err(page::refusal(status, detail, &[]))
}

/// Who asks, for the audit.
fn actor(parts: &Parts, token: Option<Token>) -> Actor {
    let claimed = parts.headers.get("x-actor");
    let claimed = claimed.map(|name| printable(&String::from_utf8_lossy(name.as_bytes())));
    Actor {
        peer: peer(parts),
        token: token.map(|token| token.as_str().to_owned()),
        claimed: claimed.filter(|name| !name.is_empty()),
    }
}

/// Address of the peer, as the server left it.
fn peer(parts: &Parts) -> String {
    let peer = parts.extensions.get::<Peer>();
    peer.map_or_else(|| "unknown".to_owned(), |Peer(addr)| addr.to_string())
}

/// Without what could forge a line in a log or colour a terminal.
fn printable(name: &str) -> String {
    let visible = name.trim().chars().filter(|c| !c.is_control());
    visible.take(MAX_ACTOR).collect()
}

#[cfg(test)]
mod tests {
    use super::{MAX_ACTOR, printable};

    #[test]
    fn names_cannot_forge_lines() {
        assert_eq!(printable(" eve\r\n\u{1b}[31mroot\u{9b} "), "eve[31mroot");
        assert_eq!(printable(&"ö".repeat(500)).chars().count(), MAX_ACTOR);
    }
}
