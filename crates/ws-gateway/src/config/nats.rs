//! How to reach NATS: servers, credentials, TLS.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ConnectOptions;

use super::defaults as default;

/// How to reach NATS.
#[derive(Clone, PartialEq, Eq)]
pub struct Nats {
    /// Servers to try, `nats://` or `tls://`.
    pub urls: Vec<String>,
    /// Who the gateway is for NATS.
    pub credentials: Credentials,
    /// Name of the connection in the server's monitoring.
    pub name: String,
    /// Encryption and certificates.
    pub tls: Tls,
    /// For one attempt to connect to one server.
    pub connect_timeout: Duration,
    /// For one request.
    pub request_timeout: Duration,
    /// Without a live tick for so long, the route is suspected.
    pub tick_timeout: Duration,
    /// How long NATS may be in trouble before the gateway is not ready any more.
    pub ready_grace: Duration,
}

/// Who the gateway is for NATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular, or what the URL says.
    None,
    /// A user of the server's configuration.
    UserPassword {
        /// Its name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// The server's token.
    Token(Secret),
    /// A `.creds` file: JWT and key of a user.
    CredsFile(PathBuf),
    /// The seed of an NKey.
    NkeySeed(Secret),
}

/// Encryption of the connection to NATS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Refuse a connection without TLS, whatever the server offers.
    pub required: bool,
    /// Certificates to trust besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// The gateway's own certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// The key of that certificate, PEM.
    pub key_file: Option<PathBuf>,
}

/// A text that is printed as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What every secret looks like when printed.
    pub const MASK: &str = "***";

    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself. Not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Secret::MASK)
    }
}

impl fmt::Debug for Nats {
    /// Without what the URLs hide.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<String> = self.urls.iter().map(|url| mask_url(url)).collect();
        f.debug_struct("Nats")
            .field("urls", &urls)
            .field("credentials", &self.credentials)
            .field("name", &self.name)
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("tick_timeout", &self.tick_timeout)
            .field("ready_grace", &self.ready_grace)
            .finish()
    }
}

impl Default for Nats {
    fn default() -> Nats {
        Nats {
            urls: vec![default::NATS_URL.to_owned()],
            credentials: Credentials::None,
            name: default::NATS_NAME.to_owned(),
            tls: Tls::default(),
            connect_timeout: default::NATS_CONNECT_TIMEOUT,
            request_timeout: default::NATS_REQUEST_TIMEOUT,
            tick_timeout: default::TICK_TIMEOUT,
            ready_grace: default::READY_GRACE,
        }
    }
}

impl Nats {
    /// The options that every connection to NATS begins with. The caller adds what its connection needs, such as
    /// [`ConnectOptions::retry_on_initial_connect`], capacities and callbacks.
    ///
    /// # Errors
    /// When the credentials file cannot be read or is none.
    ///
    /// # Cancel safety
    /// Safe: it only reads a file.
    pub async fn connect_options(&self) -> io::Result<ConnectOptions> {
        let mut options = match &self.credentials {
            Credentials::None => ConnectOptions::new(),
            Credentials::UserPassword { user, password } => {
                ConnectOptions::with_user_and_password(user.clone(), password.expose().to_owned())
            }
            Credentials::Token(token) => ConnectOptions::with_token(token.expose().to_owned()),
            Credentials::CredsFile(path) => ConnectOptions::with_credentials_file(path).await?,
            Credentials::NkeySeed(seed) => ConnectOptions::with_nkey(seed.expose().to_owned()),
        };
        options = options
            .name(&self.name)
            .connection_timeout(self.connect_timeout)
            .request_timeout(Some(self.request_timeout))
            .require_tls(self.tls.required);
        if let Some(ca) = &self.tls.ca_file {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(cert), Some(key)) = (&self.tls.cert_file, &self.tls.key_file) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Ok(options)
    }
}

/// The URL with `***` in place of what stands before `@`.
pub(super) fn mask_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{separator}{}@{host}", Secret::MASK),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_what_urls_hide() {
        assert_eq!(mask_url("nats://u:p@h:4222"), "nats://***@h:4222");
        assert_eq!(mask_url("u:p@ss@h"), "***@h");
        assert_eq!(mask_url("nats://h:4222"), "nats://h:4222");
    }

    #[test]
    fn secrets_have_no_debug_text() {
        let nats = Nats { credentials: Credentials::Token(Secret::new("hunter2")), ..Nats::default() };
        assert!(!format!("{nats:?}").contains("hunter2"));
    }
}
