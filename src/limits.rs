//! Every bound of the gateway, with its unit in its name and its reason. Configuration may lower or raise the marked ones.

use std::time::Duration;

// --- HTTP ---------------------------------------------------------------------------------------------------------

/// Longest request head. nginx and Apache take 8 KiB a line; browsers with large cookies stay below 16 KiB in all.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest request target (RFC 9112 section 3 recommends at least 8,000 octets for the request line).
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Most header fields; httparse fills a fixed array on the stack.
pub const HEADERS_MAX: usize = 96;
/// Longest body that an ordinary request may have (configurable as `limits.payload_bytes_max`).
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest line of a chunked body: a hexadecimal size and extensions nobody uses.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// From the first byte (or the accept) to the end of the head; a phone on a bad network needs seconds, an attacker minutes.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// From the end of the head to the end of the body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may idle between two requests.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// From the end of the request until the hub has answered (subscribed or published); it takes microseconds.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A long answer goes out in pieces of so many bytes, each when the one before is sent: two TLS records. What is one piece says its
/// length.
pub const REPLY_PIECE_BYTES: usize = 2 * RECORD_CONTENT_BYTES;

// --- WebSocket ----------------------------------------------------------------------------------------------------

/// Longest message of a client (configurable as `limits.message_bytes_max`).
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most fragments of a message (configurable as `limits.fragments_max`): each costs a header's parse.
pub const FRAGMENTS_MAX: u32 = 1024;
/// Longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// Silence after which the peer is asked for a sign of life (configurable as `limits.ping_interval_s`).
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long the answer to a ping may take; also bounds a write without progress.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a peer may take nothing of what is on its way (configurable as `limits.send_timeout_s`); as long as a pong.
pub const SEND_TIMEOUT: Duration = PONG_TIMEOUT;
/// How long what was sent may stay unacknowledged by the peer's kernel (configurable as `limits.peer_timeout_s`): longer than a
/// tunnel, and long enough for [`SEND_TIMEOUT`] to be noticed first by a peer that is there and takes nothing.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(60);
/// From our close frame (or our last byte) to the end of the socket.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// But a peer that takes so much of what is left in that time gets it again: 1.4 KB/s, which every phone does. What is left is
/// bounded, and so is the time.
pub const CLOSE_PROGRESS_BYTES: u32 = 4 * 1024;

// --- Questions to clients ------------------------------------------------------------------------------------------

/// How long a worker waits for a client's answer if it does not say (`Tg-Timeout`), and the longest it may say: a driver
/// decides about a ride in less.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);
pub const QUESTION_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Most questions that wait for answers in one shard, and of one connection.
pub const QUESTIONS_PER_SHARD_MAX: usize = 64 * 1024;
pub const QUESTIONS_PER_CONNECTION_MAX: usize = 64;
/// Answers to nothing that a connection may give after it was asked last. Some are given in good faith: an answer can cross the
/// news that somebody else was faster.
pub const STRAY_ANSWERS_MAX: u32 = 2 * QUESTIONS_PER_CONNECTION_MAX as u32;

// --- Messages that clients acknowledge -----------------------------------------------------------------------------

/// The longest that a worker may have a message sent again (`Tg-Ack`): a phone that is off over night.
pub const ACK_TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long an acknowledgement is waited for until the message is sent again; twice as long each time, up to a minute. Who has
/// lost its connection gets it on the next one, so this is for clients that have a connection and have forgotten.
pub const ACK_RESEND: Duration = Duration::from_secs(5);
pub const ACK_RESEND_MAX: Duration = Duration::from_secs(60);
/// Messages that one user or connection has not acknowledged. All of them go to each connection that comes, so their bytes are
/// a quarter of an outbox at most (`limits.outbox_bytes_max`), or one message.
pub const UNACKED_PER_CLIENT_MAX: usize = 256;
/// And of all those whose home one shard is, with what each costs besides its text: its places in a map, a list and a tree.
pub const UNACKED_PER_SHARD_MAX: usize = 64 * 1024;
pub const UNACKED_BYTES: usize = 256;
/// Bytes of them, of all shards together (configurable as `limits.unacked_bytes_max`).
pub const UNACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Sent again, or ended, in one turn of a shard.
pub const UNACKED_PER_TURN: usize = 1024;

// --- The client protocol (centrifuge-json) --------------------------------------------------------------------------

/// Most commands of one frame: a client that comes back subscribes to all its channels in one, and has a few more to say.
pub const COMMANDS_PER_FRAME_MAX: usize = 2 * CHANNELS_PER_CONNECTION_MAX;
/// Deepest nesting of JSON that goes from client to client; parsers in common use give up at a thousand.
pub const JSON_NESTING_MAX: usize = 128;
/// Calls of one connection that wait for their workers; publications that wait for their positions.
pub const CALLS_PER_CONNECTION_MAX: usize = 64;
/// How long a worker may take for a call. The packages give up after 5 s unless they are told otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// After a token's end, how long its holder may take to bring the next: Centrifugo's default.
pub const TOKEN_GRACE: Duration = Duration::from_secs(25);
/// The longest time that a token is said to hold: what the field `ttl` of the client protocol holds (`uint32` in its
/// `client.proto`), 136 years.
pub const TOKEN_SECONDS_MAX: u64 = u32::MAX as u64;
/// Longest `info` of a token: it is kept for each connection, and goes out with each of its publications.
pub const TOKEN_INFO_BYTES_MAX: usize = 1024;

// --- SSE ----------------------------------------------------------------------------------------------------------

/// Silence after which a comment is sent, so that proxies keep the stream open (the WHATWG text suggests about 15 s).
pub const SSE_HEARTBEAT: Duration = Duration::from_secs(15);
/// A client that has ended its half of a stream is sent two comments so far apart, at once and with each heartbeat: the answer to
/// the first, if it has gone altogether, has come by the second over most ways of the world.
pub const HALF_CLOSE_PROBE: Duration = Duration::from_secs(1);
/// The reconnection time that streams advise.
pub const SSE_RETRY: Duration = Duration::from_millis(2_000);

/// Most channels of one stream: all their positions stand in each of its ids, and in one field of the request that resumes it.
pub const SSE_CHANNELS_MAX: usize = 16;

// --- TLS ----------------------------------------------------------------------------------------------------------

/// From the accept to the end of the handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a handshake may wait for its first turn (configurable as `limits.handshake_wait_s`): clients give up after 5 to 10 s,
/// and work on one that has is lost.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// Most handshakes of a shard that wait for their first turn (configurable as `limits.handshakes_waiting_max`): as many as are
/// ended within that time on a core of their own, with about 3 KB each.
pub const HANDSHAKES_WAITING_MAX: usize = 16 * 1024;
/// Most handshakes advanced in one turn: at about 150 µs each, live connections wait 2.4 ms at most.
pub const HANDSHAKES_PER_TURN: usize = 16;
/// And no more of them once this much of the turn is gone.
pub const HANDSHAKE_TIME_PER_TURN: Duration = Duration::from_millis(2);
/// Most bytes a client may send before its handshake is done: a ClientHello with post-quantum shares is below 2 KiB,
/// one with a client certificate chain below 16 KiB.
pub const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// A TLS record on the wire: 2^14 bytes of content, up to 2048 of expansion (TLS 1.2), 5 of header.
pub const RECORD_BYTES_MAX: usize = 16_384 + 2_048 + 5;
/// Content of one record that we seal.
pub const RECORD_CONTENT_BYTES: usize = 16_384;

// --- Bus ----------------------------------------------------------------------------------------------------------

/// Longest control line, as in nats-server (`max_control_line`).
pub const CONTROL_LINE_BYTES_MAX: usize = 4 * 1024;
/// Longest payload, headers included, as in nats-server (`max_payload`).
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Longest subject.
pub const SUBJECT_BYTES_MAX: usize = 256;
/// Most tokens of a subject: the depth of the pattern trie.
pub const SUBJECT_TOKENS_MAX: usize = 32;
/// Longest subscription id: packages count, and some name a subscription by a UUID or after its subject.
pub const SID_BYTES_MAX: usize = 256;
/// Most subscriptions of one worker.
pub const WORKER_SUBSCRIPTIONS_MAX: usize = 65_536;
/// Confirmations of its subscriptions that a worker may wait for at once: each needs one of every other shard, and they are counted
/// in 16 bits. Further subscriptions wait until the first are in force.
pub const REGISTRATIONS_HIGH: u16 = 32 * 1024;
/// Messages of one publisher, and their bytes, that wait until the owner of a channel has said whether one of them is a repetition:
/// as many as come in one receive, or one message. Beyond them the publisher is not read on.
pub const LINE_MESSAGES_MAX: usize = 256;
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// Silence after which a worker is pinged; nats-server uses 2 minutes and closes after two unanswered pings.
pub const BUS_PING_INTERVAL: Duration = Duration::from_secs(120);
/// From the accept to CONNECT when credentials are asked for.
pub const BUS_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

// --- Accepted requests --------------------------------------------------------------------------------------------

/// Requests that a shard keeps, those with a result among them; beyond it results are forgotten before their time, and where
/// there are none, requests get 503.
pub const REQUESTS_MAX: usize = 65_536;
/// Bytes of them: bodies that wait for their answer, results that wait for their reader.
pub const REQUESTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a request costs besides its body: its place in four maps, its channel, its headers.
pub const REQUEST_BYTES: usize = 1024;
/// Unanswered requests that one worker holds of one shard; more wait, for it or for another.
pub const REQUESTS_PER_WORKER_MAX: usize = 256;
/// Bytes of unanswered requests that one worker holds of all shards: half of what may wait for it.
pub const REQUEST_BYTES_PER_WORKER_MAX: usize = WORKER_OUTBOX_BYTES_MAX / 2;
/// Requests handed on and results published by a shard in one turn.
pub const REQUESTS_PER_TURN: usize = 1024;
/// Longest Idempotency-Key; the draft's own examples have 36 characters.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// How long a request waits for its result (configurable as `timeout_s` of the route).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a result is kept (configurable as `keep_s` of the route): a phone comes out of its tunnel.
pub const REQUEST_KEEP: Duration = Duration::from_secs(300);
/// When a client that reads the result of a pending request should ask again.
pub const REQUEST_RETRY_AFTER_S: u32 = 1;

// --- Connections --------------------------------------------------------------------------------------------------

/// Most connections of the process (configurable as `limits.connections_max`): the road to a million is the project's aim,
/// and memory bounds most machines earlier.
pub const CONNECTIONS_MAX: usize = 1_000_000;
/// Connections above that number which are held while they are told so; further ones are closed without a word.
pub const REFUSALS_OPEN_MAX: usize = 64;
/// Bytes that wait for one client before it counts as too slow (configurable as `limits.outbox_bytes_max`).
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
/// Answers up to so many bytes count as anything else that waits for a client; of longer ones the longest does not.
pub const ANSWER_BYTES_COUNTED: usize = 4 * 1024;
/// Messages that wait for one client before its channel's delivery decides (configurable as `channel.queue.messages`): what
/// the bytes above are in messages of a driver's location.
pub const QUEUE_MESSAGES: usize = 16 * 1024;
/// Bytes of what is held for a slow client that go out at once: one TLS record. The rest can still be superseded.
pub const HELD_BYTES_PER_BATCH: usize = RECORD_CONTENT_BYTES;
/// What it costs to hold a message that nobody else holds, besides its headers and payload.
pub const HELD_MESSAGE_BYTES: usize = 256;
/// Bytes that wait for one client above which nothing more is read from it: pings and pipelined requests make answers.
pub const OUTBOX_BYTES_PAUSE: usize = 64 * 1024;
/// The same for a worker: nats-server allows 64 MiB.
pub const WORKER_OUTBOX_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Channels that one connection may be subscribed to.
pub const CHANNELS_PER_CONNECTION_MAX: usize = 128;
/// How long a client's message waits for a worker of its service; longer than a worker's restart.
pub const SERVICE_WAIT: Duration = Duration::from_secs(5);
/// Bytes of capacity that a pooled batch keeps.
pub const BATCH_CAPACITY_KEPT: usize = 16 * 1024;
/// Batches that a shard keeps for the next turn.
pub const BATCHES_POOLED_MAX: usize = 256;
/// And how long it keeps those that nothing takes: after a burst on TLS connections they are a few megabytes.
pub const BATCHES_KEPT_UNUSED: Duration = Duration::from_secs(1);

// --- What a connection costs: `tidegate doctor` plans with it, the benchmark `connections` measures it ------------------

/// The kernel's part of an accepted, idle TCP socket with its entry in an epoll: a bare accept loop, Linux 6.18, growth of the
/// memory cgroup, plus 2,520 B that are allocated in softirq and charged to nobody.
pub const SOCKET_BYTES: u64 = 4_007;
/// An idle plain WebSocket or event stream, subscribed to a channel, all in: the mark that the benchmark is held to.
pub const CONNECTION_BYTES_PLAIN: u64 = 4_250;
/// The same over TLS 1.3.
pub const CONNECTION_BYTES_TLS: u64 = 4_700;
/// A gateway before its first connection, besides its shards: resident memory of `tidegate serve`, most of it the binary.
pub const PROCESS_BYTES: u64 = 16 * 1024 * 1024;
/// And each of its shards: growth from 2 to 16 shards, rounded up.
pub const SHARD_BYTES: u64 = 3 * 1024 * 1024;
/// Pages that the kernel counts against tcp_mem for a connection with one small message on its way; for an idle one none.
pub const TCP_PAGES_PER_CONNECTION: u64 = 1;

/// What jemalloc is told by a program that uses it: pages of which nothing is used go back to the kernel after a second (the
/// waves of a reconnect storm use them again before that), and a thread of its own does it, because a gateway that has fallen
/// silent calls no allocator.
pub const MALLOC_CONF: &std::ffi::CStr = c"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";

// --- Shards -------------------------------------------------------------------------------------------------------

/// Descriptors of a shard's table that are not connections, besides the wake-ups of all shards: listeners, standard
/// streams, what else the process had open when the table was copied, and the shard's own epoll or ring.
pub const DESCRIPTORS_RESERVED: u64 = 64;
/// Most shards: the number fits the first byte of a connection id.
pub const SHARDS_MAX: usize = 256;
/// One receive: large enough for a full TLS record, small enough for the cache.
pub const RECEIVE_BYTES: usize = 32 * 1024;
/// Pieces of a batch handed to one sendmsg; the kernel copies an iovec's 16 bytes for each, and takes 1,024 at most.
pub const SEND_SLICES: usize = 64;
/// Sockets accepted per listener and turn; the rest waits in the kernel's queue.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Completions handled before the shard flushes what they caused.
pub const COMPLETIONS_PER_TURN: usize = 1024;
/// Entries that each list of a turn keeps room for: most turns concern fewer connections, and where one concerns all of them
/// its lists are a small part of its work.
pub const TURN_ENTRIES_KEPT: usize = 1024;
/// Sends handed over before the batches that have come back are taken up again.
pub const SENDS_PER_ROUND: usize = 256;
/// How long readiness fails before anything else happens in a drain (configurable as `drain.notice_s`): who asks for it, and how
/// often, only the operator knows.
pub const DRAIN_NOTICE: Duration = Duration::ZERO;
/// Over how long clients are sent away (configurable as `drain.spread_s`): 100,000 in 20 s are 5,000 handshakes a second for
/// those who take them in, which two cores do (the benchmark `handshake`).
pub const DRAIN_SPREAD: Duration = Duration::from_secs(20);
/// But no slower than so many a second in each shard: a few are no storm.
pub const DRAIN_CLIENTS_PER_SECOND_MIN: u32 = 200;
/// What a drain leaves to answers and last words, after the last client has been told; later than that nobody is waited for.
/// Longer than [`CLOSE_TIMEOUT`].
pub const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// How often a draining shard looks whom to send away, and whether the others still have clients.
pub const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// When whoever is sent away should come back: not before this …
pub const RETURN_AFTER: Duration = Duration::from_secs(1);
/// … and spread over so much more, so that not all do at once.
pub const RETURN_SPREAD: Duration = Duration::from_secs(5);
/// Pause after an accept that failed for want of descriptors or memory.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How often a log line that a stranger or a lasting condition causes again and again is logged: often enough to see that it
/// lasts, seldom enough to see everything else.
pub const LOG_REPEAT: Duration = Duration::from_secs(60);
/// Different lines that are told apart for that; further ones are one line together. As many as an operator reads in a minute.
pub const LOG_KEYS_MAX: usize = 64;
/// Mails that one lane of a mailbox holds.
pub const MAILBOX_MAILS: usize = 16 * 1024;
/// Bytes of large messages that one lane holds: far fewer of those than of mails. One more may exceed it.
pub const MAILBOX_BYTES: usize = 64 * 1024 * 1024;
/// From this size on a message counts as large; smaller ones are bounded by the number of mails, and cost no counting.
pub const MAIL_LARGE_BYTES: usize = 4 * 1024;
/// Mails taken from one mailbox lane per turn.
pub const MAILS_PER_TURN: usize = 4 * 1024;
/// Mails waiting for a full mailbox above which a shard stops reading from publishers.
pub const BACKLOG_MAILS_HIGH: usize = 1024;
/// And the same for the bytes of large messages among them.
pub const BACKLOG_BYTES_HIGH: usize = 16 * 1024 * 1024;
/// How long a shard waits before it tries a full mailbox again.
pub const BACKLOG_RETRY: Duration = Duration::from_millis(1);
/// Channels that a shard keeps positions for although nobody listens; the least recently used are forgotten first.
pub const IDLE_CHANNELS_MAX: usize = 100_000;
/// Bytes of a connection that the kernel takes and does not send yet, because its peer has no room (TCP_NOTSENT_LOWAT): what
/// waits beyond them is still ours to drop or to supersede. Without it the kernel takes megabytes (net.ipv4.tcp_wmem).
pub const NOT_SENT_BYTES: u32 = 64 * 1024;
/// The listen queue; the kernel lowers it to net.core.somaxconn.
pub const LISTEN_QUEUE: i32 = 4096;

// --- Channels -----------------------------------------------------------------------------------------------------

/// Most rules about channels; each channel and topic walks through their patterns once.
pub const CHANNEL_RULES_MAX: usize = 1_000;
/// What `history` keeps of a channel where it does not say (configurable for each rule). As many as a client reads in a second.
pub const HISTORY_MESSAGES: usize = 100;
pub const HISTORY_BYTES: usize = 1024 * 1024;
/// A tunnel, a change of networks, a phone in a pocket.
pub const HISTORY_AGE: &str = "5m";
/// What is kept of all channels together (configurable as `limits.history_bytes_max`); each shard has its share.
pub const HISTORY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Values of `Tg-Distinct` that a shard remembers, of all channels and keys; about 80 bytes each. A grid of 300 by 300 cells.
pub const DISTINCT_VALUES_MAX: usize = 100_000;
/// How long a publisher's name of a message (`Nats-Msg-Id`) is remembered, so that the same one again is suppressed: what
/// JetStream takes unless it is told otherwise, and longer than a worker's restart.
pub const MESSAGE_ID_WINDOW: Duration = Duration::from_secs(120);
/// But only so many of one channel: one a few milliseconds, or a burst that is published again whole.
pub const MESSAGE_IDS_PER_CHANNEL_MAX: usize = 16 * 1024;
/// And in each shard so many bytes of them; the channels that are least recently used are given up first.
pub const MESSAGE_IDS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A longer one is nobody's name of a message: it is not looked at.
pub const MESSAGE_ID_BYTES_MAX: usize = 256;

/// Clients on the list of who is there, of one channel; more are counted. All of them go into one answer.
pub const PRESENT_PER_CHANNEL_MAX: usize = 1_000;
/// And in each shard of all its channels: about 400 bytes each, and what tokens say about them.
pub const PRESENT_MAX: usize = 200_000;
/// How long a user may be away before it has left (configurable as `channel.presence_grace_s`): longer than the packages and
/// an EventSource take for a first reconnection.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(5);
/// Joins and leaves that a shard announces in one turn; the others follow in the next.
pub const ANNOUNCEMENTS_PER_TURN: usize = 1024;
/// Connections that a shard names of one user when it is asked where that is; more are counted.
pub const FOUND_PER_SHARD_MAX: usize = 1_000;

/// How often what is too old is looked for, and in how many channels: in 100,000 of them within half a minute.
pub const HISTORY_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
pub const HISTORIES_PER_SWEEP: usize = 4 * 1024;
/// What is replayed at once; the next piece follows when its reader has taken this one. A client's quarter of an outbox may be
/// less (`limits.outbox_bytes_max`).
pub const REPLAY_MESSAGES_MAX: usize = 256;
pub const REPLAY_BYTES_MAX: usize = 64 * 1024;

// --- io_uring -----------------------------------------------------------------------------------------------------

/// Submission entries; a full queue is submitted and used again. The kernel keeps the requests of one submission until its
/// end: of 128 to 512 sends they stay in the cache, 1,024 cost a tenth more each, 4,096 half as much again.
pub const URING_SUBMISSIONS: u32 = 256;
/// Completion entries; an overflowing queue is kept by the kernel (IORING_FEAT_NODROP). Their number also says into how
/// many chains the kernel sorts what it watches: 256 from here on, and a close walks through one of them.
pub const URING_COMPLETIONS: u32 = 8192;
/// Message headers of a KiB each that a shard keeps for the next batches of several slices.
pub const URING_MESSAGES_POOLED_MAX: usize = 32;

const _: () = {
    assert!(RECEIVE_BYTES >= RECORD_BYTES_MAX, "one receive can complete any record");
    assert!(TARGET_BYTES_MAX < HEAD_BYTES_MAX, "414 can be told from 431");
    assert!(CONTROL_LINE_BYTES_MAX > 2 * SUBJECT_BYTES_MAX + SID_BYTES_MAX, "a legal line fits");
    assert!(OUTBOX_BYTES_MAX > 2 * MESSAGE_BYTES_MAX, "one message never makes a client slow");
    assert!(REGISTRATIONS_HIGH as usize + SHARDS_MAX <= u16::MAX as usize, "one more can always be counted");
    assert!(2 * CHANNELS_PER_CONNECTION_MAX <= REGISTRATIONS_HIGH as usize, "a client's channels and replays");
    assert!(WORKER_OUTBOX_BYTES_MAX > 2 * PAYLOAD_BYTES_MAX, "nor a worker");
    assert!(REQUESTS_BYTES_MAX > 2 * BODY_BYTES_MAX && REQUEST_BYTES_PER_WORKER_MAX > 2 * BODY_BYTES_MAX);
    assert!(SOCKET_BYTES < CONNECTION_BYTES_PLAIN && CONNECTION_BYTES_PLAIN < CONNECTION_BYTES_TLS);
    assert!(SENDS_PER_ROUND as u32 <= URING_COMPLETIONS, "a round's completions fit");
    assert!(CLOSE_TIMEOUT.as_millis() < DRAIN_GRACE.as_millis(), "who was told last has time for its answer");
    assert!(PONG_TIMEOUT.as_secs() < PING_INTERVAL.as_secs());
};
