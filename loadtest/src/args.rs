//! The command line.

mod stalled;

pub use stalled::StalledArgs;

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use crate::Error;
use crate::encodings::Encodings;
use crate::fanout::{Flow, Settings};
use crate::filters::{Filters, Kind};
use crate::priority::Priority;
use crate::target::Target;
use crate::template::Template;
use crate::{churn, filtered, idle, report, slow, storm};

/// Load tester for Alarmcast: holds very many connections and measures fan-out.
#[derive(Debug, Parser)]
#[command(name = "alarmcast-loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Subscribe many connections, publish, and count what each of them is sent.
    ///
    /// The exit code is 0 when nothing is missing, 1 when something is, 2 when the run could
    /// not be made.
    Fanout(FanoutArgs),
    /// Compare what many filters cost: the same deliveries with a filter for each connection, with
    /// one for each class of connections, and with one.
    ///
    /// All events go to one class of connections, and the others' filters miss. The kinds of filters take turns, each with new
    /// connections; compared is the server's CPU time per delivery. Keep the rate low enough that
    /// no event waits for another: two that go out together cost less. The exit codes are as
    /// for `fanout`.
    Filtered(FilteredArgs),
    /// Open connections, hold them for a while without any event, and see what they cost in memory:
    /// the server's in user space, and the kernel's.
    ///
    /// Pings are answered. Kernel memory is that of the whole machine, both ends of each connection
    /// included, so nothing else should happen on it. The exit codes are as for `fanout`.
    Idle(IdleArgs),
    /// Let connections come and go at a steady rate, while others stay and events flow.
    ///
    /// Told are how many are let in in a second and how long that takes each, from the moment it was
    /// due: connecting, handshake, `welcome`, `subscribed`. Those that stay get every event. The exit
    /// codes are as for `fanout`; 1 also when one is not let in.
    Churn(ChurnArgs),
    /// Publish events of all four priorities at their rates, to connections in both encodings of which
    /// some share filters, and tell the latencies of each priority.
    ///
    /// Low events go out at --rate; each priority has a publisher of its own, for as long as there are low
    /// events. Low, normal and high ones may be dropped, if the server tells so; every event is accounted
    /// for at every connection. To saturate the server, take a --rate above what it delivers. The
    /// exit codes are as for `fanout`.
    Mixed(MixedArgs),
    /// Publish critical events among a flood of low ones, and compare their latencies.
    ///
    /// Each kind has a publisher of its own. Low events may be dropped, if the server tells so;
    /// every event is accounted for at every connection. To saturate the server, take a --rate
    /// above what it delivers. The exit codes are as for `fanout`.
    Priorities(PrioritiesArgs),
    /// Let some subscribers read slowly among fast ones under a flood of all priorities, and
    /// audit what each was sent against what was published.
    ///
    /// The flood is as fast as the fast subscribers take it. The slow ones read at their pace
    /// until it is over, and then on to the end. For each critical event it is measured how many
    /// bytes of other events came first. The server has to be on this machine, with one shard and
    /// no other publisher. The exit codes are as for `fanout`.
    Slow(SlowArgs),
    /// Let very many subscribers never read while others do, under a flood: the server's memory over
    /// time, and the latency of those that read, in turns without and with the others.
    ///
    /// Start the server with `--set limits.write_timeout_secs=3600 --set
    /// session.idle_timeout_secs=7200 --set session.heartbeat_interval_secs=3600`, else it ends those
    /// that never read while they are looked at. On a machine that is noisy, give a second server, as
    /// the first but for its ports, by --twin-url, --twin-control and --twin-pid, and many short rounds:
    /// then those that never read are connected once for all of them, so that what is compared lies
    /// seconds apart. The exit codes are as for `fanout`; the ratio of latencies is told and not judged.
    Stalled(StalledArgs),
    /// Cut very many subscribers off at once, let all come back at once to where they were, and
    /// see how long that takes and what others, who go on receiving, feel of it.
    ///
    /// They honour Retry-After and retry_after_ms. The exit codes are as for `fanout`; 1 also when
    /// not all are back in time, or the p99 of those who went on has doubled.
    Storm(StormArgs),
    /// Run a scenario as a file says: `scenario`, and keys named as its flags.
    ///
    /// Some come along in loadtest/scenarios. The exit codes are as for `fanout`.
    Run(RunArgs),
    /// Draw the results of runs made with --output, and set them in tables: report.md, and as SVG and
    /// PNG latency by percentile, the server's CPU time per delivery and its memory per connection,
    /// by the number of connections.
    Report(ReportArgs),
    /// What a run starts for itself; it takes its plan on standard input.
    #[command(hide = true)]
    Worker,
}

/// Where the result goes.
#[derive(Args, Clone, Debug)]
pub struct ResultArgs {
    /// Print the result as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Write the result to this folder too: result.json, and for each series of latencies a
    /// histogram log (.hlog, µs) and a percentile distribution (.hgrm, ms) as HdrHistogram's.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// What reports call it, with --output; results with the same label make one curve.
    #[arg(long, requires = "output")]
    pub label: Option<String>,
}

/// How connections are opened.
#[derive(Args, Debug)]
pub struct ConnectingArgs {
    #[arg(long, default_value_t = 1_000)]
    pub connections: u32,
    /// Local addresses to connect from, comma-separated; otherwise the kernel chooses, and
    /// 127.0.0.2 and on serve for more connections than it has ports.
    #[arg(long, value_delimiter = ',')]
    pub source_addresses: Vec<IpAddr>,
    /// Client processes: `auto` (as many as their descriptors require), or a number.
    #[arg(long, default_value = "auto")]
    pub processes: Processes,
    /// Attempts to connect that are under way at once.
    #[arg(long, default_value_t = 500)]
    pub window: u32,
    /// Attempts for each connection.
    #[arg(long, default_value_t = 6)]
    pub attempts: u32,
    /// Seconds from connecting to subscribed.
    #[arg(long, default_value_t = 20)]
    pub handshake_timeout: u64,
    /// Seconds from all connected until memory is looked at, and the first event.
    #[arg(long, default_value_t = 0)]
    pub settle: u64,
    /// The server's process, to measure CPU time and memory.
    #[arg(long)]
    pub server_pid: Option<u32>,
}

/// What the scenarios with many connections have in common.
#[derive(Args, Debug)]
pub struct CrowdArgs {
    /// The stream endpoint.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,
    /// The control endpoint, to publish to.
    #[arg(long, default_value = "http://127.0.0.1:9090")]
    pub control: String,
    #[command(flatten)]
    pub connecting: ConnectingArgs,
    /// Events to publish; 0 only opens connections.
    #[arg(long, default_value_t = 10)]
    pub events: u32,
    /// Events per second, whatever the server does.
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    /// Size of each event's JSON, at least.
    #[arg(long, default_value_t = 512)]
    pub event_bytes: usize,
    /// Seconds of events, from the first, that are checked, but whose latencies and CPU time do not
    /// count.
    #[arg(long, default_value_t = 0)]
    pub warm_up: u64,
    /// Seconds without any delivery after which the rest counts as missing.
    #[arg(long, default_value_t = 5)]
    pub quiet: u64,
    #[command(flatten)]
    pub result: ResultArgs,
}

#[derive(Args, Debug)]
pub struct RunArgs {
    /// TOML, such as loadtest/scenarios/fanout.toml.
    pub file: PathBuf,
    /// A key instead of the file's, such as connections=100, server-pid=4711 or output=out/run; may be
    /// given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Folders that runs wrote; their own names are those of the runs.
    #[arg(required = true, value_name = "DIR")]
    pub results: Vec<PathBuf>,
    /// Where to write; what is there under the same names is replaced.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    #[arg(long, default_value = "Load test")]
    pub title: String,
    /// Series to show, comma-separated, such as critical,low; otherwise all, but for those counted
    /// from requests.
    #[arg(long, value_delimiter = ',')]
    pub series: Vec<String>,
}

impl From<ReportArgs> for report::Settings {
    fn from(args: ReportArgs) -> Self {
        let ReportArgs { results, output, title, series } = args;
        Self { results, output, title, series }
    }
}

/// What connections ask for.
#[derive(Args, Debug)]
pub struct SubscribingArgs {
    /// Of connections: `json` without naming the protocol, so that nothing is dropped; `msgpack`; or
    /// `both` by turns.
    #[arg(long, default_value = "json")]
    pub encoding: Encodings,
    /// Of each connection; no event matches any but the first.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub subscriptions: u32,
}

#[derive(Args, Debug)]
pub struct FanoutArgs {
    #[command(flatten)]
    pub crowd: CrowdArgs,
    #[command(flatten)]
    pub subscribing: SubscribingArgs,
    /// The server is not Alarmcast: how it is subscribed at and published to, in TOML. See
    /// loadtest/README.md.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["filters", "expect_drain", "encoding", "subscriptions", "priority"])]
    pub server: Option<PathBuf>,
    /// Of the events: `system_event` is low, `incident_created` at P0 critical.
    #[arg(long, default_value = "low")]
    pub priority: Priority,
    /// Filters of every subscription, as JSON; the load events should match.
    #[arg(long, default_value = "{}", value_parser = filters)]
    pub filters: Value,
    /// Then wait for the server to end all connections, and check how it does.
    #[arg(long)]
    pub expect_drain: bool,
    /// Seconds to wait for that.
    #[arg(long, default_value_t = 60)]
    pub drain_timeout: u64,
}

#[derive(Args, Debug)]
pub struct IdleArgs {
    /// The stream endpoint.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,
    /// The control endpoint, to ask for the server's version.
    #[arg(long, default_value = "http://127.0.0.1:9090")]
    pub control: String,
    #[command(flatten)]
    pub connecting: ConnectingArgs,
    #[command(flatten)]
    pub subscribing: SubscribingArgs,
    /// Seconds for which all are held.
    #[arg(long, default_value_t = 10)]
    pub hold: u64,
    #[command(flatten)]
    pub result: ResultArgs,
}

#[derive(Args, Debug)]
pub struct ChurnArgs {
    /// Of those that stay, and the events.
    #[command(flatten)]
    pub crowd: CrowdArgs,
    /// Connections that come in a second, for as long as there are events, whatever the server does.
    #[arg(long, default_value_t = 100.0)]
    pub visits: f64,
    /// Milliseconds that each of them stays.
    #[arg(long, default_value_t = 1_000)]
    pub stay: u64,
}

#[derive(Args, Debug)]
pub struct MixedArgs {
    /// --rate and --events are of low events.
    #[command(flatten)]
    pub crowd: CrowdArgs,
    /// Normal events per second; 0: none.
    #[arg(long, default_value_t = 5.0)]
    pub normal_rate: f64,
    /// High events per second; 0: none.
    #[arg(long, default_value_t = 5.0)]
    pub high_rate: f64,
    /// Critical events per second; 0: none.
    #[arg(long, default_value_t = 5.0)]
    pub critical_rate: f64,
    /// Of connections: `json`, `msgpack`, or `both` by turns.
    #[arg(long, default_value = "both")]
    pub encoding: Encodings,
    /// Of each connection; no event matches any but the first.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub subscriptions: u32,
    /// Of a hundred connections, so many share a filter; each of the others has its own. All match
    /// every event.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub sharing: u32,
    /// SO_RCVBUF of every connection; the kernel makes twice as much of it. What it took for a
    /// client that is behind nothing can overtake: a small one keeps what waits at the server.
    #[arg(long, default_value_t = 4_096)]
    pub receive_buffer: usize,
}

#[derive(Args, Debug)]
pub struct FilteredArgs {
    #[command(flatten)]
    pub crowd: CrowdArgs,
    /// Classes of connections.
    #[arg(long, default_value_t = 100)]
    pub classes: u32,
    /// Events go to all classes in turn, not to one: every connection gets some. With `one` filter
    /// that cannot be.
    #[arg(long)]
    pub in_turn: bool,
    /// Kinds of filters, in this order: `distinct` (one for each connection), `by-class`, `one`.
    #[arg(long, value_delimiter = ',', default_value = "distinct,by-class,one")]
    pub kinds: Vec<FilterKind>,
    /// How often each kind is measured.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
}

/// Of `--kinds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FilterKind {
    Distinct,
    ByClass,
    One,
}

impl From<FilterKind> for Kind {
    fn from(kind: FilterKind) -> Self {
        match kind {
            FilterKind::Distinct => Self::Distinct,
            FilterKind::ByClass => Self::ByClass,
            FilterKind::One => Self::One,
        }
    }
}

#[derive(Args, Debug)]
pub struct PrioritiesArgs {
    #[command(flatten)]
    pub crowd: CrowdArgs,
    /// Critical events to publish among the others.
    #[arg(long, default_value_t = 20)]
    pub criticals: u32,
    /// Critical events per second.
    #[arg(long, default_value_t = 10.0)]
    pub critical_rate: f64,
    /// SO_RCVBUF of every connection; the kernel makes twice as much of it. What it took for a
    /// client that is behind nothing can overtake: a small one keeps what waits at the server.
    #[arg(long, default_value_t = 4_096)]
    pub receive_buffer: usize,
}

#[derive(Args, Debug)]
pub struct SlowArgs {
    /// The stream endpoint.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,
    /// The control endpoint, to publish to.
    #[arg(long, default_value = "http://127.0.0.1:9090")]
    pub control: String,
    /// Events to publish while slow subscribers are connected; a tenth of that comes before and
    /// after, for comparison.
    #[arg(long, default_value_t = 100_000)]
    pub events: u64,
    /// Events in one request.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=slow::WINDOW))]
    pub batch: u64,
    /// Size of each event's JSON, at least.
    #[arg(long, default_value_t = 256)]
    pub event_bytes: usize,
    /// How often low, normal and high events come.
    #[arg(long, value_delimiter = ',', default_value = "70,20,10")]
    pub weights: Vec<u32>,
    /// Critical events among them, evenly spread; what waits for a slow subscriber has to hold
    /// them all.
    #[arg(long, default_value_t = 100)]
    pub criticals: u64,
    /// Fast subscribers.
    #[arg(long, default_value_t = 4)]
    pub fast: usize,
    /// Slow subscribers.
    #[arg(long, default_value_t = 1)]
    pub slow: usize,
    /// What each slow subscriber reads.
    #[arg(long, default_value_t = 1_024)]
    pub bytes_per_second: u64,
    /// SO_RCVBUF of slow subscribers; the kernel makes twice as much of it.
    #[arg(long, default_value_t = 4_096)]
    pub receive_buffer: usize,
    /// Seconds without anything new after which the rest counts as missing.
    #[arg(long, default_value_t = 10)]
    pub quiet: u64,
    /// The server's process, to measure CPU time.
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Decides the order of priorities; otherwise any.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub result: ResultArgs,
}

#[derive(Args, Debug)]
pub struct StormArgs {
    /// The stream endpoint.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,
    /// The control endpoint, to publish to.
    #[arg(long, default_value = "http://127.0.0.1:9090")]
    pub control: String,
    /// Subscribers that are cut off and come back.
    #[arg(long, default_value_t = 5_000)]
    pub connections: u32,
    /// Subscribers that go on receiving.
    #[arg(long, default_value_t = 500)]
    pub live: u32,
    /// Local addresses to connect from, comma-separated, where others have many connections to
    /// the same server; otherwise the kernel chooses.
    #[arg(long, value_delimiter = ',')]
    pub source_addresses: Vec<IpAddr>,
    /// Events per second.
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    /// Size of each event's JSON, at least.
    #[arg(long, default_value_t = 512)]
    pub event_bytes: usize,
    /// Seconds of events before the cut.
    #[arg(long, default_value_t = 10)]
    pub before: u64,
    /// Seconds in which all have to be back.
    #[arg(long, default_value_t = 10)]
    pub limit: u64,
    /// The server's process, to measure CPU time.
    #[arg(long)]
    pub server_pid: Option<u32>,
    #[command(flatten)]
    pub result: ResultArgs,
}

impl StormArgs {
    /// A run as these arguments say.
    ///
    /// # Errors
    /// When they make no sense.
    pub fn settings(self) -> Result<storm::Settings, Error> {
        if self.connections == 0 || self.live == 0 || !self.rate.is_finite() || self.rate <= 0.0 {
            let what = "--connections, --live and --rate are above zero";
            return Err(Error::Usage(what.to_owned()));
        }
        Ok(storm::Settings {
            target: Target::parse(&self.url)?,
            control: self.control,
            connections: self.connections,
            live: self.live,
            source_addresses: self.source_addresses,
            rate: self.rate,
            event_bytes: self.event_bytes,
            before: Duration::from_secs(self.before),
            limit: Duration::from_secs(self.limit),
            server_pid: self.server_pid,
        })
    }
}

impl SlowArgs {
    /// A run as these arguments say.
    ///
    /// # Errors
    /// When they make no sense.
    pub fn settings(self) -> Result<slow::Settings, Error> {
        let usage = |what: &str| Error::Usage(what.to_owned());
        let [low, normal, high] = self.weights[..] else {
            return Err(usage("--weights takes three numbers: low, normal, high"));
        };
        if low.checked_add(normal).and_then(|sum| sum.checked_add(high)).unwrap_or(0) == 0 {
            return Err(usage("--weights are not all zero, nor very large"));
        }
        if self.fast == 0 {
            return Err(usage("--fast is 1 at least: the flood goes at the pace of the fast"));
        }
        if self.criticals > self.events {
            return Err(usage("--criticals are among --events"));
        }
        Ok(slow::Settings {
            target: Target::parse(&self.url)?,
            control: self.control,
            events: self.events,
            batch: self.batch,
            event_bytes: self.event_bytes,
            weights: slow::Weights { high, normal, low },
            criticals: self.criticals,
            fast: self.fast,
            slow: self.slow,
            pace: slow::Pace {
                bytes_per_second: self.bytes_per_second,
                receive_buffer_bytes: self.receive_buffer,
            },
            quiet: Duration::from_secs(self.quiet),
            server_pid: self.server_pid,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
        })
    }
}

/// Of `--processes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    Auto,
    Count(u32),
}

impl FromStr for Processes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(count @ 1..)) => Ok(Self::Count(count)),
            _ => Err("takes `auto`, or a number of at least 1".to_owned()),
        }
    }
}

impl ConnectingArgs {
    /// A run that publishes nothing.
    fn settings(self, target: Target, program: PathBuf) -> Settings {
        Settings {
            target,
            control: None,
            connections: self.connections,
            processes: match self.processes {
                Processes::Auto => None,
                Processes::Count(count) => Some(count),
            },
            window: self.window.max(1),
            attempts: self.attempts.max(1),
            handshake_timeout: Duration::from_secs(self.handshake_timeout),
            priority: Priority::Low,
            events: 0,
            rate: 1.0,
            event_bytes: 0,
            filters: Filters::Same(json!({})),
            template: None,
            encodings: Encodings::Json,
            subscriptions: 1,
            settle: Duration::from_secs(self.settle),
            warm_up: Duration::ZERO,
            others: Vec::new(),
            receive_buffer: None,
            source_addresses: self.source_addresses,
            quiet: Duration::ZERO,
            drain: None,
            server_pid: self.server_pid,
            program,
        }
    }
}

impl CrowdArgs {
    fn settings(self, program: PathBuf) -> Result<Settings, Error> {
        check_rate("--rate", self.rate)?;
        Ok(Settings {
            control: Some(self.control),
            events: self.events,
            rate: self.rate,
            event_bytes: self.event_bytes,
            warm_up: Duration::from_secs(self.warm_up),
            quiet: Duration::from_secs(self.quiet),
            ..self.connecting.settings(Target::parse(&self.url)?, program)
        })
    }
}

impl FanoutArgs {
    /// A run as these arguments say; `program` is this program.
    ///
    /// # Errors
    /// When they make no sense.
    pub fn settings(self, program: PathBuf) -> Result<Settings, Error> {
        let template = self.server.map(|path| Template::read(&path)).transpose()?;
        let mut settings = self.crowd.settings(program)?;
        if let Some(path) = template.as_ref().and_then(|template| template.subscribe.path.clone()) {
            settings.target.path = path;
        }
        Ok(Settings {
            priority: self.priority,
            filters: Filters::Same(self.filters),
            template,
            encodings: self.subscribing.encoding,
            subscriptions: self.subscribing.subscriptions,
            drain: self.expect_drain.then_some(Duration::from_secs(self.drain_timeout)),
            ..settings
        })
    }
}

impl IdleArgs {
    /// As [`FanoutArgs::settings`].
    ///
    /// # Errors
    /// When they make no sense.
    pub fn settings(self, program: PathBuf) -> Result<idle::Settings, Error> {
        let connecting = self.connecting.settings(Target::parse(&self.url)?, program);
        Ok(idle::Settings {
            fanout: Settings {
                encodings: self.subscribing.encoding,
                subscriptions: self.subscribing.subscriptions,
                ..connecting
            },
            hold: Duration::from_secs(self.hold),
        })
    }
}

impl ChurnArgs {
    /// As [`FanoutArgs::settings`].
    ///
    /// # Errors
    /// When they make no sense.
    pub fn settings(self, program: PathBuf) -> Result<churn::Settings, Error> {
        check_rate("--visits", self.visits)?;
        Ok(churn::Settings {
            fanout: self.crowd.settings(program)?,
            visits_per_second: self.visits,
            stay: Duration::from_millis(self.stay),
        })
    }
}

impl MixedArgs {
    /// As [`FanoutArgs::settings`].
    ///
    /// # Errors
    /// When they make no sense.
    pub fn settings(self, program: PathBuf) -> Result<Settings, Error> {
        let settings = self.crowd.settings(program)?;
        let seconds = f64::from(settings.events) / settings.rate;
        let mut others = Vec::new();
        for (priority, flag, rate) in [
            (Priority::Critical, "--critical-rate", self.critical_rate),
            (Priority::High, "--high-rate", self.high_rate),
            (Priority::Normal, "--normal-rate", self.normal_rate),
        ] {
            if rate != 0.0 {
                check_rate(flag, rate)?;
                others.push(Flow { priority, events: (rate * seconds).ceil() as u32, rate });
            }
        }
        if others.is_empty() {
            let why =
                "one of --normal-rate, --high-rate and --critical-rate is above 0; see fanout";
            return Err(Error::Usage(why.to_owned()));
        }
        Ok(Settings {
            filters: Filters::Mixed { sharing_percent: self.sharing },
            encodings: self.encoding,
            subscriptions: self.subscriptions,
            others,
            receive_buffer: Some(self.receive_buffer),
            ..settings
        })
    }
}

impl FilteredArgs {
    /// As [`FanoutArgs::settings`].
    ///
    /// # Errors
    /// When they make no sense.
    pub fn settings(self, program: PathBuf) -> Result<filtered::Settings, Error> {
        if self.classes == 0 {
            return Err(Error::Usage("--classes is 1 at least".to_owned()));
        }
        Ok(filtered::Settings {
            fanout: self.crowd.settings(program)?,
            classes: self.classes,
            in_turn: self.in_turn,
            kinds: self.kinds.into_iter().map(Kind::from).collect(),
            rounds: self.rounds,
        })
    }
}

impl PrioritiesArgs {
    /// As [`FanoutArgs::settings`].
    ///
    /// # Errors
    /// When they make no sense.
    pub fn settings(self, program: PathBuf) -> Result<Settings, Error> {
        check_rate("--critical-rate", self.critical_rate)?;
        let (events, rate) = (self.criticals, self.critical_rate);
        let others = vec![Flow { priority: Priority::Critical, events, rate }];
        let receive_buffer = Some(self.receive_buffer);
        Ok(Settings { others, receive_buffer, ..self.crowd.settings(program)? })
    }
}

fn check_rate(name: &str, rate: f64) -> Result<(), Error> {
    if rate.is_finite() && rate > 0.0 {
        return Ok(());
    }
    Err(Error::Usage(format!("{name} takes events per second, above 0")))
}

fn filters(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(filters @ Value::Object(_)) => Ok(filters),
        Ok(_) => Err("filters are a JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn processes_are_counted_or_left_open() {
        assert_eq!("auto".parse(), Ok(Processes::Auto));
        assert_eq!("3".parse(), Ok(Processes::Count(3)));
        assert!("0".parse::<Processes>().is_err() && "many".parse::<Processes>().is_err());
    }
}
