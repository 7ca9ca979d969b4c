//! NATS subjects and filters: is it one, does one cover the other.

/// Longest subject that odin uses, in bytes: long enough for four channel segments, short enough for every server.
const MAX_SUBJECT_BYTES: usize = 512;

/// What is wrong with a subject or filter (`*` and a final `>` allowed), if anything.
pub(crate) fn subject_fault(subject: &str) -> Option<&'static str> {
    if subject.is_empty() {
        return Some("it is empty");
    }
    if subject.len() > MAX_SUBJECT_BYTES {
        return Some("it is longer than 512 bytes");
    }
    if subject.chars().any(|c| !c.is_ascii_graphic()) {
        return Some("it has characters other than printable ascii");
    }
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        match token {
            "" => return Some("it has an empty token"),
            ">" if tokens.peek().is_some() => return Some("> must be its last token"),
            "*" | ">" => {}
            _ if token.contains(['*', '>']) => return Some("a wildcard must be a whole token"),
            _ if token.contains(['{', '}']) => {
                return Some("a variable must be a whole token in braces");
            }
            _ => {}
        }
    }
    None
}

/// Whether every subject that matches `inner` also matches `outer`.
pub(crate) fn covers(outer: &str, inner: &str) -> bool {
    let mut inner = inner.split('.');
    for token in outer.split('.') {
        match (token, inner.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(other)) if other != ">" => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    inner.next().is_none()
}

/// Whether some subject matches both filters.
pub(crate) fn overlaps(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_is_about_sets() {
        for (outer, inner) in [
            ("odin.>", "odin.tokens.*.price"),
            ("odin.*.x", "odin.*.x"),
            ("odin.*", "odin.a"),
            (">", "a"),
            ("odin.>", "odin.>"),
        ] {
            assert!(covers(outer, inner), "{outer} covers {inner}");
        }
        for (outer, inner) in [
            ("odin.>", "odin"),
            ("odin.a", "odin.*"),
            ("odin.*", "odin.>"),
            ("odin.*", "odin.a.b"),
            ("odin.a.b", "odin.a"),
        ] {
            assert!(!covers(outer, inner), "{outer} does not cover {inner}");
        }
    }

    #[test]
    fn overlap_needs_one_common_subject() {
        assert!(overlaps("odin.*.b", "odin.a.*"));
        assert!(overlaps("live.>", ">"));
        assert!(!overlaps("odin.a", "odin.a.b"));
        assert!(!overlaps("odin.>", "odinlast.>"));
        assert!(!overlaps("odin.>", "odin"));
    }

    #[test]
    fn finds_what_is_no_subject() {
        for good in ["odin.>", "a", "odin.tokens.*.price", "$JS.API"] {
            assert_eq!(subject_fault(good), None, "{good}");
        }
        for bad in ["", ".", "a..b", "a.>.b", "a b", "a.b*", "odin.pré", "a.{x"] {
            assert!(subject_fault(bad).is_some(), "{bad:?}");
        }
        assert!(subject_fault(&"a".repeat(513)).is_some());
    }
}
