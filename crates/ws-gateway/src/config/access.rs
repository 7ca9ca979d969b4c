//! Who may come in and how: signing in, the door for HTTP, TLS, the operators' token, and the other gateways.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::defaults as default;
use super::nats::Secret;
use crate::auth::Algorithm;
use crate::http::OriginRule;
use crate::identity::{ChannelSet, UserLimits};

/// How users sign in. Without a secret, a key, keys at a URL, API keys or a session service, nobody can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Whether a connection is served only once a user has signed in.
    pub required: bool,
    /// How long a connection may take to sign in where it must.
    pub deadline: Duration,
    /// Signatures that are taken; nothing else in a token decides it.
    pub algorithms: Vec<Algorithm>,
    /// The secret of HS256, shared by all who make tokens.
    pub hs256_secret: Option<Secret>,
    /// Public key of RS, PS, ES or EdDSA signatures, PEM.
    pub public_key_file: Option<PathBuf>,
    /// Where the public keys are (RFC 7517).
    pub jwks_url: Option<String>,
    /// The keys are read again so often.
    pub jwks_refresh: Duration,
    /// After a token with an unknown key id they are read again at most so often.
    pub jwks_cooldown: Duration,
    /// For reading the keys.
    pub jwks_timeout: Duration,
    /// Largest set of keys, in bytes.
    pub jwks_bytes: usize,
    /// The `iss` that tokens must have.
    pub issuer: Option<String>,
    /// One of the values the `aud` of a token must have.
    pub audience: Option<String>,
    /// How far the clocks of others may be off, for `exp` and `nbf`.
    pub leeway: Duration,
    /// API keys of services, as hashes.
    pub api_keys: Vec<ApiKey>,
    /// A file with more of them: a TOML file of `[[api_keys]]`.
    pub api_keys_file: Option<PathBuf>,
    /// NATS subject that is asked who a token is.
    pub callout_subject: Option<String>,
    /// For one such question.
    pub callout_timeout: Duration,
    /// How long an answer is remembered.
    pub callout_cache: Duration,
    /// Whether a token may be given as `?token=`.
    pub query_token: bool,
    /// So long before its token expires a connection is warned.
    pub expiry_warning: Duration,
}

/// An API key as written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// `sha256:` and the hash of the key in hex. Keys are random, so a fast hash without salt is enough.
    pub hash: String,
    /// The user it stands for.
    pub sub: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Compared with the tiers of rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Whether it is an operator's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// The only channels it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<ChannelSet>,
    /// Channels it may not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<ChannelSet>,
    /// Limits of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<UserLimits>,
}

/// What is asked of a handshake, and whom it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Pages that may connect. A browser always says where a page comes from.
    pub origins: Vec<OriginRule>,
    /// Whether a client that says no origin, as programs do, may connect.
    pub allow_missing_origin: bool,
    /// Proxies whose word about the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether those proxies begin each connection with a PROXY header, version 1 or 2.
    pub proxy_protocol: bool,
    /// Whether clients must come by TLS: to this gateway, or to a trusted proxy.
    pub require_tls: bool,
    /// A folder with the files of a page.
    pub files: Option<PathBuf>,
    /// Requests of one connection each second.
    pub requests_per_second: u32,
    /// A connection without a request may stay for so long.
    pub keep_alive: Duration,
    /// No more is put into the answer to a request once it has so many bytes.
    pub answer_bytes: usize,
    /// How long anybody may keep the last value of a public channel.
    pub latest_max_age: Duration,
}

/// Encryption of client connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// Certificate chain, PEM; with it the public address speaks TLS.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
}

/// Who may control a running gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminAccess {
    /// The token that changes anything; without one nothing can be changed.
    pub token: Option<Secret>,
}

/// How gateways hear of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// First token of the subjects they talk on, outside every stream.
    pub subject: String,
    /// How often each says how many clients it has.
    pub interval: Duration,
    /// One that was silent for so long is not counted any more.
    pub peer_timeout: Duration,
}

/// What happens to a user with more connections than allowed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The new connection is refused.
    Refuse,
    /// The user's oldest connection is closed.
    Replace,
}

impl Overflow {
    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Overflow::Refuse => "refuse",
            Overflow::Replace => "replace",
        }
    }
}

impl Auth {
    /// Whether anybody can sign in.
    pub fn is_offered(&self) -> bool {
        self.hs256_secret.is_some()
            || self.public_key_file.is_some()
            || self.jwks_url.is_some()
            || !self.api_keys.is_empty()
            || self.api_keys_file.is_some()
            || self.callout_subject.is_some()
    }
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            required: false,
            deadline: default::AUTH_DEADLINE,
            algorithms: Vec::new(),
            hs256_secret: None,
            public_key_file: None,
            jwks_url: None,
            jwks_refresh: default::JWKS_REFRESH,
            jwks_cooldown: default::JWKS_COOLDOWN,
            jwks_timeout: default::JWKS_TIMEOUT,
            jwks_bytes: default::JWKS_BYTES,
            issuer: None,
            audience: None,
            leeway: default::TOKEN_LEEWAY,
            api_keys: Vec::new(),
            api_keys_file: None,
            callout_subject: None,
            callout_timeout: default::CALLOUT_TIMEOUT,
            callout_cache: default::CALLOUT_CACHE,
            query_token: false,
            expiry_warning: default::EXPIRY_WARNING,
        }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            origins: vec![OriginRule::any()],
            allow_missing_origin: true,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            require_tls: false,
            files: None,
            requests_per_second: default::REQUESTS_PER_SECOND,
            keep_alive: default::KEEP_ALIVE,
            answer_bytes: default::ANSWER_BYTES,
            latest_max_age: default::LATEST_MAX_AGE,
        }
    }
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            subject: default::CLUSTER_SUBJECT.to_owned(),
            interval: default::CLUSTER_INTERVAL,
            peer_timeout: default::CLUSTER_PEER_TIMEOUT,
        }
    }
}
