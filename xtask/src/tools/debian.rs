//! Programs from Debian's packages.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::command::{command, exists, find, run};
use crate::context::Context;

/// Makes `program` available in `PATH`, installing `package` when it is not.
pub fn ensure(context: &Context, program: &str, package: &str) -> Result {
    if exists(program) {
        return Ok(());
    }
    println!("installing Debian's {package}, which has `{program}`");
    install(context, package).map_err(|reason| {
        format!("{reason}\ninstall it by hand: apt-get install {package} (it has `{program}`)")
    })
}

/// Makes `file`, an absolute path, exist, installing `package` when it does not.
pub fn ensure_file(context: &Context, file: &str, package: &str) -> Result {
    if Path::new(file).exists() {
        return Ok(());
    }
    println!("installing Debian's {package}, which has {file}");
    install(context, package).map_err(|reason| {
        format!("{reason}\ninstall it by hand: apt-get install {package} (it has {file})")
    })
}

/// Where promtool is. It is unpacked into the cache folder: its package would
/// also bring a server and its web libraries.
pub fn promtool(context: &Context) -> Result<PathBuf> {
    if let Some(found) = find("promtool") {
        return Ok(found);
    }
    let dir = context.cache.join("debian");
    let binary = dir.join("usr/bin/promtool");
    if binary.is_file() {
        return Ok(binary);
    }
    println!("unpacking promtool from Debian's prometheus into {}", dir.display());
    unpack(context, "prometheus", &dir)
        .map_err(|reason| format!("{reason}\ninstall it by hand: apt-get install prometheus"))?;
    Ok(binary)
}

fn install(context: &Context, package: &str) -> Result {
    let quiet = "-oDpkg::Use-Pty=0";
    let args = ["install", "-y", "-qq", quiet, "--no-install-recommends", package];
    let _guard = NoServices::new()?;
    let mut apt = as_root(context, "apt-get");
    if run(apt.args(args)).is_ok() {
        return Ok(());
    }
    // Package lists are missing or out of date.
    run(as_root(context, "apt-get").args(["update", "-q"]))?;
    run(as_root(context, "apt-get").args(args))
}

fn unpack(context: &Context, package: &str, dir: &Path) -> Result {
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let download = || {
        let mut apt = command(context, "apt-get");
        run(apt.current_dir(dir).args(["download", "-q", package]))
    };
    if download().is_err() {
        run(as_root(context, "apt-get").args(["update", "-q"]))?;
        download()?;
    }
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let archive = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| format!("apt-get left no archive in {}", dir.display()))?;
    run(command(context, "dpkg-deb").arg("-x").arg(archive).arg(dir))
}

fn as_root(context: &Context, program: &str) -> Command {
    let mut command = if is_root() {
        command(context, program)
    } else {
        let mut sudo = command(context, "sudo");
        sudo.args(["-n", program]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// While this lives, installing a package starts no service: Debian asks
/// `policy-rc.d`, where there is one, whether it may.
struct NoServices {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn new() -> Result<Self> {
        if !is_root() || Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
            .map_err(|error| format!("{POLICY}: {error}"))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            eprintln!("could not remove {POLICY}, which keeps services from being started");
        }
    }
}
