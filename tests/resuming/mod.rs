//! Clients that come back to where they were, as docs/PROTOCOL.md has it, and the judge of what
//! they got. No I/O: `tests/simulation` runs them in virtual time, `tests/e2e` over sockets.

mod fact;
mod interest;
mod judge;
mod random;
mod reader;
mod tamper;
mod way;

pub use fact::{Fact, Published};
pub use interest::Interest;
pub use judge::judge;
pub use random::Random;
pub use reader::{Reader, Totals};
pub use tamper::{Fault, Tamper};
pub use way::Start;
