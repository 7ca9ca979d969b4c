//! Who a message's trace belongs to: `traceparent` and `tracestate` of [W3C Trace Context], as headers of a message.
//!
//! Headers come from anybody who may publish. What is not exactly in the form of the standard is ignored, as the
//! standard asks; nothing is repaired, and nothing longer than its bounds is kept.
//!
//! [W3C Trace Context]: https://www.w3.org/TR/trace-context/

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

pub use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Name of the header that says which trace and span.
pub const TRACEPARENT: &str = "traceparent";
/// Name of the header with what tracing systems add.
pub const TRACESTATE: &str = "tracestate";

/// `00-` trace id `-` span id `-` flags.
const TRACEPARENT_BYTES: usize = 55;
/// A later version may have more behind that, within reason.
const MAX_TRACEPARENT_BYTES: usize = 256;
/// As much as everybody has to pass on.
const MAX_TRACESTATE_BYTES: usize = 512;

/// Most bytes that both headers take in a message, names and line ends included.
pub const MAX_HEADER_BYTES: usize =
    TRACEPARENT.len() + TRACEPARENT_BYTES + TRACESTATE.len() + MAX_TRACESTATE_BYTES + 2 * ": \r\n".len();

/// The headers' values, as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// Value of [`TRACEPARENT`].
    pub traceparent: String,
    /// Value of [`TRACESTATE`]; None where there is nothing to say.
    pub tracestate: Option<String>,
}

struct Given<'a>(&'a str, Option<&'a str>);

impl Extractor for Given<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.0),
            TRACESTATE => self.1,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        match key {
            TRACEPARENT => self.traceparent = value,
            TRACESTATE if (1..=MAX_TRACESTATE_BYTES).contains(&value.len()) => self.tracestate = Some(value),
            _ => {}
        }
    }
}

/// Whether this is worth parsing: the form of a `traceparent` with the flag that its trace is recorded. Costs nothing.
pub fn is_sampled(traceparent: &str) -> bool {
    let hex = |range: std::ops::Range<usize>| {
        traceparent.as_bytes().get(range).is_some_and(|of| of.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    };
    let dash = |at: usize| traceparent.as_bytes().get(at) == Some(&b'-');
    let is_ended = match traceparent.as_bytes() {
        [b'0', b'0', ..] => traceparent.len() == TRACEPARENT_BYTES,
        [b'f', b'f', ..] => false,
        // What a later version adds is behind another dash.
        _ => traceparent.len() <= MAX_TRACEPARENT_BYTES && (traceparent.len() == TRACEPARENT_BYTES || dash(55)),
    };
    is_ended
        && [2, 35, 52].into_iter().all(dash)
        && [0..2, 3..35, 36..52, 53..55].into_iter().all(hex)
        && matches!(traceparent.as_bytes()[54], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f')
}

/// The context of a message whose trace is recorded. None: there is none, it is not recorded, or nonsense.
///
/// A `tracestate` that is nonsense or longer than 512 bytes is left out; the context stays.
pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    if !is_sampled(traceparent) {
        return None;
    }
    let is_text =
        |state: &&str| state.len() <= MAX_TRACESTATE_BYTES && state.bytes().all(|b| matches!(b, 9 | 32..=126));
    let given = Given(traceparent, tracestate.filter(is_text));
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &given);
    let context = context.span().span_context().clone();
    (context.is_valid() && context.is_sampled()).then_some(context)
}

/// What to write into a message that belongs to this span. A `tracestate` longer than 512 bytes is left out.
pub fn format(context: &SpanContext) -> Headers {
    let mut headers = Headers::default();
    let context = Context::new().with_remote_span_context(context.clone());
    TraceContextPropagator::new().inject_context(&context, &mut headers);
    headers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_written_is_what_was_read() {
        let context = parse(GOOD, Some("vendor=a:1,other=b")).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_remote());
        let headers = format(&context);
        assert_eq!(headers.traceparent, GOOD);
        assert_eq!(headers.tracestate.as_deref(), Some("vendor=a:1,other=b"));
        assert_eq!(format(&parse(GOOD, None).unwrap()).tracestate, None);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = GOOD.replacen("00-", "cc-", 1);
        assert!(parse(&later, None).is_some());
        assert!(parse(&format!("{later}-what-comes"), None).is_some());
    }

    /// Checklist 49: a publisher's headers that are nonsense, too long, or a lie.
    #[test]
    fn nonsense_is_no_context() {
        let later = GOOD.replacen("00-", "01-", 1);
        for wrong in [
            "",
            "-",
            "---",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-001",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e47361-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &format!("{GOOD}-"),
            &format!("{GOOD}-extra"),
            &format!("{later}x"),
            &format!("{later}-{}", "x".repeat(10_000)),
            &"é".repeat(28),
            &GOOD.replace('-', "\u{2d0}"),
        ] {
            assert_eq!(parse(wrong, None), None, "{wrong:.80}");
        }
    }

    /// Checklist 49: a state that is no list, or without end.
    #[test]
    fn a_bad_state_is_left_out_and_the_context_stays() {
        for state in ["novalue", "UPPER=1", "a=1\n2", &format!("a={}", "x".repeat(600)), "é=1", "a=1\0"] {
            let context = parse(GOOD, Some(state)).unwrap_or_else(|| panic!("{state:.40}"));
            assert_eq!(context.trace_state().header(), "", "{state:.40}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_a_context_or_none(parent in "\\PC{0,300}", state in proptest::option::of("\\PC{0,700}")) {
            if let Some(context) = parse(&parent, state.as_deref()) {
                prop_assert!(context.is_valid());
            }
        }

        #[test]
        fn whatever_is_nearly_right_is_read_back_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>().prop_map(|b| b"0123456789abcdef-fF0gG\xc3"[b as usize % 22]), 55),
            keep in any::<u64>(),
            state in "[a-z]{1,9}=[ -~]{0,40}(,[a-z@*]{1,9}=[ -~]{0,40}){0,40}",
        ) {
            for (at, byte) in GOOD.bytes().enumerate() {
                if keep >> at & 1 == 1 {
                    bytes[at] = byte;
                }
            }
            let parent = String::from_utf8_lossy(&bytes);
            if let Some(context) = parse(&parent, Some(&state)) {
                prop_assert!(context.is_valid() && context.is_sampled());
                let headers = format(&context);
                prop_assert_eq!(headers.traceparent.len(), TRACEPARENT_BYTES);
                prop_assert!(headers.tracestate.as_ref().is_none_or(|state| state.len() <= MAX_TRACESTATE_BYTES));
                let again = parse(&headers.traceparent, headers.tracestate.as_deref());
                prop_assert_eq!(again.as_ref().map(SpanContext::trace_id), Some(context.trace_id()));
                prop_assert_eq!(again.as_ref().map(SpanContext::span_id), Some(context.span_id()));
            }
        }
    }
}
