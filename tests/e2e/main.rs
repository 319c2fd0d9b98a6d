//! End to end: the real program, real sockets, and clients that others wrote.
//!
//! `cargo xtask test` runs this binary once per driver and provides what it needs:
//!
//! | variable | meaning |
//! |---|---|
//! | `ALARMCAST_TEST_DRIVER` | `uring` (default), `epoll` or `auto`: what servers run on |
//! | `ALARMCAST_TEST_PYTHON` | a Python with the packages of `tests/clients/requirements.txt` |
//! | `NODE_PATH` | a `node_modules` with the packages of `tests/clients/package.json` |
//! | `ALARMCAST_TEST_PROMTOOL` | promtool, where it is not in `PATH` |
//!
//! Debian's `prometheus-alertmanager`, `nginx` and `node` must be in `PATH`, its `faketime` installed.
//! Whatever is missing fails the tests that need it.

#![forbid(unsafe_code)]

#[path = "../ledger/mod.rs"]
mod ledger;

mod admission;
mod alertmanager;
mod broadcast;
mod cli;
mod clients;
mod connections;
mod crowd;
mod cuts;
mod drain;
mod driver;
mod encodings;
mod errors;
mod fewer_messages;
mod filters;
mod flow_control;
mod hostile;
mod http_api;
mod lifecycle;
mod messages;
mod metrics;
mod mixed_session;
mod origins;
mod overflow;
mod proxies;
mod rates;
mod resume;
#[path = "../resuming/mod.rs"]
mod resuming;
mod rolling;
mod segments;
mod shedding;
mod support;
