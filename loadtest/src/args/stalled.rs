//! Arguments of the run with subscribers that never read.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::args::CrowdArgs;
use crate::stalled::{Settings, Twin};
use crate::target::Target;

#[derive(Args, Debug)]
pub struct StalledArgs {
    /// Of those that read; --server-pid is needed.
    #[command(flatten)]
    pub crowd: CrowdArgs,
    /// Subscribers that never read.
    #[arg(long, default_value_t = 10_000)]
    pub stalled: u32,
    /// They offer no subprotocol, as older clients: nothing is shed for them, they fall back to
    /// history.
    #[arg(long)]
    pub no_subprotocol: bool,
    /// Bytes of the server's memory that each of them may take.
    #[arg(long, default_value_t = 16 * 1024)]
    pub stalled_bytes_max: u64,
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// The stream endpoint of a second server, without any that never read; --twin-control and
    /// --twin-pid belong to it.
    #[arg(long, value_name = "URL")]
    pub twin_url: Option<String>,
    /// Its control endpoint.
    #[arg(long, value_name = "URL")]
    pub twin_control: Option<String>,
    /// Its process.
    #[arg(long, value_name = "PID")]
    pub twin_pid: Option<u32>,
}

impl StalledArgs {
    /// As [`FanoutArgs::settings`](super::FanoutArgs::settings).
    ///
    /// # Errors
    /// When they make no sense.
    pub fn settings(self, program: PathBuf) -> Result<Settings, Error> {
        let Some(server_pid) = self.crowd.connecting.server_pid else {
            return Err(Error::Usage("--server-pid is needed: memory is measured".to_owned()));
        };
        let twin = match (self.twin_url, self.twin_control, self.twin_pid) {
            (None, None, None) => None,
            (Some(url), Some(control), Some(server_pid)) => {
                Some(Twin { target: Target::parse(&url)?, control, server_pid })
            }
            _ => {
                let all = "--twin-url, --twin-control and --twin-pid belong together";
                return Err(Error::Usage(all.to_owned()));
            }
        };
        Ok(Settings {
            control: self.crowd.control.clone(),
            fanout: self.crowd.settings(program)?,
            stalled: self.stalled,
            offers_subprotocol: !self.no_subprotocol,
            rounds: self.rounds,
            stalled_bytes_max: self.stalled_bytes_max,
            server_pid,
            twin,
        })
    }
}
