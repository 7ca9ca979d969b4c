//! Whether those who may come in can, and nobody else: combinations of `[auth]`, `[http]`, `[tls]`, `[admin]`,
//! `[cluster]` and the limits of users.

use crate::auth::{Algorithm, api_key_faults, jwks_url_fault};
use crate::config::build::{API_KEYS_KEY, Build};
use crate::config::{Auth, Config, Overflow, Secret};
use crate::rules::{overlaps, subject_fault};

/// Long enough that nobody guesses it.
const MIN_ADMIN_TOKEN_BYTES: usize = 16;

/// Checks all of it.
pub(super) fn access(build: &mut Build) {
    let config = build.draft.config.clone();
    auth(build, &config.auth);
    if config.http.proxy_protocol && config.http.trusted_proxies.is_empty() {
        build.conflict("http.proxy_protocol", "needs http.trusted_proxies: nobody else is asked for a header");
    }
    if config.http.origins.is_empty() && !config.http.allow_missing_origin {
        build.conflict("http.origins", "without origins and without http.allow_missing_origin nobody can connect");
    }
    match (&config.tls.cert_file, &config.tls.key_file) {
        (Some(_), None) => build.conflict("tls.cert_file", "needs tls.key_file"),
        (None, Some(_)) => build.conflict("tls.key_file", "needs tls.cert_file"),
        _ => {}
    }
    if is_short(config.admin.token.as_ref(), MIN_ADMIN_TOKEN_BYTES) {
        build.conflict("admin.token", &format!("must have at least {MIN_ADMIN_TOKEN_BYTES} bytes"));
    }
    if config.limits.strict_user_limit && config.limits.user_overflow == Overflow::Replace {
        build.conflict("limits.strict_user_limit", "cannot be held together with limits.user_overflow = \"replace\"");
    }
    cluster(build, &config);
}

fn auth(build: &mut Build, auth: &Auth) {
    let has_key = auth.public_key_file.is_some() || auth.jwks_url.is_some();
    let (secret, public): (Vec<Algorithm>, Vec<Algorithm>) =
        auth.algorithms.iter().copied().partition(|algorithm| algorithm.is_secret());
    if auth.public_key_file.is_some() && auth.jwks_url.is_some() {
        build.conflict("auth.jwks_url", "cannot be used together with auth.public_key_file");
    }
    if auth.hs256_secret.is_some() && secret.is_empty() {
        build.conflict("auth.hs256_secret", "needs HS256 in auth.algorithms");
    }
    if has_key && public.is_empty() {
        build.conflict("auth.algorithms", "must name the signatures that the public keys are for");
    }
    if !secret.is_empty() && auth.hs256_secret.is_none() {
        build.conflict("auth.algorithms", "HS256 needs auth.hs256_secret");
    }
    if !public.is_empty() && !has_key {
        build.conflict("auth.algorithms", &format!("{} needs auth.public_key_file or auth.jwks_url", public[0]));
    }
    if let Some(least) = secret.iter().map(|algorithm| algorithm.min_secret_bytes()).max()
        && is_short(auth.hs256_secret.as_ref(), least)
    {
        build.conflict("auth.hs256_secret", &format!("must have at least {least} bytes"));
    }
    if let Some(fault) = auth.jwks_url.as_deref().and_then(jwks_url_fault) {
        build.conflict("auth.jwks_url", fault);
    }
    for (number, fault) in api_key_faults(&auth.api_keys) {
        build.conflict(API_KEYS_KEY, &format!("number {number}: {fault}"));
    }
    if let Some(subject) = &auth.callout_subject
        && (subject.contains(['*', '>']) || subject_fault(subject).is_some())
    {
        build.conflict("auth.callout_subject", &format!("invalid subject {subject:?}: expected one without wildcards"));
    }
    if auth.required && !auth.is_offered() {
        build.conflict("auth.required", "without a way to sign in nobody can connect");
    }
}

fn cluster(build: &mut Build, config: &Config) {
    let subject = &config.cluster.subject;
    if subject.contains(['*', '>']) || subject_fault(subject).is_some() {
        build.conflict("cluster.subject", &format!("invalid subject {subject:?}: expected one without wildcards"));
        return;
    }
    let talk = format!("{subject}.>");
    let streams = [&config.stream.subjects, &config.state_stream.subjects, &config.control_stream.subjects];
    if let Some(stored) = streams.into_iter().flatten().find(|stored| overlaps(stored, &talk)) {
        build.conflict("cluster.subject", &format!("{subject:?} lies within {stored:?}, which a stream stores"));
    }
    if config.cluster.peer_timeout < config.cluster.interval * 2 {
        build.conflict("cluster.peer_timeout", "must be at least twice cluster.interval");
    }
}

fn is_short(secret: Option<&Secret>, least_bytes: usize) -> bool {
    secret.is_some_and(|secret| secret.expose().len() < least_bytes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::config::{Inputs, build};

    /// What is wrong with this file, without its name.
    fn problems(file: &str) -> Vec<String> {
        let inputs = Inputs { file: Some((PathBuf::from("odin.toml"), file.to_owned())), ..Inputs::default() };
        let problems = build(&inputs).err().map(|error| error.problems).unwrap_or_default();
        problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
    }

    #[test]
    fn each_way_to_sign_in_is_complete_or_refused() {
        let secret = "a secret of thirty-two bytes and some more";
        for (file, expected) in [
            ("[auth]\nrequired = true", "auth.required: without a way to sign in nobody can connect"),
            ("[auth]\nalgorithms = [\"ES256\"]", "auth.algorithms: ES256 needs auth.public_key_file or auth.jwks_url"),
            ("[auth]\nalgorithms = [\"none\"]", "auth.algorithms: invalid \"none\": unknown algorithm"),
            (
                "[auth]\njwks_url = \"https://id.example/\"",
                "auth.algorithms: must name the signatures that the public keys are for",
            ),
            (
                "[auth]\nalgorithms = [\"ES256\"]\njwks_url = \"http://id.example/?hunter2\"",
                "auth.jwks_url: must begin with https://, or whoever sits between could choose the keys",
            ),
            (
                "[auth]\nalgorithms = [\"HS256\"]\nhs256_secret = \"hunter2\"",
                "auth.hs256_secret: must have at least 32 bytes",
            ),
            (
                &format!("[auth]\nalgorithms = [\"HS256\", \"HS512\"]\nhs256_secret = \"{secret}\""),
                "auth.hs256_secret: must have at least 64 bytes",
            ),
            (
                "[auth]\ncallout_subject = \"sessions.*\"",
                "auth.callout_subject: invalid subject \"sessions.*\": expected one without wildcards",
            ),
            (
                "[[api_keys]]\nhash = \"odin_hunter2\"\nsub = \"svc\"",
                "api_keys: number 1: hash is not sha256: and 64 hex digits",
            ),
        ] {
            assert_eq!(problems(file), [expected], "{file}");
        }
        for file in [
            &format!("[auth]\nrequired = true\nalgorithms = [\"HS256\"]\nhs256_secret = \"{secret}\""),
            "[auth]\nalgorithms = [\"RS256\", \"EdDSA\"]\njwks_url = \"https://id.example/jwks.json\"",
            "[auth]\nalgorithms = [\"RS256\"]\njwks_url = \"http://127.0.0.1:9000/jwks.json\"",
            "[auth]\nalgorithms = [\"ES384\"]\npublic_key_file = \"/run/keys/issuer.pem\"",
            "[auth]\nrequired = true\ncallout_subject = \"sessions.check\"",
            "[auth]\nrequired = true\napi_keys_file = \"/run/keys/api_keys.toml\"",
        ] {
            assert_eq!(problems(file), [] as [String; 0], "{file}");
        }
    }
}
