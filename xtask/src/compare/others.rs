//! Servers that others wrote: installing them, and starting them on one thread.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use super::contenders::{Ports, Start, telling};
use crate::Result;
use crate::context::Context;
use crate::tools::{debian, node};

const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

pub fn install_node_ws(context: &Context) -> Result {
    let modules = node::packages(context, "loadtest/compare/node-ws", "compare-node-ws")?;
    // Modules are looked for beside the program.
    let program = source(context, "node-ws/server.mjs");
    fs::copy(&program, modules.with_file_name("server.mjs"))
        .map(drop)
        .map_err(|error| format!("{}: {error}", program.display()))
}

pub fn node_ws(context: &Context) -> Start {
    let program = context.cache.join("compare-node-ws/server.mjs");
    telling(["node".to_owned(), program.display().to_string()])
}

pub fn install_bun(context: &Context) -> Result {
    node::packages(context, "loadtest/compare/bun", "compare-bun")?;
    let binary = bun_binary(context);
    if binary.is_file() {
        return Ok(());
    }
    Err(format!("npm has no Bun for this machine: there is no {}", binary.display()))
}

pub fn bun(context: &Context) -> Start {
    let program = source(context, "bun/server.mjs");
    telling([bun_binary(context), program].map(|path| path.display().to_string()))
}

/// The package's own command would have to be made by a script of its installation.
fn bun_binary(context: &Context) -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x64" };
    let package = format!("compare-bun/node_modules/@oven/bun-linux-{arch}/bin/bun");
    context.cache.join(package)
}

pub fn install_nchan(context: &Context) -> Result {
    debian::ensure(context, "nginx", "nginx-light")?;
    debian::ensure_file(context, NCHAN_MODULE, "libnginx-mod-nchan")
}

pub fn nchan(context: &Context) -> Result<Start> {
    let port = free_port()?;
    let config = configure(context, "nchan/nginx.conf", Ports { stream: port, control: port })?;
    let log = config.with_file_name("error.log");
    let command = ["nginx", "-e", &log.display().to_string(), "-c", &config.display().to_string()]
        .map(str::to_owned);
    Ok(at(command, Ports { stream: port, control: port }))
}

pub fn install_nats(context: &Context) -> Result {
    debian::ensure(context, "nats-server", "nats-server")
}

pub fn nats(context: &Context) -> Result<Start> {
    let ports = Ports { stream: free_port()?, control: free_port()? };
    let config = configure(context, "nats/nats.conf", ports)?.display().to_string();
    let command = ["env", "GOMAXPROCS=1", "nats-server", "-c", &config].map(str::to_owned);
    Ok(at(command, ports))
}

/// A configuration in loadtest/compare with its folder and ports filled in; where it is then.
fn configure(context: &Context, file: &str, ports: Ports) -> Result<PathBuf> {
    let source = source(context, file);
    let target = context.target.join("compare").join(file);
    let folder = target.parent().ok_or("a file without a folder")?;
    let text = fs::read_to_string(&source);
    let text = text.map_err(|error| format!("{}: {error}", source.display()))?;
    let text = filled(&text, &folder.display().to_string(), ports);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&target, text))
        .map_err(|error| format!("{}: {error}", target.display()))?;
    Ok(target)
}

fn filled(text: &str, folder: &str, Ports { stream, control }: Ports) -> String {
    text.replace("{folder}", folder)
        .replace("{stream}", &stream.to_string())
        .replace("{control}", &control.to_string())
}

fn source(context: &Context, file: &str) -> PathBuf {
    context.root.join("loadtest/compare").join(file)
}

fn at(command: impl IntoIterator<Item = String>, ports: Ports) -> Start {
    Start { command: command.into_iter().collect(), ports: Some(ports) }
}

/// A port for a server that cannot choose one and tell.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in_where_there_was_something() {
        let context = Context::find(0).unwrap();
        for file in ["nchan/nginx.conf", "nats/nats.conf"] {
            let text = fs::read_to_string(source(&context, file)).unwrap();
            let ports = Ports { stream: 40_001, control: 40_002 };
            let filled = filled(&text, "/some/where", ports);
            assert!(filled.contains("40001"), "{file}");
            assert!(!["{folder}", "{stream}", "{control}"].iter().any(|key| filled.contains(key)));
        }
    }
}
