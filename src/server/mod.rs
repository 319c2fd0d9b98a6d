//! L1 model.
