//! What is said of a user: by the claims of a JWT, and under the same names by the session service.
//!
//! Strict where it decides something: numbers are whole seconds, lists are lists, and a member given twice is an error
//! (serde's, for the names listed here; others are not looked at). An absent member has no effect, `null` is the same
//! for those that only describe; a list of channels that is `null` is a mistake and not the permission to have all.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::fault::Fault;
use crate::identity::{ChannelSet, User, UserLimits};

/// Longest `sub`, in bytes. It becomes a token of NATS subjects and a key of maps.
const MAX_SUB_BYTES: usize = 128;

/// Longest `jti`, in bytes.
const MAX_TOKEN_ID_BYTES: usize = 256;

/// The end of the year 9999, in seconds since 1970: what is later was not meant as a time in seconds.
const LATEST_TIME: u64 = 253_402_300_799;

const MS_PER_SECOND: i64 = 1_000;

/// See the module.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: String,
    name: Option<String>,
    tier: Option<String>,
    admin: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    allow: Option<ChannelSet>,
    #[serde(default, deserialize_with = "given")]
    deny: Option<ChannelSet>,
    limits: Option<Box<RawValue>>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    iss: Option<String>,
    aud: Option<Audience>,
    jti: Option<String>,
}

/// Whole seconds since 1970 (RFC 7519 §2, without its fractions).
#[derive(Debug, Clone, Copy)]
struct NumericDate(u64);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What claims must say besides who the user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Demands {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    /// How far the clocks of others may be off.
    pub(super) leeway: Duration,
    /// Whether there must be an end.
    pub(super) must_end: bool,
}

impl Claims {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`Fault::Claims`].
    pub(super) fn read(json: &[u8]) -> Result<Self, Fault> {
        object(json).ok_or(Fault::Claims)
    }

    /// The user, if the claims are what is demanded at this time (milliseconds since 1970).
    ///
    /// # Errors
    /// That the token has expired comes last: it is said only of what is right in all else.
    pub(super) fn into_user(self, demands: &Demands, now_ms: i64) -> Result<User, Fault> {
        if !is_name(&self.sub, MAX_SUB_BYTES) || self.jti.as_ref().is_some_and(|id| !is_name(id, MAX_TOKEN_ID_BYTES)) {
            return Err(Fault::Name);
        }
        if demands.issuer.is_some() && self.iss != demands.issuer {
            return Err(Fault::Issuer);
        }
        if let Some(wanted) = &demands.audience
            && !self.aud.as_ref().is_some_and(|audience| audience.contains(wanted))
        {
            return Err(Fault::Audience);
        }
        let limits = match &self.limits {
            Some(raw) => object::<UserLimits>(raw.get().as_bytes()).ok_or(Fault::Claims)?,
            None => UserLimits::default(),
        };
        // A token from the future could not be revoked by "everything before now".
        let leeway_ms = millis(demands.leeway);
        if [self.nbf, self.iat].into_iter().flatten().any(|from| from.ms() > now_ms.saturating_add(leeway_ms)) {
            return Err(Fault::Early);
        }
        if demands.must_end && self.exp.is_none() {
            return Err(Fault::Endless);
        }
        let user = User {
            sub: self.sub,
            name: self.name,
            tier: self.tier,
            is_admin: self.admin.unwrap_or(false),
            allow: self.allow,
            deny: self.deny.unwrap_or_default(),
            limits,
            token_id: self.jti,
            issued_at_ms: self.iat.map(NumericDate::ms),
            expires_at_ms: self.exp.map(NumericDate::ms),
        };
        if has_expired(&user, demands.leeway, now_ms) { Err(Fault::Expired) } else { Ok(user) }
    }
}

/// Whether the user's token is over at this time, with the benefit of the doubt that clocks deserve.
pub(super) fn has_expired(user: &User, leeway: Duration, now_ms: i64) -> bool {
    user.expires_at_ms.is_some_and(|end| end.saturating_add(millis(leeway)) <= now_ms)
}

/// Whether the text can be the id of a user.
pub(super) fn is_sub(text: &str) -> bool {
    is_name(text, MAX_SUB_BYTES)
}

fn is_name(text: &str, most_bytes: usize) -> bool {
    !text.is_empty() && text.len() <= most_bytes && !text.chars().any(char::is_control)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Reads a JSON object, and nothing else: serde would also take an array with the values in the order of the fields.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(json).ok()).flatten()
}

/// The value of a member that is there and must not be `null`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl NumericDate {
    fn ms(self) -> i64 {
        // Within bounds, see below.
        i64::try_from(self.0).unwrap_or(i64::MAX).saturating_mul(MS_PER_SECOND)
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            seconds if seconds <= LATEST_TIME => Ok(NumericDate(seconds)),
            _ => Err(de::Error::custom("too far in the future")),
        }
    }
}

impl Audience {
    fn contains(&self, wanted: &str) -> bool {
        match self {
            Audience::One(name) => name == wanted,
            Audience::Many(names) => names.iter().any(|name| name == wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW_S: i64 = 1_767_225_600;
    const NOW_MS: i64 = NOW_S * 1_000;

    fn demands() -> Demands {
        Demands {
            issuer: Some("https://id.example".to_owned()),
            audience: Some("odin".to_owned()),
            leeway: Duration::from_secs(30),
            must_end: true,
        }
    }

    fn good() -> Value {
        json!({"sub": "user-7", "iss": "https://id.example", "aud": "odin", "exp": NOW_S + 60})
    }

    fn judge(claims: &str) -> Result<User, Fault> {
        Claims::read(claims.as_bytes())?.into_user(&demands(), NOW_MS)
    }

    /// Good claims but for one.
    fn with(name: &str, value: &str) -> Result<User, Fault> {
        let mut claims = good();
        claims.as_object_mut().expect("an object").remove(name);
        let rest = claims.to_string();
        judge(&format!("{{{name:?}:{value},{}", &rest[1..]))
    }

    fn without(name: &str) -> Result<User, Fault> {
        let mut claims = good();
        claims.as_object_mut().expect("an object").remove(name);
        judge(&claims.to_string())
    }

    #[test]
    fn all_claims_become_the_user() {
        let claims = json!({
            "sub": "user-7", "name": "Ana", "tier": "premium", "admin": true, "allow": ["price:*", "*"],
            "deny": ["volume:BTC"], "limits": {"connections": 3, "messagesPerSecond": 50}, "jti": "t-1",
            "iss": "https://id.example", "aud": ["other", "odin"], "exp": NOW_S + 60, "nbf": NOW_S - 5, "iat": NOW_S - 6,
            "scope": {"anything": [1, 2.5]},
        });
        let user = judge(&claims.to_string()).expect("good");
        let expected = User {
            sub: "user-7".to_owned(),
            name: Some("Ana".to_owned()),
            tier: Some("premium".to_owned()),
            is_admin: true,
            allow: Some(ChannelSet::parse(&["price:*", "*"]).expect("valid")),
            deny: ChannelSet::parse(&["volume:BTC"]).expect("valid"),
            limits: UserLimits { connections: Some(3), messages_per_second: Some(50), ..UserLimits::default() },
            token_id: Some("t-1".to_owned()),
            issued_at_ms: Some(NOW_MS - 6_000),
            expires_at_ms: Some(NOW_MS + 60_000),
        };
        assert_eq!(user, expected);
    }

    #[test]
    fn what_is_not_said_gives_nothing() {
        let user = judge(&good().to_string()).expect("good");
        assert_eq!((user.is_admin, user.allow, user.deny), (false, None, ChannelSet::default()));
        let user = with("tier", "null").expect("null describes nobody");
        assert_eq!((user.tier, user.limits), (None, UserLimits::default()));
    }

    /// Checklist 14: `exp` as a string, a float, negative, 2^63, not a number, missing.
    #[test]
    fn an_end_that_is_no_whole_number_of_seconds_is_refused() {
        for exp in [
            "\"1767225660\"",
            "1767225660.0",
            "1767225660.5",
            "1.7e9",
            "-1",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "253402300800",
            "1e400",
            "true",
            "[1767225660]",
            "{}",
        ] {
            assert_eq!(with("exp", exp), Err(Fault::Claims), "{exp}");
            assert_eq!(with("nbf", exp), Err(Fault::Claims), "nbf {exp}");
            assert_eq!(with("iat", exp), Err(Fault::Claims), "iat {exp}");
        }
        for word in ["NaN", "Infinity", "01767225660", "0x10", "+1767225660", ""] {
            assert_eq!(with("exp", word), Err(Fault::Claims), "{word}");
        }
        assert_eq!(without("exp"), Err(Fault::Endless));
        assert_eq!(with("exp", "null"), Err(Fault::Endless));
    }

    /// Checklist 14: `nbf` in the future; clocks may be off, but not further than configured.
    #[test]
    fn times_are_held_to_the_leeway_on_both_sides() {
        assert_eq!(with("exp", &(NOW_S - 30).to_string()), Err(Fault::Expired));
        assert!(with("exp", &(NOW_S - 29).to_string()).is_ok());
        assert_eq!(with("exp", "0"), Err(Fault::Expired));
        for claim in ["nbf", "iat"] {
            assert!(with(claim, &(NOW_S + 30).to_string()).is_ok(), "{claim}");
            assert_eq!(with(claim, &(NOW_S + 31).to_string()), Err(Fault::Early), "{claim}");
            assert_eq!(with(claim, "253402300799"), Err(Fault::Early), "{claim}");
        }
    }

    /// Checklist 14: wrong `iss` and `aud`.
    #[test]
    fn a_token_of_or_for_somebody_else_is_refused() {
        for iss in ["\"https://id.example/\"", "\"\"", "null"] {
            assert_eq!(with("iss", iss), Err(Fault::Issuer), "{iss}");
        }
        assert_eq!(without("iss"), Err(Fault::Issuer));
        assert_eq!(with("iss", "[\"https://id.example\"]"), Err(Fault::Claims));
        for aud in ["\"odin2\"", "\"Odin\"", "[]", "[\"other\"]", "null"] {
            assert_eq!(with("aud", aud), Err(Fault::Audience), "{aud}");
        }
        assert_eq!(without("aud"), Err(Fault::Audience));
        for aud in ["1", "{\"odin\":true}", "[\"odin\",1]", "[[\"odin\"]]"] {
            assert_eq!(with("aud", aud), Err(Fault::Claims), "{aud}");
        }
    }

    /// Checklist 14: that a token has expired is said only of one that is right in all else.
    #[test]
    fn an_expired_token_for_somebody_else_is_only_refused() {
        let claims = json!({"sub": "a", "iss": "https://id.example", "aud": "other", "exp": NOW_S - 600});
        assert_eq!(judge(&claims.to_string()), Err(Fault::Audience));
    }

    #[test]
    fn a_user_has_a_name_of_reasonable_length_without_control_characters() {
        let long = format!("{:?}", "x".repeat(MAX_SUB_BYTES + 1));
        for sub in ["\"\"", "\"a\\u0000b\"", "\"a\\nb\"", "\"\\u0085\"", &long] {
            assert_eq!(with("sub", sub), Err(Fault::Name), "{sub}");
            assert_eq!(with("jti", sub).err(), if sub == long { None } else { Some(Fault::Name) }, "jti {sub}");
        }
        for sub in ["1", "null", "[\"a\"]", "{}"] {
            assert_eq!(with("sub", sub), Err(Fault::Claims), "{sub}");
        }
        assert_eq!(without("sub"), Err(Fault::Claims));
        assert!(with("sub", &format!("{:?}", "x".repeat(MAX_SUB_BYTES))).is_ok());
    }

    #[test]
    fn a_list_of_channels_that_is_none_never_opens_a_door() {
        for claim in ["allow", "deny"] {
            for list in ["null", "\"price:BTC\"", "{}", "[1]", "[null]", "[\"price:>\"]", "[\"\"]", "true"] {
                assert_eq!(with(claim, list), Err(Fault::Claims), "{claim} {list}");
            }
        }
        let user = with("allow", "[]").expect("a list");
        assert_eq!(user.allow, Some(ChannelSet::default()), "nothing is allowed");
    }

    #[test]
    fn every_other_claim_of_the_wrong_type_is_refused() {
        for (claim, value) in [
            ("name", "7"),
            ("tier", "[\"premium\"]"),
            ("admin", "\"true\""),
            ("admin", "1"),
            ("jti", "7"),
            ("limits", "[1,2,3,4]"),
            ("limits", "{\"connection\":1}"),
            ("limits", "{\"connections\":-1}"),
            ("limits", "{\"connections\":1.5}"),
            ("limits", "{\"connections\":1,\"connections\":100}"),
            ("limits", "\"none\""),
        ] {
            assert_eq!(with(claim, value), Err(Fault::Claims), "{claim} {value}");
        }
    }

    #[test]
    fn claims_are_one_object_without_a_claim_given_twice() {
        let good = good().to_string();
        for (claim, value) in [("sub", "\"admin\""), ("exp", "253402300799"), ("s\\u0075b", "\"admin\"")] {
            let twice = format!("{{\"{claim}\":{value},{}", &good[1..]);
            assert_eq!(judge(&twice), Err(Fault::Claims), "{twice}");
        }
        for text in
            ["", "null", "7", "\"user-7\"", "[]", "[\"user-7\",null,null,true]", "{}", "{\"sub\":\"a\"", "\u{feff}{}"]
        {
            assert_eq!(judge(text), Err(Fault::Claims), "{text}");
        }
        let in_order =
            "[\"user-7\",null,null,true,[\"*\"],[],null,1767225660,null,null,\"https://id.example\",\"odin\",null]";
        assert_eq!(judge(in_order), Err(Fault::Claims));
        assert_eq!(judge(&format!("{good}{good}")), Err(Fault::Claims));
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        for claim in ["aud", "allow", "limits", "sub"] {
            assert_eq!(with(claim, &deep), Err(Fault::Claims), "{claim}");
        }
        assert!(with("x", &deep).is_ok(), "what is not looked at costs nothing");
    }
}
