//! Connections to servers: our client against our server.

use super::super::client::{certified_name, client_config};
use super::*;

/// Both ends, and what each has said and heard.
struct Ends {
    client: Tls,
    server: Tls,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    heard_by_server: Vec<u8>,
    heard_by_client: Vec<u8>,
}

impl Ends {
    fn new(issued: Issued, name: &str, version: Version) -> Ends {
        let mut roots = RootCertStore::empty();
        roots.add(issued.root.clone()).unwrap();
        let client = client_config(roots, None).unwrap();
        let world = World::new(vec![issued], &[version], &[]);
        // The version is that of a server that speaks no other.
        let mut server = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(world.server.cert_resolver.clone());
        server.key_log = Arc::new(Overhear);
        let mut to_server = Vec::new();
        let client = Tls::client(&client, certified_name(name).unwrap(), &mut to_server).unwrap();
        let server = Tls::new(&Arc::new(server)).unwrap();
        Ends {
            client,
            server,
            to_server,
            to_client: Vec::new(),
            heard_by_server: Vec::new(),
            heard_by_client: Vec::new(),
        }
    }

    /// Bytes go both ways in pieces of this length, until none are left, or one end fails.
    fn run(&mut self, piece: usize) -> Result<(), CloseReason> {
        let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
        while !self.to_server.is_empty() || !self.to_client.is_empty() {
            let count = piece.min(self.to_server.len());
            at_server.extend(self.to_server.drain(..count));
            hear(&mut self.server, &mut at_server, &mut self.heard_by_server, &mut self.to_client)?;
            let count = piece.min(self.to_client.len());
            at_client.extend(self.to_client.drain(..count));
            hear(&mut self.client, &mut at_client, &mut self.heard_by_client, &mut self.to_server)?;
        }
        assert!(at_server.is_empty() && at_client.is_empty(), "every record is used");
        Ok(())
    }
}

fn hear(end: &mut Tls, carry: &mut Vec<u8>, plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), CloseReason> {
    let mut input = &mut carry[..];
    while let Opened::Handshaken(_) = end.open(&mut input, plain, out, usize::MAX)? {}
    let rest = input.len();
    carry.drain(..carry.len() - rest);
    Ok(())
}

#[test]
fn a_client_speaks_with_a_server_of_either_version_in_pieces_of_any_length() {
    for version in [&TLS13, &TLS12] {
        for piece in [usize::MAX, 1_000, 7, 1] {
            let mut ends = Ends::new(ecdsa("app.internal"), "app.internal", version);
            assert!(ends.client.is_handshaking());
            ends.run(piece).unwrap();
            assert!(!ends.client.is_handshaking() && ends.client.is_open());
            let (question, answer) = (vec![b'q'; 20_000], vec![b'a'; 70_000]);
            ends.client.seal([&question[..]], &mut Vec::new(), &mut ends.to_server).unwrap();
            ends.server.seal([&answer[..]], &mut Vec::new(), &mut ends.to_client).unwrap();
            ends.run(piece.max(7)).unwrap();
            assert!(ends.heard_by_server == question && ends.heard_by_client == answer);
            assert!(!ends.client.is_peer_closed());
            ends.server.close_notify(&mut ends.to_client);
            ends.run(piece).unwrap();
            assert!(ends.client.is_peer_closed());
        }
    }
}

#[test]
fn a_server_that_proves_another_name_is_refused_with_an_alert() {
    for version in [&TLS13, &TLS12] {
        let mut ends = Ends::new(ecdsa("other.internal"), "app.internal", version);
        assert!(ends.run(usize::MAX).is_err());
        let failure = ends.client.failure().expect("it has failed").to_string();
        assert!(failure.contains("not valid for name"), "{failure}");
        assert!(!ends.to_server.is_empty(), "the server is told");
    }
}

#[test]
fn what_is_no_tls_fails_at_once() {
    let mut ends = Ends::new(ecdsa("app.internal"), "app.internal", &TLS13);
    let mut junk = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    assert_eq!(ends.client.look(&junk), Arrived::Later);
    assert!(hear(&mut ends.client, &mut junk, &mut Vec::new(), &mut Vec::new()).is_err());
    assert_eq!(ends.client.look(b""), Arrived::Later, "it has failed");
}
