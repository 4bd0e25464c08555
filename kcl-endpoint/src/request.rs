//! What every request has to pass, and what every answer has.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};

use crate::auth::{Signed, resources};
use crate::body::{Answering, EVENTS, Reply};
use crate::connection::Flight;
use crate::dispatch::answer;
use crate::error::ApiError;
use crate::state::State;
use crate::wire::Format;

/// Answers a request, whatever it is.
pub(crate) async fn respond(
    state: &Arc<State>,
    request: Request<Incoming>,
    flight: Flight,
) -> Response<Answering> {
    let format = format_of(request.headers());
    let (target, version) = (request.headers().get("x-amz-target").cloned(), request.version());
    let answered = take(state, request, format).await;
    let format = format.unwrap_or(Format::Json);
    let (status, body, error) = match answered {
        Ok(body) => (StatusCode::OK, body, None),
        Err(error) => {
            let told = Told { kind: error.name, message: &error.message };
            let body = Reply::Whole(format.write(&told).unwrap_or_default());
            (error.status, body, Some(error.name))
        }
    };
    tracing::debug!(?version, ?format, ?target, status = status.as_u16(), error, "answered");
    let content_type = match body {
        Reply::Whole(_) => format.content_type(),
        Reply::Events(_) => EVENTS,
    };
    let mut response = Response::new(Answering::new(body, flight, state.bounds.write));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let date = UNIX_EPOCH + Duration::from_millis(state.clock.wall_millis());
    let id = uuid::Uuid::new_v4().to_string();
    for (name, value) in [
        ("date", httpdate::fmt_http_date(date)),
        ("x-amzn-requestid", id.clone()),
        ("x-amz-id-2", id),
        ("x-amzn-errortype", error.unwrap_or_default().to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value)
            && !value.is_empty()
        {
            headers.insert(hyper::header::HeaderName::from_static(name), value);
        }
    }
    response
}

/// An error on the wire.
#[derive(serde::Serialize)]
struct Told<'a> {
    #[serde(rename = "__type")]
    kind: &'a str,
    message: &'a str,
}

fn format_of(headers: &HeaderMap) -> Option<Format> {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(Format::of)
}

async fn take(
    state: &Arc<State>,
    request: Request<Incoming>,
    format: Option<Format>,
) -> Result<Reply, ApiError> {
    let headers = request.headers();
    // Pages of a browser, of whatever site, must not reach an endpoint on the same machine.
    if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err(ApiError::access_denied("Requests of web pages are refused."));
    }
    if request.method() != Method::POST || request.uri().path() != "/" {
        let asked = format!("{} {}", request.method(), request.uri().path());
        return Err(ApiError::unknown_operation(&asked));
    }
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let target = target.unwrap_or_default().to_owned();
    let format = format.ok_or_else(|| ApiError::unknown_operation(&target))?;
    // Before the body is waited for: strangers get no memory.
    let sign = |_: &_| Signed::read(request.method().as_str(), request.uri(), headers);
    let signed = state.keys.as_ref().map(sign).transpose()?;
    let key = match (&state.keys, &signed) {
        (Some(keys), Some(signed)) => Some(keys.admit(signed, state.clock.wall_millis())?),
        _ => None,
    };
    let collected = tokio::select! { biased;
        collected = state.budget.collect(request.into_body()) => collected?,
        () = state.clock.sleep(state.bounds.body) => return Err(ApiError::too_slow()),
    };
    let body = &collected.bytes;
    if let (Some(key), Some(signed)) = (key, &signed) {
        key.verify(signed, body)?;
        let operation = target.rsplit('.').next().unwrap_or_default();
        let named = resources(&state.seal, format, body, |id| state.name_of(id))?;
        key.authorize(operation, &named)?;
    }
    format.check_depth(body)?;
    // What waits for a disk must not hold up the connections.
    if state.engine.is_kept() && !is_read(&target) {
        let state = Arc::clone(state);
        let answer = move || {
            // All of it: the body counts until it is answered, also if its client has gone.
            let collected = collected;
            answer(&state, &target, format, &collected.bytes)
        };
        let answered = tokio::task::spawn_blocking(answer).await;
        return answered.unwrap_or_else(|_| Err(ApiError::internal("The request broke off.")));
    }
    answer(state, &target, format, body)
}

/// True for operations that change nothing.
fn is_read(target: &str) -> bool {
    let operation = target.rsplit('.').next().unwrap_or_default();
    ["Get", "List", "Describe", "Subscribe"].iter().any(|verb| operation.starts_with(verb))
}
