//! What is wrong with a token, for ourselves: clients hear only what [`AuthError`] says.

use super::AuthError;

/// Why a token is not believed. No text says anything of the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it is empty or too long")]
    Size,
    #[error("it is none of the kinds that are configured")]
    Kind,
    #[error("its header is not readable")]
    Header,
    #[error("it demands extensions that are not known")]
    Critical,
    #[error("its algorithm is not one of auth.algorithms")]
    Algorithm,
    #[error("there is no key for it")]
    UnknownKey,
    #[error("the signature is not that of the key")]
    Signature,
    #[error("its claims are not readable, or one has the wrong type")]
    Claims,
    #[error("sub or jti is missing, empty, too long, or has control characters")]
    Name,
    #[error("exp is missing")]
    Endless,
    #[error("iss is another one")]
    Issuer,
    #[error("aud is another one")]
    Audience,
    #[error("nbf or iat is in the future")]
    Early,
    #[error("exp has passed")]
    Expired,
    #[error("there is no such API key")]
    UnknownApiKey,
    #[error("the session service denies it")]
    Denied,
    #[error("the session service calls it revoked")]
    CalledRevoked,
    #[error("the public keys have not been read yet, or may have changed since")]
    NoKeys,
    #[error("the session service has no answer")]
    NoAnswer,
    #[error("too many questions to the session service are under way")]
    Busy,
}

impl From<Fault> for AuthError {
    /// Nothing here tells one key from another, or a wrong signature from a wrong name.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Expired => AuthError::Expired,
            Fault::CalledRevoked => AuthError::Revoked,
            Fault::NoKeys | Fault::NoAnswer | Fault::Busy => AuthError::Unavailable,
            _ => AuthError::Failed,
        }
    }
}
