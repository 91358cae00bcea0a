//! What the server says of one object: a HEAD, or a GET of the first byte where a HEAD tells no length.

use std::sync::atomic::Ordering;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};

use super::answer::{HeadJudgement, Judgement, Wanted, judge, judge_head};
use super::client::{Question, Reply, drain};
use super::patience::Patience;
use super::validator::{self, Version};
use super::{names, web::Web};
use crate::remote::api::RemoteError;
use crate::units::{ByteRange, Facts, ObjectName, Timestamp};

/// The facts of an object; its validator is `None` where the server names no version.
pub(super) async fn stat(web: &Web, name: &ObjectName) -> Result<Facts, RemoteError> {
    if name.is_root() {
        return Ok(web.dir(Timestamp::UNKNOWN));
    }
    let url = web.url_of(name)?;
    let mut patience = web.patience();
    match of_url(web, &url, &mut patience).await {
        Err(RemoteError::NotFound) if may_need_slash(web) => {
            of_directory(web, &url, &mut patience).await
        }
        other => other,
    }
}

/// The facts of what is at `url`.
pub(super) async fn of_url(
    web: &Web,
    url: &Url,
    patience: &mut Patience<'_>,
) -> Result<Facts, RemoteError> {
    let response = match patience.ask(&Question::head(url)).await? {
        Reply::Answer(_, response) => *response,
        Reply::Slash => return Ok(slash(web)),
    };
    let headers = response.headers();
    if is_page_of_directory(web, headers) {
        return Ok(web.dir(Timestamp::UNKNOWN));
    }
    match judge_head(response.status(), headers) {
        HeadJudgement::Length(size) => file(web, size, headers),
        HeadJudgement::AskGet => first_byte(web, url, patience).await,
        HeadJudgement::No(judgement) => Err(error_of(judgement)),
    }
}

/// Asks for one byte: the answer to that tells the length as well.
async fn first_byte(
    web: &Web,
    url: &Url,
    patience: &mut Patience<'_>,
) -> Result<Facts, RemoteError> {
    let asked = Wanted::Part(ByteRange::new(0, 1));
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    let response = match patience.ask(&Question::get(url, headers)).await? {
        Reply::Answer(_, response) => *response,
        Reply::Slash => return Ok(slash(web)),
    };
    if is_page_of_directory(web, response.headers()) {
        return Ok(web.dir(Timestamp::UNKNOWN));
    }
    let facts = match judge(asked, response.status(), response.headers()) {
        Judgement::Part { total } | Judgement::Whole { total } => {
            file(web, total, response.headers())
        }
        Judgement::Refused { total: Some(0) } => file(web, 0, response.headers()),
        judgement => Err(error_of(judgement)),
    };
    drain(response).await;
    facts
}

/// The directory at `url`, on a server that has none without a slash.
async fn of_directory(
    web: &Web,
    url: &Url,
    patience: &mut Patience<'_>,
) -> Result<Facts, RemoteError> {
    let url = names::with_slash(url);
    match patience.ask(&Question::head(&url)).await? {
        Reply::Answer(at, response)
            if at.path() == url.path() && response.status().is_success() =>
        {
            Ok(web.dir(Timestamp::UNKNOWN))
        }
        _ => Err(RemoteError::NotFound),
    }
}

fn slash(web: &Web) -> Facts {
    web.shared.redirects_to_slash.store(true, Ordering::Relaxed);
    web.dir(Timestamp::UNKNOWN)
}

/// Whether a 404 may mean a directory that was asked for without its slash: on servers that do not redirect to it
/// (`rclone serve http`).
fn may_need_slash(web: &Web) -> bool {
    let site = &web.site;
    let redirects = web.shared.redirects_to_slash.load(Ordering::Relaxed);
    site.only.is_none() && !site.pages_without_slash && !redirects
}

/// Whether the answer is the page of a directory that was asked for without its slash: dufs sends the page instead of a
/// redirect. Its pages have no version, and its files have.
pub(super) fn is_page_of_directory(web: &Web, headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_page = kind.is_some_and(|kind| kind.starts_with(b"text/html"));
    let version = validator::read(headers, 0).map(|version| version.validator);
    web.site.pages_without_slash && is_page && version == Ok(None)
}

fn file(web: &Web, size: u64, headers: &HeaderMap) -> Result<Facts, RemoteError> {
    let version: Version = validator::read(headers, size).map_err(RemoteError::Untrusted)?;
    Ok(web.file(size, &version))
}

/// The error that a judgement without bytes is.
pub(super) fn error_of(judgement: Judgement) -> RemoteError {
    match judgement {
        Judgement::NotFound => RemoteError::NotFound,
        Judgement::Forbidden => RemoteError::Forbidden,
        Judgement::Fails(why) => RemoteError::Unreachable(why),
        Judgement::Lies(why) => RemoteError::Untrusted(why),
        Judgement::Refused { .. } => RemoteError::Untrusted(
            "the server refuses a range that lies within the object's size".into(),
        ),
        Judgement::Part { .. } | Judgement::Whole { .. } => {
            RemoteError::Untrusted("the server sent content that was not requested".into())
        }
    }
}
