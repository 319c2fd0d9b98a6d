//! Idle connections, as people read them.

use super::{Bytes, Table, connections, server};
use crate::idle::IdleOutcome;

/// A table of the outcome, one value a line.
pub fn table(outcome: &IdleOutcome) -> String {
    let mut table = Table::default();
    connections(&outcome.fanout, &mut table);
    table.row(
        "held",
        format_args!(
            "{} s, {} pings answered",
            outcome.hold_seconds, outcome.fanout.connections.pings
        ),
    );
    if let Some(measured) = &outcome.fanout.server {
        server(measured, &mut table);
    }
    let kernel = [outcome.kernel_before, outcome.kernel_connected, outcome.kernel_held]
        .map(|memory| format!("{} + {}", Bytes(memory.slab_bytes), Bytes(memory.tcp_buffer_bytes)));
    table.row(
        "kernel memory",
        format_args!(
            "{:.0} bytes per connection, slab and TCP buffers of both ends; {} before, {} with all, \
             {} at the end",
            outcome.kernel_bytes_per_connection, kernel[0], kernel[1], kernel[2]
        ),
    );
    table.counts("failure", &outcome.fanout.failures);
    table.end(outcome.ok, &outcome.complaints, "all were held to the end");
    table.text
}
