//! The patterns, one by one, and what is refused.

use serde_json::{Value, json};

use super::{bare, filter, spec, whole};
use crate::base::limits::{
    FILTER_DEPTH_MAX, FILTER_PATTERN_BYTES_MAX, FILTER_PATTERNS_MAX, FILTER_REGEXES_MAX,
    FILTER_TERMS_MAX,
};

#[test]
fn each_pattern_matches_as_the_table_says() {
    for (filters, whole_matches, bare_matches) in [
        (json!({"sources": [{"glob": "prom*"}]}), true, false),
        (json!({"sources": [{"glob": "*"}]}), true, false),
        (json!({"sources": [{"glob": "prom"}]}), false, false),
        (json!({"sources": [{"prefix": "prom"}]}), true, false),
        (json!({"sources": [{"prefix": "Prom"}]}), false, false),
        (json!({"sources": ["x", {"regex": "^pro.*us$"}]}), true, false),
        (json!({"sources": [{"regex": "theus"}]}), true, false),
        (json!({"affected_resources": [{"glob": "api-?"}]}), true, false),
        (json!({"affected_resources": [{"glob": "api-??"}, "x"]}), false, false),
        (json!({"labels": {"team": {"glob": "c*"}}}), true, false),
        (json!({"labels": {"team": {"exists": true}}}), true, false),
        (json!({"labels": {"region": {"exists": true}}}), false, false),
        (json!({"labels": {"team": ["x", {"prefix": "co"}]}}), true, false),
        (json!({"labels": {"team": ["core", "edge"], "env": {"regex": "prod|test"}}}), true, false),
        (json!({"labels": {"team": ["x", "y"]}}), false, false),
        (json!({"min_priority": "low"}), true, true),
        (json!({"min_priority": "normal"}), true, false),
        (json!({"min_priority": "high"}), true, false),
        (json!({"min_priority": "critical"}), false, false),
        (json!({"text": {"contains": "is slow"}}), true, false),
        (json!({"text": {"contains": "is SLOW"}}), false, false),
        (json!({"text": {"regex": "(?i)^checkout"}}), true, false),
        (json!({"any_of": [{"sources": ["x"]}, {"states": ["Triaged"]}]}), true, false),
        (json!({"any_of": [{"sources": ["x"]}, {"states": ["Closed"]}]}), false, false),
        (json!({"any_of": [{"sources": ["x"]}, {}]}), true, true),
        (json!({"severities": ["P1"], "any_of": [{"sources": ["x"]}]}), false, false),
        (json!({"none_of": [{"sources": ["prometheus"]}]}), false, true),
        (json!({"none_of": [{"sources": ["x"]}, {"states": ["Closed"]}]}), true, true),
        (json!({"none_of": [{"labels": {"region": {"exists": true}}}]}), true, true),
        (json!({"none_of": [{}]}), false, false),
        (json!({"none_of": [{"none_of": [{"sources": ["prometheus"]}]}]}), true, false),
    ] {
        let compiled = filter(filters.clone());
        assert_eq!(compiled.matches(&whole().attributes()), whole_matches, "{filters} whole");
        assert_eq!(compiled.matches(&bare().attributes()), bare_matches, "{filters} bare");
    }
}

#[test]
fn filters_with_patterns_that_mean_the_same_are_equal() {
    let patterns = json!([{"glob": "b"}, "a", {"prefix": "c"}]);
    let other_order = json!([{"prefix": "c"}, {"glob": "b"}, {"glob": "b"}, "a", "a"]);
    for (one, other) in [
        (json!({"sources": patterns}), json!({"sources": other_order})),
        (json!({"labels": {"a": patterns}}), json!({"labels": {"a": other_order}})),
        (json!({"labels": {"a": "x"}}), json!({"labels": {"a": ["x", "x"]}})),
        (json!({"any_of": [{"sources": ["a"]}, {}]}), json!({})),
        (json!({"any_of": [{"sources": ["a"]}]}), json!({"sources": ["a"]})),
        (json!({"min_priority": "low"}), json!({})),
        (
            json!({"none_of": [{"sources": ["a"]}, {"states": ["Closed"]}]}),
            json!({"none_of": [{"states": ["Closed"]}, {"sources": ["a"]}]}),
        ),
    ] {
        assert_eq!(filter(one), filter(other));
    }
    let (one, other) = (json!({"sources": [{"glob": "a"}]}), json!({"sources": [{"prefix": "a"}]}));
    assert_ne!(filter(one), filter(other));
}

fn nested(depth: usize) -> Value {
    match depth.checked_sub(1) {
        Some(0) | None => json!({"sources": ["a"]}),
        Some(depth) => json!({"states": ["Closed"], "any_of": [{}, nested(depth)]}),
    }
}

#[test]
fn a_pattern_that_cannot_be_used_is_refused_with_its_place() {
    let regexes = |count: usize| vec![json!({"regex": "a"}); count];
    let long = "a".repeat(FILTER_PATTERN_BYTES_MAX + 1);
    for (filters, path, message) in [
        (json!({"sources": ["a", {"regex": "("}]}), "sources[1].regex", "unclosed group"),
        (json!({"sources": [{"regex": ".{1000}{1000}"}]}), "sources[0].regex", "when compiled"),
        (json!({"sources": [{"regex": r"a\1"}]}), "sources[0].regex", "backreferences"),
        (json!({"affected_resources": [{"glob": "["}]}), "affected_resources[0].glob", "`]`"),
        (json!({"labels": {"a": {"glob": "\\"}}}), "labels.a.glob", "nothing follows"),
        (json!({"labels": {"a": ["x", {"regex": "*"}]}}), "labels.a[1].regex", "repetition"),
        (json!({"text": {"regex": "[b-a]"}}), "text.regex", "range"),
        (json!({"text": {"contains": long}}), "text.contains", "257 bytes"),
        (json!({"sources": [{"prefix": long}]}), "sources[0].prefix", "257 bytes"),
        (
            json!({"any_of": [{}, {"none_of": [{"sources": [{"glob": "[z-a]"}]}]}]}),
            "any_of[1].none_of[0].sources[0].glob",
            "range",
        ),
        (
            json!({"sources": regexes(FILTER_REGEXES_MAX), "any_of": [{"text": {"regex": "a"}}]}),
            "any_of[0].text.regex",
            "more than 8 regular expressions",
        ),
        (
            json!({"sources": vec![json!({"regex": r"^\w+-\w+$"}); 3]}),
            "sources[2].regex",
            "bytes when compiled",
        ),
        (
            json!({"sources": vec![json!({"glob": "a"}); FILTER_PATTERNS_MAX + 1]}),
            "sources[64].glob",
            "more than 64 patterns",
        ),
        (json!({"any_of": vec![json!({}); FILTER_TERMS_MAX + 1]}), "", "1001 values"),
        (
            json!({"none_of": [nested(FILTER_DEPTH_MAX)]}),
            "none_of[0].any_of[1].any_of[1].any_of[0]",
            "at most 4 deep",
        ),
    ] {
        let error = spec(filters).compile().unwrap_err();
        assert_eq!(error.path, path);
        assert!(error.message.contains(message), "{error}");
    }
    assert!(spec(json!({"sources": regexes(FILTER_REGEXES_MAX)})).compile().is_ok());
    assert!(spec(nested(FILTER_DEPTH_MAX)).compile().is_ok());
}

#[test]
fn the_dearest_expressions_are_compiled_or_refused() {
    let wide = ["[\u{0}-\u{10ffff}]", "[[^a]b]", r"[\w&&[^a]]", r"[[:^alpha:]b]"];
    for text in [r"[\w]", r"\PL", r"[\W\D]", "é", r"\b\w"].into_iter().chain(wide) {
        for flags in ["", "(?i)"] {
            let room = FILTER_PATTERN_BYTES_MAX - flags.len();
            let regex = flags.to_owned() + &text.repeat(room / text.len());
            // Whichever it is, it takes bounded time and memory.
            let _ = spec(json!({"sources": vec![json!({"regex": regex}); FILTER_REGEXES_MAX]}))
                .compile();
        }
    }
}
