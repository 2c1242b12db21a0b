//! The proxies that are believed, as they are configured.

/// The proxies that are believed about the clients before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Addresses, and networks such as `10.0.0.0/8`. Empty: no proxy is believed.
    pub networks: Vec<String>,
    /// The header in which these proxies name the client.
    pub header: TrustedHeader,
}

/// The header in which a trusted proxy names the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustedHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}
