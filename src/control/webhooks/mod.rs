//! Events from systems that already know how to call somebody.

pub mod alertmanager;
