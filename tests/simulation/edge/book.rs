//! The requests and bytes of all clients and servers. Each request, tunnel and stream has a tag, and every byte of its
//! content names the tag: a byte that comes to another client is seen at once.

use std::collections::BTreeMap;

use crate::sweep::Happenings;

/// Both ends of a request agree on this content without a word: `kind` is `q` for what is asked, `a` for the answer.
pub fn content(kind: &str, tag: u64) -> Vec<u8> {
    let count = match tag % 11 {
        0 => 0,
        1 => 3_000,
        few => few as usize * 7,
    };
    format!("{kind}{tag};").repeat(count).into_bytes()
}

/// The fields that frame a body, and the body in that framing.
pub fn framed(is_chunked: bool, content: &[u8]) -> (String, Vec<u8>) {
    if !is_chunked {
        return (format!("Content-Length: {}\r\n", content.len()), content.to_vec());
    }
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let chunks: Vec<u8> = content.chunks(999).flat_map(chunk).collect();
    ("Transfer-Encoding: chunked\r\n".to_owned(), [&chunks[..], b"0\r\n\r\n"].concat())
}

/// The messages of both ends of one tunnel or stream, numbered from 1.
#[derive(Default)]
pub struct Talk {
    pub by_server: u64,
    pub by_client: u64,
    pub heard_by_server: u64,
    /// The server has said its end, and all before it.
    pub is_finished: bool,
    pub is_server_gone: bool,
    pub is_client_gone: bool,
}

#[derive(Default)]
pub struct Book {
    tags: u64,
    /// How often a request has come to a server.
    seen: BTreeMap<u64, u32>,
    talks: BTreeMap<u64, Talk>,
    pub counts: Counts,
    /// Requests to the well-behaved server that it did not answer, and why.
    pub failed: Vec<String>,
}

#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub answered: u64,
    pub uploaded: u64,
    pub refused: u64,
    pub repeated: u64,
    pub cut: u64,
    pub early: u64,
    pub interim: u64,
    pub reused: u64,
    pub tunnels: u64,
    pub words_up: u64,
    pub words_down: u64,
    pub sent_away: u64,
    pub events: u64,
    pub streams_finished: u64,
    pub streams_cut: u64,
    pub fanned_out: u64,
}

impl Counts {
    pub fn happenings(self) -> Happenings<16> {
        [
            ("requests with a whole answer", self.answered),
            ("whole bodies of requests", self.uploaded),
            ("requests that the gateway refused", self.refused),
            ("requests that came to two servers", self.repeated),
            ("answers that were cut", self.cut),
            ("answers before the request was whole", self.early),
            ("interim answers", self.interim),
            ("requests on a connection that had one before", self.reused),
            ("tunnels", self.tunnels),
            ("messages up", self.words_up),
            ("messages down", self.words_down),
            ("tunnels that the drain has closed", self.sent_away),
            ("events", self.events),
            ("streams with an end", self.streams_finished),
            ("streams without one", self.streams_cut),
            ("messages of the gateway's own room", self.fanned_out),
        ]
    }
}

impl Book {
    pub fn next_tag(&mut self) -> u64 {
        self.tags += 1;
        self.tags
    }

    pub fn talk(&mut self, tag: u64) -> &mut Talk {
        self.talks.entry(tag).or_default()
    }

    /// A server has this request. Only a request that may be repeated comes twice, and never a third time.
    pub fn seen(&mut self, tag: u64, may_be_repeated: bool) {
        let count = self.seen.entry(tag).or_default();
        *count += 1;
        self.counts.repeated += u64::from(*count > 1);
        assert!(*count == 1 || *count == 2 && may_be_repeated, "request {tag} came {count} times");
    }
}
