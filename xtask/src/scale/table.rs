//! The runs side by side.

use serde_json::Value;

use super::Scaled;

type Cell = fn(&Scaled) -> String;

/// A line each.
const LINES: [(&str, Cell); 12] = [
    ("shards", |it| it.shards.to_string()),
    ("connected and subscribed", |it| {
        let seconds = number(&it.fanout, "/connections/seconds");
        format!("{} in {seconds:.1} s", whole(&it.fanout, "/connections/subscribed"))
    }),
    ("a second", |it| format!("{:.0}", number(&it.fanout, "/connections/per_second"))),
    ("server CPU µs per connect", |it| {
        format!("{:.1}", number(&it.fanout, "/server/cpu_us_per_connect"))
    }),
    ("bytes of the server's resident memory for each", |it| {
        format!("{:.0}", number(&it.fanout, "/server/rss_bytes_per_connection"))
    }),
    ("deliveries of critical events", |it| {
        let [delivered, expected] = ["/deliveries/delivered", "/deliveries/expected"]
            .map(|pointer| whole(&it.fanout, pointer));
        format!("{delivered} of {expected}")
    }),
    ("server CPU µs per delivery", |it| {
        format!("{:.2}", number(&it.fanout, "/server/cpu_us_per_delivery"))
    }),
    ("due to delivered p50, p99 s", |it| {
        let [p50, p99] =
            ["/latency_us/p50", "/latency_us/p99"].map(|pointer| number(&it.fanout, pointer) / 1e6);
        format!("{p50:.2}, {p99:.2}")
    }),
    ("cut off and back with `resume`", |it| {
        format!("{} in {:.1} s", it.storm.connections, it.storm.back_seconds)
    }),
    ("events replayed to them; missing, twice", |it| {
        format!("{}; {}, {}", it.storm.replayed, it.storm.missing, it.storm.twice)
    }),
    ("told to go, answered, ended cleanly", |it| {
        let [told, answered, clean] = ["told", "answered", "clean"]
            .map(|key| whole(&it.fanout, &format!("/drain/endings/{key}")));
        format!("{told}, {answered}, {clean} in {:.1} s", it.drain_seconds)
    }),
    ("nothing wrong", |it| {
        let complaints = it.fanout["complaints"].as_array().map(Vec::as_slice).unwrap_or_default();
        let complaints = complaints.iter().filter_map(Value::as_str);
        let all: Vec<&str> =
            complaints.chain(it.storm.complaints.iter().map(String::as_str)).collect();
        if all.is_empty() { "yes".to_owned() } else { all.join("; ") }
    }),
];

/// In Markdown, a column for each.
pub fn markdown(all: &[Scaled]) -> String {
    let sizes: String = all.iter().map(|it| format!(" {} |", it.connections)).collect();
    let mut text = format!("| connections |{sizes}\n|---|{}\n", "---|".repeat(all.len()));
    for (title, cell) in LINES {
        let cells: String = all.iter().map(|it| format!(" {} |", cell(it))).collect();
        text.push_str(&format!("| {title} |{cells}\n"));
    }
    text
}

fn number(outcome: &Value, pointer: &str) -> f64 {
    outcome.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn whole(outcome: &Value, pointer: &str) -> u64 {
    outcome.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::storm::Storm;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_in_either_part_is_told() {
        let fanout = json!({
            "complaints": ["1 deliveries are missing"],
            "connections": {"subscribed": 9, "seconds": 1.5, "per_second": 6.0},
            "server": {"cpu_us_per_connect": 30.0, "rss_bytes_per_connection": 300.0,
                "cpu_us_per_delivery": 5.0},
            "deliveries": {"delivered": 8, "expected": 9},
            "latency_us": {"p50": 1_500_000, "p99": 2_500_000},
            "drain": {"endings": {"told": 9, "answered": 9, "clean": 9}},
        });
        let storm = Storm { complaints: vec!["late".to_owned()], ..Storm::default() };
        let text =
            markdown(&[Scaled { connections: 10, shards: 1, fanout, storm, drain_seconds: 3.0 }]);
        for part in [
            "| connections | 10 |\n|---|---|\n",
            "| 8 of 9 |",
            "| 1.50, 2.50 |",
            "| 9, 9, 9 in 3.0 s |",
            "| nothing wrong | 1 deliveries are missing; late |",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
