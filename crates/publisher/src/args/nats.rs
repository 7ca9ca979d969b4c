//! Flags for the connection and for how messages are published.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use odin_publisher::{Auth, Options, Tls};

use super::value::duration;

/// Where NATS is and who we are there.
#[derive(Debug, Args)]
#[command(next_help_heading = "NATS")]
pub(crate) struct NatsArgs {
    /// Servers of one cluster, separated by commas
    #[arg(
        long = "nats-url",
        env = "ODIN_NATS_URL",
        value_delimiter = ',',
        default_value = "nats://127.0.0.1:4222",
        value_name = "URL",
        hide_env_values = true
    )]
    nats_urls: Vec<String>,
    /// Name shown in the server's list of connections
    #[arg(long, env = "ODIN_NATS_NAME", default_value = "odin-publisher", value_name = "NAME")]
    nats_name: String,
    /// User, with --nats-password
    #[arg(long, env = "ODIN_NATS_USER", requires = "nats_password", value_name = "USER")]
    nats_user: Option<String>,
    /// Password of --nats-user
    #[arg(long, env = "ODIN_NATS_PASSWORD", requires = "nats_user", hide_env_values = true, value_name = "PASSWORD")]
    nats_password: Option<String>,
    /// Token instead of a user
    #[arg(long, env = "ODIN_NATS_TOKEN", conflicts_with = "nats_user", hide_env_values = true, value_name = "TOKEN")]
    nats_token: Option<String>,
    /// Credentials file (JWT and seed) instead of a user
    #[arg(
        long,
        env = "ODIN_NATS_CREDS_FILE",
        conflicts_with_all = ["nats_user", "nats_token"],
        value_name = "FILE"
    )]
    nats_creds_file: Option<PathBuf>,
    /// NKey seed instead of a user
    #[arg(
        long,
        env = "ODIN_NATS_NKEY_SEED",
        conflicts_with_all = ["nats_user", "nats_token", "nats_creds_file"],
        hide_env_values = true,
        value_name = "SEED"
    )]
    nats_nkey_seed: Option<String>,
    /// Refuse a server without TLS
    #[arg(long, env = "ODIN_NATS_TLS_REQUIRED")]
    nats_tls_required: bool,
    /// Certificates to trust besides the system's, PEM
    #[arg(long, env = "ODIN_NATS_TLS_CA_FILE", value_name = "FILE")]
    nats_tls_ca_file: Option<PathBuf>,
    /// Own certificate, PEM, with --nats-tls-key-file
    #[arg(long, env = "ODIN_NATS_TLS_CERT_FILE", requires = "nats_tls_key_file", value_name = "FILE")]
    nats_tls_cert_file: Option<PathBuf>,
    /// Key of --nats-tls-cert-file, PEM
    #[arg(long, env = "ODIN_NATS_TLS_KEY_FILE", requires = "nats_tls_cert_file", value_name = "FILE")]
    nats_tls_key_file: Option<PathBuf>,
    /// Longest time for one attempt to connect
    #[arg(long, env = "ODIN_NATS_CONNECT_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    nats_connect_timeout: Duration,
    /// How long to go on trying to connect at the start
    #[arg(long, env = "ODIN_PUBLISHER_WAIT", default_value = "0s", value_parser = duration, value_name = "TIME")]
    pub(crate) wait: Duration,
}

/// How messages are published.
#[derive(Debug, Args)]
#[command(next_help_heading = "Publishing")]
pub(crate) struct PublishArgs {
    /// How long to wait for an acknowledgement before the same id is sent again
    #[arg(long, env = "ODIN_PUBLISHER_ACK_TIMEOUT", default_value = "3s", value_parser = duration, value_name = "TIME")]
    ack_timeout: Duration,
    /// How long one message is tried
    #[arg(
        long,
        env = "ODIN_PUBLISHER_RETRY_WINDOW",
        default_value = "45s",
        value_parser = duration,
        value_name = "TIME"
    )]
    retry_window: Duration,
    /// How long the stream remembers ids; at least --retry-window + --ack-timeout
    #[arg(
        long,
        env = "ODIN_STREAM_DUPLICATE_WINDOW",
        default_value = "60s",
        value_parser = duration,
        value_name = "TIME"
    )]
    duplicate_window: Duration,
    /// Messages accepted and not yet answered; then the source waits
    #[arg(long, env = "ODIN_PUBLISHER_MAX_IN_FLIGHT", default_value_t = 4_096, value_name = "MESSAGES")]
    max_in_flight: usize,
    /// Bytes accepted and not yet answered; then the source waits
    #[arg(long, env = "ODIN_PUBLISHER_MAX_IN_FLIGHT_BYTES", default_value_t = 16 * 1024 * 1024, value_name = "BYTES")]
    max_in_flight_bytes: usize,
    /// Largest message with its headers
    #[arg(long, env = "ODIN_PUBLISHER_MAX_MESSAGE_BYTES", default_value_t = 64 * 1024, value_name = "BYTES")]
    max_message_bytes: usize,
    /// How long to wait at the end for what is still in flight
    #[arg(long, env = "ODIN_PUBLISHER_GRACE", default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub(crate) grace: Duration,
}

impl NatsArgs {
    /// Together with how to publish, what the library wants to know.
    pub(crate) fn options(&self, publish: &PublishArgs) -> Options {
        let auth = if let (Some(user), Some(password)) = (&self.nats_user, &self.nats_password) {
            Auth::UserPassword { user: user.clone(), password: password.clone() }
        } else if let Some(token) = &self.nats_token {
            Auth::Token(token.clone())
        } else if let Some(path) = &self.nats_creds_file {
            Auth::CredentialsFile(path.clone())
        } else if let Some(seed) = &self.nats_nkey_seed {
            Auth::NkeySeed(seed.clone())
        } else {
            Auth::None
        };
        Options {
            urls: self.nats_urls.clone(),
            auth,
            tls: Tls {
                required: self.nats_tls_required,
                ca_file: self.nats_tls_ca_file.clone(),
                client: self.nats_tls_cert_file.clone().zip(self.nats_tls_key_file.clone()),
            },
            name: self.nats_name.clone(),
            connect_timeout: self.nats_connect_timeout,
            ack_timeout: publish.ack_timeout,
            retry_window: publish.retry_window,
            duplicate_window: publish.duplicate_window,
            max_in_flight: publish.max_in_flight,
            max_in_flight_bytes: publish.max_in_flight_bytes,
            max_message_bytes: publish.max_message_bytes,
            ..Options::default()
        }
    }
}
