//! Publishing to another server as its template says, one event at a time.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::thread;

use tungstenite::{Message, WebSocket};
use ureq::Agent;

use super::event::event;
use super::http::{agent, retry_after, shown};
use super::{Due, Fault, Plan, Post, Published};
use crate::clock::now_ns;
use crate::target::Target;
use crate::template::filled;

/// POST requests.
pub struct Http<'a> {
    plan: &'a Plan,
    agent: Agent,
    url: String,
    content_type: &'a str,
    body: &'a str,
}

impl<'a> Http<'a> {
    pub fn new(
        plan: &'a Plan,
        control: &str,
        path: &str,
        content_type: &'a str,
        body: &'a str,
    ) -> Self {
        let url = format!("{}{path}", control.trim_end_matches('/'));
        Self { plan, agent: agent(), url, content_type, body }
    }
}

impl Post for Http<'_> {
    fn batch_max(&self) -> u32 {
        1
    }

    fn place(&self) -> &str {
        &self.url
    }

    fn post(&mut self, events: &[Due], published: &mut Published) -> Result<(), Fault> {
        for due in events {
            loop {
                let body = filled(self.body, &event(self.plan, *due, now_ns()));
                let request = self.agent.post(&self.url).content_type(self.content_type);
                let mut response = request.send(body.as_bytes())?;
                if let Some(wait) = retry_after(&response) {
                    published.waits += 1;
                    thread::sleep(wait);
                    continue;
                }
                let text = response.body_mut().read_to_vec()?;
                if !response.status().is_success() {
                    let status = response.status().as_u16();
                    return Err(Fault::Status { status, text: shown(&text) });
                }
                published.accepted += 1;
                break;
            }
        }
        Ok(())
    }
}

/// Text messages. What the kernel took counts as accepted: nothing answers.
pub struct Messages<'a> {
    plan: &'a Plan,
    socket: WebSocket<TcpStream>,
    url: String,
    text: &'a str,
}

impl<'a> Messages<'a> {
    /// # Errors
    /// When the server does not take the connection.
    pub fn connect(
        plan: &'a Plan,
        target: &Target,
        path: &str,
        first: Option<&str>,
        text: &'a str,
    ) -> Result<Self, Fault> {
        let url = format!("ws://{}{path}", target.host);
        let stream = TcpStream::connect(target.addr).map_err(tungstenite::Error::Io)?;
        stream.set_nodelay(true).map_err(tungstenite::Error::Io)?;
        let (mut socket, _) = tungstenite::client(&url, stream)
            .map_err(|error| Fault::Handshake { url: url.clone(), why: error.to_string() })?;
        if let Some(first) = first {
            socket.send(Message::text(first))?;
        }
        Ok(Self { plan, socket, url, text })
    }

    /// Reads what the server says, so that its pings are answered.
    fn listen(&mut self) -> Result<(), Fault> {
        let set_nonblocking = |socket: &WebSocket<TcpStream>, is_on| {
            socket.get_ref().set_nonblocking(is_on).map_err(tungstenite::Error::Io)
        };
        set_nonblocking(&self.socket, true)?;
        let ended = loop {
            match self.socket.read() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        set_nonblocking(&self.socket, false)?;
        match ended {
            tungstenite::Error::Io(error) if is_nothing_there(&error) => Ok(()),
            error => Err(error.into()),
        }
    }
}

impl Post for Messages<'_> {
    fn batch_max(&self) -> u32 {
        1
    }

    fn place(&self) -> &str {
        &self.url
    }

    fn post(&mut self, events: &[Due], published: &mut Published) -> Result<(), Fault> {
        for due in events {
            let text = filled(self.text, &event(self.plan, *due, now_ns()));
            self.socket.send(Message::text(text))?;
            published.accepted += 1;
        }
        self.listen()
    }
}

fn is_nothing_there(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}
