//! Shards on a simulated network, in virtual time: every fault on demand, every run the same
//! for its seed.

mod account;
mod addresses;
mod admission;
mod churn;
mod client;
mod deadlines;
mod drain;
mod encodings;
mod events;
mod floods;
mod handlers;
mod inbox;
mod listing;
mod model;
mod options;
mod order;
mod overflow;
mod pausing;
mod places;
mod planted;
mod planted_faults;
mod random;
mod random_worlds;
mod resume;
#[path = "../resuming/mod.rs"]
mod resuming;
mod scene;
mod script;
mod scripts;
mod shedding;
mod slow_readers;
mod stalled;
mod violations;
mod whole;
mod world;
