//! How one line looks. Our own formats, because every field has to pass the redaction.

use std::fmt::{self, Debug, Write};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::{MAX_VALUE_BYTES, REDACTED_FIELDS};
use crate::config::LogFormat;

/// Fields as one JSON object, for spans.
#[derive(Debug)]
pub(super) struct JsonFields;

/// An event as one JSON object: time, level, target, the event's fields, and the spans it is in, outermost first.
#[derive(Debug)]
pub(super) struct JsonLine;

/// Fields as `name=value`, the message first and bare.
#[derive(Debug)]
pub(super) struct TextFields;

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        write!(writer, "{}", Value::from(collect(fields)))
    }

    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &tracing::span::Record<'_>) -> fmt::Result {
        let mut object: Map<String, Value> = serde_json::from_str(&current.fields).unwrap_or_default();
        object.extend(collect(fields));
        current.fields = Value::from(object).to_string();
        Ok(())
    }
}

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut spans = Vec::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>().map_or("", |fields| fields.fields.as_str());
            let mut object: Map<String, Value> = serde_json::from_str(fields).unwrap_or_default();
            object.insert("name".to_owned(), span.name().into());
            spans.push(Value::from(object));
        }
        // The line's own members win over fields of the same name.
        let mut line = collect(event);
        line.insert("timestamp".to_owned(), time.into());
        line.insert("level".to_owned(), metadata.level().as_str().to_ascii_lowercase().into());
        line.insert("target".to_owned(), metadata.target().into());
        if !spans.is_empty() {
            line.insert("spans".to_owned(), spans.into());
        }
        writeln!(writer, "{}", Value::from(line))
    }
}

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut fields = collect(fields);
        let mut separator = "";
        if let Some(message) = fields.remove("message") {
            let text = message.as_str().map_or_else(|| message.to_string(), |text| text.escape_debug().to_string());
            // Quotes need no escape in a bare text.
            writer.write_str(&text.replace("\\\"", "\"").replace("\\'", "'"))?;
            separator = " ";
        }
        for (name, value) in fields {
            write!(writer, "{separator}{name}={value}")?;
            separator = " ";
        }
        Ok(())
    }
}

/// A line about lines that were lost, in the shape of the others.
pub(super) fn say_lost(format: LogFormat, count: u64) -> String {
    let mut time = String::new();
    // A string takes everything.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let message = "lines of the log were lost: it was not read fast enough";
    match format {
        LogFormat::Json => {
            let target = module_path!();
            let line =
                json!({ "timestamp": time, "level": "warn", "target": target, "message": message, "count": count });
            format!("{line}\n")
        }
        LogFormat::Text => format!("{time}  WARN {}: {message} count={count}\n", module_path!()),
    }
}

fn collect(fields: impl RecordFields) -> Map<String, Value> {
    let mut visitor = Collect(Map::new());
    fields.record(&mut visitor);
    visitor.0
}

/// Collects fields by name, redacted.
struct Collect(Map<String, Value>);

impl Collect {
    fn insert(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        let value = if is_redacted(field.name()) { "***".into() } else { value() };
        // `r#type` is a field named `type`.
        let name = field.name().strip_prefix("r#").unwrap_or(field.name());
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Collect {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, || value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, || value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, || value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, || value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, || cut(value).into());
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        self.insert(field, || {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                let _ = write!(text, ": {error}");
                cause = error.source();
            }
            cut(&text).into()
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.insert(field, || cut(&format!("{value:?}")).into());
    }
}

fn is_redacted(name: &str) -> bool {
    let last = name.rsplit(['_', '.']).next().unwrap_or(name);
    REDACTED_FIELDS.contains(&last)
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_VALUE_BYTES {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_VALUE_BYTES)])
}
