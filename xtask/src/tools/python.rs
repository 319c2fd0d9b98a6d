//! Packages from PyPI, each set in a virtual environment of its own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::command::{command, find, run};
use crate::context::Context;
use crate::tools::debian;

/// A Python with what `tests/clients/requirements.txt` names.
pub fn clients(context: &Context) -> Result<PathBuf> {
    let requirements = context.root.join("tests/clients/requirements.txt");
    environment(context, "python-clients", &requirements)
}

/// Autobahn's `wstest`, which runs on Python 2.7 only.
pub fn wstest(context: &Context) -> Result<PathBuf> {
    let requirements = context.root.join("tests/autobahn/requirements.txt");
    let dir = context.cache.join("autobahn");
    let wstest = dir.join("bin/wstest");
    if is_installed(&dir, &requirements) {
        return Ok(wstest);
    }
    let python = python27().ok_or("Autobahn needs a Python 2.7: put python2.7 into PATH")?;
    println!("installing Autobahn's test suite into {} (about a minute)", dir.display());
    let tool = context.root.join("tests/autobahn/requirements-virtualenv.txt");
    let virtualenv = environment(context, "virtualenv", &tool)?.with_file_name("virtualenv");
    clear(&dir)?;
    let mut create = command(context, virtualenv);
    create.args(["-q", "--download", "--setuptools", "44.0.0", "--wheel", "0.36.2", "-p"]);
    run(create.arg(python).arg(&dir))?;
    // Several of these packages need the ones before them in order to build.
    let text = fs::read_to_string(&requirements).map_err(|error| error.to_string())?;
    for lines in text.split("\n\n") {
        let packages = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut pip = command(context, dir.join("bin/pip"));
        pip.args(["install", "-q", "--disable-pip-version-check"]).args(packages);
        // Python 2.7 is past its end; pip need not say so each time.
        run(pip.env("PYTHONWARNINGS", "ignore"))?;
    }
    mark_installed(&dir, &requirements)?;
    Ok(wstest)
}

/// The `python` of a virtual environment called `name` with `requirements`.
fn environment(context: &Context, name: &str, requirements: &Path) -> Result<PathBuf> {
    let dir = context.cache.join(name);
    let python = dir.join("bin/python");
    if is_installed(&dir, requirements) {
        return Ok(python);
    }
    debian::ensure(context, "python3", "python3")?;
    println!("installing {} into {}", requirements.display(), dir.display());
    clear(&dir)?;
    let mut create = command(context, "python3");
    if run(create.args(["-m", "venv"]).arg(&dir)).is_err() {
        // Debian's python3 comes without ensurepip.
        debian::ensure(context, "python3-venv", "python3-venv")?;
        clear(&dir)?;
        run(&mut create)?;
    }
    let mut pip = command(context, &python);
    pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"]);
    run(pip.arg(requirements)).map_err(|reason| {
        format!("{reason}\ninstall by hand what {} lists", requirements.display())
    })?;
    mark_installed(&dir, requirements)?;
    Ok(python)
}

/// A Python 2.7 from `PATH` or from pyenv, the newest there.
fn python27() -> Option<PathBuf> {
    let works = |python: &PathBuf| {
        let version = std::process::Command::new(python).args(["-c", "import zlib, ssl"]).output();
        version.is_ok_and(|output| output.status.success())
    };
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")));
    let mut candidates: Vec<PathBuf> = pyenv
        .and_then(|root| fs::read_dir(root.join("versions")).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("2.7.")))
        .map(|path| path.join("bin/python2.7"))
        .collect();
    candidates.sort();
    candidates.extend(find("python2.7"));
    candidates.into_iter().rev().find(works)
}

const STAMP: &str = ".installed";

fn is_installed(dir: &Path, requirements: &Path) -> bool {
    let installed = fs::read(dir.join(STAMP));
    let wanted = fs::read(requirements);
    matches!((installed, wanted), (Ok(installed), Ok(wanted)) if installed == wanted)
}

fn mark_installed(dir: &Path, requirements: &Path) -> Result {
    fs::copy(requirements, dir.join(STAMP))
        .map(drop)
        .map_err(|error| format!("{}: {error}", dir.display()))
}

fn clear(dir: &Path) -> Result {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", dir.display()))
        }
        _ => Ok(()),
    }
}
