//! One value: from text or TOML into a field of the configuration and back, with units.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::nats::{Secret, mask_url};
use super::{LogFormat, Overflow};

/// Where a field of the draft is, and how it is written.
pub(super) enum Field<'a> {
    /// A number of things.
    Count(&'a mut usize),
    /// The same, where 32 bits are enough.
    Count32(&'a mut u32),
    /// The same, or a word for "no such limit".
    Count32Or(&'a mut Option<u32>, &'static str),
    /// A number of things, or a word for "decided elsewhere".
    CountOr(&'a mut Option<usize>, &'static str),
    /// `shards`: a number of threads, or `auto` for one for each core.
    Threads(&'a mut Option<NonZeroUsize>),
    /// Bytes, with unit.
    Bytes(&'a mut usize),
    /// Bytes, or a word for "decided elsewhere".
    BytesOr(&'a mut Option<usize>, &'static str),
    /// A time, with unit.
    Time(&'a mut Duration),
    /// `address:port`.
    Address(&'a mut SocketAddr),
    /// Any text but the empty one.
    Text(&'a mut String),
    /// Any text; the empty one is `None`.
    TextOrNone(&'a mut Option<String>),
    /// A file; the empty text is `None`.
    FileOrNone(&'a mut Option<PathBuf>),
    /// A secret; the empty text is `None`.
    SecretOrNone(&'a mut Option<Secret>),
    /// Several texts; in flags and variables separated by commas.
    List(&'a mut Vec<String>),
    /// Several items of a kind, or none; in flags and variables separated by commas.
    Items(&'a mut dyn Items),
    /// URLs, everywhere separated by commas; user and password of each are masked when shown.
    Urls(&'a mut Vec<String>),
    /// `true` or `false`.
    Switch(&'a mut bool),
    /// A number from 0 to 1.
    Share(&'a mut f64),
    /// `json` or `text`.
    Format(&'a mut LogFormat),
    /// `refuse` or `replace`.
    Overflow(&'a mut Overflow),
}

/// A list of something that is written as text.
pub(super) trait Items {
    /// Reads all of them, or says which one is wrong.
    fn read(&mut self, texts: Vec<String>) -> Result<(), String>;

    /// As the file would say them.
    fn show(&self) -> Vec<String>;
}

impl<T: FromStr<Err: fmt::Display> + fmt::Display> Items for Vec<T> {
    fn read(&mut self, texts: Vec<String>) -> Result<(), String> {
        let item = |text: &String| text.parse().map_err(|error| format!("invalid {text:?}: {error}"));
        *self = texts.iter().map(item).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn show(&self) -> Vec<String> {
        self.iter().map(ToString::to_string).collect()
    }
}

/// A value as it came.
pub(super) enum Raw<'a> {
    /// From a flag or a variable.
    Text(&'a str),
    /// From the file.
    Toml(&'a toml::Value),
}

impl Raw<'_> {
    fn text(&self) -> Result<&str, String> {
        match self {
            Raw::Text(text) => Ok(text.trim()),
            Raw::Toml(toml::Value::String(text)) => Ok(text.trim()),
            Raw::Toml(other) => Err(format!("expected a string, found {}", other.type_str())),
        }
    }

    fn integer(&self) -> Result<u64, String> {
        match self {
            Raw::Text(text) => {
                text.trim().replace('_', "").parse().map_err(|_| format!("invalid number {:?}", text.trim()))
            }
            Raw::Toml(toml::Value::Integer(number)) => {
                u64::try_from(*number).map_err(|_| format!("invalid number {number}: it is negative"))
            }
            Raw::Toml(other) => Err(format!("expected an integer, found {}", other.type_str())),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Raw::Text(text) => text.trim().is_empty(),
            Raw::Toml(value) => value.as_array().is_some_and(Vec::is_empty),
        }
    }

    fn list(&self) -> Result<Vec<String>, String> {
        let items: Vec<String> = match self {
            Raw::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            Raw::Toml(toml::Value::Array(items)) => items
                .iter()
                .map(|item| {
                    item.as_str().map(str::to_owned).ok_or(format!("expected strings, found {}", item.type_str()))
                })
                .collect::<Result<_, _>>()?,
            Raw::Toml(other) => {
                return Err(format!("expected an array of strings, found {}", other.type_str()));
            }
        };
        if items.is_empty() || items.iter().any(String::is_empty) {
            return Err("expected at least one item, and none of them empty".to_owned());
        }
        Ok(items)
    }
}

impl Field<'_> {
    /// Reads the value into the field. `bounds` are those of a count, of bytes, or of milliseconds.
    ///
    /// # Errors
    /// The text names the value, unless it is a secret. The field is then as it was.
    pub(super) fn read(self, raw: &Raw<'_>, bounds: (u64, u64)) -> Result<(), String> {
        let bounded = |number: u64, show: fn(u64) -> String| {
            if (bounds.0..=bounds.1).contains(&number) {
                return Ok(number);
            }
            Err(format!("{} is out of bounds, {} to {}", show(number), show(bounds.0), show(bounds.1)))
        };
        let count = || raw.integer().and_then(|number| bounded(number, |number| number.to_string()));
        let bytes = || raw.text().and_then(parse_bytes).and_then(|number| bounded(number, show_bytes));
        let is_word = |word: &str| raw.text() == Ok(word);
        match self {
            Field::Count(field) => *field = to_usize(count()?)?,
            Field::Count32(field) => *field = count()?.try_into().map_err(|_| "too large".to_owned())?,
            Field::Count32Or(field, word) => {
                *field =
                    if is_word(word) { None } else { Some(count()?.try_into().map_err(|_| "too large".to_owned())?) }
            }
            Field::CountOr(field, word) => *field = if is_word(word) { None } else { Some(to_usize(count()?)?) },
            Field::Threads(field) => {
                *field = if is_word("auto") { None } else { NonZeroUsize::new(to_usize(count()?)?) }
            }
            Field::Bytes(field) => *field = to_usize(bytes()?)?,
            Field::BytesOr(field, word) => *field = if is_word(word) { None } else { Some(to_usize(bytes()?)?) },
            Field::Time(field) => {
                let time = parse_time(raw.text()?)?;
                let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                bounded(millis, |millis| show_time(Duration::from_millis(millis)))?;
                *field = time;
            }
            Field::Address(field) => {
                let text = raw.text()?;
                *field = text.parse().map_err(|_| format!("invalid address {text:?}: expected ip:port"))?;
            }
            Field::Text(field) => {
                let text = raw.text()?;
                if text.is_empty() {
                    return Err("must not be empty".to_owned());
                }
                *field = text.to_owned();
            }
            Field::TextOrNone(field) => *field = Some(raw.text()?).filter(|text| !text.is_empty()).map(str::to_owned),
            Field::FileOrNone(field) => *field = Some(raw.text()?).filter(|text| !text.is_empty()).map(PathBuf::from),
            Field::SecretOrNone(field) => *field = Some(raw.text()?).filter(|text| !text.is_empty()).map(Secret::new),
            Field::List(field) => *field = raw.list()?,
            Field::Items(field) => field.read(if raw.is_empty() { Vec::new() } else { raw.list()? })?,
            Field::Urls(field) => *field = Raw::Text(raw.text()?).list()?,
            Field::Switch(field) => {
                *field = match raw {
                    Raw::Toml(toml::Value::Boolean(switch)) => *switch,
                    Raw::Toml(other) => {
                        return Err(format!("expected true or false, found {}", other.type_str()));
                    }
                    Raw::Text(text) => {
                        text.trim().parse().map_err(|_| format!("expected true or false, found {text:?}"))?
                    }
                }
            }
            Field::Share(field) => {
                let share = match raw {
                    Raw::Toml(toml::Value::Float(share)) => Some(*share),
                    Raw::Toml(toml::Value::Integer(share)) => u32::try_from(*share).ok().map(f64::from),
                    Raw::Toml(_) => None,
                    Raw::Text(text) => text.trim().parse().ok(),
                };
                let is_share = |share: &f64| (0.0..=1.0).contains(share);
                *field = share.filter(is_share).ok_or_else(|| "expected a number from 0 to 1".to_owned())?;
            }
            Field::Format(field) => {
                *field = match raw.text()? {
                    "json" => LogFormat::Json,
                    "text" => LogFormat::Text,
                    other => return Err(format!("expected json or text, found {other:?}")),
                }
            }
            Field::Overflow(field) => {
                *field = match raw.text()? {
                    "refuse" => Overflow::Refuse,
                    "replace" => Overflow::Replace,
                    other => return Err(format!("expected refuse or replace, found {other:?}")),
                }
            }
        }
        Ok(())
    }

    /// The value as the file would say it, secrets masked.
    pub(super) fn show(self) -> toml::Value {
        let number = |number: usize| toml::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let bytes = |bytes: usize| show_bytes(bytes as u64).into();
        match self {
            Field::Count(field) => number(*field),
            Field::Count32(field) => toml::Value::Integer((*field).into()),
            Field::Count32Or(field, word) => field.map_or_else(|| word.into(), |count| number(count as usize)),
            Field::CountOr(field, word) => field.map_or_else(|| word.into(), number),
            Field::Threads(field) => field.map_or_else(|| "auto".into(), |threads| number(threads.get())),
            Field::Bytes(field) => bytes(*field),
            Field::BytesOr(field, word) => field.map_or_else(|| word.into(), bytes),
            Field::Time(field) => show_time(*field).into(),
            Field::Address(field) => field.to_string().into(),
            Field::Text(field) => field.as_str().into(),
            Field::TextOrNone(field) => field.as_deref().unwrap_or_default().into(),
            Field::FileOrNone(field) => {
                field.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default().into()
            }
            Field::SecretOrNone(field) => field.as_ref().map_or("", |_| Secret::MASK).into(),
            Field::List(field) => field.clone().into(),
            Field::Items(field) => field.show().into(),
            Field::Urls(field) => field.iter().map(|url| mask_url(url)).collect::<Vec<_>>().join(",").into(),
            Field::Switch(field) => (*field).into(),
            Field::Share(field) => (*field).into(),
            Field::Format(field) => field.as_str().into(),
            Field::Overflow(field) => field.as_str().into(),
        }
    }

    /// What a value looks like, for `--help`.
    pub(super) fn value_name(&self) -> &'static str {
        match self {
            Field::Count(_) | Field::Count32(_) | Field::Count32Or(..) | Field::CountOr(..) | Field::Threads(_) => {
                "NUMBER"
            }
            Field::Bytes(_) | Field::BytesOr(..) => "SIZE",
            Field::Time(_) => "TIME",
            Field::Address(_) => "IP:PORT",
            Field::Text(_) | Field::TextOrNone(_) | Field::SecretOrNone(_) => "TEXT",
            Field::FileOrNone(_) => "FILE",
            Field::List(_) | Field::Items(_) => "TEXT,...",
            Field::Urls(_) => "URL,...",
            Field::Switch(_) => "true|false",
            Field::Share(_) => "0..1",
            Field::Format(_) => "json|text",
            Field::Overflow(_) => "refuse|replace",
        }
    }

    /// Whether the value must never be repeated.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Field::SecretOrNone(_) | Field::Urls(_))
    }
}

fn to_usize(number: u64) -> Result<usize, String> {
    usize::try_from(number).map_err(|_| "too large".to_owned())
}

/// Units of sizes, largest first, so that showing finds the shortest exact text.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// `64KiB` → 65,536. The unit is a must; a fraction is not possible.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let invalid = |why: &str| format!("invalid size {text:?}: {why}");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..end].replace('_', ""), text[end..].trim());
    let number: u64 = number.parse().map_err(|_| invalid("expected a whole number and a unit, such as 64KiB"))?;
    let known = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let (_, factor) = known.ok_or_else(|| invalid("expected a unit: B, KiB, MiB, GiB, TiB, kB, MB, GB or TB"))?;
    number.checked_mul(*factor).ok_or_else(|| invalid("it is too large"))
}

/// 65,536 → `64KiB`; exact, in the largest binary unit that is.
fn show_bytes(bytes: u64) -> String {
    let exact = |(_, factor): &&(&str, u64)| bytes.is_multiple_of(*factor) && bytes > 0;
    let (unit, factor) =
        SIZE_UNITS.iter().filter(|(_, factor)| factor.is_power_of_two()).find(exact).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// `25s`, `1m 30s`, `500ms`. The unit is a must.
fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("invalid time {text:?}: {error}, such as 25s or 500ms"))
}

fn show_time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit_and_survive_the_way_back() {
        for (text, bytes) in
            [("64KiB", 65_536), ("1 GiB", 1 << 30), ("0B", 0), ("1_000B", 1000), ("2mb", 2_000_000), ("5kb", 5000)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
            assert_eq!(parse_bytes(&show_bytes(bytes)), Ok(bytes));
        }
        assert_eq!(show_bytes(65_536), "64KiB");
        assert_eq!(show_bytes(65_537), "65537B");
        assert_eq!(show_bytes(0), "0B");
        for text in ["64", "KiB", "", "-1KiB", "1.5MiB", "1XiB", "99999999TiB", "64 K"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_need_a_unit_and_survive_the_way_back() {
        for text in ["25s", "500ms", "1m 30s", "1h", "0s", "2days"] {
            let time = parse_time(text).expect(text);
            assert_eq!(parse_time(&show_time(time)), Ok(time));
        }
        for text in ["25", "", "s", "-1s", "1 parsec"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_lies_between_nothing_and_everything() {
        let mut share = 0.5;
        for raw in [Raw::Text("1.1"), Raw::Text("-0.1"), Raw::Text("NaN"), Raw::Text("x"), Raw::Toml(&"1".into())] {
            assert!(Field::Share(&mut share).read(&raw, (0, u64::MAX)).is_err());
        }
        assert!(Field::Share(&mut share).read(&Raw::Toml(&2.into()), (0, u64::MAX)).is_err());
        assert_eq!(share.to_bits(), 0.5_f64.to_bits());
        for (raw, expected) in [(Raw::Text("0"), 0.0), (Raw::Toml(&1.into()), 1.0), (Raw::Toml(&0.001.into()), 0.001)] {
            assert_eq!(Field::Share(&mut share).read(&raw, (0, u64::MAX)), Ok(()));
            assert_eq!(Field::Share(&mut share).show(), toml::Value::Float(expected));
        }
    }

    #[test]
    fn a_failed_read_leaves_the_field_alone() {
        let mut count = 7_usize;
        assert!(Field::Count(&mut count).read(&Raw::Text("100"), (1, 10)).is_err());
        assert!(Field::Count(&mut count).read(&Raw::Text("x"), (1, 10)).is_err());
        assert!(Field::Count(&mut count).read(&Raw::Toml(&"5".into()), (1, 10)).is_err());
        assert_eq!(count, 7);
    }
}
