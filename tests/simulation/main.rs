//! Shards on a simulated network, in virtual time: every fault on demand, every run the same
//! for its seed.

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
mod order;
mod random;
mod random_worlds;
mod shedding;
mod slow_readers;
mod violations;
mod world;
