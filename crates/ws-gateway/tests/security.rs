//! That the table of hostile inputs in `docs/security.md` is what the tests say of themselves.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// Every hostile input or fault, by its number, and what it is.
const ITEMS: [(u32, &str); 36] = [
    (1, "connects and says nothing"),
    (2, "one header byte each second"),
    (3, "TLS that stalls, or garbage on the TLS port"),
    (4, "heads that are too large"),
    (5, "handshakes with something missing, repeated or wrong"),
    (6, "unknown sub-protocols"),
    (7, "pages that may not connect"),
    (8, "extensions without number"),
    (9, "a second request in the body"),
    (10, "frames in the packet of the handshake"),
    (11, "forged addresses and PROXY headers"),
    (12, "ten thousand connects a second"),
    (13, "forged and confused tokens"),
    (14, "times and names in tokens that are none"),
    (15, "a token that ends, and its refresh"),
    (16, "keys that rotate, and their endpoint away"),
    (17, "a token in the address"),
    (18, "nobody signs in"),
    (19, "a user or a token is revoked"),
    (20, "another tier"),
    (35, "what is no message"),
    (36, "MessagePack that lies about its length"),
    (37, "frames of the other sub-protocol"),
    (38, "channels that would be subjects"),
    (39, "subscriptions without number"),
    (40, "the same again"),
    (41, "replays without end"),
    (42, "cursors that are none"),
    (43, "one user with ten thousand sockets"),
    (49, "poisonous payloads"),
    (50, "publishers whose clock is off"),
    (55, "a host without descriptors, memory, disk or time"),
    (56, "a broken configuration or certificate"),
    (58, "a fault of ours in one connection"),
    (59, "the admin listener from outside"),
    (60, "forged lines in the log"),
];

/// What a test says of itself in its documentation, before the numbers.
const MARK: &str = "/// Checklist ";

/// The tests below `folder`, by the numbers they name: path of the file without its ending, and name.
fn collect(folder: &Path, root: &Path, tests: &mut BTreeMap<u32, Vec<String>>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, root, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let file = path.strip_prefix(root).expect("below the root").with_extension("");
            let mut numbers: Vec<u32> = Vec::new();
            for line in text.lines().map(str::trim_start) {
                if let Some(rest) = line.strip_prefix(MARK) {
                    let (list, _) = rest.split_once(':').unwrap_or_else(|| panic!("{}: {line}", path.display()));
                    numbers.extend(list.split(", ").map(|number| number.parse::<u32>().expect("a number")));
                } else if let Some(name) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) {
                    let name = name.split('(').next().unwrap_or_default();
                    for number in numbers.drain(..) {
                        tests.entry(number).or_default().push(format!("`{}` `{name}`", file.display()));
                    }
                }
            }
        }
    }
}

fn table() -> String {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates");
    let mut tests = BTreeMap::new();
    for part in ["ws-gateway/src", "ws-gateway/tests"] {
        collect(&crates.join(part), crates, &mut tests);
    }
    let mut table = String::from("| item | hostile input or fault | tests |\n|---|---|---|\n");
    for (number, what) in ITEMS {
        let named = tests.get(&number).unwrap_or_else(|| panic!("no test says that it is about item {number}"));
        writeln!(table, "| {number} | {what} | {} |", named.join("<br>")).expect("into a string");
    }
    table
}

#[test]
fn every_hostile_input_has_a_test_and_the_manual_names_it() {
    let manual = include_str!("../../../docs/security.md");
    let table = table();
    assert!(manual.ends_with(&table), "docs/security.md must end with:\n\n{table}");
}
