//! Every bound of the gateway, with its unit in its name and its reason. The configuration can change those marked as
//! configurable.

mod costs;
mod tls;
mod tokens;
mod upstreams;

use std::time::Duration;

pub use costs::*;
pub use tls::*;
pub use tokens::*;
pub use upstreams::*;

// --- HTTP ---------------------------------------------------------------------------------------------------------

/// Longest request head. nginx and Apache take 8 KiB a line; browsers with large cookies stay below 16 KiB in all.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest request target (RFC 9112 section 3 recommends at least 8,000 octets for the request line).
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Most header fields; httparse fills a fixed array on the stack.
pub const HEADERS_MAX: usize = 96;
/// Longest body that an ordinary request may have (configurable as `limits.payload_bytes_max`).
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest line of a chunked body: a hexadecimal size, and extensions that are never used in practice.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// From the first byte (or the accept) to the end of the head; a phone on a bad network needs seconds, an attacker minutes.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// From the end of the head to the end of the body, besides [`ARRIVING_BYTES_PER_SECOND_MIN`].
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A body, and a message in pieces, has a second more for each of these bytes that have arrived: the slowest networks of
/// phones carry ten times as much. (Apache's mod_reqtimeout asks for 500 bytes a second, Kestrel for 240.)
pub const ARRIVING_BYTES_PER_SECOND_MIN: u64 = 4 * 1024;
/// How long a connection may idle between two requests.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// From the end of the request until the hub has answered (subscribed or published); it takes microseconds.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A long answer goes out in pieces of this many bytes (two TLS records), each when the piece before has been sent. An
/// answer that fits into one piece has a `Content-Length`.
pub const REPLY_PIECE_BYTES: usize = 2 * RECORD_CONTENT_BYTES;

// --- WebSocket ----------------------------------------------------------------------------------------------------

/// Longest message of a client (configurable as `limits.message_bytes_max`).
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most fragments of a message (configurable as `limits.fragments_max`): each costs a header's parse.
pub const FRAGMENTS_MAX: u32 = 1024;
/// From the first bytes of a message to its last (configurable as `limits.message_timeout_s`), besides
/// [`ARRIVING_BYTES_PER_SECOND_MIN`]. Frames in between, such as pongs, do not prolong it.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// Silence after which the peer gets a ping (configurable as `limits.ping_interval_s`).
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long the answer to a ping may take; also bounds a send without progress.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a send may make no progress (configurable as `limits.send_timeout_s`); as long as a pong may take.
pub const SEND_TIMEOUT: Duration = PONG_TIMEOUT;
/// How long sent bytes may stay unacknowledged by the peer's kernel (configurable as `limits.peer_timeout_s`): longer
/// than the drive through a tunnel, and long enough for [`SEND_TIMEOUT`] to detect a peer first that is alive and reads
/// nothing. A connection that the gateway dials always has this one.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(60);
/// From our close frame (or our last byte) to the end of the socket.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that drains at least this much within [`CLOSE_TIMEOUT`] gets another one: 1.4 KB/s, which every phone
/// reaches. The remaining bytes are bounded, and so is the time.
pub const CLOSE_PROGRESS_BYTES: u32 = 4 * 1024;

// --- Questions to clients ------------------------------------------------------------------------------------------

/// How long a worker waits for a client's answer without `Tg-Timeout`, and the longest `Tg-Timeout`. A driver decides
/// about a ride in less.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);
pub const QUESTION_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Most questions that are open in one shard, and that one connection owes an answer to.
pub const QUESTIONS_PER_SHARD_MAX: usize = 64 * 1024;
pub const QUESTIONS_PER_CONNECTION_MAX: usize = 64;
/// Answers to no open question that a connection may send after it was last asked. Some are sent in good faith: an
/// answer can cross the notice that another client was faster.
pub const STRAY_ANSWERS_MAX: u32 = 2 * QUESTIONS_PER_CONNECTION_MAX as u32;

// --- Messages that clients acknowledge -----------------------------------------------------------------------------

/// The longest time for which a message is resent (`Tg-Ack`): a phone that is off over night.
pub const ACK_TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long an acknowledgement is awaited before the message is resent; twice as long each time, up to a minute. A
/// client that has lost its connection gets the message on the next one, so resends are for clients that are connected
/// and have forgotten.
pub const ACK_RESEND: Duration = Duration::from_secs(5);
pub const ACK_RESEND_MAX: Duration = Duration::from_secs(60);
/// Messages that one user or connection has not acknowledged. All of them are sent to each new connection, so their
/// bytes are a quarter of an outbox at most (`limits.outbox_bytes_max`), or one message.
pub const UNACKED_PER_CLIENT_MAX: usize = 256;
/// The same for all messages whose home is one shard. Each also costs its entries in a map, a list and a tree.
pub const UNACKED_PER_SHARD_MAX: usize = 64 * 1024;
pub const UNACKED_BYTES: usize = 256;
/// Bytes of them in all shards together (configurable as `limits.unacked_bytes_max`).
pub const UNACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages that a shard resends or ends in one turn.
pub const UNACKED_PER_TURN: usize = 1024;

// --- The client protocol (centrifuge-json) --------------------------------------------------------------------------

/// Most commands of one frame: a returning client subscribes to all its channels in one, and adds a few commands.
pub const COMMANDS_PER_FRAME_MAX: usize = 2 * CHANNELS_PER_CONNECTION_MAX;
/// Commands that one client may send each second for as long as it likes (configurable as
/// `limits.commands_per_second`): a position a second is what most clients send, and a command costs a few
/// microseconds. A faster client is read more slowly.
pub const COMMANDS_PER_SECOND: u32 = 1_000;
/// How much of that a client may send at once: more than all subscriptions of a returning client with their tokens.
pub const COMMAND_CREDIT: Duration = Duration::from_secs(6);
/// What a subscription costs, in commands: letters to the channel's owner, and perhaps a name that nothing else knows.
pub const COMMANDS_PER_SUBSCRIPTION: u32 = 5;
/// What the verification of a token costs, in commands: 70 to 96 µs for ES256.
pub const COMMANDS_PER_TOKEN: u32 = 20;
/// Refused tokens after which a connection ends: an application with a wrong key shows one for each channel, and is
/// told so by the first.
pub const TOKENS_REFUSED_MAX: u32 = 16;
/// How long it takes until one of them is forgiven: a token that is refused in good faith is seldom.
pub const TOKEN_REFUSED_FORGIVEN: Duration = Duration::from_secs(60);
/// As many expired tokens count as one that was never valid: a client that was asleep shows those of all its channels.
pub const TOKENS_EXPIRED_PER_REFUSED: u32 = 16;
/// Deepest nesting of JSON that goes from client to client; parsers in common use give up at a thousand.
pub const JSON_NESTING_MAX: usize = 128;
/// Open calls of one connection; publications that wait for their positions.
pub const CALLS_PER_CONNECTION_MAX: usize = 64;
/// How long a worker may take for a call. The packages give up after 5 s unless configured otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to send the next token after one has expired: Centrifugo's default.
pub const TOKEN_GRACE: Duration = Duration::from_secs(25);
/// The longest lifetime of a token that clients are told: the range of the field `ttl` of the client protocol (`uint32`
/// in its `client.proto`), 136 years.
pub const TOKEN_SECONDS_MAX: u64 = u32::MAX as u64;
/// Longest `info` of a token: it is kept for each connection, and sent with each of its publications.
pub const TOKEN_INFO_BYTES_MAX: usize = 1024;

// --- SSE ----------------------------------------------------------------------------------------------------------

/// Silence after which a comment is sent, so that proxies keep the stream open (the WHATWG text suggests about 15 s).
pub const SSE_HEARTBEAT: Duration = Duration::from_secs(15);
/// The time between the two comments that probe a client that has ended its half of a stream, at once and with each
/// heartbeat. If the client has gone, its answer to the first comment arrives before the second over most routes.
pub const HALF_CLOSE_PROBE: Duration = Duration::from_secs(1);
/// The reconnection time that streams advise.
pub const SSE_RETRY: Duration = Duration::from_millis(2_000);

/// Most channels of one stream: each of its ids has all their positions, and so has one field of the request that
/// resumes it.
pub const SSE_CHANNELS_MAX: usize = 16;

// --- PROXY protocol -----------------------------------------------------------------------------------------------

/// From the accept to the end of the PROXY header: a load balancer sends it with its first packet, and HAProxy, too, gives a
/// sender three seconds to repeat a lost one.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(3);
/// Most bytes of TLVs behind the addresses: `doc/proxy-protocol.txt` section 2.2 has receivers of 536 bytes in all served at
/// least, so senders keep headers below that.
pub const PROXY_TLVS_BYTES_MAX: usize = 536;

// --- Bus ----------------------------------------------------------------------------------------------------------

/// Longest control line, as in nats-server (`max_control_line`).
pub const CONTROL_LINE_BYTES_MAX: usize = 4 * 1024;
/// Longest payload, headers included, as in nats-server (`max_payload`).
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Longest subject.
pub const SUBJECT_BYTES_MAX: usize = 256;
/// Most tokens of a subject: the depth of the pattern trie.
pub const SUBJECT_TOKENS_MAX: usize = 32;
/// Longest subscription id: packages use numbers, and some a UUID or a name derived from the subject.
pub const SID_BYTES_MAX: usize = 256;
/// Most subscriptions of one worker.
pub const WORKER_SUBSCRIPTIONS_MAX: usize = 65_536;
/// Most confirmations that a worker may wait for at once: each subscription needs one of every other shard, and they
/// are counted in 16 bits. Further subscriptions wait until the first are in force.
pub const REGISTRATIONS_HIGH: u16 = 32 * 1024;
/// Messages of one publisher, and their bytes, that wait for the owner of a channel to say whether one of them is a
/// repetition: as many as arrive in one receive, or one message. Beyond that, the publisher is not read.
pub const LINE_MESSAGES_MAX: usize = 256;
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// Silence after which a worker gets a PING; nats-server uses 2 minutes and closes after two unanswered ones.
pub const BUS_PING_INTERVAL: Duration = Duration::from_secs(120);
/// From the accept to CONNECT, if credentials are required.
pub const BUS_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

// --- Accepted requests --------------------------------------------------------------------------------------------

/// Bytes of the accepted requests of all shards together (configurable as `limits.accepted_bytes_max`): bodies that
/// wait for an answer, and results, each for its `keep_s`. Each shard has an equal part. Beyond it, requests get 503. It
/// is enough for 600 requests a second with small results that are kept for five minutes.
pub const ACCEPTED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The least part of one shard, whatever the configuration says: a body fits.
pub const ACCEPTED_BYTES_MIN: usize = 4 * BODY_BYTES_MAX;
/// This part of it is for results alone: they may be longer than their requests, and do not make each other give way.
pub const ACCEPTED_FOR_RESULTS: usize = 4;
/// The share of one network (an IPv4 address, an IPv6 /64), as a multiple of what is free: four fifths if it is alone,
/// because all clients behind a proxy are one. Beyond it, its requests get 429.
pub const ACCEPTED_OF_FREE_NETWORK: usize = 4;
/// The same for one user: half if the user is alone.
pub const ACCEPTED_OF_FREE_USER: usize = 1;
/// Sources that are remembered because they have had their turn in a round, besides those that wait.
pub const REQUEST_SOURCES_PER_ROUND: usize = 1024;
/// The cost of a request besides its body: its entries in four maps, its channel, its headers.
pub const REQUEST_BYTES: usize = 1024;
/// Unanswered requests of one shard that one worker holds; more wait for this worker or another.
pub const REQUESTS_PER_WORKER_MAX: usize = 256;
/// Bytes of unanswered requests of all shards that one worker holds: half of what may wait for it.
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

// --- Bytes that arrive --------------------------------------------------------------------------------------------

/// Bytes that one connection may have received without use of them before they count in the sums below: most heads, a
/// ClientHello without post-quantum shares, what a segment cuts off a frame. They are a part of a connection's price.
pub const ARRIVING_BYTES_FREE: usize = 1024;
/// Bytes that clients have sent and that wait for the rest of a head, a body, a message or a record, of all clients
/// together (configurable as `limits.arriving_bytes_max`); each shard has an equal part. One body of full length for each
/// of 256 clients, or 4 KiB for each of 65,536.
pub const ARRIVING_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The same for clients whose TLS handshake is not complete (configurable as `limits.handshaking_bytes_max`): 12,000
/// handshakes that have begun. Two cores begin 5,000 a second, and the round trip of a phone takes less than two seconds.
pub const HANDSHAKING_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What rustls keeps of a handshake that has begun, besides the client's bytes.
pub const HANDSHAKE_STATE_BYTES: usize = 16 * 1024;

// --- Connections --------------------------------------------------------------------------------------------------

/// Most connections of the process (configurable as `limits.connections_max`): the project aims at a million, and
/// memory bounds most machines earlier.
pub const CONNECTIONS_MAX: usize = 1_000_000;
/// Connections above that number that are kept open until they are told so; further ones are closed at once.
pub const REFUSALS_OPEN_MAX: usize = 64;
/// Bytes that wait for one client before it counts as too slow (configurable as `limits.outbox_bytes_max`).
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that may wait for one client before they count in the sum of all clients: one TLS record. They are a part of a
/// connection's price, while it does not keep up.
pub const WAITING_BYTES_FREE: usize = RECORD_CONTENT_BYTES;
/// How often the memory that waits for clients is weighed again, and how many parts of it: 800,000 in a second, which takes a
/// few percent of a core. A client counts as so many parts at least.
pub const WAITING_SWEEP_INTERVAL: Duration = Duration::from_millis(20);
pub const WEIGHED_PER_SWEEP: usize = 16 * 1024;
pub const WEIGHED_AT_LEAST: usize = 16;
/// Memory for what waits for all clients together (configurable as `limits.waiting_bytes_max`); each shard has an equal
/// part. As much as a thousand clients may leave unread, or 10 KiB for each of 100,000.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Answers up to this length count like anything else that waits for a client; of longer ones, the longest does not
/// count.
pub const ANSWER_BYTES_COUNTED: usize = 4 * 1024;
/// Messages that may wait for one client before its channel's delivery decides (configurable as
/// `channel.queue.messages`): the bytes above, in messages of a driver's location.
pub const QUEUE_MESSAGES: usize = 16 * 1024;
/// Bytes of held events that are framed at once for a slow client: one TLS record. The others can still be replaced.
pub const HELD_BYTES_PER_BATCH: usize = RECORD_CONTENT_BYTES;
/// The cost of holding a message for one connection alone, besides its headers and payload.
pub const HELD_MESSAGE_BYTES: usize = 256;
/// With more bytes than this waiting for it, a client is not read: pings and pipelined requests produce answers.
pub const OUTBOX_BYTES_PAUSE: usize = 64 * 1024;
/// The same for a worker: nats-server allows 64 MiB.
pub const WORKER_OUTBOX_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Channels that one connection may be subscribed to.
pub const CHANNELS_PER_CONNECTION_MAX: usize = 128;
/// Accounts of strangers that a `[[limit]]` needs (configurable as `limits.tallies_max`), and their bytes: 65,000 clients that use
/// all four measures of one at the same time.
pub const TALLIES_MAX: usize = 256 * 1024;
pub const TALLY_BYTES: u64 = 16;
/// Strangers without a place for an account share one that allows this many times as much.
pub const LIMIT_HOMELESS_FACTOR: u32 = 64;
/// The longest rest of a client that sends messages too fast, if the limit's own interval is not longer.
pub const LIMIT_REST_MAX: Duration = Duration::from_secs(60);
/// Most `[[limit]]`: each is looked at for each request and message.
pub const LIMITS_MAX: usize = 32;
/// Highest rate of a limit, for each second: above it, GCRA's nanoseconds become coarse.
pub const LIMIT_RATE_MAX: u32 = 1_000_000;
/// How long a client's message waits for a worker of its service; longer than the restart of a worker.
pub const SERVICE_WAIT: Duration = Duration::from_secs(5);
/// Capacity that a pooled batch keeps.
pub const BATCH_CAPACITY_KEPT: usize = 16 * 1024;
/// Batches that a shard keeps for the next turn.
pub const BATCHES_POOLED_MAX: usize = 256;
/// How long unused batches are kept: after a burst on TLS connections they are a few megabytes.
pub const BATCHES_KEPT_UNUSED: Duration = Duration::from_secs(1);

// --- Shards -------------------------------------------------------------------------------------------------------

/// Descriptors of a shard's table that are not connections, besides the wake-ups of all shards: listeners, standard
/// streams, files that the process had open when the table was copied, and the shard's own epoll or ring.
pub const DESCRIPTORS_RESERVED: u64 = 64;
/// Descriptors of a shard's table that clients leave to workers: those of a deployment that reconnect together, the kernel
/// distributing them over the shards.
pub const WORKERS_RESERVED: u64 = 64;
/// The same for the admin listener: scrapes, checks of readiness, an operator. (Connections to servers come out of the
/// clients' part: where that is used up, no further one is dialled.)
pub const ADMIN_RESERVED: u64 = 16;
/// Most shards: the number fits the first byte of a connection id.
pub const SHARDS_MAX: usize = 256;
/// One receive: a piece of 64 KiB, in which most programs write, together with the head before it; each further one costs
/// two system calls. Small enough for the cache.
pub const RECEIVE_BYTES: usize = 72 * 1024;
/// Pieces of a batch handed to one sendmsg; the kernel copies an iovec's 16 bytes for each, and takes 1,024 at most.
pub const SEND_SLICES: usize = 64;
/// Sockets accepted per listener and turn; the others wait in the kernel's queue.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Completions handled before the shard sends what they caused.
pub const COMPLETIONS_PER_TURN: usize = 1024;
/// Units of each kind of work in one turn (`shard/budget.rs`); one is about a delivery, some 0.2 µs or less. The time below
/// is usually spent first.
pub const SHARE_UNITS: u64 = 65_536;
/// The time of each kind of work in one turn. A turn has two or three kinds in quantity: another client waits for two turns at most,
/// well below 100 ms.
pub const SHARE_TIME: Duration = Duration::from_millis(4);
/// The clock is read after so many units, some 25 µs: a read costs a fraction of one.
pub const CLOCK_UNITS: u64 = 128;
/// Units of one client's input before other connections are read: some 0.2 ms.
pub const QUANTUM_UNITS: u64 = 1024;
/// The same for a worker, which sends for many clients and is trusted.
pub const WORKER_QUANTUM_UNITS: u64 = 16 * 1024;
/// Bytes of a receive that are one unit more: after a full receive the clock is read.
pub const BYTES_PER_UNIT: u64 = 256;
/// Units of one request, frame, command or verb, besides its deliveries; of a TLS record; of one completion of the driver; of a letter; of a
/// piece of a feature's work; of a send.
pub const STEP_UNITS: u64 = 8;
pub const RECORD_UNITS: u64 = 8;
pub const COMPLETION_UNITS: u64 = 4;
pub const LETTER_UNITS: u64 = 4;
pub const PIECE_UNITS: u64 = 16;
pub const SEND_UNITS: u64 = 16;
/// Units of a command that may have had a token verified: an ECDSA signature takes 70 to 96 µs.
pub const TOKEN_UNITS: u64 = 384;
/// Subscriptions of a connection that are withdrawn when it ends; of more, the others are withdrawn in pieces. Each tells the
/// owner of its channel, and takes some 8 µs.
pub const WITHDRAWN_AT_ONCE: usize = 8;
/// While a shard owes more deliveries of fan-outs that are done in pieces, neither it nor the others read the publishers
/// of large rooms: some 50 ms of work for a shard that does nothing else.
pub const DELIVERIES_OWED_MAX: usize = 256 * 1024;
/// The same for the payloads of the messages that are kept for it.
pub const OWED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A fan-out to more clients is done in pieces, between which the shard does its other work. Each costs some 0.2 µs.
pub const FAN_OUT_AT_ONCE: usize = 256;
/// Events and bytes that a client gets in one piece of such fan-outs before other clients get theirs. A small part of what may wait
/// for it, so that it has the time to receive them.
pub const ROUND_EVENTS_MAX: usize = 256;
pub const ROUND_BYTES_MAX: usize = OUTBOX_BYTES_PAUSE;
/// Entries for which each list of a turn keeps room: most turns concern fewer connections, and in a turn that concerns
/// all, allocating the lists is a small part of the work.
pub const TURN_ENTRIES_KEPT: usize = 1024;
/// Entries for which a list that outlives its turn keeps room after a burst.
pub const ENTRIES_KEPT: usize = 64;
/// Sends handed over before completed ones are handled.
pub const SENDS_PER_ROUND: usize = 256;
/// How long readiness fails before anything else happens in a drain (configurable as `drain.notice_s`). Only the
/// operator knows what checks readiness, and how often.
pub const DRAIN_NOTICE: Duration = Duration::ZERO;
/// The time over which clients are disconnected (configurable as `drain.spread_s`): 100,000 clients in 20 s are 5,000
/// handshakes a second for the other gateways, which two cores can do (the benchmark `handshake`).
pub const DRAIN_SPREAD: Duration = Duration::from_secs(20);
/// The slowest pace of disconnecting clients in each shard: few clients are no storm.
pub const DRAIN_CLIENTS_PER_SECOND_MIN: u32 = 200;
/// The time for answers and last words after the last client has been told; after it the drain waits for no connection.
/// Longer than [`CLOSE_TIMEOUT`].
pub const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// How often a draining shard checks which client to disconnect next, and whether other shards still have clients.
pub const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// The shortest time after which a disconnected client should reconnect …
pub const RETURN_AFTER: Duration = Duration::from_secs(1);
/// … and the range over which clients are spread by their port, so that they do not reconnect at once.
pub const RETURN_SPREAD: Duration = Duration::from_secs(5);
/// Pause after an accept that failed for lack of descriptors or memory.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How often a log line that clients or a lasting condition can cause again and again is logged: often enough to see
/// that it lasts, seldom enough to see everything else.
pub const LOG_REPEAT: Duration = Duration::from_secs(60);
/// Different lines that are folded separately; further ones are folded together. As many as an operator can read in a
/// minute.
pub const LOG_KEYS_MAX: usize = 64;
/// Header fields of a request that a route may name for its workers, and bytes of all of them, names and values: a field that does not
/// fit is left out.
pub const PASSED_FIELDS_MAX: usize = 32;
pub const PASSED_FIELDS_BYTES_MAX: usize = 8 * 1024;
/// Subprotocols of one WebSocket route: each is looked for among what a client offers.
pub const SUBPROTOCOLS_MAX: usize = 16;
/// Bytes of lines of the access log that a shard hands over at once …
pub const ACCESS_LOG_BATCH_BYTES: usize = 32 * 1024;
/// … or as many as there are after this time: seldom enough that waking the writer costs a busy shard nothing, and soon enough
/// for an operator at the file.
pub const ACCESS_LOG_DELAY: Duration = Duration::from_millis(100);
/// Bytes of lines that a shard keeps within one turn; further lines are lost. Turns are bounded, so few come near it.
pub const ACCESS_LOG_PENDING_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the host, the path with its query, the agent and the referer in a line, each: longer ones are cut. Browsers and
/// servers of pages stay below.
pub const ACCESS_LOG_TEXT_BYTES_MAX: usize = 2048;
/// Bytes that the log keeps of one request or stream, at most: those texts, and the rest of its line.
pub const ACCESS_LOG_ENTRY_BYTES: u64 = 5 * ACCESS_LOG_TEXT_BYTES_MAX as u64 + 512;
/// How long the end of the process waits for the writer, which a pipe that is not read may hold up.
pub const ACCESS_LOG_STOP_WAIT: Duration = Duration::from_secs(2);
/// The first line of a message in the engine: numbers of 20 digits at most, and the publisher.
pub const ENTRY_LINE_BYTES_MAX: usize = 128;
/// Letters that one lane of a mailbox holds.
pub const MAILBOX_MAILS: usize = 16 * 1024;
/// Bytes of large messages that one lane holds; one message may exceed it. Far fewer large messages than letters fit.
pub const MAILBOX_BYTES: usize = 64 * 1024 * 1024;
/// From this size on a message counts as large. The number of letters bounds the smaller ones, so they need not be
/// counted.
pub const MAIL_LARGE_BYTES: usize = 4 * 1024;
/// Letters taken from one lane of a mailbox per turn.
pub const MAILS_PER_TURN: usize = 4 * 1024;
/// With more letters than this waiting for full mailboxes, a shard does not read from publishers.
pub const BACKLOG_MAILS_HIGH: usize = 1024;
/// The same for the bytes of large messages among them.
pub const BACKLOG_BYTES_HIGH: usize = 16 * 1024 * 1024;
/// How long a shard waits before it tries a full mailbox again.
pub const BACKLOG_RETRY: Duration = Duration::from_millis(1);
/// Channels without subscribers whose positions a shard keeps, of each kind: names without a message so far, channels
/// with offsets alone, channels with kept messages. The least recently used of its kind is forgotten first, so a name
/// that a client makes up never costs another channel its messages.
pub const IDLE_CHANNELS_MAX: usize = 100_000;
/// Bytes of a connection that the kernel accepts beyond what its peer has room for (TCP_NOTSENT_LOWAT). Later messages
/// stay in the gateway, where they can be dropped or replaced. Without this bound the kernel accepts megabytes
/// (net.ipv4.tcp_wmem).
pub const NOT_SENT_BYTES: u32 = 64 * 1024;
/// The listen queue; the kernel lowers it to net.core.somaxconn.
pub const LISTEN_QUEUE: i32 = 4096;

// --- Channels -----------------------------------------------------------------------------------------------------

/// Most rules for channels; each channel and topic walks through their patterns once.
pub const CHANNEL_RULES_MAX: usize = 1_000;
/// Messages that `history` keeps of a channel by default (configurable for each rule). As many as a client reads in a
/// second.
pub const HISTORY_MESSAGES: usize = 100;
pub const HISTORY_BYTES: usize = 1024 * 1024;
/// A tunnel, a change of networks, a phone in a pocket.
pub const HISTORY_AGE: &str = "5m";
/// Bytes of the histories of all channels together (configurable as `limits.history_bytes_max`); each shard has an
/// equal part.
pub const HISTORY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Values of `Tg-Distinct` that a shard remembers, of all channels and keys; about 80 bytes each. A grid of 300 by 300 cells.
pub const DISTINCT_VALUES_MAX: usize = 100_000;
/// How long the name of a message (`Nats-Msg-Id`) is remembered, so that a second message with it is dropped:
/// JetStream's default, and longer than the restart of a worker.
pub const MESSAGE_ID_WINDOW: Duration = Duration::from_secs(120);
/// Most names that are remembered of one channel: one every few milliseconds, or a burst that is published again.
pub const MESSAGE_IDS_PER_CHANNEL_MAX: usize = 16 * 1024;
/// Bytes of names that a shard remembers; those of the least recently used channels are dropped first.
pub const MESSAGE_IDS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A longer name of a worker's message is ignored: the message counts as unnamed. The admin API refuses it.
pub const MESSAGE_ID_BYTES_MAX: usize = 256;

/// Clients on the presence list of one channel; further ones are only counted. One answer has the whole list.
pub const PRESENT_PER_CHANNEL_MAX: usize = 1_000;
/// The same for all channels of a shard: about 400 bytes each, and the `info` of their tokens.
pub const PRESENT_MAX: usize = 200_000;
/// How long a user may be away before a leave is announced (configurable as `channel.presence_grace_s`): longer than
/// the packages and an EventSource take for their first reconnection.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(5);
/// Joins and leaves that a shard announces in one turn; the others follow in the next.
pub const ANNOUNCEMENTS_PER_TURN: usize = 1024;
/// Connections of one user that a shard lists; further ones are only counted.
pub const FOUND_PER_SHARD_MAX: usize = 1_000;

/// How often old messages are looked for, and in how many channels: in 100,000 channels within half a minute.
pub const HISTORY_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
pub const HISTORIES_PER_SWEEP: usize = 4 * 1024;
/// The bounds of one piece of a replay; the next piece follows when this one has been sent. A quarter of the client's
/// outbox may be less (`limits.outbox_bytes_max`).
pub const REPLAY_MESSAGES_MAX: usize = 256;
pub const REPLAY_BYTES_MAX: usize = 64 * 1024;

// --- io_uring -----------------------------------------------------------------------------------------------------

/// Submission entries; a full queue is submitted and reused. The kernel keeps the requests of one submission until it
/// ends: 128 to 512 sends stay in the cache, with 1,024 each costs a tenth more, with 4,096 half as much again.
pub const URING_SUBMISSIONS: u32 = 256;
/// Completion entries; the kernel keeps what overflows the queue (IORING_FEAT_NODROP). Their number also decides into
/// how many chains the kernel hashes watched descriptors: 256 from this number on, and a close walks through one of
/// them.
pub const URING_COMPLETIONS: u32 = 8192;
/// Message headers of a KiB each that a shard keeps for the next batches with several slices.
pub const URING_MESSAGES_POOLED_MAX: usize = 32;

const _: () = {
    assert!(RECEIVE_BYTES >= RECORD_BYTES_MAX, "one receive can complete any record");
    assert!(RECEIVE_BYTES as u64 / BYTES_PER_UNIT >= CLOCK_UNITS, "the clock is read after a full receive");
    assert!(TARGET_BYTES_MAX < HEAD_BYTES_MAX, "414 can be told from 431");
    assert!(CONTROL_LINE_BYTES_MAX > 2 * SUBJECT_BYTES_MAX + SID_BYTES_MAX, "a legal line fits");
    assert!(OUTBOX_BYTES_MAX > 2 * MESSAGE_BYTES_MAX, "one message never makes a client slow");
    assert!(REGISTRATIONS_HIGH as usize + SHARDS_MAX <= u16::MAX as usize, "one more can always be counted");
    assert!(TOKENS_REFUSED_MAX * TOKENS_EXPIRED_PER_REFUSED >= 2 * CHANNELS_PER_CONNECTION_MAX as u32);
    assert!(
        COMMAND_CREDIT.as_secs() as u32 * COMMANDS_PER_SECOND
            > CHANNELS_PER_CONNECTION_MAX as u32 * (1 + COMMANDS_PER_SUBSCRIPTION + COMMANDS_PER_TOKEN),
        "a returning client does not rest"
    );
    assert!(2 * CHANNELS_PER_CONNECTION_MAX <= REGISTRATIONS_HIGH as usize, "a client's channels and replays");
    assert!(WORKER_OUTBOX_BYTES_MAX > 2 * PAYLOAD_BYTES_MAX, "nor a worker");
    assert!(
        ACCEPTED_BYTES_MIN - ACCEPTED_BYTES_MIN / ACCEPTED_FOR_RESULTS > 2 * BODY_BYTES_MAX
            && REQUEST_BYTES_PER_WORKER_MAX > 2 * BODY_BYTES_MAX
    );
    assert!(SOCKET_BYTES < CONNECTION_BYTES_PLAIN && CONNECTION_BYTES_PLAIN < CONNECTION_BYTES_TLS);
    assert!(SENDS_PER_ROUND as u32 <= URING_COMPLETIONS, "a round's completions fit");
    assert!(CLOSE_TIMEOUT.as_millis() < DRAIN_GRACE.as_millis(), "who was told last has time for its answer");
    assert!(PONG_TIMEOUT.as_secs() < PING_INTERVAL.as_secs());
    assert!(SERVERS_PER_UPSTREAM_MAX <= u64::BITS as usize, "a set of servers is one word");
    assert!(UPSTREAM_EJECT.as_secs() <= UPSTREAM_EJECT_MAX.as_secs());
};
