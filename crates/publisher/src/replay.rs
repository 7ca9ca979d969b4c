//! `odin-publisher replay`: publishes a file in its own time, faster, or flat out.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use csv::{ReaderBuilder, StringRecord};
use odin_publisher::{Message, Subject, Template, new_message_id};
use tokio_util::sync::CancellationToken;

use crate::args::{FileFormat, ReplayArgs, Speed, TimeUnit};
use crate::feed::{self, Entry, Pace, Record};
use crate::pipe::{Line, Mapping};
use crate::report::Report;
use crate::session::{self, Session, Setup};

/// Where the rows of a CSV file go when nothing else is said.
const DEFAULT_TEMPLATE: &str = "odin.tokens.{tokenId}.price";

pub(crate) async fn run(args: &ReplayArgs, stop: CancellationToken) -> anyhow::Result<Report> {
    let (input, total_bytes) = open(&args.file)?;
    let name = args.file.extension().unwrap_or_default().to_ascii_lowercase();
    let tabs = name == "tsv";
    let format = args.format.unwrap_or(if tabs || name == "csv" { FileFormat::Csv } else { FileFormat::Ndjson });
    let pace = match args.speed {
        Speed::Max => None,
        Speed::Times(speed) => Some(Pace { speed, max_gap: args.max_gap }),
    };
    let time = Time { name: args.time_column.clone(), unit: args.time_unit, needed: pace.is_some() };
    let template = match &args.line.subject_template {
        Some(template) => template.clone(),
        None => Template::parse(DEFAULT_TEMPLATE)?,
    };
    let mapping = Mapping::new(&args.line);
    let example = match format {
        FileFormat::Csv => template.fill(|_| Some("x".to_owned())).ok(),
        FileFormat::Ndjson => mapping.example(),
    };
    let rows = Rows {
        template,
        columns: args.columns.clone(),
        constants: args.constants.clone(),
        texts: args.texts.clone(),
        time: time.clone(),
    };
    let delimiter = args.delimiter.unwrap_or(if tabs { b'\t' } else { b',' });
    let header = !args.no_header;
    let strict = args.line.strict;
    let setup = Setup {
        command: "replay",
        nats: &args.nats,
        publish: &args.publish,
        trace: &args.trace,
        report: &args.report,
        example,
        total_bytes,
    };
    session::run(setup, stop, async |session: &Session| {
        let records = feed::spawn(move |give| match format {
            FileFormat::Csv => rows.read(input, delimiter, header, give),
            FileFormat::Ndjson => {
                let parse = |text: &[u8]| {
                    let line = Line::parse(text)?;
                    Ok(Entry { at_us: time.of(|name| line.either(name))?, message: mapping.make(&line)? })
                };
                feed::read_lines(input, parse, give);
            }
        })?;
        feed::pump(session, records, pace, strict).await
    })
    .await
}

fn open(path: &Path) -> anyhow::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let about = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    // a pipe has no length, a folder no content
    anyhow::ensure!(!about.is_dir(), "{} is a folder", path.display());
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

/// Where the time of a message is, and what it means.
#[derive(Clone, Debug)]
struct Time {
    name: String,
    unit: TimeUnit,
    needed: bool,
}

impl Time {
    /// Microseconds since 1970, or `None` when nobody asks.
    fn of(&self, value: impl FnOnce(&str) -> Option<String>) -> Result<Option<i64>, String> {
        if !self.needed {
            return Ok(None);
        }
        let Some(text) = value(&self.name) else {
            return Err(format!("time {:?} is missing", self.name));
        };
        match micros(&text, self.unit) {
            Some(at_us) => Ok(Some(at_us)),
            None => {
                let shown: String = text.chars().take(64).collect();
                Err(format!("time {:?} is {shown:?}, which is no time in unit {:?}", self.name, self.unit))
            }
        }
    }
}

/// Microseconds since 1970.
fn micros(text: &str, unit: TimeUnit) -> Option<i64> {
    let rfc3339 = || {
        let time = humantime::parse_rfc3339_weak(text).ok()?;
        let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_micros()).ok()
    };
    let number = || text.parse::<f64>().ok().filter(|number| number.is_finite());
    let per_us = match unit {
        TimeUnit::Rfc3339 => return rfc3339(),
        TimeUnit::Auto => match number() {
            None => return rfc3339(),
            // seconds until the year 5138, milliseconds from 1973 on, and so forth
            Some(number) if number.abs() < 1e11 => 1e6,
            Some(number) if number.abs() < 1e14 => 1e3,
            Some(number) if number.abs() < 1e17 => 1.0,
            Some(_) => 1e-3,
        },
        TimeUnit::S => 1e6,
        TimeUnit::Ms => 1e3,
        TimeUnit::Us => 1.0,
        TimeUnit::Ns => 1e-3,
    };
    let at_us = number()? * per_us;
    (at_us.abs() < 9e18).then_some(at_us.round() as i64)
}

/// How rows of a CSV file become messages.
#[derive(Debug)]
struct Rows {
    template: Template,
    /// Payload field and column.
    columns: Vec<(String, String)>,
    constants: Vec<(String, String)>,
    /// Payload fields that are text whatever they look like.
    texts: Vec<String>,
    time: Time,
}

impl Rows {
    fn read(&self, input: impl Read, delimiter: u8, header: bool, give: &mut dyn FnMut(io::Result<Record>) -> bool) {
        let mut reader =
            ReaderBuilder::new().delimiter(delimiter).has_headers(header).flexible(false).from_reader(input);
        let mut names: Vec<String> = match reader.headers() {
            Ok(names) if header => names.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect(),
            Ok(first) => (1..=first.len()).map(|number| number.to_string()).collect(),
            Err(error) => {
                give(Err(io::Error::other(error)));
                return;
            }
        };
        names.shrink_to_fit();
        let mut row = StringRecord::new();
        loop {
            let line = reader.position().line();
            let entry = match reader.read_record(&mut row) {
                Ok(false) => return,
                Ok(true) if row.as_slice().len() > feed::MAX_LINE_BYTES => {
                    let bytes = row.as_slice().len();
                    Err(format!("row has {bytes} bytes, at most {} bytes are allowed", feed::MAX_LINE_BYTES))
                }
                Ok(true) => self.entry(&names, &row),
                Err(error) if error.is_io_error() => {
                    give(Err(io::Error::other(error)));
                    return;
                }
                Err(error) => Err(error.to_string()),
            };
            let line = row.position().map_or(line, csv::Position::line);
            if !give(Ok(Record { line, end: reader.position().byte(), entry })) {
                return;
            }
        }
    }

    fn entry(&self, names: &[String], row: &StringRecord) -> Result<Entry, String> {
        let cell = |column: &str| names.iter().position(|name| name == column).and_then(|at| row.get(at));
        let mut fields: Vec<(&str, &str)> = Vec::with_capacity(names.len() + self.constants.len() + 1);
        if self.columns.is_empty() {
            fields.extend(names.iter().map(String::as_str).zip(row));
        }
        for (field, column) in &self.columns {
            let value = cell(column).ok_or_else(|| format!("column {column:?} is missing"))?;
            fields.push((field, value));
        }
        for (field, value) in &self.constants {
            fields.retain(|(name, _)| name != field);
            fields.push((field, value));
        }
        let field = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|&(_, value)| value);
        let subject = self
            .template
            .fill(|name| field(name).or_else(|| cell(name)).map(str::to_owned))
            .map_err(|error| error.to_string())?;
        let at_us = self.time.of(|name| cell(name).map(str::to_owned))?;
        Ok(Entry { message: self.message(subject, fields), at_us })
    }

    fn message(&self, subject: Subject, mut fields: Vec<(&str, &str)>) -> Message {
        let given = fields.iter().copied().find(|(name, value)| *name == "nonce" && !value.is_empty());
        let id = given.map_or_else(new_message_id, |(_, nonce)| nonce.to_owned());
        if given.is_none() {
            fields.retain(|(name, _)| *name != "nonce");
        }
        let mut payload = String::from("{");
        let nonce = given.is_none().then_some(("nonce", id.as_str()));
        for (at, (name, value)) in fields.into_iter().chain(nonce).enumerate() {
            if at > 0 {
                payload.push(',');
            }
            payload.push_str(&quoted(name));
            payload.push(':');
            if name != "nonce" && !self.texts.iter().any(|text| text == name) && stays(value) {
                payload.push_str(if value.is_empty() { "null" } else { value });
            } else {
                payload.push_str(&quoted(value));
            }
        }
        payload.push('}');
        Message::new(subject, payload).with_id(id)
    }
}

/// Whether a cell is JSON as it stands: a number, a truth value, or nothing.
fn stays(value: &str) -> bool {
    match value.as_bytes() {
        [] => true,
        [b'-' | b'0'..=b'9', ..] => serde_json::from_str::<serde_json::Number>(value).is_ok() && !value.ends_with(' '),
        _ => value == "true" || value == "false",
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        Rows {
            template: Template::parse(DEFAULT_TEMPLATE).unwrap(),
            columns: vec![],
            constants: vec![],
            texts: vec![],
            time: Time { name: "timestamp".into(), unit: TimeUnit::Auto, needed: true },
        }
    }

    fn read(rows: &Rows, text: &str, header: bool) -> Vec<(u64, u64, Result<Entry, String>)> {
        let mut found = Vec::new();
        rows.read(text.as_bytes(), b',', header, &mut |record| {
            let record = record.unwrap();
            found.push((record.line, record.end, record.entry));
            true
        });
        found
    }

    fn payload(entry: &Result<Entry, String>) -> String {
        String::from_utf8(entry.as_ref().unwrap().message.payload.to_vec()).unwrap()
    }

    #[test]
    fn a_row_becomes_an_object_of_its_columns() {
        let text = "tokenId,price,live,note,timestamp,nonce\nBTC,64250.50,true,,1700000000000,n1\n";
        let found = read(&rows(), text, true);
        let (line, end, entry) = &found[0];
        assert_eq!((*line, *end), (2, text.len() as u64));
        assert_eq!(
            payload(entry),
            r#"{"tokenId":"BTC","price":64250.50,"live":true,"note":null,"timestamp":1700000000000,"nonce":"n1"}"#
        );
        let entry = entry.as_ref().unwrap();
        assert_eq!(entry.message.subject.as_str(), "odin.tokens.BTC.price");
        assert_eq!(entry.message.id.as_deref(), Some("n1"));
        assert_eq!(entry.at_us, Some(1_700_000_000_000_000));
    }

    #[test]
    fn columns_are_renamed_constants_added_and_text_stays_text() {
        let rows = Rows {
            columns: vec![("tokenId".into(), "sym".into()), ("price".into(), "close".into())],
            constants: vec![("type".into(), "price:update".into()), ("lot".into(), "5".into())],
            texts: vec!["lot".into()],
            time: Time { name: "ts".into(), unit: TimeUnit::S, needed: true },
            ..rows()
        };
        let found = read(&rows, "ts,sym,close,rest\n1.5,ETH,3180,x\n", true);
        let id = found[0].2.as_ref().unwrap().message.id.clone().unwrap();
        assert_eq!(
            payload(&found[0].2),
            format!(r#"{{"tokenId":"ETH","price":3180,"type":"price:update","lot":"5","nonce":"{id}"}}"#)
        );
        assert_eq!(found[0].2.as_ref().unwrap().at_us, Some(1_500_000));
    }

    #[test]
    fn without_a_header_columns_have_numbers() {
        let rows = Rows {
            template: Template::parse("odin.tokens.{1}.price").unwrap(),
            columns: vec![("price".into(), "2".into()), ("nonce".into(), "1".into())],
            time: Time { needed: false, ..rows().time },
            ..rows()
        };
        let found = read(&rows, "BTC,1\nETH,2\n", false);
        assert_eq!(payload(&found[0].2), r#"{"price":1,"nonce":"BTC"}"#);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_bad_row_is_said_with_its_line_and_the_next_is_read() {
        let text = "tokenId,timestamp\nBTC,1\nETH\nS L,3\nSOL,never\n\"A\nB\",5\nXRP,6\n";
        let found = read(&rows(), text, true);
        let lines: Vec<u64> = found.iter().map(|(line, ..)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 8]);
        let good: Vec<bool> = found.iter().map(|(.., entry)| entry.is_ok()).collect();
        assert_eq!(good, [true, false, false, false, false, true]);
    }

    #[test]
    fn numbers_keep_their_digits_and_half_numbers_are_text() {
        for (cell, stays_so) in
            [("1", true), ("-0.50", true), ("1e5", true), ("007", false), ("1.", false), ("-", false), ("1 ", false)]
        {
            assert_eq!(stays(cell), stays_so, "{cell:?}");
        }
    }

    #[test]
    fn reads_times_in_every_unit() {
        for (text, unit, at_us) in [
            ("1700000000", TimeUnit::Auto, Some(1_700_000_000_000_000)),
            ("1700000000.25", TimeUnit::Auto, Some(1_700_000_000_250_000)),
            ("1700000000000", TimeUnit::Auto, Some(1_700_000_000_000_000)),
            ("1700000000000000", TimeUnit::Auto, Some(1_700_000_000_000_000)),
            ("1700000000000000000", TimeUnit::Auto, Some(1_700_000_000_000_000)),
            ("1970-01-01T00:00:01.5Z", TimeUnit::Auto, Some(1_500_000)),
            ("5", TimeUnit::Ms, Some(5_000)),
            ("5", TimeUnit::Rfc3339, None),
            ("soon", TimeUnit::Auto, None),
            ("1e300", TimeUnit::S, None),
        ] {
            assert_eq!(micros(text, unit), at_us, "{text}");
        }
    }
}
