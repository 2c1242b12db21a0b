//! Promises of the WebSocket core: pieces mean what the whole means, and what was understood can be said again.

use tidegate::proto::CloseReason;
use tidegate::proto::ws::frame::{HEADER_BYTES_MAX, is_close_code, write, write_close, write_masked};
use tidegate::proto::ws::{FrameHeader, Opcode, SessionLimits, WebSocketSession, WebSocketStep};

const LIMITS: SessionLimits = SessionLimits { message_bytes_max: 4096, fragments_max: 16 };
const CONTROL_BYTES_MAX: usize = 125;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A step that owns its bytes, or what ended the session.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Understood {
    Message(Opcode, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(CloseReason),
}

pub fn check(bytes: &[u8], cuts: &[usize]) {
    check_header(bytes);
    for new_session in [WebSocketSession::server, WebSocketSession::client] {
        let understood = read(new_session(), bytes, cuts);
        assert_eq!(understood, read(new_session(), bytes, &[]), "pieces mean what the whole means");
        understood.iter().for_each(check_step);
        check_said_again(&understood);
    }
}

/// The only way to write a header is the one that is read.
fn check_header(bytes: &[u8]) {
    if let Ok(Some((header, header_len))) = FrameHeader::parse(bytes) {
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(out, &bytes[..header_len]);
    }
}

fn read(mut session: WebSocketSession, bytes: &[u8], cuts: &[usize]) -> Vec<Understood> {
    let mut understood = Vec::new();
    let mut carry = Vec::new();
    for piece in super::pieces(bytes, cuts) {
        carry.extend_from_slice(piece);
        let mut input = &mut carry[..];
        loop {
            match session.next(&mut input, &LIMITS) {
                Ok(Some(step)) => understood.push(own(step)),
                Ok(None) => break,
                Err(reason) => understood.push(Understood::Failed(reason)),
            }
        }
        assert!(input.len() < HEADER_BYTES_MAX + CONTROL_BYTES_MAX, "a header or a control frame at most is left");
        carry = input.to_vec();
    }
    understood
}

fn own(step: WebSocketStep<'_>) -> Understood {
    match step {
        WebSocketStep::Message { opcode, payload } => Understood::Message(opcode, payload.into_vec()),
        WebSocketStep::Ping(payload) => Understood::Ping(payload.to_vec()),
        WebSocketStep::Pong(payload) => Understood::Pong(payload.to_vec()),
        WebSocketStep::Close { code, reason } => Understood::Close(code, reason.to_string()),
    }
}

fn check_step(step: &Understood) {
    match step {
        Understood::Message(opcode, payload) => {
            assert!(payload.len() <= LIMITS.message_bytes_max as usize);
            assert!(*opcode == Opcode::Binary || *opcode == Opcode::Text && std::str::from_utf8(payload).is_ok());
        }
        Understood::Ping(payload) | Understood::Pong(payload) => assert!(payload.len() <= CONTROL_BYTES_MAX),
        Understood::Close(code, reason) => {
            assert!(code.map_or(reason.is_empty(), is_close_code) && reason.len() <= CONTROL_BYTES_MAX - 2);
        }
        Understood::Failed(reason) => assert!([1002, 1007, 1009].contains(&reason.row().websocket_code)),
    }
}

/// Steps written as frames, by a client and by a server, are understood by the other end as the same steps.
fn check_said_again(steps: &[Understood]) {
    let is_said = |step: &&Understood| !matches!(step, Understood::Failed(_));
    let said: Vec<Understood> = steps.iter().filter(is_said).cloned().collect();
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    for step in &said {
        let (opcode, payload) = match step {
            Understood::Message(opcode, payload) => (*opcode, payload.clone()),
            Understood::Ping(payload) => (Opcode::Ping, payload.clone()),
            Understood::Pong(payload) => (Opcode::Pong, payload.clone()),
            Understood::Close(Some(code), reason) => (Opcode::Close, [&code.to_be_bytes(), reason.as_bytes()].concat()),
            Understood::Close(None, _) => (Opcode::Close, Vec::new()),
            Understood::Failed(_) => unreachable!("filtered above"),
        };
        write_masked(&mut from_client, true, opcode, &payload, MASK);
        match step {
            Understood::Close(code, reason) => write_close(&mut from_server, *code, reason),
            _ => write(&mut from_server, opcode, &payload),
        }
    }
    assert_eq!(read(WebSocketSession::server(), &from_client, &[]), said);
    assert_eq!(read(WebSocketSession::client(), &from_server, &[]), said);
}
