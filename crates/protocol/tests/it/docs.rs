//! `docs/protocol.md` says what the code does: its tables, examples and numbers.

use std::collections::{BTreeMap, BTreeSet};

use odin_protocol::{
    ClientMessage, CloseCode, Codec, ErrorCode, GapReason, Reconnect, ResumeFailure, ServerMessage, StaleReason,
    SystemState, channel, codec, cursor, message,
};
use serde_json::{Map, Value};

use crate::support::{client_text, read, server_text, vectors};

struct Section {
    /// The heading above it of level two, which says the direction of a message.
    chapter: String,
    title: String,
    lines: Vec<String>,
}

fn sections() -> Vec<Section> {
    let mut sections = Vec::new();
    let mut chapter = String::new();
    for line in read("../../docs/protocol.md").lines() {
        if let Some(title) = line.strip_prefix("## ") {
            chapter = title.to_owned();
        }
        if let Some(title) = line.strip_prefix("## ").or(line.strip_prefix("### ")) {
            let title = title.trim_matches('`').to_owned();
            sections.push(Section { chapter: chapter.clone(), title, lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line.to_owned());
        }
    }
    sections
}

fn section(title: &str) -> Section {
    sections().into_iter().find(|it| it.title == title).unwrap_or_else(|| panic!("no section {title}"))
}

/// The rows of a section's tables, cells without backticks, heads and rules left out.
fn rows(section: &Section) -> Vec<Vec<String>> {
    let cells = |line: &String| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let is_table = |line: &&String| line.starts_with('|');
    let is_rule = |line: &String| line.starts_with("|--");
    let tables: Vec<&String> = section.lines.iter().filter(is_table).collect();
    let is_head = |at: usize| tables.get(at + 1).is_some_and(|next| is_rule(next));
    (0..tables.len()).filter(|at| !is_rule(tables[*at]) && !is_head(*at)).map(|at| cells(tables[at])).collect()
}

fn named<T>(all: &[T], name: impl Fn(&T) -> &'static str, meaning: impl Fn(&T) -> &'static str) -> Vec<Vec<String>> {
    all.iter().map(|it| vec![name(it).to_owned(), meaning(it).to_owned()]).collect()
}

#[test]
fn documents_every_close_code_as_it_is() {
    let expected: Vec<Vec<String>> = CloseCode::ALL
        .iter()
        .map(|code| {
            vec![
                code.code().to_string(),
                code.name().to_owned(),
                code.reason().to_owned(),
                code.reconnect().as_str().to_owned(),
                code.meaning().to_owned(),
            ]
        })
        .collect();
    assert_eq!(rows(&section("Close codes")), expected);
}

#[test]
fn documents_every_error_code_as_it_is() {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let expected: Vec<Vec<String>> = ErrorCode::ALL
        .iter()
        .map(|code| {
            vec![code.as_str().to_owned(), code.meaning().to_owned(), yes_no(code.retry()), yes_no(code.is_strike())]
        })
        .collect();
    assert_eq!(rows(&section("Error codes")), expected);
}

#[test]
fn documents_every_reason_as_it_is() {
    let resume = named(ResumeFailure::ALL, |it| it.as_str(), |it| it.meaning());
    assert_eq!(rows(&section("Resume reasons")), resume);
    let gap = named(GapReason::ALL, |it| it.as_str(), |it| it.meaning());
    assert_eq!(rows(&section("Gap reasons")), gap);
    let stale = named(StaleReason::ALL, |it| it.as_str(), |it| it.meaning());
    assert_eq!(rows(&section("Stale reasons")), stale);
    let system = named(SystemState::ALL, |it| it.as_str(), |it| it.meaning());
    assert_eq!(rows(&section("System states")), system);
}

#[test]
fn unlisted_close_codes_come_back_as_documented() {
    let text = section("Reconnecting").lines.join(" ");
    assert!(
        text.contains("4000-4399 *later*, 4400-4999 *never*, no code at all (1005, 1006) *soon*, any other *later*")
    );
    assert_eq!(Reconnect::for_code(4399), Reconnect::Later);
    assert_eq!(Reconnect::for_code(4499), Reconnect::Never);
    assert_eq!(Reconnect::for_code(1006), Reconnect::Soon);
    assert_eq!(Reconnect::for_code(3000), Reconnect::Later);
    assert_eq!(Reconnect::for_code(CloseCode::ServiceRestart.code()), Reconnect::Soon);
}

/// Every example in the documentation of messages, with its section.
fn examples() -> Vec<(Section, String)> {
    let mut examples = Vec::new();
    for section in sections() {
        let mut in_json = false;
        let mut found = Vec::new();
        for line in &section.lines {
            match line.as_str() {
                "```json" => in_json = true,
                "```" => in_json = false,
                text if in_json => found.push(text.to_owned()),
                _ => {}
            }
        }
        for text in found {
            let Section { chapter, title, .. } = &section;
            let section = Section { chapter: chapter.clone(), title: title.clone(), lines: Vec::new() };
            examples.push((section, text));
        }
    }
    examples
}

#[test]
fn examples_are_messages_exactly_as_the_code_writes_them() {
    let mut seen = BTreeSet::new();
    for (section, text) in examples() {
        match section.chapter.as_str() {
            "Client messages" => {
                let message = ClientMessage::decode(Codec::Json, text.as_bytes()).expect(&text);
                assert_eq!(message.type_name(), section.title);
                assert_eq!(client_text(&message), text);
            }
            "Gateway messages" => {
                let message = ServerMessage::decode(Codec::Json, text.as_bytes()).expect(&text);
                assert!(!matches!(message, ServerMessage::Unknown), "{text}");
                assert_eq!(server_text(&message), text);
            }
            other => panic!("an example in chapter {other}"),
        }
        seen.insert(section.title);
    }
    assert_eq!(seen, message_tables().into_keys().collect());
}

/// For each message type: its members and whether they are required.
fn message_tables() -> BTreeMap<String, BTreeMap<String, bool>> {
    let is_message = |section: &Section| {
        matches!(section.chapter.as_str(), "Client messages" | "Gateway messages") && section.title != section.chapter
    };
    let members = |section: &Section| rows(section).into_iter().map(|row| (row[0].clone(), row[2] == "yes")).collect();
    sections().iter().filter(|it| is_message(it)).map(|it| (it.title.clone(), members(it))).collect()
}

#[test]
fn vectors_use_documented_members_and_cover_every_type() {
    let tables = message_tables();
    let mut covered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in ["client_messages.json", "server_messages.json"] {
        for case in vectors::<Map<String, Value>>(file) {
            let message = case["json"].as_object().expect("a message is an object");
            let kind = message["type"].as_str().expect("a type is a string");
            let table = tables.get(kind).unwrap_or_else(|| panic!("{kind} is not documented"));
            for member in message.keys() {
                assert!(table.contains_key(member), "{member} of {kind} is not documented");
            }
            let required = table.iter().filter(|(member, required)| {
                // The second table of `subscribe` is about its entries.
                **required && !(kind == "subscribe" && *member == "channel")
            });
            for (member, _) in required {
                assert!(message.contains_key(member), "{kind} without {member}");
            }
            covered.entry(kind.to_owned()).or_default().extend(message.keys().cloned());
        }
    }
    for (kind, table) in tables {
        let used = covered.get(&kind).unwrap_or_else(|| panic!("no vector for {kind}"));
        let entry_only = ["channel", "mode", "filter", "every", "delta"];
        for member in table.keys().filter(|member| kind != "subscribe" || !entry_only.contains(&member.as_str())) {
            assert!(used.contains(member), "no vector with {member} of {kind}");
        }
    }
}

#[test]
fn documented_limits_are_those_of_the_code() {
    let limits: BTreeMap<String, String> =
        rows(&section("Limits")).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let documented = |name: &str| -> usize {
        let digits = limits[name].split(' ').next().expect("a value").replace(',', "");
        digits.parse().expect("a number")
    };
    assert_eq!(documented("nesting of a member's value"), codec::MAX_DEPTH);
    assert_eq!(documented("request id"), message::MAX_REQUEST_ID_BYTES);
    assert_eq!(documented("channel name"), channel::MAX_CHANNEL_BYTES);
    assert_eq!(documented("segments of a channel"), channel::MAX_SEGMENTS);
    assert_eq!(documented("segment of a channel"), channel::MAX_SEGMENT_BYTES);
    assert_eq!(documented("cursor"), cursor::MAX_CURSOR_BYTES);
    assert!(section("Limits").lines.join("\n").contains("no message has more than 4,096 channels"));
    assert_eq!(message::MAX_CHANNELS_PER_MESSAGE, 4_096);
}

#[test]
fn documented_sub_protocols_are_the_codecs() {
    let expected: Vec<Vec<String>> = Codec::ALL
        .iter()
        .map(|codec| {
            let (frames, messages) = if codec.is_text() { ("text", "JSON") } else { ("binary", "MessagePack") };
            vec![codec.protocol().to_owned(), frames.to_owned(), messages.to_owned()]
        })
        .collect();
    assert_eq!(rows(&section("Sub-protocols")), expected);
}
