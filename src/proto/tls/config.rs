//! The configuration of a TLS listener: what it offers, and what it keeps between connections (only ticket keys).

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};

use super::certificates::{Certificate, Certificates};
use super::clients::ClientPolicy;
use super::secrets::Overhear;
use super::tickets::TicketKeys;

/// The key exchanges, including the hybrid post-quantum one (draft-ietf-tls-ecdhe-mlkem) for which browsers send a
/// share in their first message; the client's order decides. Listed here because the provider's own list depends on
/// Cargo features, which any other crate of the build may change.
static KEY_EXCHANGES: &[&dyn SupportedKxGroup] =
    &[kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// Tickets sent after a TLS 1.3 handshake. One is enough for the next connection; each costs an encryption and about
/// 200 bytes.
const TICKETS: usize = 1;

/// Only HTTP/1.1 is supported (RFC 7301 names it so); a client that offers only others gets no_application_protocol.
pub(super) const ALPN: &[u8] = b"http/1.1";

/// What an operator decides about TLS, besides certificates.
#[derive(Debug, Default)]
pub struct TlsPolicy {
    /// Refuses clients of TLS 1.2 without the extended master secret (RFC 7627).
    pub requires_ems: bool,
    /// Refuses clients that ask for a name that no certificate is for.
    pub refuses_unknown_names: bool,
    /// Keys of session tickets; without them, the process draws its own.
    pub ticket_keys: Option<TicketKeys>,
    /// Clients are asked for certificates.
    pub clients: Option<ClientPolicy>,
}

/// The algorithms of every handshake and of every private key.
pub fn provider() -> CryptoProvider {
    CryptoProvider { kx_groups: KEY_EXCHANGES.to_vec(), ..default_provider() }
}

/// The TLS configuration of a listener. The first certificate is for clients that name no host, or an unknown one.
///
/// Errors are one line for the operator.
pub fn server_config(certificates: Vec<Certificate>) -> Result<Arc<ServerConfig>, String> {
    server_config_as(certificates, TlsPolicy::default())
}

/// The same with a policy.
pub fn server_config_as(certificates: Vec<Certificate>, policy: TlsPolicy) -> Result<Arc<ServerConfig>, String> {
    server_config_with(provider(), certificates, policy)
}

/// The same with other algorithms, for tests.
pub(super) fn server_config_with(
    provider: CryptoProvider,
    certificates: Vec<Certificate>,
    policy: TlsPolicy,
) -> Result<Arc<ServerConfig>, String> {
    let certificates = Certificates::new(certificates, policy.refuses_unknown_names)?;
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let asks_clients = policy.clients.is_some();
    let builder = match policy.clients {
        Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Stateless tickets (RFC 5077): a returning client brings the session's state, so a flood of handshakes fills no
    // memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match policy.ticket_keys {
        // A resumed session shows no certificate: each connection makes a full handshake (`clients`).
        _ if asks_clients => {}
        Some(keys) => config.ticketer = Arc::new(keys),
        None => {
            config.ticketer = Ticketer::new().map_err(|error| format!("no key for session tickets: {error}"))?;
        }
    }
    // Without it, the certificate of one connection could be taken for another one's (RFC 7627 section 1).
    config.require_ems |= policy.requires_ems || asks_clients;
    config.send_tls13_tickets = if asks_clients { 0 } else { TICKETS };
    // An eavesdropper can replay early data (RFC 8446 section 8), and a publish must not be replayed.
    config.max_early_data_size = 0;
    // After the handshake of TLS 1.3 a connection leaves rustls with its secrets.
    config.key_log = Arc::new(Overhear);
    Ok(Arc::new(config))
}
