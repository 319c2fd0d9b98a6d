//! Where values of the configuration come from, and what is said about wrong ones.

use std::fs;
use std::path::PathBuf;

use alarmcast::config::{
    Config, ConfigError, DriverChoice, Flag, Loaded, LogFormat, Origin, ProxyProtocol,
    SeverityName, Sources,
};

struct Case {
    file: Option<&'static str>,
    environment: &'static [(&'static str, &'static str)],
    settings: &'static [&'static str],
}

const NOTHING: Case = Case { file: None, environment: &[], settings: &[] };

fn load(case: &Case) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("alarmcast.toml");
    if let Some(text) = case.file {
        fs::write(&path, text).expect("writable");
    }
    let environment =
        case.environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let mut sources = Sources { optional_file: Some(path), environment, ..Sources::default() };
    for setting in case.settings {
        sources.add_setting(setting)?;
    }
    Config::load(&sources)
}

fn from_file(file: &'static str) -> Result<Loaded, ConfigError> {
    load(&Case { file: Some(file), ..NOTHING })
}

#[track_caller]
fn refused(case: &Case, expected: &[&str]) {
    let message = load(case).expect_err("refused").to_string();
    for part in expected {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn without_any_layer_the_documented_defaults_hold() {
    let loaded = load(&NOTHING).expect("valid");
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.is_empty());
    assert_eq!(loaded.config.stream.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(loaded.config.control.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(loaded.config.limits.message_bytes_max, 65_536);
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let file = "[stream]\nlisten = \"127.0.0.1:1\"\npath = \"/file\"\n[server]\nshards = 1\n\
                [session]\nidle_timeout_secs = 77\n";
    let environment =
        &[("ALARMCAST_STREAM__LISTEN", "127.0.0.1:2"), ("ALARMCAST_STREAM__PATH", "/env")];
    let settings = &["stream.listen=127.0.0.1:3"];
    let loaded = load(&Case { file: Some(file), environment, settings }).expect("valid");
    assert_eq!(loaded.config.stream.listen.port(), 3);
    assert_eq!(loaded.config.stream.path, "/env");
    assert_eq!(loaded.config.server.shards, 1);
    assert_eq!(loaded.config.session.idle_timeout_secs, 77);
    assert_eq!(loaded.config.session.heartbeat_interval_secs, 30);
    let flag = Origin::Flag("--set stream.listen".into());
    assert_eq!(loaded.origins["stream.listen"], flag);
    let variable = Origin::Environment("ALARMCAST_STREAM__PATH".into());
    assert_eq!(loaded.origins["stream.path"], variable);
    assert!(matches!(loaded.origins["server.shards"], Origin::File { line: 5, .. }));
    assert_eq!(loaded.origins.len(), 4);
}

#[test]
fn every_kind_of_value_is_read_from_text() {
    let settings = &[
        "server.driver=epoll",
        "server.pin=false",
        "limits.connections_max=1_000",
        "log.format=json",
        "log.level=info,alarmcast::control=debug",
        "webhooks.alertmanager.severities.sev1=P1",
        "stream.allowed_origins=https://ops.example.com:443, null",
        "stream.trusted_proxies=10.0.0.0/8,::1",
        "stream.proxy_protocol=v2",
    ];
    let config = load(&Case { settings, ..NOTHING }).expect("valid").config;
    assert_eq!(config.server.driver, DriverChoice::Epoll);
    assert!(!config.server.pin);
    assert_eq!(config.limits.connections_max, 1_000);
    let origins = ["https://ops.example.com", "null"].map(|text| text.parse().expect("an origin"));
    assert_eq!(config.stream.allowed_origins, origins);
    let proxies = ["10.0.0.0/8", "::1"].map(|text| text.parse().expect("a range"));
    assert_eq!(config.stream.trusted_proxies, proxies);
    assert_eq!(config.stream.proxy_protocol, ProxyProtocol::V2);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.webhooks.alertmanager.severities["sev1"], SeverityName::P1);
    assert_eq!(config.webhooks.alertmanager.severities["critical"], SeverityName::P0);
}

#[test]
fn a_list_is_an_array_in_a_file_and_may_be_empty_anywhere() {
    let file = "[stream]\nallowed_origins = [\n  \"http://localhost:3000\",\n  \"*\",\n]\n";
    let loaded = from_file(file).expect("valid");
    assert_eq!(loaded.config.stream.allowed_origins.len(), 2);
    assert!(matches!(loaded.origins["stream.allowed_origins"], Origin::File { line: 2, .. }));
    let environment = &[("ALARMCAST_STREAM__ALLOWED_ORIGINS", "")];
    let none = load(&Case { file: Some(file), environment, ..NOTHING }).expect("valid");
    assert!(none.config.stream.allowed_origins.is_empty());
    for text in ["\"http://localhost\"", "[1]", "[\"https://a\", \"b\"]"] {
        let file = format!("[stream]\nallowed_origins = {text}\n");
        let file = Case { file: Some(file.leak()), ..NOTHING };
        refused(&file, &["alarmcast.toml:2:", "`stream.allowed_origins`", "a list of origins"]);
    }
}

#[test]
fn a_file_may_name_severities_in_any_spelling() {
    let config = from_file("[webhooks.alertmanager.severities]\n\"sev.1 now\" = \"P1\"\n")
        .expect("valid")
        .config;
    assert_eq!(config.webhooks.alertmanager.severities["sev.1 now"], SeverityName::P1);
}

#[test]
fn unknown_keys_are_refused_with_their_place_and_a_suggestion() {
    let file = Case { file: Some("[stream]\n\nlistn = \"127.0.0.1:1\"\n"), ..NOTHING };
    refused(&file, &["alarmcast.toml:3:", "`stream.listn`", "did you mean `stream.listen`?"]);
    let file = Case { file: Some("[limits]\nshards = 2\n"), ..NOTHING };
    refused(&file, &["alarmcast.toml:2:", "`limits.shards`", "did you mean `server.shards`?"]);
    let section = Case { file: Some("[steam]\nlisten = \"127.0.0.1:1\"\n"), ..NOTHING };
    refused(&section, &["alarmcast.toml:1:", "unknown key `steam`"]);
    let environment = &[("ALARMCAST_SERVER__SHARD", "2")];
    refused(
        &Case { environment, ..NOTHING },
        &[
            "environment variable ALARMCAST_SERVER__SHARD",
            "did you mean `ALARMCAST_SERVER__SHARDS`",
        ],
    );
    let environment = &[("ALARMCAST_LISTEN", "127.0.0.1:1")];
    refused(&Case { environment, ..NOTHING }, &["ALARMCAST_STREAM__LISTEN"]);
    refused(
        &Case { settings: &["log.levle=info"], ..NOTHING },
        &["flag --set log.levle", "did you mean `log.level`?"],
    );
    refused(
        &Case { settings: &["nothing.like.it=1"], ..NOTHING },
        &["alarmcast config print --defaults"],
    );
}

#[test]
fn bad_values_name_the_key_the_value_the_origin_and_what_is_allowed() {
    let file = Case { file: Some("[server]\nshards = \"many\"\n"), ..NOTHING };
    refused(
        &file,
        &["alarmcast.toml:2:", "`server.shards`", "\"many\"", "a whole number from 0 to 1024"],
    );
    for (setting, expected) in [
        ("server.shards=-1", "a whole number from 0 to 1024"),
        ("server.shards=1.5", "a whole number"),
        ("server.pin=yes", "true or false"),
        ("server.driver=io_uring", "one of \"auto\", \"uring\", \"epoll\""),
        ("stream.listen=8080", "an IP address and a port"),
        ("stream.listen=localhost:8080", "an IP address and a port"),
        ("stream.path=ws", "begins with /"),
        ("stream.path=/ws?a=b", "begins with /"),
        ("log.level=loud", "module=level"),
        ("webhooks.alertmanager.severities.bad=P9", "\"P4\""),
        ("webhooks.alertmanager.source=", "1 to 255 characters"),
        ("limits.handshake_timeout_secs=0", "from 1 to 300"),
        ("stream.allowed_origins=ops.example.com", "such as [\"https://ops.example.com\","),
        ("stream.allowed_origins=https://ops.example.com/", "without a path"),
        ("stream.trusted_proxies=10.0.0.0/33", "such as [\"127.0.0.1\", \"10.0.0.0/8\""),
        ("stream.proxy_protocol=v1", "one of \"off\", \"v2\""),
    ] {
        let mut sources = Sources::default();
        sources.add_setting(setting).expect("has an =");
        let message = Config::load(&sources).expect_err(setting).to_string();
        assert!(message.contains(expected), "{setting}: {message}");
        assert!(message.starts_with("flag --set "), "{setting}: {message}");
    }
}

#[test]
fn a_value_with_terminal_sequences_is_shown_escaped_and_cut() {
    let value = format!("\x1b[31m{}", "x".repeat(10_000));
    let flag = Flag { key: "log.level".into(), value, typed: "--set log.level".into() };
    let sources = Sources { flags: vec![flag], ..Sources::default() };
    let message = Config::load(&sources).expect_err("refused").to_string();
    assert!(!message.contains('\x1b') && message.len() < 1_000, "{message:?}");
}

#[test]
fn a_section_is_not_a_value() {
    refused(&Case { file: Some("stream = 1\n"), ..NOTHING }, &["`stream` is a section"]);
    refused(&Case { settings: &["limits=1"], ..NOTHING }, &["`limits` is a section"]);
    let environment = &[("ALARMCAST_HUB", "1")];
    refused(&Case { environment, ..NOTHING }, &["`hub` is a section"]);
    refused(&Case { settings: &["server.shards"], ..NOTHING }, &["key=value"]);
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let same_port = Case { settings: &["control.listen=0.0.0.0:8080"], ..NOTHING };
    refused(&same_port, &["same port", "control.listen from flag --set control.listen"]);
    refused(
        &Case { settings: &["limits.outbox_bytes_max=1048576"], ..NOTHING },
        &["`limits.outbox_bytes_max` is 1048576", "at least 1114112"],
    );
    refused(
        &Case {
            settings: &["limits.message_bytes_max=100000", "limits.bytes_burst=65536"],
            ..NOTHING
        },
        &["`limits.bytes_burst` is 65536", "at least 104096"],
    );
    refused(
        &Case { settings: &["session.idle_timeout_secs=30"], ..NOTHING },
        &["`session.idle_timeout_secs` (30) must be greater"],
    );
    refused(
        &Case { settings: &["stream.proxy_protocol=v2"], ..NOTHING },
        &["`stream.trusted_proxies` names nobody", "flag --set stream.proxy_protocol"],
    );
    let two_addresses =
        &["stream.listen=127.0.0.1:7000", "control.listen=127.0.0.2:7000", "server.shards=2"];
    load(&Case { settings: two_addresses, ..NOTHING }).expect("two addresses do not collide");
    let any_port = &["stream.listen=127.0.0.1:0", "control.listen=127.0.0.1:0"];
    load(&Case { settings: any_port, ..NOTHING }).expect("port 0 never collides");
}

#[test]
fn broken_toml_is_reported_with_its_line() {
    refused(
        &Case { file: Some("[stream]\nlisten = \n"), ..NOTHING },
        &["not valid TOML", "line 2"],
    );
    let twice = "[server]\nshards = 1\nshards = 2\n";
    refused(&Case { file: Some(twice), ..NOTHING }, &["not valid TOML", "duplicate key"]);
}

#[test]
fn a_named_file_must_exist_and_an_unnamed_one_need_not() {
    let missing = PathBuf::from("/nonexistent/alarmcast.toml");
    let optional = Sources { optional_file: Some(missing.clone()), ..Sources::default() };
    Config::load(&optional).expect("defaults");
    let named = Sources { file: Some(missing.clone()), ..Sources::default() };
    let message = Config::load(&named).expect_err("missing").to_string();
    assert!(message.contains("cannot read") && message.contains("/nonexistent"), "{message}");
    let variable = ("ALARMCAST_CONFIG".to_owned(), "/nonexistent/alarmcast.toml".to_owned());
    let named = Sources { environment: vec![variable], ..Sources::default() };
    Config::load(&named).expect_err("missing");
}

#[test]
fn variables_of_kubernetes_services_are_not_settings() {
    let environment = &[
        ("ALARMCAST_SERVICE_HOST", "10.0.0.1"),
        ("ALARMCAST_SERVICE_PORT_STREAM", "8080"),
        ("ALARMCAST_PORT", "tcp://10.0.0.1:8080"),
        ("ALARMCAST_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("ALARMCAST_STREAM_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PATH", "/bin"),
    ];
    let loaded = load(&Case { environment, ..NOTHING }).expect("ignored");
    assert!(loaded.origins.is_empty());
}

#[test]
fn what_is_printed_can_be_read_back() {
    let defaults = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(defaults.path(), Loaded::documented_defaults()).expect("writable");
    let sources = Sources { file: Some(defaults.path().into()), ..Sources::default() };
    assert_eq!(Config::load(&sources).expect("valid").config, Config::default());

    let settings = &[
        "server.shards=3",
        "webhooks.alertmanager.severities.odd name=P1",
        "stream.allowed_origins=https://a,https://b:1",
        "stream.trusted_proxies=10.0.0.0/8",
    ];
    let changed = load(&Case { settings, ..NOTHING }).expect("valid");
    let text = changed.to_toml();
    assert!(text.contains("shards = 3 # flag --set server.shards\n"), "{text}");
    assert!(text.contains("pin = true\n"), "{text}");
    fs::write(defaults.path(), &text).expect("writable");
    assert_eq!(Config::load(&sources).expect("valid").config, changed.config);
}

#[test]
fn the_window_of_a_drain_lies_within_its_timeout() {
    let settings = &["server.drain_window_secs=3", "server.drain_timeout_secs=3"];
    let loaded = load(&Case { settings, ..NOTHING }).expect("valid");
    assert_eq!(loaded.config.server.drain_window_secs, 3);
    let settings = &["server.drain_timeout_secs=3"];
    let expected = ["`server.drain_window_secs` (5)", "`server.drain_timeout_secs` (3)"];
    refused(&Case { settings, ..NOTHING }, &expected);
}
