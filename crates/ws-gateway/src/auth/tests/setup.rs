//! What is found wrong before anybody signs in, and a reload that fails.

use std::io::Write as _;
use std::path::PathBuf;

use tempfile::{NamedTempFile, TempDir};

use super::parts::{IssuerKey, claims, hs256};
use super::*;

fn file(text: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(text.as_ref()).expect("written");
    file
}

/// What is wrong with this configuration, one line each.
fn faults(change: impl FnOnce(&mut Config)) -> Vec<String> {
    let mut config = Config::default();
    change(&mut config);
    let error = Authenticator::without_nats(&config, Arc::default(), Arc::default()).expect_err("must be refused");
    let text = error.to_string();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(&*format!("cannot set up auth, {} problem(s):", error.faults.len())));
    lines.map(|line| line.trim().to_owned()).collect()
}

fn with_key_file(text: impl AsRef<[u8]>) -> String {
    let file = file(text);
    let found = faults(|config| {
        config.auth.algorithms = algorithms(&["RS256"]);
        config.auth.public_key_file = Some(file.path().to_owned());
    });
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].replace(&*file.path().to_string_lossy(), "FILE")
}

fn with_api_keys_file(text: impl AsRef<[u8]>) -> Vec<String> {
    let file = file(text);
    let found = faults(|config| config.auth.api_keys_file = Some(file.path().to_owned()));
    found.iter().map(|line| line.replace(&*file.path().to_string_lossy(), "FILE")).collect()
}

#[tokio::test]
async fn all_that_is_wrong_is_named_at_once() {
    let folder = TempDir::new().expect("a folder");
    let missing = |name: &str| -> Option<PathBuf> { Some(folder.path().join(name)) };
    let found = faults(|config| {
        config.auth.public_key_file = missing("key.pem");
        config.auth.api_keys_file = missing("keys.toml");
        config.auth.jwks_url = Some("http://id.example/?secret=hunter2".to_owned());
        let (name, tier, admin, allow, deny, limits) = (None, None, false, None, None, None);
        let (hash, sub) = ("odin_hunter2".to_owned(), "svc".to_owned());
        config.auth.api_keys.push(crate::config::ApiKey { hash, sub, name, tier, admin, allow, deny, limits });
    });
    for (start, end) in [
        ("api_keys[1]: ", "hash is not sha256: and 64 hex digits"),
        ("auth.api_keys_file: cannot read ", "keys.toml: No such file or directory (os error 2)"),
        ("auth.public_key_file: cannot read ", "key.pem: No such file or directory (os error 2)"),
        ("auth.jwks_url: must begin with https://", ""),
    ] {
        assert!(found.iter().any(|line| line.starts_with(start) && line.ends_with(end)), "{start}{end} in {found:#?}");
    }
    assert_eq!(found.len(), 4);
    assert!(!found.iter().any(|line| line.contains("hunter2")), "{found:#?}");
}

/// Checklist 13: a file of the wrong kind of key.
#[tokio::test]
async fn a_key_file_holds_usable_public_keys_and_nothing_else() {
    let (rsa, small, p256, ed) = (IssuerKey::rsa(), IssuerKey::new_rsa(1_024), IssuerKey::p256(), IssuerKey::ed25519());
    let not_public = "auth.public_key_file: FILE: a private key or a certificate, where only public keys belong";
    for private in [&rsa.private_pem, &p256.private_pem, &ed.private_pem] {
        assert_eq!(with_key_file(private), not_public);
        assert_eq!(with_key_file(format!("{}{private}", rsa.public_pem)), not_public);
    }
    assert_eq!(with_key_file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), not_public);
    assert_eq!(with_key_file(""), "auth.public_key_file: FILE: no public key in PEM");
    assert_eq!(with_key_file("ssh-ed25519 AAAA"), "auth.public_key_file: FILE: no public key in PEM");
    let damaged = "auth.public_key_file: FILE: a key of an unknown kind, or a damaged one";
    for text in [
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA",
        "-----BEGIN PUBLIC KEY-----",
        &rsa.public_pem[..rsa.public_pem.len() / 2],
    ] {
        assert_eq!(with_key_file(text), damaged, "{text}");
    }
    let size = "auth.public_key_file: FILE: an RSA key of less than 2048 or more than 4096 bits";
    assert_eq!(with_key_file(&small.public_pem), size);
    assert_eq!(with_key_file(&p256.public_pem), "auth.public_key_file: FILE has no key for RS256");
    let unreadable = with_key_file([0xff, 0xfe]);
    assert!(unreadable.starts_with("auth.public_key_file: cannot read FILE: "), "{unreadable}");
    let large = with_key_file(" ".repeat((1 << 20) + 1));
    assert_eq!(large, "auth.public_key_file: cannot read FILE: larger than 1048576 bytes");
}

#[tokio::test]
async fn a_file_of_api_keys_is_checked_key_by_key() {
    let good = "[[api_keys]]\nhash = \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n";
    let found = with_api_keys_file(format!(
        "{good}sub = \"one\"\n{good}sub = \"two\"\n[[api_keys]]\nhash = \"odin_hunter2\"\nsub = \"three\"\n\
         [[api_keys]]\nsub = \"four\"\n{good}sub = \"\"\n{good}sub = \"six\"\nroot = true\n\
         {good}sub = \"seven\"\nallow = [\"price:>\"]\n"
    ));
    let expected = [
        "auth.api_keys_file: FILE: api_keys[4]: missing field `hash`",
        "auth.api_keys_file: FILE: api_keys[6]: unknown field `root`, expected one of `hash`, `sub`, `name`, `tier`, \
         `admin`, `allow`, `deny`, `limits`",
        "auth.api_keys_file: FILE: api_keys[7]: channel name with a character other than A-Z, a-z, 0-9, _ and -",
        "FILE: api_keys[2]: hash is there twice",
        "FILE: api_keys[3]: hash is not sha256: and 64 hex digits",
        "FILE: api_keys[5]: sub is empty, too long, or has control characters",
    ];
    assert_eq!(found, expected);
    for text in ["api_keys = 7", "[api_keys]", "other = 1", "[auth]\nrequired = true"] {
        let expected = "auth.api_keys_file: FILE: expected only tables, each beginning with [[api_keys]]";
        assert_eq!(with_api_keys_file(text), [expected], "{text}");
    }
    let broken = with_api_keys_file(format!("{good}sub = odin_hunter2"));
    assert_eq!(broken, ["auth.api_keys_file: FILE: invalid toml near line 3"]);
}

#[tokio::test]
async fn api_keys_come_from_the_configuration_and_from_a_file() {
    let (one, two) = ("odin_one", "odin_two");
    let hash = |key: &str| -> String {
        let hex: String = crate::auth::api_key::hash(key).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    };
    let text = format!("[[api_keys]]\nhash = \"{}\"\nsub = \"svc-two\"\nadmin = true\n", hash(two));
    let keys = file(text);
    let mut config = Config::default();
    config.auth.api_keys_file = Some(keys.path().to_owned());
    let (name, tier, admin, allow, deny, limits) = (None, None, false, None, None, None);
    let sub = "svc-one".to_owned();
    config.auth.api_keys = vec![crate::config::ApiKey { hash: hash(one), sub, name, tier, admin, allow, deny, limits }];
    let auth = authenticator(&config);
    assert!(auth.is_offered());
    assert_eq!(auth.sub(one).await.as_deref(), Ok("svc-one"));
    assert_eq!(auth.sub(two).await.as_deref(), Ok("svc-two"));
    for token in ["odin_three", "odin_", "one", ""] {
        assert_eq!(auth.sub(token).await, failed(), "{token}");
    }
    std::fs::write(keys.path(), "").expect("written");
    let auth = auth.successor(&config).expect("a file without keys is a good one");
    assert_eq!(auth.sub(two).await, failed(), "it was removed from the file");
    assert!(auth.sub(one).await.is_ok());
}

/// Checklist 56: a reload with a broken file keeps what was there.
#[tokio::test]
async fn a_successor_that_cannot_be_leaves_the_old_one_as_it_is() {
    let auth = authenticator(&with_secret());
    let mut config = with_secret();
    config.auth.api_keys_file = Some("/nonexistent/keys.toml".into());
    assert!(auth.successor(&config).is_err());
    assert!(auth.sub(&hs256(&claims("a"))).await.is_ok());
}

/// The examples of the manual, by their language.
fn examples(language: &str) -> Vec<&'static str> {
    let manual = include_str!("../../../../../docs/operations/authentication.md");
    let (open, close) = (format!("```{language}\n"), "```\n");
    let blocks = manual.split(open.as_str()).skip(1);
    blocks.map(|rest| rest.split(close).next().expect("split gives one at least")).collect()
}

#[test]
fn the_examples_of_the_manual_are_good() {
    let configurations = examples("toml");
    assert_eq!(configurations.len(), 5);
    for text in configurations {
        let file = Some((PathBuf::from("odin.toml"), text.to_owned()));
        let config = crate::config::build(&crate::config::Inputs { file, ..Default::default() });
        assert!(config.is_ok_and(|config| config.auth.is_offered()), "{text}");
    }
    let demands =
        crate::auth::claims::Demands { issuer: None, audience: None, leeway: Duration::ZERO, must_end: false };
    let messages = examples("json");
    assert_eq!(messages.len(), 3);
    for text in messages.into_iter().filter(|text| !text.contains("\"token\"")) {
        let user = crate::auth::claims::Claims::read(text.as_bytes())
            .and_then(|claims| claims.into_user(&demands, 1_767_225_600_000));
        assert_eq!(user.map(|user| user.sub).as_deref(), Ok("user-7"), "{text}");
    }
}
