use super::*;

fn rules() -> Rules {
    build(Rules::default_sources()).expect("the default rules are valid")
}

fn build(sources: Vec<RuleSource>) -> Result<Rules, Vec<RuleError>> {
    Rules::new(sources, &Stream::default())
}

fn rule(channel: &str, subject: &str) -> RuleSource {
    RuleSource::new(channel, subject, Access::Public, Mode::Latest)
}

fn faults(sources: Vec<RuleSource>) -> Vec<RuleFault> {
    build(sources).expect_err("must be refused").into_iter().map(|error| error.fault).collect()
}

fn resolve(channel: &str) -> Result<Topic, Refusal> {
    rules().resolve(&Channel::parse(channel).expect("a channel"), &Identity::Anonymous)
}

fn code(channel: &str) -> ErrorCode {
    resolve(channel).expect_err("must be refused").code
}

#[test]
fn maps_every_public_channel_of_the_table() {
    for (channel, subject) in [
        ("price:BTC", "odin.tokens.BTC.price"),
        ("price:*", "odin.tokens.*.price"),
        ("volume:BTC", "odin.tokens.BTC.volume"),
        ("prices:batch", "odin.tokens.batch.update"),
        ("market:summary", "odin.market.summary"),
        ("market:volume", "odin.market.volume"),
        ("market:sentiment", "odin.market.sentiment"),
        ("market:statistics", "odin.market.statistics"),
        ("market:status", "odin.market.status"),
        ("system:health", "odin.system.health"),
    ] {
        let topic = resolve(channel).expect(channel);
        assert_eq!(topic.subject, subject);
        assert_eq!(topic.mode, Mode::Latest);
        assert_eq!(topic.channel.as_str(), channel);
        assert_eq!(topic.filter, None);
    }
}

#[test]
fn wants_a_signed_in_user_for_the_rest_of_the_table() {
    for channel in [
        "signals:all",
        "signals:type:momentum",
        "signals:entity:BTC",
        "signals:high",
        "watchlist:BTC",
        "portfolio",
        "trades",
        "notifications",
    ] {
        assert_eq!(code(channel), ErrorCode::AuthRequired, "{channel}");
    }
}

#[test]
fn signals_are_told_apart_by_key() {
    let mut sources = Rules::default_sources();
    for source in sources.iter_mut().filter(|source| source.access == Access::SignedIn) {
        source.access = Access::Public;
    }
    let rules = build(sources).expect("valid");
    let named = |channel: &str| {
        let channel = Channel::parse(channel).expect("a channel");
        let topic = rules.resolve(&channel, &Identity::Anonymous).expect("public here");
        let (name, key) = topic.naming.name("odin.signals.momentum.BTC").expect("its own subject");
        (topic.subject.clone(), name.into_owned(), key, topic.filter)
    };
    let (subject, name, key, filter) = named("signals:all");
    assert_eq!(
        (subject.as_str(), name.as_str(), key.as_deref()),
        ("odin.signals.*.*", "signals:all", Some("momentum.BTC"))
    );
    assert_eq!(filter, None);
    let (subject, _, key, _) = named("signals:type:momentum");
    assert_eq!((subject.as_str(), key.as_deref()), ("odin.signals.momentum.*", Some("BTC")));
    let (subject, _, key, _) = named("signals:entity:BTC");
    assert_eq!((subject.as_str(), key.as_deref()), ("odin.signals.*.BTC", Some("momentum")));
    let (subject, _, _, filter) = named("signals:high");
    assert_eq!(subject, "odin.signals.*.*");
    assert_eq!(filter, Some(Filter { field: "severity".to_owned(), equals: "high".to_owned() }));
}

#[test]
fn a_pattern_names_the_concrete_channel() {
    let naming = resolve("price:*").expect("allowed").naming;
    assert_eq!(naming.name("odin.tokens.ETH.price"), Some(("price:ETH".into(), None)));
    for foreign in [
        "odin.tokens.ETH.volume",
        "odin.tokens.price",
        "odin.tokens.ETH.price.x",
        "odin.tokens.é.price",
        "odin.tokens..price",
    ] {
        assert_eq!(naming.name(foreign), None, "{foreign}");
    }
    let long = format!("odin.tokens.{}.price", "a".repeat(65));
    assert_eq!(naming.name(&long), None);
}

#[test]
fn an_exact_channel_names_only_its_subject() {
    let naming = resolve("price:BTC").expect("public").naming;
    let (channel, key) = naming.name("odin.tokens.BTC.price").expect("its own subject");
    assert!(matches!(channel, std::borrow::Cow::Borrowed("price:BTC")));
    assert_eq!(key, None);
    assert_eq!(naming.name("odin.tokens.ETH.price"), None);
}

#[test]
fn refuses_what_no_rule_knows() {
    for channel in
        ["prices:ETH", "market:weather", "price", "price:BTC:x", "volume:*", "market:*", "signals:*", "portfolio:bob"]
    {
        assert_eq!(code(channel), ErrorCode::UnknownChannel, "{channel}");
    }
}

#[test]
fn a_variable_must_be_in_the_subject_exactly_once() {
    let found = |subject: &str| match &faults(vec![rule("price:{token}", subject)])[..] {
        [RuleFault::Variable { variable, found, .. }] if variable == "token" => *found,
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(found("odin.tokens.price"), 0);
    assert_eq!(found("odin.{token}.{token}"), 2);
    let unbound = faults(vec![rule("price:x", "odin.{token}")]);
    assert!(matches!(&unbound[..], [RuleFault::Unbound { .. }]), "{unbound:?}");
}

#[test]
fn the_user_is_never_taken_from_the_channel() {
    let named = RuleSource { access: Access::Owner, ..rule("trades:{sub}", "odin.users.{sub}.trades") };
    assert!(faults(vec![named]).contains(&RuleFault::OwnerInChannel));
    assert_eq!(faults(vec![rule("trades", "odin.users.{sub}.trades")]), [RuleFault::OwnerMismatch]);
    let nobody = RuleSource { access: Access::Owner, ..rule("trades", "odin.users.all.trades") };
    assert_eq!(faults(vec![nobody]), [RuleFault::OwnerMismatch]);
}

#[test]
fn a_user_id_that_is_no_plain_token_gives_no_subject() {
    let source = RuleSource { access: Access::Owner, ..rule("trades", "odin.users.{sub}.trades") };
    let template = Template::parse(&source, &mut Vec::new()).expect("valid");
    assert_eq!(template.subject(&["trades"], Some("u-1")).as_deref(), Some("odin.users.u-1.trades"));
    for id in ["*", ">", "a.b", "", "a b", "é"] {
        assert_eq!(template.subject(&["trades"], Some(id)), None, "{id:?}");
    }
    assert_eq!(template.subject(&["trades"], None), None);
}

#[test]
fn a_pattern_needs_an_open_last_segment() {
    let pattern = |source: RuleSource| faults(vec![RuleSource { pattern: true, ..source }]);
    assert_eq!(pattern(rule("prices:batch", "odin.batch")), [RuleFault::Pattern]);
    assert_eq!(pattern(rule("{token}", "odin.{token}")), [RuleFault::Pattern]);
    assert_eq!(pattern(rule("{token}:price", "odin.{token}")), [RuleFault::Pattern]);
    let closed = RuleSource {
        values: BTreeMap::from([("kind".to_owned(), vec!["a".to_owned()])]),
        ..rule("market:{kind}", "odin.market.{kind}")
    };
    assert_eq!(pattern(closed), [RuleFault::Pattern]);
}

#[test]
fn finds_overlapping_rules() {
    let overlap = |left: &str, right: &str| {
        let subject = |channel: &str| match channel.split(':').next_back() {
            Some("{x}") => "odin.a.{x}".to_owned(),
            _ => "odin.b".to_owned(),
        };
        build(vec![rule(left, &subject(left)), rule(right, &subject(right))]).is_err()
    };
    assert!(overlap("a:{x}", "a:{x}"));
    assert!(overlap("a:{x}", "a:b"));
    assert!(overlap("a:b", "a:b"));
    assert!(!overlap("a:b", "a:c"));
    assert!(!overlap("a:{x}", "b:{x}"));
    assert!(!overlap("a:{x}", "a:b:{x}"));
    let error = build(vec![rule("a:b", "odin.a"), rule("a:b", "odin.b")]).expect_err("the same channel twice");
    assert_eq!(error[0].number, 2);
    assert_eq!(error[0].fault, RuleFault::Overlap(1, "a:b".to_owned()));
}

#[test]
fn closed_values_that_differ_do_not_overlap() {
    let kinds = |values: &[&str]| RuleSource {
        values: BTreeMap::from([("kind".to_owned(), values.iter().map(|v| (*v).to_owned()).collect())]),
        ..rule("market:{kind}", "odin.market.{kind}")
    };
    assert!(build(vec![kinds(&["a", "b"]), kinds(&["c"])]).is_ok());
    assert!(build(vec![kinds(&["a", "b"]), kinds(&["b"])]).is_err());
    assert!(build(vec![kinds(&["a", "b"]), rule("market:c", "odin.c")]).is_ok());
}

#[test]
fn stays_inside_the_stream_and_off_odins_own_subjects() {
    assert!(matches!(&faults(vec![rule("a", "live.odin.a")])[..], [RuleFault::OutsideStream(..)]));
    assert!(matches!(&faults(vec![rule("a:{x}", "{x}.a")])[..], [RuleFault::OutsideStream(..)]));
    assert!(matches!(
        &faults(vec![rule("a:{x}", "odin.sys.{x}")])[..],
        [RuleFault::Reserved(..), RuleFault::Reserved(..)]
    ));
    assert!(matches!(
        &faults(vec![rule("a:{x}", "odin.*.{x}")])[..],
        [RuleFault::Reserved(..), RuleFault::Reserved(..)]
    ));
}

#[test]
fn refuses_templates_that_are_none() {
    for channel in ["", "a:", "a b", "price:{a}{b}", "price:x{a}", "a:b:c:d:e", "price:*", "a:{x}:{x}", "a:{}"] {
        let faults = faults(vec![rule(channel, "odin.a")]);
        assert!(faults.iter().any(|fault| matches!(fault, RuleFault::Channel(_))), "{channel:?}: {faults:?}");
    }
    for subject in ["", "odin..a", "odin.>", "odin.a*", "odin.{x", "odin.a b"] {
        let faults = faults(vec![rule("a", subject)]);
        assert!(faults.iter().any(|fault| matches!(fault, RuleFault::Subject(..))), "{subject:?}: {faults:?}");
    }
}

#[test]
fn reports_every_fault_of_every_rule() {
    let errors = build(vec![
        rule("a:{x}", "odin.a"),
        rule("b", "live.b"),
        RuleSource { access: Access::Tiers(Vec::new()), ..rule("c", "odin.c") },
    ])
    .expect_err("three faults");
    assert_eq!(errors.iter().map(|error| error.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        errors[0].to_string(),
        r#"rule 1 ("a:{x}"): variable {x} must appear exactly once in subject "odin.a", found 0 times"#
    );
}
