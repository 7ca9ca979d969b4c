//! The streams as they should be. `docs/operations` tells how to size them.

use async_nats::jetstream::stream::{self, DiscardPolicy, Republish, RetentionPolicy, StorageType};

use crate::config::Config;

/// Of one subject, only the last message.
const LAST_ONLY: i64 = 1;
const UNLIMITED: i64 = -1;

/// The streams of this configuration, without epoch: publications, last values, control.
pub(super) fn streams(config: &Config) -> [stream::Config; 3] {
    let publications = &config.stream;
    let state = &config.state_stream;
    let control = &config.control_stream;
    let per_subject = publications.max_messages_per_subject.map_or(UNLIMITED, number);
    [
        stream::Config {
            description: Some("odin: publications".to_owned()),
            max_age: publications.max_age,
            max_bytes: number(publications.max_bytes),
            max_messages_per_subject: per_subject,
            // A cursor must never point at something that somebody took away.
            deny_delete: true,
            deny_purge: true,
            ..common(config, &publications.name, &publications.subjects)
        },
        stream::Config {
            description: Some("odin: last values".to_owned()),
            max_bytes: number(state.max_bytes),
            max_messages_per_subject: LAST_ONLY,
            ..common(config, &state.name, &state.subjects)
        },
        stream::Config {
            description: Some("odin: revocations".to_owned()),
            max_age: control.max_age,
            max_bytes: number(control.max_bytes),
            max_messages_per_subject: LAST_ONLY,
            // A stream that is full refuses what is new: a revocation must never be pushed out.
            discard: DiscardPolicy::New,
            ..common(config, &control.name, &control.subjects)
        },
    ]
}

fn common(config: &Config, name: &str, subjects: &[String]) -> stream::Config {
    let stream = &config.stream;
    // One republish rule for each stream; with several subjects it has to be the widest.
    let source = if let [subject] = subjects { subject.clone() } else { ">".to_owned() };
    stream::Config {
        name: name.to_owned(),
        subjects: subjects.to_vec(),
        storage: StorageType::File,
        num_replicas: stream.replicas,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_messages: UNLIMITED,
        max_consumers: -1,
        max_message_size: i32::try_from(stream.max_message_bytes).unwrap_or(i32::MAX),
        duplicate_window: stream.duplicate_window,
        allow_direct: true,
        mirror_direct: false,
        allow_message_ttl: true,
        allow_rollup: false,
        republish: Some(Republish { destination: stream.live_subject(&source), source, headers_only: false }),
        ..stream::Config::default()
    }
}

fn number(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
