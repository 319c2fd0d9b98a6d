//! Tools that the checks need, at fixed versions, installed when missing.
//! All but Debian's packages go to the cache folder.

pub mod cargo;
pub mod debian;
pub mod node;
pub mod python;

use crate::Result;
use crate::context::Context;

/// Installs everything, so that a later run needs no registry but crates.io.
pub fn install_all(context: &Context) -> Result {
    debian::ensure(context, "c++", "g++")?;
    debian::ensure(context, "prometheus-alertmanager", "prometheus-alertmanager")?;
    debian::ensure(context, "faketime", "faketime")?;
    debian::ensure(context, "nginx", "nginx-light")?;
    debian::ensure(context, "shellcheck", "shellcheck")?;
    debian::ensure(context, "valgrind", "valgrind")?;
    debian::promtool(context)?;
    node::clients(context)?;
    python::clients(context)?;
    python::wstest(context)?;
    for tool in [&cargo::DENY, &cargo::MACHETE, &cargo::FUZZ] {
        cargo::ensure(context, tool)?;
    }
    Ok(())
}
