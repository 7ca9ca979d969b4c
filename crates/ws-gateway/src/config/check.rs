//! Values that are good by themselves but not together, and texts that must be of a certain kind.

mod access;

use async_nats::ServerAddr;
use tracing_subscriber::EnvFilter;

use super::Config;
use super::build::Build;
use super::defaults;
use super::nats::Credentials;
use crate::rules::{Rules, covers, overlaps, subject_fault};

/// JetStream's own limit on the names of streams; odin's are shorter still.
const MAX_STREAM_NAME_BYTES: usize = 255;

/// Checks everything, and completes the draft's configuration: credentials, shards, rules.
pub(super) fn check(build: &mut Build) {
    addresses(build);
    credentials(build);
    streams(build);
    sizes(build);
    times(build);
    access::access(build);
    telemetry(build);
    if let Err(error) = EnvFilter::builder().parse(&build.draft.config.log.level) {
        build.conflict("log.level", &format!("invalid level or directives: {error}"));
    }
    build.draft.config.shards = build.draft.shards.unwrap_or_else(defaults::shards);
    rules(build);
}

fn addresses(build: &mut Build) {
    let Config { listen, admin_listen, path, .. } = &build.draft.config;
    let any = listen.ip().is_unspecified() || admin_listen.ip().is_unspecified();
    let same_port = listen.port() == admin_listen.port() && listen.port() != 0;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let path_fault = match path.as_bytes() {
        [b'/', rest @ ..] if rest.iter().copied().all(plain) => None,
        _ => Some(format!("invalid path {path:?}: expected / and then letters, digits and /-_.~")),
    };
    let clash = same_port && (any || listen.ip() == admin_listen.ip());
    if clash {
        build.conflict("admin_listen", "must not be the address where clients connect");
    }
    if let Some(fault) = path_fault {
        build.conflict("path", &fault);
    }
}

fn credentials(build: &mut Build) {
    let draft = &mut build.draft;
    let ways = [
        ("nats.user", draft.user.is_some() || draft.password.is_some()),
        ("nats.token", draft.token.is_some()),
        ("nats.creds_file", draft.creds_file.is_some()),
        ("nats.nkey_seed", draft.nkey_seed.is_some()),
    ];
    let given: Vec<&'static str> = ways.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
    draft.config.nats.credentials = if let Some(token) = draft.token.clone() {
        Credentials::Token(token)
    } else if let Some(path) = draft.creds_file.clone() {
        Credentials::CredsFile(path)
    } else if let Some(seed) = draft.nkey_seed.clone() {
        Credentials::NkeySeed(seed)
    } else if let (Some(user), Some(password)) = (draft.user.clone(), draft.password.clone()) {
        Credentials::UserPassword { user, password }
    } else {
        Credentials::None
    };
    let half = (draft.user.is_some(), draft.password.is_some());
    let tls = (draft.config.nats.tls.cert_file.is_some(), draft.config.nats.tls.key_file.is_some());
    let is_url = |url: &String| url.parse().is_ok_and(|url: ServerAddr| !url.host().is_empty());
    let bad_url = !draft.config.nats.urls.iter().all(is_url);

    if given.len() > 1 {
        build.conflict(given[1], &format!("only one kind of credentials is possible, found {}", given.join(", ")));
    }
    match half {
        (true, false) => build.conflict("nats.user", "needs nats.password"),
        (false, true) => build.conflict("nats.password", "needs nats.user"),
        _ => {}
    }
    match tls {
        (true, false) => build.conflict("nats.tls_cert_file", "needs nats.tls_key_file"),
        (false, true) => build.conflict("nats.tls_key_file", "needs nats.tls_cert_file"),
        _ => {}
    }
    if bad_url {
        // Not repeated: it may hold a password.
        build.conflict("nats.url", "expected urls such as nats://host:4222");
    }
}

fn streams(build: &mut Build) {
    let config = build.draft.config.clone();
    let stream = &config.stream;
    let sets = [
        ("stream.subjects", &stream.subjects),
        ("state_stream.subjects", &config.state_stream.subjects),
        ("control_stream.subjects", &config.control_stream.subjects),
    ];
    for (key, subjects) in sets {
        for subject in subjects {
            if let Some(fault) = subject_fault(subject) {
                build.conflict(key, &format!("invalid subject {subject:?}: {fault}"));
            }
            if overlaps(&format!("{}.>", stream.live_prefix), subject) {
                build.conflict(
                    "stream.live_prefix",
                    &format!("{:?} lies within {subject:?}: a cycle", stream.live_prefix),
                );
            }
        }
    }
    for (index, (key, subjects)) in sets.iter().enumerate() {
        for (other_key, others) in &sets[..index] {
            if subjects.iter().any(|subject| others.iter().any(|other| overlaps(subject, other))) {
                build.conflict(key, &format!("overlaps with {other_key}"));
            }
        }
    }
    let below = config.control_stream.subjects.first().and_then(|subject| subject.strip_suffix(".>"));
    if below.is_none_or(|below| below.contains(['*', '>'])) {
        build.conflict("control_stream.subjects", "the first one must be like odinctl.>, with no other wildcard");
    }
    let names = [
        ("stream.name", &stream.name),
        ("state_stream.name", &config.state_stream.name),
        ("control_stream.name", &config.control_stream.name),
    ];
    for (index, (key, name)) in names.iter().enumerate() {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.len() > MAX_STREAM_NAME_BYTES || !name.bytes().all(plain) {
            build.conflict(key, &format!("invalid stream name {name:?}: expected letters, digits, _ and -"));
        }
        if let Some((other, _)) = names[..index].iter().find(|(_, other)| other == name) {
            build.conflict(key, &format!("{name:?} is also {other}"));
        }
    }
    let is_token = |text: &str| !text.contains(['*', '>', '.']) && subject_fault(text).is_none();
    if !is_token(&stream.live_prefix) {
        build.conflict(
            "stream.live_prefix",
            &format!("invalid prefix {:?}: expected one plain token", stream.live_prefix),
        );
    }
    for (key, subject) in
        [("stream.barrier_subject", &stream.barrier_subject), ("stream.tick_subject", &stream.tick_subject)]
    {
        if subject.contains(['*', '>']) || subject_fault(subject).is_some() {
            build.conflict(key, &format!("invalid subject {subject:?}: expected one without wildcards"));
        } else if !stream.subjects.iter().any(|outer| covers(outer, subject)) {
            build.conflict(key, &format!("{subject:?} lies outside stream.subjects"));
        }
    }
    if stream.barrier_subject == stream.tick_subject {
        build.conflict("stream.tick_subject", "must differ from stream.barrier_subject");
    }
    if stream.duplicate_window > stream.max_age {
        build.conflict("stream.duplicate_window", "must not be longer than stream.max_age");
    }
}

fn sizes(build: &mut Build) {
    let Config { limits, feeds, stream, .. } = build.draft.config.clone();
    let mut at_most = |key, value: usize, other: &str, bound: usize| {
        if value > bound {
            build.conflict(key, &format!("must not be larger than {other}"));
        }
    };
    at_most("limits.payload_bytes", limits.payload_bytes, "feeds.shard_queue_bytes", feeds.shard_queue_bytes);
    at_most("feeds.ring_bytes", feeds.ring_bytes, "feeds.ring_total_bytes", feeds.ring_total_bytes);
    at_most("stream.max_message_bytes", stream.max_message_bytes, "stream.max_bytes", stream.max_bytes);
}

fn times(build: &mut Build) {
    let heartbeat = build.draft.config.heartbeat.clone();
    if heartbeat.timeout <= heartbeat.interval {
        build.conflict("heartbeat.timeout", "must be longer than heartbeat.interval, or nobody has time to answer");
    }
}

fn telemetry(build: &mut Build) {
    let telemetry = build.draft.config.telemetry.clone();
    if telemetry.otlp_endpoint.is_none() && telemetry.otlp_headers.is_some() {
        build.conflict("telemetry.otlp_headers", "needs telemetry.otlp_endpoint");
    }
    if let Err(error) = telemetry.endpoint() {
        // It repeats nothing.
        let key = if error.is_of_headers() { "telemetry.otlp_headers" } else { "telemetry.otlp_endpoint" };
        build.conflict(key, &error.to_string());
    }
}

fn rules(build: &mut Build) {
    let sources = build.draft.rules.clone();
    let stream = build.draft.config.stream.clone();
    if sources.is_empty() && build.is_good() {
        build.conflict("rules", "without a rule there is no channel");
    }
    match Rules::new(sources, &stream) {
        Ok(rules) => build.draft.config.rules = rules,
        Err(errors) => {
            for error in errors {
                build.conflict("rules", &error.to_string());
            }
        }
    }
}
