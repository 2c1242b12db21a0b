//! The layer between the wire and the session: none, or TLS; before either, the PROXY header of a load balancer.
//!
//! ```text
//!  Introduction --a whole header (`introduction`)--> Plain | Tls
//! ```

use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName as CertifiedName;

use crate::base::{Batch, Carry};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::tls::{Arrived, Opened, Tls, TlsFailure};

pub enum Transport {
    Plain,
    Layered(Box<Layer>),
}

const _: () = assert!(size_of::<Transport>() == size_of::<usize>(), "a plain connection pays one word for TLS");

#[expect(clippy::large_enum_variant, reason = "introductions are few and short, and TLS has no second box")]
pub enum Layer {
    Tls(TlsTransport),
    /// A load balancer has yet to say whose connection it is: nothing else is understood before, and nothing is sent.
    Introduction(Introduction),
}

const _: () = assert!(size_of::<Layer>() <= 224, "all the TLS state of an idle connection, in one allocation");

pub struct Introduction {
    /// The layer after the header: TLS with this configuration, or none.
    pub tls: Option<Arc<ServerConfig>>,
    /// A part of the header has arrived.
    pub has_begun: bool,
}

pub struct TlsTransport {
    tls: Tls,
    /// `None` for almost every connection, almost always.
    waiting: Option<Box<TlsBuffers>>,
}

/// Bytes kept between two turns.
#[derive(Default)]
struct TlsBuffers {
    /// Bytes that are sealed already, or sent in the clear: messages of the handshake, alerts, tickets. They precede
    /// bytes that are sealed later.
    wire: Vec<u8>,
    /// The bytes are only tickets, which no client waits for: they are sent with the next sealed bytes, not in a send
    /// of their own.
    is_patient: bool,
    /// Plaintext of an incomplete message.
    plain: Carry,
}

impl Transport {
    pub fn tls(config: &Arc<ServerConfig>) -> Result<Transport, CloseReason> {
        Ok(Transport::Layered(Box::new(Layer::Tls(TlsTransport { tls: Tls::new(config)?, waiting: None }))))
    }

    /// To a server that proves to have this name: the first message of the handshake waits to be sent.
    pub fn tls_to(config: &Arc<ClientConfig>, name: CertifiedName<'static>) -> Result<Transport, CloseReason> {
        let mut buffers = TlsBuffers::default();
        let tls = Tls::client(config, name, &mut buffers.wire)?;
        Ok(Transport::Layered(Box::new(Layer::Tls(TlsTransport { tls, waiting: Some(Box::new(buffers)) }))))
    }

    /// Until the PROXY header has arrived; then with TLS or without.
    pub fn introduced(tls: Option<&Arc<ServerConfig>>) -> Transport {
        let introduction = Introduction { tls: tls.cloned(), has_begun: false };
        Transport::Layered(Box::new(Layer::Introduction(introduction)))
    }

    #[inline]
    pub fn as_tls(&mut self) -> Option<&mut TlsTransport> {
        match self {
            Transport::Layered(layer) => layer.as_tls(),
            Transport::Plain => None,
        }
    }

    pub fn introduction(&mut self) -> Option<&mut Introduction> {
        match self {
            Transport::Layered(layer) => match &mut **layer {
                Layer::Introduction(introduction) => Some(introduction),
                Layer::Tls(_) => None,
            },
            Transport::Plain => None,
        }
    }

    #[inline]
    fn tls_state(&self) -> Option<&TlsTransport> {
        match self {
            Transport::Layered(layer) => match &**layer {
                Layer::Tls(tls) => Some(tls),
                Layer::Introduction(_) => None,
            },
            Transport::Plain => None,
        }
    }

    pub fn is_tls(&self) -> bool {
        self.tls_state().is_some()
    }

    /// Whether nothing of the session can be received or sent yet.
    pub fn is_handshaking(&self) -> bool {
        match self {
            Transport::Plain => false,
            Transport::Layered(layer) => match &**layer {
                Layer::Tls(tls) => tls.tls.is_handshaking(),
                Layer::Introduction(_) => true,
            },
        }
    }

    /// The reason of a peer that has ended its half too early, or whose handshake takes too long.
    pub fn reason_of_end(&self, is_late: bool) -> CloseReason {
        match self.tls_state() {
            Some(_) if is_late => CloseReason::TlsTooSlow,
            Some(_) => CloseReason::TlsTruncated,
            None => CloseReason::ProxyHeader,
        }
    }

    /// The failure that has ended TLS, if there is one.
    pub fn failure(&self) -> Option<&TlsFailure> {
        self.tls_state()?.tls.failure()
    }

    /// What the unused input of an unfinished handshake is.
    pub fn look(&self, input: &[u8]) -> Arrived {
        self.tls_state().map_or(Arrived::Later, |tls| tls.tls.look(input))
    }

    /// Bytes of memory for plaintext of an incomplete message, and for a handshake that has begun.
    pub fn arriving_bytes(&self) -> usize {
        let Some(tls) = self.tls_state() else { return 0 };
        let plain = tls.waiting.as_ref().map_or(0, |waiting| waiting.plain.capacity());
        let handshake = if tls.tls.is_amid_handshake() { limits::HANDSHAKE_STATE_BYTES } else { 0 };
        plain + handshake
    }

    /// Whether a peer that ends its half here has not truncated the stream: always without TLS; with TLS, if one side has
    /// sent close_notify before; and before the first byte of a PROXY header, as load balancers do that check a port.
    pub fn may_end(&self) -> bool {
        match self {
            Transport::Plain => true,
            Transport::Layered(layer) => match &**layer {
                Layer::Tls(tls) => tls.tls.is_peer_closed() || tls.tls.is_closed(),
                Layer::Introduction(introduction) => !introduction.has_begun,
            },
        }
    }

    /// Frees the plaintext of an incomplete message, which nothing will complete.
    pub fn drop_plain(&mut self) {
        if let Some(tls) = self.as_tls() {
            tls.take_plain(&mut Vec::new());
        }
    }

    /// Bytes are waiting to be sent that do not come from the outbox.
    pub fn has_output(&self) -> bool {
        let waiting = self.tls_state().and_then(|tls| tls.waiting.as_ref());
        waiting.is_some_and(|waiting| !waiting.wire.is_empty() && !waiting.is_patient)
    }

    /// Plaintext is kept.
    pub fn has_plain(&self) -> bool {
        let waiting = self.tls_state().and_then(|tls| tls.waiting.as_ref());
        waiting.is_some_and(|waiting| !waiting.plain.is_empty())
    }

    /// close_notify can be sent, and has not been.
    pub fn owes_close_notify(&self) -> bool {
        self.tls_state().is_some_and(|tls| tls.tls.is_open())
    }
}

impl Layer {
    #[inline]
    pub fn as_tls(&mut self) -> Option<&mut TlsTransport> {
        match self {
            Layer::Tls(tls) => Some(tls),
            Layer::Introduction(_) => None,
        }
    }
}

impl TlsTransport {
    /// Opens records off the front of `input`, and appends their plaintext to `plain`.
    pub fn open(&mut self, input: &mut &mut [u8], plain: &mut Vec<u8>) -> Result<Opened, CloseReason> {
        let TlsTransport { tls, waiting } = self;
        let mut wire = waiting.as_mut().map(|waiting| std::mem::take(&mut waiting.wire)).unwrap_or_default();
        let before = wire.len();
        let opened = tls.open(input, plain, &mut wire, limits::RECEIVE_BYTES);
        if !wire.is_empty() {
            let is_more = wire.len() > before;
            // The last handshake messages of TLS 1.2 are ones that the client waits for.
            let is_tickets = before == 0 && matches!(&opened, Ok(Opened::Handshaken(agreed)) if agreed.is_tls13());
            let waiting = waiting.get_or_insert_default();
            waiting.is_patient = if is_more { is_tickets } else { waiting.is_patient };
            waiting.wire = wire;
        }
        opened
    }

    /// Moves the kept plaintext into `plain`, which is empty.
    pub fn take_plain(&mut self, plain: &mut Vec<u8>) {
        let carried = self.waiting.as_mut().and_then(|waiting| waiting.plain.take_joined(&[]));
        if let Some(carried) = carried {
            plain.extend_from_slice(&carried);
        }
        self.tidy();
    }

    /// Keeps the plaintext of an incomplete message.
    pub fn keep_plain(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.waiting.get_or_insert_default().plain.keep(rest);
        }
    }

    /// Appends to `sealed`, which is empty: the waiting wire bytes, the records of `plain`, and close_notify if
    /// `is_last`. After an error `sealed` is empty, and what could be sealed waits for the last call.
    pub fn seal(
        &mut self,
        plain: Option<&Batch>,
        is_last: bool,
        scratch: &mut Vec<u8>,
        sealed: &mut Batch,
    ) -> Result<(), CloseReason> {
        let TlsTransport { tls, waiting } = self;
        let mut outcome = Ok(());
        sealed.extend_with(|out| {
            if let Some(waiting) = waiting {
                out.append(&mut waiting.wire);
            }
            if let Some(plain) = plain.filter(|_| !tls.is_handshaking()) {
                outcome = tls.seal(plain.slices(), scratch, out);
            }
            if is_last {
                tls.close_notify(out);
            } else if outcome.is_err() && !out.is_empty() {
                // The keys are used up. The records before close_notify go out with it.
                waiting.get_or_insert_default().wire.append(out);
            }
        });
        self.tidy();
        outcome
    }

    /// Frees the buffers once they are empty: the handshake's messages are kilobytes, and an idle connection keeps none.
    fn tidy(&mut self) {
        self.waiting.take_if(|waiting| waiting.wire.is_empty() && waiting.plain.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::crypto::{CipherSuiteCommon, CryptoProvider};
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite, Tls12CipherSuite};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;
    use crate::proto::tls::certificates::{read_chain, read_key, self_signed};
    use crate::proto::tls::config::provider;
    use crate::proto::tls::{Certificate, server_config};

    /// A finished handshake, and whether bytes of ours were to be sent at its end.
    fn shake_hands(version: &'static rustls::SupportedProtocolVersion) -> (Transport, ClientConnection, bool) {
        shake_hands_with(version, |certificate, _| server_config(vec![certificate]).unwrap())
    }

    fn shake_hands_with(
        version: &'static rustls::SupportedProtocolVersion,
        config_of: impl FnOnce(Certificate, (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)) -> Arc<ServerConfig>,
    ) -> (Transport, ClientConnection, bool) {
        let (chain, key) = self_signed(&["localhost".to_owned()]).unwrap();
        let chain = read_chain(chain.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).unwrap();
        let config =
            ClientConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(&[version]).unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let mut client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let read = || read_key(key.as_bytes()).unwrap();
        let certificate = Certificate::new(chain.clone(), read()).unwrap();
        let mut transport = Transport::tls(&config_of(certificate, (chain, read()))).unwrap();
        loop {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut input = &mut wire[..];
            let Some(tls) = transport.as_tls() else { unreachable!("as it was made") };
            while !input.is_empty() {
                if let Opened::Handshaken(_) = tls.open(&mut input, &mut Vec::new()).unwrap() {
                    assert!(input.is_empty());
                    let has_output = transport.has_output();
                    return (transport, client, has_output);
                }
            }
            hear(&mut client, &sealed(&mut transport, None));
        }
    }

    fn sealed(transport: &mut Transport, plain: Option<&Batch>) -> Vec<u8> {
        let Some(tls) = transport.as_tls() else { unreachable!("as it was made") };
        let mut sealed = Batch::new();
        tls.seal(plain, false, &mut Vec::new(), &mut sealed).unwrap();
        sealed.slices().flatten().copied().collect()
    }

    fn hear(client: &mut ClientConnection, mut wire: &[u8]) {
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets().unwrap();
        }
    }

    #[test]
    fn tickets_go_out_with_the_first_answer() {
        let (mut transport, mut client, has_output) = shake_hands(&TLS13);
        assert!(!has_output, "a send of its own");
        let mut answer = Batch::new();
        answer.push(b"answer");
        hear(&mut client, &sealed(&mut transport, Some(&answer)));
        assert_eq!(client.tls13_tickets_received(), 1);
        let mut heard = [0; 6];
        client.reader().read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"answer");
        let Some(tls) = transport.as_tls() else { unreachable!("as it was made") };
        assert!(tls.waiting.is_none(), "an idle connection keeps nothing of the handshake");
    }

    /// A configuration of TLS 1.2 of which one key encrypts this many records, Finished among them. Leaked: rustls wants
    /// it to live for ever.
    fn limited(
        records_max: u64,
        (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    ) -> Arc<ServerConfig> {
        let suites = provider().cipher_suites.into_iter().map(|suite| match suite {
            SupportedCipherSuite::Tls12(own) => SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: CipherSuiteCommon {
                    suite: own.common.suite,
                    hash_provider: own.common.hash_provider,
                    confidentiality_limit: records_max,
                },
                prf_provider: own.prf_provider,
                kx: own.kx,
                sign: own.sign,
                aead_alg: own.aead_alg,
            }))),
            suite => suite,
        });
        let provider = CryptoProvider { cipher_suites: suites.collect(), ..provider() };
        let config = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&TLS12]).unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    #[test]
    fn a_tls12_connection_whose_keys_are_used_up_sends_what_it_could_and_close_notify() {
        let (mut transport, mut client, _) = shake_hands_with(&TLS12, |_, own| limited(4, own));
        hear(&mut client, &sealed(&mut transport, None));
        let mut answer = Batch::new();
        answer.push(&[7; 5 * limits::RECORD_CONTENT_BYTES]);
        let Some(tls) = transport.as_tls() else { unreachable!("as it was made") };
        let mut batch = Batch::new();
        assert_eq!(tls.seal(Some(&answer), false, &mut Vec::new(), &mut batch), Err(CloseReason::TlsKeysUsedUp));
        assert!(batch.is_empty() && tls.tls.is_open());
        // What the connection says in its end cannot be sealed any more.
        let mut words = Batch::new();
        words.push(b"close frame");
        tls.seal(Some(&words), true, &mut Vec::new(), &mut batch).unwrap_err();
        let mut heard = Vec::new();
        let wire: Vec<u8> = batch.slices().flatten().copied().collect();
        let mut rest = &wire[..];
        let mut is_closed = false;
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            is_closed = client.process_new_packets().unwrap().peer_has_closed();
            _ = client.reader().read_to_end(&mut heard);
        }
        assert!(is_closed && !heard.is_empty());
        assert!(heard.len().is_multiple_of(limits::RECORD_CONTENT_BYTES), "{}", heard.len());
    }

    #[test]
    fn what_a_client_waits_for_goes_out_at_once() {
        let (mut transport, mut client, has_output) = shake_hands(&TLS12);
        assert!(has_output && client.is_handshaking());
        hear(&mut client, &sealed(&mut transport, None));
        assert!(!client.is_handshaking() && !transport.has_output());

        // An alert is sent together with the tickets before it.
        let (mut transport, mut client, _) = shake_hands(&TLS13);
        client.writer().write_all(b"forged").unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        wire[9] ^= 1;
        let Some(tls) = transport.as_tls() else { unreachable!("as it was made") };
        tls.open(&mut &mut wire[..], &mut Vec::new()).unwrap_err();
        assert!(transport.has_output());
        let mut said = &sealed(&mut transport, None)[..];
        client.read_tls(&mut said).unwrap();
        let error = client.process_new_packets().unwrap_err();
        assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
        assert_eq!(client.tls13_tickets_received(), 1);
    }
}
