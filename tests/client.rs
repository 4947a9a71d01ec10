//! A small HTTP client for tests: one request per connection, streams event by event, and hanging up at will.
//! Every test that talks to a server uses it.
//! Invariant: a server that stays silent fails the test instead of stopping it for ever.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Far beyond what any test needs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The one that comes through `stream`.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Open::new(stream).finish()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The `data:` lines of a stream.
    pub(crate) fn events(&self) -> Vec<&str> {
        self.body.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }

    /// The events of a stream that ended well, without the last line.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.body);
        let mut events = self.events();
        assert_eq!(events.pop(), Some("[DONE]"), "{}", self.body);
        events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// A request on its way.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
}

impl Request<'_> {
    /// Sends it and waits for the whole answer.
    pub(crate) fn send(&self, address: SocketAddr) -> Answer {
        self.open(address).finish()
    }

    /// Sends it and reads the head of the answer.
    pub(crate) fn open(&self, address: SocketAddr) -> Open {
        Open::new(self.post(address))
    }

    /// Sends it with a body that is no text.
    pub(crate) fn send_bytes(&self, address: SocketAddr, body: &[u8]) -> Answer {
        Open::new(self.post_bytes(address, body, body.len())).finish()
    }

    /// Sends it and reads nothing.
    pub(crate) fn post(&self, address: SocketAddr) -> TcpStream {
        self.post_bytes(address, self.body.as_bytes(), self.body.len())
    }

    /// Sends its head, which announces `length` bytes, and as many of them as `body` has.
    pub(crate) fn post_bytes(&self, address: SocketAddr, body: &[u8], length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.path);
        if find_pair(self.headers, "host").is_none() {
            head.push_str(&format!("Host: {address}\r\n"));
        }
        for (name, value) in self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses may have closed already; its answer is still there to be read.
        let _ = stream.write_all(body);
        stream
    }
}

fn find_pair<'a>(headers: &'a [(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// An answer whose body still comes. Dropping it hangs up.
pub(crate) struct Open {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
    chunked: bool,
}

impl Open {
    /// The answer that comes through `stream`, whose head is read.
    pub(crate) fn new(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        let chunked = find(&headers, "transfer-encoding") == Some("chunked");
        Self { status, headers, reader, chunked }
    }

    /// The next piece that the server wrote; none at the end.
    pub(crate) fn piece(&mut self) -> Option<String> {
        assert!(self.chunked, "only a stream comes in pieces");
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let mut piece = vec![0; length + 2];
        self.reader.read_exact(&mut piece).unwrap();
        piece.truncate(length);
        (length > 0).then(|| String::from_utf8(piece).unwrap())
    }

    /// Waits for an event that holds `text`.
    pub(crate) fn wait_for(&mut self, text: &str) {
        while let Some(piece) = self.piece() {
            if piece.contains(text) {
                return;
            }
        }
        panic!("the stream ended before `{text}`");
    }

    /// Reads to the end.
    pub(crate) fn finish(mut self) -> Answer {
        let mut body = String::new();
        if self.chunked {
            while let Some(piece) = self.piece() {
                body.push_str(&piece);
            }
        } else {
            self.reader.read_to_string(&mut body).unwrap();
        }
        Answer { status: self.status, headers: self.headers, body }
    }
}
