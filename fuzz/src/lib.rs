//! The simulated worlds of `tests/simulation`, for the target that plays scripts in them.

#![forbid(unsafe_code)]

#[path = "../../tests/simulation/account.rs"]
pub mod account;
#[path = "../../tests/simulation/client.rs"]
pub mod client;
#[path = "../../tests/simulation/events.rs"]
pub mod events;
#[path = "../../tests/simulation/model.rs"]
pub mod model;
#[path = "../../tests/simulation/planted.rs"]
pub mod planted;
#[path = "../../tests/simulation/scene.rs"]
pub mod scene;
#[path = "../../tests/simulation/script.rs"]
pub mod script;
#[path = "../../tests/simulation/world.rs"]
pub mod world;
