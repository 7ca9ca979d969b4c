//! Text of others, made safe to show to a person.

use std::borrow::Cow;

/// The text with everything that could steer a terminal replaced by `?`.
///
/// Control characters (C0, DEL, C1) and the invisible characters that turn or hide text go; letters of every
/// language stay.
///
/// ```
/// assert_eq!(odin_client::printable("bid\u{1b}[2Jask"), "bid?[2Jask");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let shown = |char| if is_unsafe(char) { '?' } else { char };
    Cow::Owned(text.chars().map(shown).collect())
}

fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_letters_and_removes_what_steers_a_terminal() {
        assert_eq!(printable("größer 価格 ₿"), "größer 価格 ₿");
        assert_eq!(printable("a\u{1b}]0;x\u{7}b\nc\u{9b}d\u{202e}e\u{7f}"), "a?]0;x?b?c?d?e?");
    }
}
