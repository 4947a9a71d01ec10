//! A hub on loopback for tests: a repository's files behind the answers that real hubs give; included by `#[path]`.
//! Small files redirect to a path on the same server, large ones to a second server on another port, which stands for
//! the storage that real hubs redirect to. Every request is written down.
//! Invariant: each connection gets one answer and ends, so what is written down is what was asked.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The commit that every file is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request as it came in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// Whether the storage was asked and not the hub.
    pub(crate) storage: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
    /// Bytes of the file that were sent.
    pub(crate) sent: usize,
}

/// How the hub misbehaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manners {
    /// The storage ends its next answers after so many bytes, one entry per answer.
    pub(crate) break_after: Vec<usize>,
    /// The storage always sends the whole file.
    pub(crate) ignore_range: bool,
    /// Every request to the hub gets this status and `x-error-code`.
    pub(crate) refuse: Option<(u16, &'static str)>,
    /// The hub says that large files are so many bytes longer than they are.
    pub(crate) overstate_size: usize,
}

#[derive(Debug, Clone)]
struct RemoteFile {
    bytes: Vec<u8>,
    large: bool,
}

struct State {
    id: String,
    files: BTreeMap<String, RemoteFile>,
    storage: SocketAddr,
    manners: Mutex<Manners>,
    seen: Mutex<Vec<Seen>>,
    stop: AtomicBool,
}

/// A running hub; it ends with its value.
pub(crate) struct FakeHub {
    state: Arc<State>,
    addresses: [SocketAddr; 2],
    threads: Vec<JoinHandle<()>>,
}

impl FakeHub {
    /// A hub with the one model `id`. Files are `(path, bytes, large)`.
    pub(crate) fn start(id: &str, files: &[(&str, &[u8], bool)]) -> Self {
        let listeners = [0, 1].map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap());
        let addresses = [listeners[0].local_addr().unwrap(), listeners[1].local_addr().unwrap()];
        let files = files
            .iter()
            .map(|(name, bytes, large)| (name.to_string(), RemoteFile { bytes: bytes.to_vec(), large: *large }));
        let state = Arc::new(State {
            id: id.to_owned(),
            files: files.collect(),
            storage: addresses[1],
            manners: Mutex::default(),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let mut threads = Vec::new();
        for (listener, storage) in listeners.into_iter().zip([false, true]) {
            let state = Arc::clone(&state);
            threads.push(std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if state.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    // A client that goes away in the middle is no fault of the hub.
                    let _ = stream.and_then(|stream| state.answer(stream, storage));
                }
            }));
        }
        Self { state, addresses, threads }
    }

    /// The hub's base address.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.addresses[0])
    }

    /// Changes how it behaves from now on.
    pub(crate) fn behave(&self, manners: Manners) {
        *self.state.manners.lock().unwrap() = manners;
    }

    /// Takes the requests since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.seen.lock().unwrap())
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        for address in self.addresses {
            // Wakes the thread that waits for a connection.
            let _ = TcpStream::connect(address);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A file's tag; any function of its content will do.
pub(crate) fn etag(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}{:08x}", bytes.len())
}

impl State {
    fn answer(&self, stream: TcpStream, storage: bool) -> std::io::Result<()> {
        let mut lines = BufReader::new(&stream).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            match line.split_once(": ") {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
                None => break,
            };
        }
        let mut seen = Seen {
            storage,
            method,
            path,
            range: headers.get("range").cloned(),
            authorization: headers.get("authorization").cloned(),
            sent: 0,
        };
        let reply = if storage { self.storage_reply(&seen) } else { self.hub_reply(&seen) };
        let mut body = &reply.body[..];
        if seen.method == "HEAD" {
            body = &[];
        } else if storage && let Some(bytes) = self.next_break() {
            body = &body[..bytes.min(body.len())];
        }
        seen.sent = body.len();
        // Written down before the answer, so that a test that has its answer finds the request.
        self.seen.lock().unwrap().push(seen);
        let mut head =
            format!("HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        (&stream).write_all(format!("{head}\r\n").as_bytes())?;
        (&stream).write_all(body)
    }

    fn next_break(&self) -> Option<usize> {
        let mut manners = self.manners.lock().unwrap();
        if manners.break_after.is_empty() { None } else { Some(manners.break_after.remove(0)) }
    }

    fn hub_reply(&self, seen: &Seen) -> Reply {
        let manners = self.manners.lock().unwrap().clone();
        if let Some((status, code)) = manners.refuse {
            return Reply::new(status).with("X-Error-Code", code);
        }
        if seen.path == format!("/api/models/{}/revision/main", self.id) {
            let siblings: Vec<_> = self.files.keys().map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
            let json = format!(r#"{{"sha":"{COMMIT}","siblings":[{}]}}"#, siblings.join(","));
            return Reply { body: json.into_bytes(), ..Reply::new(200) };
        }
        let resolved = seen.path.strip_prefix(&format!("/{}/resolve/{COMMIT}/", self.id));
        let stored = seen.path.strip_prefix("/stored/");
        let Some((name, file)) = resolved.or(stored).and_then(|name| self.files.get_key_value(name)) else {
            return Reply::new(404)
                .with("X-Error-Code", if resolved.is_some() { "EntryNotFound" } else { "RepoNotFound" });
        };
        let tag = etag(&file.bytes);
        if file.large {
            return Reply::new(302)
                .with("Location", format!("http://{}/{name}?signed=yes", self.storage))
                .with("X-Repo-Commit", COMMIT)
                .with("ETag", "\"tag-of-the-redirect\"")
                .with("X-Linked-Etag", format!("\"{tag}\""))
                .with("X-Linked-Size", file.bytes.len() + manners.overstate_size);
        }
        if stored.is_none() {
            return Reply::new(307).with("Location", format!("/stored/{name}")).with("X-Repo-Commit", COMMIT);
        }
        let reply = Reply::new(200).with("ETag", format!("W/\"{tag}\"")).with("X-Repo-Commit", COMMIT);
        Reply { body: file.bytes.clone(), ..reply }
    }

    fn storage_reply(&self, seen: &Seen) -> Reply {
        let name = seen.path.trim_start_matches('/').split('?').next().unwrap_or_default();
        let Some(file) = self.files.get(name) else { return Reply::new(404) };
        let start = seen
            .range
            .as_deref()
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match start.filter(|_| !self.manners.lock().unwrap().ignore_range) {
            Some(start) if start < file.bytes.len() => {
                let range = format!("bytes {start}-{}/{}", file.bytes.len() - 1, file.bytes.len());
                Reply { body: file.bytes[start..].to_vec(), ..Reply::new(206).with("Content-Range", range) }
            }
            Some(_) => Reply::new(416),
            None => Reply { body: file.bytes.clone(), ..Reply::new(200) },
        }
    }
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}
