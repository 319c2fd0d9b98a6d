//! A server's process, from its start to its end.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::contenders::{Ports, Start};
use crate::Result;
use crate::command::command;
use crate::context::Context;

/// A process that ends with this.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that takes connections; ended on drop.
pub struct Server {
    pub child: Guard,
    pub stream: String,
    pub control: String,
}

impl std::ops::Deref for Guard {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl Server {
    pub fn start(context: &Context, prefix: Vec<String>, start: Start) -> Result<Self> {
        let name = start.command.join(" ");
        let mut command = prefixed(context, prefix, start.command)?;
        for (key, _) in std::env::vars_os() {
            // To Alarmcast each of these is a key of its configuration.
            if key.to_string_lossy().starts_with("ALARMCAST_") {
                command.env_remove(key);
            }
        }
        let output = if start.ports.is_some() { Stdio::null() } else { Stdio::piped() };
        command.stdout(output).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{name} did not start: {error}"))?;
        let mut child = Guard(child);
        let addresses = match start.ports {
            Some(ports) => await_ports(&mut child.0, ports),
            None => hear_addresses(&mut child.0),
        };
        let (stream, control) = addresses.map_err(|why| format!("{name} {why}"))?;
        Ok(Self { child, stream, control })
    }
}

/// Where a server says that it listens.
fn hear_addresses(child: &mut Child) -> Result<(String, String)> {
    let stdout = child.stdout.take().ok_or("has no standard output")?;
    let mut lines = BufReader::new(stdout).lines().map_while(std::result::Result::ok);
    let (mut stream, mut control) = (None, None);
    for line in lines.by_ref() {
        let word = |scheme: &str| {
            line.split_whitespace().find(|word| word.starts_with(scheme)).map(str::to_owned)
        };
        stream = stream.or_else(|| word("ws://"));
        control = control.or_else(|| word("http://"));
        if stream.is_some() && control.is_some() {
            break;
        }
    }
    // What it prints later must not fill the pipe.
    thread::spawn(move || lines.for_each(drop));
    stream.zip(control).ok_or_else(|| "did not say where it listens".to_owned())
}

/// Waits until a server takes connections where it was told to.
#[allow(clippy::disallowed_methods, reason = "nothing tells when it does")]
fn await_ports(child: &mut Child, ports: Ports) -> Result<(String, String)> {
    const LOOKS: u32 = 200;
    const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
    let takes = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
    let Ports { stream, control } = ports;
    for _ in 0..LOOKS {
        if takes(stream) && takes(control) {
            let stream = format!("ws://127.0.0.1:{stream}");
            return Ok((stream, format!("http://127.0.0.1:{control}")));
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("ended at once: {status}"));
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    Err(format!("takes no connections on ports {stream} and {control}"))
}

/// A program with what goes before it.
pub fn prefixed(context: &Context, prefix: Vec<String>, program: Vec<String>) -> Result<Command> {
    let mut words = prefix.into_iter().chain(program);
    let first = words.next().ok_or("an empty command")?;
    let mut command = command(context, first);
    command.args(words);
    Ok(command)
}
