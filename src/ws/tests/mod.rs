//! Scenarios of the whole layer.
