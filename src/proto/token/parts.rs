//! A token in its compact form: three parts of base64url with dots between them (RFC 7515 section 3.1).

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::algorithm::Algorithm;
use super::refused::TokenFault;

/// base64url as other software writes it: with or without padding, and with any value in the unused bits of the last
/// byte. A second spelling of a signature gives no advantage.
pub(super) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The decoded parts, and the bytes that are signed.
pub(super) struct TokenParts<'a> {
    pub message: &'a str,
    header: Vec<u8>,
    pub claims: Vec<u8>,
    pub signature: Vec<u8>,
}

/// The fields of a header that have a meaning here.
pub(super) struct TokenHeader<'a> {
    /// `None`: one that is not known here, `none` among them.
    pub algorithm: Option<Algorithm>,
    /// The name of the key among those of its issuer.
    pub key: Option<Cow<'a, str>>,
}

impl<'a> TokenParts<'a> {
    /// White space around the token and the word `Bearer` before it (RFC 6750 section 2.1) come from files and headers, and are
    /// ignored.
    pub(super) fn read(token: &'a str) -> Result<TokenParts<'a>, TokenFault> {
        let token = token.trim_ascii();
        let token = match token.split_once(char::is_whitespace) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim_ascii_start(),
            _ => token,
        };
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Form)?;
        let (header, claims) = message.split_once('.').ok_or(TokenFault::Form)?;
        let decoded = |part: &str| BASE64URL.decode(part).map_err(|_| TokenFault::Form);
        let (header, claims, signature) = (decoded(header)?, decoded(claims)?, decoded(signature)?);
        Ok(TokenParts { message, header, claims, signature })
    }

    pub(super) fn header(&self) -> Result<TokenHeader<'_>, TokenFault> {
        #[derive(Deserialize)]
        struct JoseHeader<'h> {
            #[serde(borrow)]
            alg: Cow<'h, str>,
            #[serde(borrow)]
            kid: Option<Cow<'h, str>>,
            crit: Option<IgnoredAny>,
        }
        // serde also accepts lists for structures.
        let is_object = self.header.trim_ascii_start().starts_with(b"{");
        let header: Option<JoseHeader<'_>> = serde_json::from_slice(&self.header).ok();
        let header = header.filter(|_| is_object).ok_or(TokenFault::Header)?;
        if header.crit.is_some() {
            return Err(TokenFault::Extension);
        }
        Ok(TokenHeader { algorithm: Algorithm::from_name(&header.alg), key: header.kid })
    }
}
