//! Requests to a hub: what a repository holds, what a file is, and a file's bytes from some place on.
//! Called by the fetcher and the downloader. Sources: the hub's documented API (`/api/models/ID/revision/REV`, `resolve`)
//! and its headers `x-linked-etag`, `x-linked-size`, `x-error-code`.
//! Invariant: the token goes to the endpoint's own scheme, host and port and nowhere else.

use std::io::Read;
use std::time::Duration;

use hf_hub::Repo;
use ureq::http::{HeaderMap, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

use crate::config::HubConfig;
use crate::error::{Error, ErrorKind};

use super::super::safetensors::is_plain;
use super::cache::is_identifier;

const REDIRECTS_MAX: usize = 8;
/// A listing of ten thousand files takes about a megabyte.
const LISTING_BYTES_MAX: u64 = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence of this length in the middle of a file counts as a broken transfer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: Error,
    /// Whether the same request may succeed later: a broken connection, a busy server.
    pub(super) transient: bool,
}

/// What a repository holds.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) names: Vec<String>,
}

/// What a file is.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// Names the content; the same for every file with it.
    pub(super) etag: String,
    /// Bytes, if the hub says.
    pub(super) size: Option<u64>,
}

/// A file's bytes from `start` on.
pub(super) struct Content {
    pub(super) start: u64,
    /// Bytes of the whole file, if the server says.
    pub(super) total: Option<u64>,
    pub(super) reader: Box<dyn Read>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Method {
    Get,
    Head,
}

/// Talks about one model with one hub.
pub(super) struct Client<'a> {
    agent: Agent,
    config: &'a HubConfig,
    endpoint: &'a str,
    origin: Uri,
    repo: Repo,
    id: &'a str,
}

impl<'a> Client<'a> {
    /// `InvalidRequest` if the endpoint is no HTTP address.
    pub(super) fn new(config: &'a HubConfig, id: &'a str) -> Result<Self, Error> {
        let endpoint = config.endpoint.trim_end_matches('/');
        let origin = endpoint
            .parse::<Uri>()
            .ok()
            .filter(|uri| uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https")));
        let Some(origin) = origin else {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("the hub's address {endpoint} is not an HTTP address such as https://example.org"),
            ));
        };
        let mut agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .accept_encoding("identity")
            .user_agent(concat!("lampstand/", env!("CARGO_PKG_VERSION")));
        if origin.host().is_some_and(is_loopback) {
            agent = agent.proxy(None);
        }
        let agent = agent.build().into();
        Ok(Self { agent, config, endpoint, origin, repo: Repo::model(id.to_owned()), id })
    }

    /// The files of the repository's main branch and the commit that it is at.
    pub(super) fn listing(&self) -> Result<Listing, Fault> {
        let url = format!("{}/api/{}", self.endpoint, self.repo.api_url());
        let mut response = self.follow(Method::Get, url, None, |_| true)?;
        self.check_status(&response)?;
        let body = response.body_mut().with_config().limit(LISTING_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| self.unreachable(&error))?;
        let refused = |what: &str| Fault {
            error: Error::unreadable(format!("the answer of {} about {} {what}", self.endpoint, self.id)),
            transient: false,
        };
        let json: serde_json::Value = serde_json::from_slice(&body).map_err(|_| refused("is no JSON"))?;
        let commit = json["sha"].as_str().filter(|commit| is_identifier(commit));
        let commit = commit.ok_or_else(|| refused("names no commit"))?.to_owned();
        let files = json["siblings"].as_array().ok_or_else(|| refused("lists no files"))?;
        let names = files.iter().filter_map(|file| file["rfilename"].as_str());
        // A name that would leave the cache's folder is nobody's honest file.
        let names = names.filter(|name| is_plain(name) && !name.contains('\\')).map(str::to_owned).collect();
        Ok(Listing { commit, names })
    }

    /// What the file `name` is, without its bytes. Large files answer with a redirect to where they are stored; what is
    /// asked for stands in that answer's own headers.
    pub(super) fn blob(&self, commit: &str, name: &str) -> Result<Blob, Fault> {
        let response = self.follow(Method::Head, self.url(commit, name), None, is_relative)?;
        if !response.status().is_redirection() {
            self.check_status(&response)?;
        }
        let headers = response.headers();
        let etag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        let Some(etag) = etag.filter(|etag| is_identifier(etag)) else {
            return Err(Fault {
                error: Error::unreadable(format!("{} gives no usable etag", self.endpoint)),
                transient: false,
            });
        };
        let length = || if response.status() == StatusCode::OK { text(headers, "content-length") } else { None };
        let size = text(headers, "x-linked-size").or_else(length).and_then(|size| size.parse().ok());
        Ok(Blob { etag, size })
    }

    /// The bytes of the file `name` from `start` on, or from zero if the server does not do ranges.
    pub(super) fn content(&self, commit: &str, name: &str, start: u64) -> Result<Content, Fault> {
        let range = (start > 0).then(|| format!("bytes={start}-"));
        let response = self.follow(Method::Get, self.url(commit, name), range.as_deref(), |_| true)?;
        self.check_status(&response)?;
        let headers = response.headers();
        let (start, total) = match response.status() {
            StatusCode::PARTIAL_CONTENT => match text(headers, "content-range").and_then(content_range) {
                Some(range) => range,
                None => {
                    let error = Error::unreadable("the server sends a part of the file but does not say which");
                    return Err(Fault { error, transient: false });
                }
            },
            _ => (0, text(headers, "content-length").and_then(|length| length.parse().ok())),
        };
        Ok(Content { start, total, reader: Box::new(response.into_body().into_reader()) })
    }

    fn url(&self, commit: &str, name: &str) -> String {
        format!("{}/{}/resolve/{commit}/{}", self.endpoint, self.repo.url(), percent_encoded(name))
    }

    /// Sends a request and follows redirects as long as `follows` agrees with their target.
    fn follow(
        &self,
        method: Method,
        mut url: String,
        range: Option<&str>,
        follows: impl Fn(&str) -> bool,
    ) -> Result<Response<Body>, Fault> {
        for _ in 0..REDIRECTS_MAX {
            let response = self.send(method, &url, range).map_err(|error| self.unreachable(&error))?;
            let target = text(response.headers(), "location").filter(|_| response.status().is_redirection());
            match target {
                Some(target) if follows(target) => {
                    let next = joined(&url, target);
                    if url.starts_with("https://") && !next.starts_with("https://") {
                        let message = format!("{} redirects from HTTPS to an address without it", self.endpoint);
                        return Err(Fault { error: Error::unreadable(message), transient: false });
                    }
                    url = next;
                }
                _ => return Ok(response),
            }
        }
        Err(Fault { error: Error::unreadable(format!("{} redirects in circles", self.endpoint)), transient: false })
    }

    fn send(&self, method: Method, url: &str, range: Option<&str>) -> Result<Response<Body>, ureq::Error> {
        let mut request = match method {
            Method::Get => self.agent.get(url),
            Method::Head => self.agent.head(url),
        };
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let own = url
            .parse::<Uri>()
            .is_ok_and(|uri| uri.scheme() == self.origin.scheme() && uri.authority() == self.origin.authority());
        if let (Some(token), true) = (&self.config.token, own) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.call()
    }

    fn unreachable(&self, error: &ureq::Error) -> Fault {
        let message = format!("cannot reach {} for {}: {error}", self.endpoint, self.id);
        Fault { error: Error::unreadable(message), transient: true }
    }

    /// Turns a status other than success into words that help.
    fn check_status(&self, response: &Response<Body>) -> Result<(), Fault> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let (endpoint, id) = (self.endpoint, self.id);
        let code = text(response.headers(), "x-error-code").unwrap_or_default();
        let fatal = |kind, message| Err(Fault { error: Error::new(kind, message), transient: false });
        match (status, code) {
            (StatusCode::NOT_FOUND, "EntryNotFound") => {
                fatal(ErrorKind::ModelNotFound, format!("{endpoint}/{id} does not have this file any more"))
            }
            (StatusCode::NOT_FOUND, _) | (_, "RepoNotFound") => fatal(
                ErrorKind::ModelNotFound,
                format!(
                    "there is no model {id} on {endpoint}; if it is private, set HF_TOKEN to a token that may read it"
                ),
            ),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                let hint = match &self.config.token {
                    None => "set HF_TOKEN to a token of that account",
                    Some(_) => "the token in HF_TOKEN was not accepted for it",
                };
                let message = format!(
                    "access to {id} is restricted (or it does not exist): open {endpoint}/{id} in a browser, sign in, \
                     accept its terms; {hint}"
                );
                fatal(ErrorKind::ModelUnreadable, message)
            }
            _ => Err(Fault {
                error: Error::unreadable(format!("{endpoint} answers {status} for {id}")),
                transient: status.is_server_error()
                    || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT),
            }),
        }
    }
}

/// A header's value if it is text.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a redirect stays on the same server by giving a path alone.
fn is_relative(target: &str) -> bool {
    target.starts_with('/') && !target.starts_with("//")
}

/// The address that a redirect from `url` to `target` means. Source: RFC 3986, section 5.
fn joined(url: &str, target: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    if target.contains("://") {
        target.to_owned()
    } else if target.starts_with("//") {
        format!("{scheme}:{target}")
    } else if target.starts_with('/') {
        format!("{scheme}://{authority}{target}")
    } else {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{target}")
    }
}

/// First byte and whole length from `bytes 100-199/1000`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, total.trim().parse().ok()))
}

/// A path with everything but letters, digits, `-._~` and `/` escaped.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether requests to this host must not go through the machine's proxy.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined_as_the_standard_says() {
        let base = "http://h:1/a/b?q=/x";
        assert_eq!(joined(base, "https://c/d"), "https://c/d");
        assert_eq!(joined(base, "//c/d"), "http://c/d");
        assert_eq!(joined(base, "/d?e"), "http://h:1/d?e");
        assert_eq!(joined(base, "d"), "http://h:1/a/d");
        assert_eq!(joined("http://h", "d"), "http://h/d");
        assert!(is_relative("/x") && !is_relative("//x/y") && !is_relative("http://x"));
    }

    #[test]
    fn ranges_and_names_are_read_and_written() {
        assert_eq!(content_range("bytes 100-199/1000"), Some((100, Some(1000))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("pages 1-2/3"), None);
        assert_eq!(percent_encoded("Q4/a b#é.gguf"), "Q4/a%20b%23%C3%A9.gguf");
        assert!(is_loopback("127.0.0.1") && is_loopback("[::1]") && is_loopback("localhost") && !is_loopback("a.b"));
    }
}
