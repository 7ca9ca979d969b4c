use std::collections::HashSet;

use super::super::{annotated_toml, markdown_table, to_json, to_toml};
use super::*;

const EXAMPLE_FILE: &str = include_str!("../../../../deploy/odin.toml");
const MANUAL: &str = include_str!("../../../../docs/operations/configuration.md");

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn from(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
    build(&Inputs {
        flags: pairs(flags),
        environment: pairs(environment),
        file: Some((PathBuf::from("odin.toml"), file.to_owned())),
    })
}

fn problems(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
    let error = from(file, environment, flags).expect_err("must be refused");
    error.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn works_with_nothing_given() {
    assert_eq!(build(&Inputs::default()), Ok(Config::default()));
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = "[limits]\nstrikes = 2\nhandshakes = 2\nconnections = 2\n";
    let environment = [("ODIN_LIMITS_STRIKES", "3"), ("ODIN_LIMITS_HANDSHAKES", "3"), ("PATH", "/bin")];
    let config = from(file, &environment, &[("limits.strikes", "4")]).expect("valid");
    assert_eq!((config.limits.strikes, config.limits.handshakes, config.limits.connections), (4, 3, 2));
    assert_eq!(config.limits.channels_per_message, Config::default().limits.channels_per_message);
}

#[test]
fn reports_all_bad_values_of_all_sources_at_once() {
    let file = "listen = \"10.0.0.300:80\"\nlisten_too = 1\n[limits]\nmessage_bytes = 65536\n[unknown]\nkey = 1\n";
    let found = problems(
        file,
        &[("ODIN_DRAIN_WINDOW", "30"), ("ODIN_DRAIN_WINDOWS", "30s"), ("ODIN_SHARDS", "0")],
        &[("limits.strikes", "many"), ("log.level", "loud")],
    );
    let expected = [
        "odin.toml: listen: invalid address \"10.0.0.300:80\": expected ip:port",
        "odin.toml: listen_too: unknown key",
        "odin.toml: limits.message_bytes: expected a string, found integer",
        "odin.toml: unknown.key: unknown key",
        "ODIN_DRAIN_WINDOW: drain.window: invalid time \"30\": ",
        "ODIN_DRAIN_WINDOWS: no option belongs to this variable",
        "ODIN_SHARDS: shards: 0 is out of bounds, 1 to 1024",
        "--limits-strikes: limits.strikes: invalid number \"many\"",
    ];
    for start in expected {
        assert!(found.iter().any(|problem| problem.starts_with(start)), "{start}\nis missing in {found:#?}");
    }
}

#[test]
fn says_the_line_of_broken_toml_without_repeating_it() {
    let found = problems("listen = \"0.0.0.0:1\"\n[nats]\npassword = \"hunter2\" x\n", &[], &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("odin.toml: invalid toml near line 3: "), "{found:?}");
    assert!(!found[0].contains("hunter2"), "{found:?}");
}

#[test]
fn ignores_the_variables_that_kubernetes_adds() {
    let environment = [
        ("ODIN_SERVICE_HOST", "10.0.0.1"),
        ("ODIN_SERVICE_PORT", "80"),
        ("ODIN_SERVICE_PORT_HTTP", "80"),
        ("ODIN_PORT", "tcp://10.0.0.1:80"),
        ("ODIN_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("ODIN_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("ODIN_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("ODIN_CONFIG", "odin.toml"),
        ("ODIN_LISTEN", ""),
    ];
    assert_eq!(from("", &environment, &[]), Ok(Config::default()));
    assert_eq!(problems("", &[("ODIN_PORT", "80")], &[]).len(), 1);
}

#[test]
fn credentials_are_of_one_kind_and_whole() {
    let config = from("", &[], &[("nats.user", "u"), ("nats.password", "p")]).expect("valid");
    let password = super::super::Secret::new("p");
    assert_eq!(config.nats.credentials, super::super::Credentials::UserPassword { user: "u".to_owned(), password });
    assert_eq!(problems("", &[], &[("nats.user", "u")]), ["--nats-user: nats.user: needs nats.password"]);
    let two = problems("", &[("ODIN_NATS_TOKEN", "hunter2")], &[("nats.creds_file", "a.creds")]);
    assert_eq!(
        two,
        [
            "--nats-creds-file: nats.creds_file: only one kind of credentials is possible, found nats.token, nats.creds_file"
        ]
    );
    assert_eq!(problems("", &[], &[("nats.tls_cert_file", "c.pem")]).len(), 1);
}

#[test]
fn combinations_are_checked() {
    for (flags, start) in [
        (&[("heartbeat.timeout", "20s")][..], "--heartbeat-timeout: heartbeat.timeout: must be longer"),
        (&[("admin_listen", "0.0.0.0:8080")], "--admin-listen: admin_listen: must not be"),
        (&[("path", "ws")], "--path: path: invalid path"),
        (&[("path", "/{x}")], "--path: path: invalid path"),
        (&[("stream.live_prefix", "odin")], "--stream-live-prefix: stream.live_prefix: \"odin\" lies within"),
        (&[("stream.live_prefix", "a.b")], "--stream-live-prefix: stream.live_prefix: invalid prefix"),
        (&[("stream.subjects", "odin.>,a b")], "--stream-subjects: stream.subjects: invalid subject \"a b\""),
        (&[("stream.subjects", "odin.tokens.>")], "default: stream.barrier_subject: \"odin.sys.barrier\" lies outside"),
        (&[("stream.name", "a.b")], "--stream-name: stream.name: invalid stream name"),
        (&[("state_stream.name", "ODIN")], "--state-stream-name: state_stream.name: \"ODIN\" is also stream.name"),
        (&[("control_stream.subjects", "odin.x")], "--control-stream-subjects: control_stream.subjects: overlaps with"),
        (&[("control_stream.subjects", "ctl.*")], "--control-stream-subjects: control_stream.subjects: the first one"),
        (&[("control_stream.subjects", "*.x.>")], "--control-stream-subjects: control_stream.subjects: the first one"),
        (&[("stream.max_age", "10s")], "default: stream.duplicate_window: must not be longer"),
        (&[("feeds.ring_bytes", "1GiB")], "--feeds-ring-bytes: feeds.ring_bytes: must not be larger"),
        (&[("nats.url", "nats://")], "--nats-url: nats.url: expected urls"),
        (&[("telemetry.otlp_headers", "a=b")], "--telemetry-otlp-headers: telemetry.otlp_headers: needs"),
        (
            &[("telemetry.otlp_endpoint", "collector:4317")],
            "--telemetry-otlp-endpoint: telemetry.otlp_endpoint: expected",
        ),
        (
            &[("telemetry.otlp_endpoint", "http://a:b@c")],
            "--telemetry-otlp-endpoint: telemetry.otlp_endpoint: must not",
        ),
        (
            &[("telemetry.otlp_endpoint", "http://c"), ("telemetry.otlp_headers", "hunter2")],
            "--telemetry-otlp-headers: telemetry.otlp_headers: expected headers such as name=value",
        ),
        (&[("telemetry.trace_ratio", "1.5")], "--telemetry-trace-ratio: telemetry.trace_ratio: expected a number"),
        (&[("log.level", "info,=,")], "--log-level: log.level: invalid level"),
    ] {
        let found = problems("", &[], flags);
        assert!(found.iter().any(|problem| problem.starts_with(start)), "{start}\nis missing in {found:#?}");
    }
}

#[test]
fn the_file_replaces_the_rules() {
    let rule = "[[rules]]\nchannel = \"price:{t}\"\nsubject = \"odin.p.{t}\"\naccess = \"public\"\nmode = \"all\"\n";
    let config = from(rule, &[], &[]).expect("valid");
    assert_eq!(config.rules.sources().count(), 1);
}

#[test]
fn bad_rules_are_all_reported() {
    let rule = |extra: &str| format!("[[rules]]\nchannel = \"a:{{x}}\"\nsubject = \"odin.{{x}}\"\n{extra}\n");
    let file = [
        rule("mode = \"all\""),
        rule("mode = \"some\"\naccess = \"public\""),
        rule("mode = \"all\"\naccess = \"public\"\nacess = 1"),
        rule("mode = \"all\"\naccess = { tiers = [] }"),
    ]
    .concat();
    let found = problems(&file, &[], &[]);
    for start in ["odin.toml: rules[1]: ", "odin.toml: rules[2]: ", "odin.toml: rules[3]: ", "odin.toml: rules: rule 1"]
    {
        assert!(found.iter().any(|problem| problem.starts_with(start)), "{start}\nis missing in {found:#?}");
    }
    assert_eq!(problems("rules = 1", &[], &[]).len(), 1);
    assert_eq!(problems("rules = []", &[], &[]), ["odin.toml: rules: without a rule there is no channel"]);
}

#[test]
fn the_table_of_options_is_sound() {
    let keys: HashSet<_> = OPTIONS.iter().map(|opt| opt.key).collect();
    assert_eq!(keys.len(), OPTIONS.len(), "a key is there twice");
    let variables: HashSet<_> = OPTIONS.iter().map(Opt::variable).collect();
    assert_eq!(variables.len(), OPTIONS.len(), "two keys have one variable");
    let mut tables: Vec<_> = OPTIONS.iter().map(Opt::table).collect();
    tables.dedup();
    assert_eq!(tables.len(), tables.iter().collect::<HashSet<_>>().len(), "a table is in two places");
    for opt in OPTIONS {
        let (mut draft, default) = (Draft::new(), opt.default_value());
        let read = (opt.field)(&mut draft).read(&Raw::Toml(&default), opt.bounds);
        assert_eq!(read, Ok(()), "the default of {} is out of bounds", opt.key);
        assert!(!is_service_link(&opt.variable(), "tcp://"), "{} looks like one of kubernetes", opt.variable());
    }
}

#[test]
fn the_example_file_has_every_option_with_its_default() {
    assert_eq!(from(EXAMPLE_FILE, &[], &[]), Ok(Config::default()));
    assert_eq!(EXAMPLE_FILE, annotated_toml(), "deploy/odin.toml must be:\n\n{}", annotated_toml());
    for opt in OPTIONS {
        assert!(EXAMPLE_FILE.contains(&format!("\n{} = ", opt.name())), "{}", opt.key);
    }
}

#[test]
fn the_manual_has_the_table_of_options() {
    assert!(
        MANUAL.contains(&markdown_table()),
        "docs/operations/configuration.md must contain:\n\n{}",
        markdown_table()
    );
}

#[test]
fn what_is_printed_can_be_read_again() {
    let flags =
        [("limits.strikes", "3"), ("shards", "2"), ("sockets.send_buffer_bytes", "64KiB"), ("drain.window", "90s")];
    let config = from("", &[], &flags).expect("valid");
    assert_eq!(from(&to_toml(&config), &[], &[]), Ok(config));
}

#[test]
fn secrets_are_never_printed() {
    let flags = [("nats.user", "u"), ("nats.password", "hunter2"), ("nats.url", "nats://a:hunter2@h:4222,nats://i")];
    let config = from("", &[], &flags).expect("valid");
    let json = to_json(&config);
    for text in [to_toml(&config), json.to_string(), format!("{config:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(json["nats"]["password"], "***");
    assert_eq!(json["nats"]["url"], "nats://***@h:4222,nats://i");
    assert_eq!(json["limits"]["message_bytes"], "64KiB");
    assert_eq!(json["rules"][0]["channel"], "price:{token}");
    for secret in ["nats.token", "nats.nkey_seed", "telemetry.otlp_headers"] {
        let endpoint = ("telemetry.otlp_endpoint", "http://collector");
        let config = from("", &[], &[endpoint, (secret, "a=hunter2")]).expect("valid");
        assert!(!to_toml(&config).contains("hunter2"));
    }
}

#[test]
fn every_piece_fits_into_a_log_line() {
    for (table, options) in super::super::by_table(&Config::default()) {
        assert!(options.to_string().len() < crate::telemetry::MAX_VALUE_BYTES, "{table}");
    }
}
