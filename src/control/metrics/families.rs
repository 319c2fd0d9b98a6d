//! Every metric: its name, its meaning, and the cells it is made of.

use super::exposition::{Exposition, Label};
use crate::control::Context;
use crate::control::watchdog::Watchdog;
use crate::event::Priority;
use crate::shard::stats::{Cell, Cells, Excess, Histograms};

const LATENCY_BOUNDS: &[f64] = &[
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const SESSION_BOUNDS: &[f64] =
    &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0];
const QUANTILES: &[f64] = &[0.5, 0.9, 0.99, 0.999, 1.0];

/// One of a shard's cells.
type CellOf = fn(&Cells) -> &Cell;

/// Why connections end otherwise than they should, as a label and the cell that counts it.
const CONNECTION_ERRORS: [(&str, CellOf); 25] = [
    ("handshake_refused", |cells| &cells.handshakes_refused),
    ("handshake_timeout", |cells| &cells.handshakes_timed_out),
    ("too_many_connections", |cells| &cells.connections_refused),
    ("handshakes_pending", |cells| &cells.handshakes_too_many),
    ("handshake_rate", |cells| &cells.handshakes_too_fast),
    ("address_connections", |cells| &cells.addresses_full),
    ("address_rate", |cells| &cells.addresses_too_fast),
    ("origin_foreign", |cells| &cells.origins_foreign),
    ("origin_null", |cells| &cells.origins_null),
    ("origin_malformed", |cells| &cells.origins_malformed),
    ("proxy_header", |cells| &cells.proxy_headers_refused),
    ("accept", |cells| &cells.accept_errors),
    ("protocol", |cells| &cells.protocol_errors),
    ("reset", |cells| &cells.connections_reset),
    ("heartbeat_missed", |cells| &cells.heartbeats_missed),
    ("idle_timeout", |cells| &cells.idle_timeouts),
    ("write_timeout", |cells| &cells.write_timeouts),
    ("slow_consumer", |cells| &cells.slow_consumers_closed),
    ("message_timeout", |cells| &cells.message_timeouts),
    ("too_many_messages", |cells| &cells.rate_limited_closed[Excess::Messages.index()]),
    ("too_many_frames", |cells| &cells.rate_limited_closed[Excess::Frames.index()]),
    ("too_many_bytes", |cells| &cells.rate_limited_closed[Excess::Bytes.index()]),
    ("partial_messages_budget", |cells| &cells.partial_messages_closed),
    ("operator", |cells| &cells.dismissed),
    ("handler_panic", |cells| &cells.handler_panics),
];

/// The whole exposition.
pub fn write(context: &Context, histograms: &Histograms, watchdog: &Watchdog) -> String {
    let mut writer = Writer { context, histograms, watchdog, text: Exposition::default() };
    writer.connections();
    writer.messages();
    writer.events();
    writer.latencies();
    writer.build();
    writer.queues();
    writer.shards();
    writer.text.into_text()
}

struct Writer<'a> {
    context: &'a Context,
    histograms: &'a Histograms,
    watchdog: &'a Watchdog,
    text: Exposition,
}

impl Writer<'_> {
    fn shed(&mut self) {
        self.by_priority(
            "alarmcast_events_shed_total",
            "Events dropped for connections that did not keep up, each told to its client.",
            |cells| &cells.events_shed,
        );
        self.by_priority(
            "alarmcast_events_conflated_total",
            "Events in whose place a newer one was queued, as their clients had asked; each told.",
            |cells| &cells.events_conflated,
        );
        self.by_priority(
            "alarmcast_events_collapsed_total",
            "Events that were counted for clients instead of sent, as they had asked; each told.",
            |cells| &cells.events_collapsed,
        );
        self.counter(
            "alarmcast_batches_sent_total",
            "Messages of several events, for clients that had asked for them.",
            |cells| &cells.batches_sent,
        );
        self.counter(
            "alarmcast_backlog_budget_exceeded_total",
            "Turns in which all backlogs of a shard together were above their budget.",
            |cells| &cells.budget_exceeded,
        );
    }

    fn replays(&mut self) {
        self.counter(
            "alarmcast_events_replayed_total",
            "Events read from the past for connections that asked for them or whose lanes were full.",
            |cells| &cells.events_replayed,
        );
        self.by_priority(
            "alarmcast_overflows_total",
            "Lanes that were full and from then on were read from the past, by priority.",
            |cells| &cells.overflows,
        );
        self.gauge(
            "alarmcast_overflows_active",
            "Lanes that are read from the past because they were full.",
            |cells| &cells.overflows_active,
        );
        let done = self.sum(|cells| &cells.catch_ups_done);
        let lost = self.sum(|cells| &cells.catch_ups_lost);
        let refused = self.sum(|cells| &cells.catch_ups_refused);
        self.text.counters(
            "alarmcast_catch_ups_total",
            "Connections that caught up with the past, were passed by it, or found too many before them, by outcome.",
            &[
                (&[("outcome", "caught_up")], done),
                (&[("outcome", "history_expired")], lost),
                (&[("outcome", "refused")], refused),
            ],
        );
        let active = self.sum(|cells| &cells.catch_ups_active);
        let waiting = self.sum(|cells| &cells.catch_ups_waiting);
        self.text.gauges(
            "alarmcast_catch_ups",
            "Connections that catch up with the past, or wait for their turn.",
            &[(&[("state", "active")], active), (&[("state", "waiting")], waiting)],
        );
    }

    fn by_priority(&mut self, name: &str, help: &str, cells_of: fn(&Cells) -> &[Cell; 4]) {
        let counts = Priority::ALL.map(|priority| {
            let count = self.sum(|cells| &cells_of(cells)[priority.index()]);
            ([("priority", priority.as_str())], count)
        });
        let samples: Vec<(&[Label<'_>], u64)> =
            counts.iter().map(|(labels, value)| (&labels[..], *value)).collect();
        self.text.counters(name, help, &samples);
    }

    fn sum(&self, cell: impl Fn(&Cells) -> &Cell) -> u64 {
        self.context.shards.iter().map(|shard| cell(shard.stats()).get()).sum()
    }

    fn counter(&mut self, name: &str, help: &str, cell: impl Fn(&Cells) -> &Cell) {
        let value = self.sum(cell);
        self.text.counter(name, help, value);
    }

    fn gauge(&mut self, name: &str, help: &str, cell: impl Fn(&Cells) -> &Cell) {
        let value = self.sum(cell);
        self.text.gauge(name, help, value);
    }

    fn connections(&mut self) {
        self.gauge("websocket_active_connections", "Connections after their handshake.", |cells| {
            &cells.connections_active
        });
        self.gauge(
            "alarmcast_handshakes_pending",
            "Connections between their accept and the end of their handshake.",
            |cells| &cells.handshakes_pending,
        );
        self.gauge(
            "alarmcast_connections_paused",
            "Connections whose clients want no events for now.",
            |cells| &cells.connections_paused,
        );
        // A gauge, because a counter's name would have to end in _total.
        self.gauge("websocket_total_connections", "Connections opened since the start.", |cells| {
            &cells.connections_opened
        });
        self.gauge("websocket_active_subscriptions", "Subscriptions held.", |cells| {
            &cells.subscriptions_active
        });
        let opened = self.sum(|cells| &cells.connections_opened);
        let closed = self.sum(|cells| &cells.connections_closed);
        self.text.counters(
            "websocket_connection_churn_total",
            "Connections opened and closed.",
            &[(&[("event", "opened")], opened), (&[("event", "closed")], closed)],
        );
        let added = self.sum(|cells| &cells.subscriptions_added);
        let removed = self.sum(|cells| &cells.subscriptions_removed);
        self.text.counters(
            "websocket_subscription_churn_total",
            "Subscriptions added and removed.",
            &[(&[("event", "added")], added), (&[("event", "removed")], removed)],
        );
        let errors = CONNECTION_ERRORS.map(|(reason, cell)| ([("reason", reason)], self.sum(cell)));
        let samples: Vec<(&[Label<'_>], u64)> =
            errors.iter().map(|(labels, value)| (&labels[..], *value)).collect();
        self.text.counters(
            "websocket_connection_errors_total",
            "Connections refused, lost or ended for a fault, by reason.",
            &samples,
        );
    }

    fn messages(&mut self) {
        self.counter(
            "websocket_messages_sent_total",
            "Messages handed to the kernel: events and answers, no control frames.",
            |cells| &cells.messages_sent,
        );
        self.counter("websocket_messages_received_total", "Messages from clients.", |cells| {
            &cells.messages_received
        });
        self.counter("websocket_send_errors_total", "Sends that failed.", |cells| {
            &cells.send_errors
        });
        self.counter("alarmcast_sent_bytes_total", "Bytes that the kernel took.", |cells| {
            &cells.bytes_sent
        });
        self.counter("alarmcast_received_bytes_total", "Bytes received.", |cells| {
            &cells.bytes_received
        });
        self.counter(
            "alarmcast_messages_rate_limited_total",
            "Messages answered by error RATE_LIMITED.",
            |cells| &cells.messages_rate_limited,
        );
    }

    fn events(&mut self) {
        let hub = self.context.publisher.stats();
        self.text.counter(
            "websocket_events_broadcast_total",
            "Events given a place in the stream.",
            hub.events_published.get(),
        );
        self.counter(
            "websocket_events_delivered_total",
            "Deliveries of events to connections.",
            |cells| &cells.events_delivered,
        );
        self.counter(
            "websocket_events_filtered_total",
            "Deliveries that filters made unnecessary.",
            |cells| &cells.events_filtered,
        );
        self.text.counter(
            "alarmcast_publish_duplicates_total",
            "Publishes answered from the memory of idempotency keys.",
            hub.duplicates.get(),
        );
        self.text.counters(
            "alarmcast_publish_refused_total",
            "Events that publishers were told to bring again, by reason.",
            &[
                (&[("reason", "full")], hub.refused_full()),
                (&[("reason", "draining")], hub.refused_draining()),
            ],
        );
        self.text.gauge(
            "alarmcast_stream_seq",
            "Newest place in the stream.",
            hub.newest_seq.get(),
        );
        let bounds = self.context.history.bounds();
        self.text.gauge(
            "alarmcast_history_events",
            "Events that can be replayed.",
            bounds.newest + 1 - bounds.first,
        );
        self.text.gauge(
            "alarmcast_history_bytes",
            "Bytes of memory of the events that can be replayed, estimated.",
            hub.history_bytes.get(),
        );
    }

    fn latencies(&mut self) {
        let mut all = self.histograms.delivery[0].clone();
        for other in &self.histograms.delivery[1..] {
            all.add(other).expect("same bounds");
        }
        self.text.histograms(
            "websocket_message_latency_seconds",
            "From the acceptance of an event to the moment the kernel took it for a connection.",
            LATENCY_BOUNDS,
            &[(&[], &all)],
        );
        self.text.histograms(
            "websocket_session_duration_seconds",
            "Length of ended sessions.",
            SESSION_BOUNDS,
            &[(&[], &self.histograms.session)],
        );
        let labels = Priority::ALL.map(|priority| [("priority", priority.as_str())]);
        let by_priority: Vec<(&[Label<'_>], &_)> =
            labels.iter().map(|labels| &labels[..]).zip(&self.histograms.delivery).collect();
        self.text.histograms(
            "alarmcast_delivery_latency_seconds",
            "websocket_message_latency_seconds by priority.",
            LATENCY_BOUNDS,
            &by_priority,
        );
        self.text.summaries(
            "alarmcast_delivery_hdr_seconds",
            "Quantiles of the delivery latency since the start, to two digits, by priority.",
            QUANTILES,
            &by_priority,
        );
        self.text.histograms(
            "alarmcast_turn_seconds",
            "Length of the shards' turns, waiting excluded.",
            LATENCY_BOUNDS,
            &[(&[], &self.histograms.turn)],
        );
    }

    fn build(&mut self) {
        let version = env!("CARGO_PKG_VERSION");
        self.text.gauges("alarmcast_build_info", "Always 1.", &[(&[("version", version)], 1)]);
        let reason = self.context.driver_fallback_reason.as_deref().unwrap_or_default();
        let labels = [("driver", self.context.driver), ("fallback_reason", reason)];
        self.text.gauges(
            "alarmcast_driver_info",
            "Always 1; the reason is empty unless auto had to do without io_uring.",
            &[(&labels, 1)],
        );
        let draining = u8::from(!self.context.lifecycle.is_serving());
        self.text.gauge("alarmcast_draining", "1 when the server takes no new work.", draining);
    }

    fn queues(&mut self) {
        let (waiting, capacity) = self.context.publisher.usage();
        let fullest = self
            .context
            .shards
            .iter()
            .map(|shard| shard.inbox_usage())
            .chain([(waiting, capacity)])
            .map(|(waiting, capacity)| waiting as f64 / capacity.max(1) as f64)
            .fold(0.0, f64::max);
        self.text.gauge(
            "websocket_broadcast_channel_usage_ratio",
            "How full the fullest queue between publishers and connections is, 0 to 1.",
            fullest,
        );
        self.text.gauge("alarmcast_ingest_depth", "Events that wait for the hub.", waiting);
        self.text.gauge("alarmcast_ingest_capacity", "Events that can wait for the hub.", capacity);
        let waits = self.context.publisher.stats().inbox_waits.get();
        self.text.counter(
            "alarmcast_inbox_waits_total",
            "Times that the hub waited for room in a shard's inbox.",
            waits,
        );
        self.gauge("alarmcast_outbox_bytes", "Bytes that wait in all outboxes.", |cells| {
            &cells.outbox_bytes
        });
        self.counter(
            "alarmcast_slow_consumers_closed_total",
            "Connections closed because their outbox was full.",
            |cells| &cells.slow_consumers_closed,
        );
        self.shed();
        self.replays();
        self.counter(
            "alarmcast_receive_buffers_exhausted_total",
            "Receives that found no free buffer and were pushed again.",
            |cells| &cells.receive_buffers_exhausted,
        );
        self.counter(
            "alarmcast_accept_errors_total",
            "Accepts that failed, for want of descriptors mostly.",
            |cells| &cells.accept_errors,
        );
        self.counter(
            "alarmcast_handler_panics_total",
            "Handlers that panicked; each cost one connection and is a bug.",
            |cells| &cells.handler_panics,
        );
    }

    fn shards(&mut self) {
        let names: Vec<String> =
            self.context.shards.iter().map(|shard| shard.index().to_string()).collect();
        let labels: Vec<[Label<'_>; 1]> =
            names.iter().map(|name| [("shard", name.as_str())]).collect();
        let context = self.context;
        let by_shard = |value: &dyn Fn(&crate::shard::Handle) -> u64| -> Vec<(&[Label<'_>], u64)> {
            let values = context.shards.iter().map(value);
            labels.iter().map(|labels| &labels[..]).zip(values).collect()
        };
        let depth = by_shard(&|shard| shard.inbox_usage().0 as u64);
        self.text.gauges("alarmcast_inbox_depth", "Events that wait for a shard.", &depth);
        let capacity = by_shard(&|shard| shard.inbox_usage().1 as u64);
        self.text.gauges("alarmcast_inbox_capacity", "Events that can wait for it.", &capacity);
        let connections = by_shard(&|shard| shard.stats().connections_active.get());
        self.text.gauges("alarmcast_shard_connections", "Connections of a shard.", &connections);
        let sockets = by_shard(&|shard| shard.stats().sockets_active.get());
        self.text.gauges(
            "alarmcast_shard_sockets",
            "Sockets of a shard, handshakes included.",
            &sockets,
        );
        let turns = by_shard(&|shard| shard.stats().turns.get());
        self.text.counters("alarmcast_shard_turns_total", "Turns of a shard.", &turns);
        let watchdog = self.watchdog;
        let stalled = by_shard(&|shard| u64::from(watchdog.is_stalled(shard.index())));
        self.text.gauges(
            "alarmcast_shard_stalled",
            "1 while a shard does not turn although it has something to do.",
            &stalled,
        );
        let stalls = by_shard(&|shard| watchdog.stalls(shard.index()));
        self.text.counters("alarmcast_shard_stalls_total", "Stalls of a shard.", &stalls);
        let longest: Vec<(&[Label<'_>], f64)> =
            by_shard(&|shard| shard.stats().turn_nanos_max.get())
                .into_iter()
                .map(|(labels, nanos)| (labels, nanos as f64 / 1e9))
                .collect();
        self.text.gauges(
            "alarmcast_shard_longest_turn_seconds",
            "Longest turn of a shard since the start.",
            &longest,
        );
    }
}
