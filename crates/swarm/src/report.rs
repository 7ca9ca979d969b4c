//! What came of a run: JSON for programs, a table for people.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    bar::{Bar, Outcome},
    tally::{CURVE_BIN_MS, Counts, Tally, Times},
    watch::Seen,
};

/// See the module.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When it began, in seconds since 1970.
    pub began_s: f64,
    /// How long it took, settling included.
    pub seconds: f64,
    /// Processes that held clients.
    pub processes: u32,
    /// Most memory of one of them.
    pub rss_most_kib: u64,
    /// Everything that `--fail-on` knows.
    pub figures: BTreeMap<String, f64>,
    /// Counts by name.
    pub counts: BTreeMap<String, Counts>,
    /// Curves over the time.
    pub curves: Value,
    /// The servers.
    pub servers: Vec<Seen>,
    /// What became of the bars.
    pub bars: Vec<Outcome>,
}

impl Report {
    /// Puts it together. `seconds` is the length of the run, which the curves divide.
    pub fn new(tally: &Tally, began_s: f64, seconds: f64, servers: Vec<Seen>, bars: &[Bar]) -> Report {
        let figures = figures(tally);
        let counts = [
            ("refused", &tally.refused),
            ("failed", &tally.failed),
            ("closes", &tally.closes),
            ("errors", &tally.errors),
            ("faults", &tally.faults),
            ("not_recovered", &tally.not_recovered),
        ];
        Report {
            began_s,
            seconds,
            processes: 1,
            rss_most_kib: 0,
            counts: counts.map(|(name, counts)| (name.to_owned(), counts.clone())).into(),
            curves: json!({
                "back": { "bin_ms": CURVE_BIN_MS, "clients": tally.back },
                "run": {
                    "bin_ms": (seconds * 1000.0 / tally.live.len().max(1) as f64).round(),
                    "live": tally.live,
                    "lost": tally.lost_at,
                    "delivered": tally.delivered_at,
                },
            }),
            servers,
            bars: bars.iter().map(|bar| bar.judge(&figures)).collect(),
            figures,
        }
    }

    /// Whether every bar held.
    pub fn is_good(&self) -> bool {
        self.bars.iter().all(|bar| bar.held)
    }

    /// A table in Markdown.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let figure = |name: &str| self.figures.get(name).copied().unwrap_or(0.0);
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "| {name} | {value} |");
        };
        row("what", "figure".to_owned());
        row("---", "---".to_owned());
        let clients = ["clients", "live", "away", "ended"].map(figure);
        row("clients: all, live, away, may not return", clients.map(|count| format!("{count}")).join(", "));
        let connects = ["tried", "connected", "refused", "failed"].map(figure);
        row("connects: tried, made, refused, failed", connects.map(|count| format!("{count}")).join(", "));
        row("connections lost; of them resumed, not", {
            format!("{}; {}, {}", figure("drops"), figure("recovered"), figure("not_recovered"))
        });
        row("updates (a second)", format!("{} ({:.0})", figure("deliveries"), figure("deliveries") / self.seconds));
        let chain = ["lost", "twice", "reordered", "gaps", "behind", "stray"].map(figure);
        row("lost, twice, reordered, gaps, behind, stray", chain.map(|count| format!("{count}")).join(", "));
        let rest = ["merged", "overlap", "silent", "errors", "faults"].map(figure);
        row("merged, overlap, silent, errors, faults", rest.map(|count| format!("{count}")).join(", "));
        for (name, label) in TIMES {
            if figure(&format!("{name}_count")) > 0.0 {
                let parts =
                    ["p50", "p95", "p99", "max"].map(|part| format!("{:.2}", figure(&format!("{name}_{part}"))));
                row(&format!("{label}: p50, p95, p99, max, ms"), parts.join(", "));
            }
        }
        row("bytes received, sent", format!("{}, {}", figure("bytes_in"), figure("bytes_out")));
        row("this program: processes, most RSS of one, KiB", format!("{}, {}", self.processes, self.rss_most_kib));
        for (name, counts) in self.counts.iter().filter(|(_, counts)| !counts.is_empty()) {
            let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name}: {count}")).collect();
            row(name, parts.join(", "));
        }
        for server in &self.servers {
            let gone = if server.is_gone { ", gone" } else { "" };
            row(
                &format!("{}: CPU s, most in a second, RSS begin and most, PSS end KiB, files, threads", server.name),
                format!(
                    "{:.2}, {:.2}, {}, {}, {}, {}, {}{gone}",
                    server.cpu_s,
                    server.cpu_most,
                    server.rss_begin_kib,
                    server.rss_most_kib,
                    server.pss_end_kib,
                    server.files_most,
                    server.threads
                ),
            );
        }
        for bar in &self.bars {
            let value = bar.value.map_or("no such figure".to_owned(), |value| format!("{value:.3}"));
            row(&format!("bar {}", bar.bar), format!("{value}: {}", if bar.held { "held" } else { "FAILED" }));
        }
        text
    }

    /// How those who lost their connection came back, as text: so many in each tenth of a second.
    pub fn curve(&self) -> String {
        let back = self.curves["back"]["clients"].as_array().map_or(&[][..], Vec::as_slice);
        let back: Vec<u64> = back.iter().filter_map(Value::as_u64).collect();
        let most = back.iter().copied().max().unwrap_or(0).max(1);
        let mut text = String::new();
        for (at, count) in back.iter().enumerate() {
            let bar = "#".repeat((count * 50 / most) as usize);
            let _ = writeln!(text, "{:6.1} s {count:6} {bar}", at as f64 * CURVE_BIN_MS as f64 / 1000.0);
        }
        text
    }
}

const TIMES: [(&str, &str); 7] = [
    ("connect", "TCP connect"),
    ("handshake", "handshake"),
    ("ready", "connect to subscribed"),
    ("latency", "publisher to client"),
    ("stream", "stream to client"),
    ("slow", "stream to slow client"),
    ("back", "lost to subscribed again"),
];

fn figures(tally: &Tally) -> BTreeMap<String, f64> {
    let sum = |counts: &Counts| counts.values().sum::<u64>();
    let percent = |part: u64, whole: u64| if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
    let counts = [
        ("clients", tally.clients),
        ("live", tally.live_at_end),
        ("away", tally.away_at_end),
        ("ended", tally.ended),
        ("tried", tally.tried),
        ("connected", tally.connected),
        ("drops", tally.drops),
        ("churned", tally.churned),
        ("resubscribed", tally.resubscribed),
        ("refused", sum(&tally.refused)),
        ("failed", sum(&tally.failed)),
        ("errors", sum(&tally.errors)),
        ("faults", sum(&tally.faults)),
        ("deliveries", tally.deliveries),
        ("snapshots", tally.snapshots),
        ("lost", tally.lost),
        ("twice", tally.twice),
        ("reordered", tally.reordered),
        ("merged", tally.merged),
        ("overlap", tally.overlap),
        ("stray", tally.stray),
        ("gaps", tally.gaps),
        ("epochs", tally.epochs),
        ("behind", tally.behind),
        ("silent", tally.silent),
        ("recovered", tally.recovered),
        ("not_recovered", sum(&tally.not_recovered)),
        ("stale", tally.stale),
        ("draining", tally.draining),
        ("slowed", tally.slowed),
        ("decoded", tally.decoded),
        ("bytes_in", tally.bytes_in),
        ("bytes_out", tally.bytes_out),
    ];
    let mut figures: BTreeMap<String, f64> =
        counts.into_iter().map(|(name, count)| (name.to_owned(), count as f64)).collect();
    figures.insert("success_pct".to_owned(), percent(tally.connected, tally.tried));
    figures.insert("drops_pct".to_owned(), percent(tally.drops, tally.connected));
    let times: [&Times; 7] = [
        &tally.connect_us,
        &tally.handshake_us,
        &tally.ready_us,
        &tally.latency_us,
        &tally.stream_latency_us,
        &tally.slow_latency_us,
        &tally.back_us,
    ];
    for ((name, _), times) in TIMES.iter().zip(times) {
        figures.insert(format!("{name}_count"), times.count() as f64);
        for (part, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
            figures.insert(format!("{name}_{part}"), times.quantile_ms(share));
        }
        figures.insert(format!("{name}_max"), times.max_ms());
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_counted_and_whether_it_is_good_enough() {
        let mut tally = Tally { clients: 2, tried: 4, connected: 3, lost: 1, ..Tally::default() };
        tally.latency_us.note(1500);
        tally.note_back(120_000);
        let bars = ["lost>0", "latency_p99>500"].map(|text| text.parse().expect("a bar"));
        let report = Report::new(&tally, 0.0, 10.0, Vec::new(), &bars);
        assert_eq!((report.figures["success_pct"], report.figures["latency_p50"].round()), (75.0, 2.0));
        assert!(!report.is_good() && report.bars[1].held);
        let table = report.table();
        assert!(table.contains("bar lost>0 | 1.000: FAILED") && table.contains("publisher to client"), "{table}");
        assert!(report.curve().lines().nth(1).expect("a bin").contains('#'));
    }

    /// Every figure that the help names is one.
    #[test]
    fn the_help_names_figures_that_there_are() {
        use clap::CommandFactory as _;
        let help = crate::args::Args::command().get_after_help().expect("it has one").to_string();
        let list = help.split("counts (").nth(1).and_then(|rest| rest.split(')').next()).expect("the list");
        let figures = figures(&Tally::default());
        for name in list.split(", ") {
            assert!(figures.contains_key(name), "{name}");
        }
    }
}
