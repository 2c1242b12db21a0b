//! The plays: who connects, with which keys of CONNECT, and who says what, one after the other.

pub struct Play {
    pub name: &'static str,
    /// What each says in CONNECT besides its credentials and `"verbose":false`.
    pub cast: &'static [&'static str],
    pub turns: &'static [(usize, &'static [u8])],
}

/// As packages connect.
const QUIET: &str = r#","pedantic":false,"headers":true,"no_responders":true"#;
const PEDANTIC: &str = r#","pedantic":true,"headers":true,"no_responders":true"#;
const VERBOSE: &str = r#","pedantic":false,"headers":true,"no_responders":true,"verbose":true"#;
const VERBOSE_PEDANTIC: &str = r#","pedantic":true,"headers":true,"no_responders":true,"verbose":true"#;
const SILENT: &str = r#","pedantic":false,"headers":true,"no_responders":true,"echo":false"#;
const PLAIN: &str = r#","pedantic":false"#;

macro_rules! plays {
    ($($name:literal: [$($keys:expr),*] $(($who:literal $words:literal))*;)*) => {
        &[$(Play { name: $name, cast: &[$($keys),*], turns: &[$(($who, $words)),*] }),*]
    };
}

pub const PLAYS: &[Play] = plays! {
    // --- slips in a publication's subject
    "an empty token": [QUIET] (0 b"SUB > 1\r\nPUB room..7 1\r\nx\r\n") (0 b"PUB room.7 1\r\ny\r\n");
    "a leading dot": [QUIET] (0 b"SUB > 1\r\nPUB .room 1\r\nx\r\n") (0 b"PUB room 1\r\ny\r\n");
    "a trailing dot": [QUIET] (0 b"SUB > 1\r\nPUB room. 1\r\nx\r\n") (0 b"PUB room 1\r\ny\r\n");
    "dots alone": [QUIET] (0 b"SUB > 1\r\nPUB . 1\r\nx\r\nPUB ... 1\r\nx\r\n");
    "wildcards that nobody listens to": [QUIET] (0 b"SUB a.b 1\r\nPUB a.* 1\r\nx\r\nPUB > 1\r\nx\r\nPUB a.> 1\r\nx\r\nPUB a.>.b 1\r\nx\r\n");
    "an asker with such a subject": [QUIET] (0 b"SUB r.* 1\r\nPUB a..b r.1 1\r\nx\r\nPUB .a r.2 1\r\nx\r\nPUB a. r.3 1\r\nx\r\nPUB a.* r.4 1\r\nx\r\n");
    "an asker who does not want to know": [PLAIN] (0 b"SUB r.* 1\r\nPUB a..b r.1 1\r\nx\r\nPUB nobody r.1 1\r\nx\r\n");
    "the pedantic are told": [PEDANTIC] (0 b"SUB r.* 1\r\nPUB a..b 1\r\nx\r\nPUB .a 1\r\nx\r\nPUB a. 1\r\nx\r\nPUB a.* 1\r\nx\r\nPUB a..b r.1 1\r\nx\r\n");
    "the verbose are acknowledged": [VERBOSE] (0 b"SUB r.* 1\r\nPUB a..b 1\r\nx\r\nPUB a.* r.1 1\r\nx\r\nUNSUB 1\r\nUNSUB 1\r\nUNSUB 7\r\n");
    "the verbose and pedantic both": [VERBOSE_PEDANTIC] (0 b"PUB a..b 1\r\nx\r\nPUB a.* 1\r\nx\r\nPUB a 1\r\nx\r\n");
    // --- reply subjects are not read
    "any reply subject": [QUIET] (0 b"SUB a 1\r\nPUB a b..c 1\r\nx\r\nPUB a b.* 1\r\nx\r\nPUB a . 1\r\nx\r\nPUB a > 1\r\nx\r\n");
    // --- subscriptions
    "subjects that nobody can listen to": [QUIET] (0 b"SUB a..b 1\r\nSUB .a 2\r\nSUB a. 3\r\nSUB a.>.b 4\r\nSUB a.>> 5\r\n");
    "wildcards inside tokens": [QUIET] (0 b"SUB a*b 1\r\nSUB a>.b 2\r\nSUB **.b 3\r\nPUB a*b 1\r\nx\r\nPUB a>.b 1\r\ny\r\nPUB axb 1\r\nz\r\n");
    "any queue group": [QUIET] (0 b"SUB a q..w 1\r\nSUB a * 2\r\nSUB b.* q.> 3\r\nPUB b.1 1\r\nx\r\n");
    "any id": [QUIET] (0 b"SUB a 0199f5a8-4e6f-7c3c-9d55-86d1e4b1a0aa\r\nSUB b -1\r\nSUB c a.b.c\r\nPUB a 1\r\nx\r\nPUB b 1\r\nx\r\nPUB c 1\r\nx\r\n");
    "an id that is in use": [QUIET] (0 b"SUB a 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n");
    "an id that is used again": [QUIET] (0 b"SUB a 1\r\nUNSUB 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n");
    "an end of no subscription": [QUIET] (0 b"UNSUB 99\r\nUNSUB x y\r\nUNSUB 99 5\r\n");
    "an end after some": [QUIET] (0 b"SUB a 1\r\nUNSUB 1 2\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPUB a 1\r\n3\r\n");
    "an end that is past": [QUIET] (0 b"SUB a 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nUNSUB 1 1\r\nPUB a 1\r\n3\r\n");
    "an end after none": [QUIET] (0 b"SUB a 1\r\nUNSUB 1 0\r\nPUB a 1\r\n1\r\n");
    "two of one connection": [QUIET] (0 b"SUB a 1\r\nSUB a 2\r\nUNSUB 1\r\nPUB a 1\r\nx\r\n");
    // --- lines
    "any case, any blanks": [QUIET] (0 b"sub a 1\r\nSuB\tb   2\t\r\npub\ta\t1\r\nx\r\nPUB  b  1 \r\ny\r\nping\r\nPiNg x\r\n");
    "a lone LF ends a line": [QUIET] (0 b"SUB a 1\nPUB a 1\nx\r\nPING\n");
    "what servers say": [QUIET] (0 b"PONG\r\nPONG x\r\n+OK\r\nINFO {}\r\n");
    "zeros before a size": [QUIET] (0 b"PUB a 001\r\nx\r\n");
    // --- headers
    "headers that are none": [QUIET] (0 b"SUB a 1\r\nHPUB a 5 6\r\nhellox\r\nHPUB a 12 12\r\nNATS/1.0\n\n\r\n\r\n");
    "headers of no bytes": [QUIET] (0 b"SUB a 1\r\nHPUB a 0 1\r\nx\r\n");
    "headers that are no text": [QUIET] (0 b"SUB a 1\r\nHPUB a 20 21\r\nNATS/1.0\r\nA: \xff\xfe\r\n\r\nx\r\n");
    "headers for who wants none": [QUIET, PLAIN] (1 b"SUB a 1\r\n") (0 b"HPUB a 18 19\r\nNATS/1.0\r\nA: b\r\n\r\nx\r\n");
    // --- what closes
    "no verb": [QUIET] (0 b"FOO\r\n");
    "an empty line": [QUIET] (0 b"\r\n");
    "a blank before a verb": [QUIET] (0 b" PING\r\n");
    "a verb of servers": [QUIET] (0 b"MSG a 1 1\r\nx\r\n");
    "an error": [QUIET] (0 b"-ERR 'x'\r\n");
    "PUB without a size": [QUIET] (0 b"PUB a\r\n");
    "PUB without anything": [QUIET] (0 b"PUB\r\n");
    "PUB with too much": [QUIET] (0 b"PUB a b c 1\r\nx\r\n");
    "PUB with a negative size": [QUIET] (0 b"PUB a -1\r\nx\r\n");
    "PUB with a longer payload than it said": [QUIET] (0 b"PUB a 1\r\nxy\r\n");
    "PUB with LF alone after its payload": [QUIET] (0 b"PUB a 1\r\nx\n");
    "PUB with a size of too many digits": [QUIET] (0 b"PUB a 0000000000001\r\nx\r\n");
    "PUB of too much": [QUIET] (0 b"PUB a 2000000\r\n");
    "HPUB with more headers than there is": [QUIET] (0 b"HPUB a 13 12\r\nNATS/1.0\r\n\r\n\r\n");
    "SUB without an id": [QUIET] (0 b"SUB a\r\n");
    "SUB with too much": [QUIET] (0 b"SUB a b c d\r\n");
    "UNSUB with too much": [QUIET] (0 b"UNSUB 1 2 3\r\n");
    "CONNECT without JSON": [QUIET] (0 b"CONNECT x\r\n");
    "CONNECT with a wrong type": [QUIET] (0 b"CONNECT {\"verbose\":\"x\"}\r\n");
    "CONNECT with another password": [QUIET] (0 b"CONNECT {\"user\":\"alice\",\"pass\":\"x\"}\r\n");
    // --- nobody there
    "nobody listens": [QUIET] (0 b"SUB r.* 1\r\nPUB nobody r.1 1\r\nx\r\n");
    "nobody listens to the answer either": [QUIET] (0 b"PUB nobody r.1 1\r\nx\r\n");
    "a listener is somebody": [QUIET, QUIET] (1 b"SUB a.* 1\r\n") (0 b"SUB r.* 1\r\nPUB a.b r.1 1\r\nx\r\n");
    "a member is somebody": [QUIET, QUIET] (1 b"SUB a q 1\r\n") (0 b"SUB r.* 1\r\nPUB a r.1 1\r\nx\r\n");
    "who has left is nobody": [QUIET, QUIET] (1 b"SUB a 1\r\nUNSUB 1\r\n") (0 b"SUB r.* 1\r\nPUB a r.1 1\r\nx\r\n");
    // --- no echo
    "a silent one and itself": [SILENT] (0 b"SUB a 1\r\nSUB a.* 2\r\nPUB a 1\r\nx\r\nPUB a.b 1\r\nx\r\n");
    "a silent one and its group": [SILENT] (0 b"SUB a q 1\r\nSUB a.* q 2\r\nPUB a 1\r\nx\r\nPUB a.b 1\r\nx\r\n");
    "a silent one is nobody": [SILENT] (0 b"SUB r 1\r\nSUB a 2\r\nSUB b.* 3\r\nSUB c q 4\r\nPUB a r 1\r\nx\r\nPUB b.c r 1\r\nx\r\nPUB c r 1\r\nx\r\n");
    "a silent one and another": [SILENT, QUIET] (0 b"SUB a 1\r\nSUB b q 2\r\n") (1 b"SUB a 1\r\nSUB b q 2\r\n") (0 b"PUB a 1\r\nx\r\nPUB b 1\r\n1\r\nPUB b 1\r\n2\r\nPUB b 1\r\n3\r\n");
    "a silent one hears others": [SILENT, QUIET] (0 b"SUB a 1\r\nSUB b q 2\r\n") (1 b"PUB a 1\r\nx\r\nPUB b 1\r\ny\r\n");
    // --- order, and the barrier
    "order over subjects": [QUIET, QUIET] (1 b"SUB t.* 1\r\n") (0 b"PUB t.1 1\r\n1\r\nPUB t.2 1\r\n2\r\nPUB t.3 1\r\n3\r\nPUB t.4 1\r\n4\r\nPUB t.5 1\r\n5\r\nPUB t.6 1\r\n6\r\n");
    "order over subscriptions": [QUIET, QUIET] (1 b"SUB a 1\r\nSUB b.* 2\r\nSUB c q 3\r\nSUB d.> 4\r\n") (0 b"PUB a 1\r\n1\r\nPUB b.1 1\r\n2\r\nPUB c 1\r\n3\r\nPUB d.1.2 1\r\n4\r\nPUB a 1\r\n5\r\nPUB c 1\r\n6\r\nPUB b.2 1\r\n7\r\n");
    "a pong after one's own": [QUIET] (0 b"SUB * 1\r\nPUB a 1\r\n1\r\nPUB b 1\r\n2\r\nPUB c 1\r\n3\r\nPING\r\nPUB d 1\r\n4\r\nPING\r\nPING\r\n");
    "an answer": [QUIET, QUIET] (1 b"SUB ask q 1\r\n") (0 b"SUB r.* 1\r\nPUB ask r.1 1\r\n?\r\n") (1 b"PUB r.1 1\r\n!\r\n");
    "headers of a publisher": [QUIET, QUIET] (1 b"SUB a.> 1\r\n") (0 b"HPUB a.b r 18 19\r\nNATS/1.0\r\nA: b\r\n\r\nx\r\nPUB a.c 0\r\n\r\n");
};
