//! `tidegate kick`: disconnects a user or a connection.

use std::process::ExitCode;

use super::client::admin::{Addressee, AdminArgs};
use super::output;

/// Disconnects all connections of a user, or one connection.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate kick ann                        code 3003: clients that heed it stay away
  tidegate kick ann --reconnect            code 1001: they connect again, perhaps to another gateway
  tidegate kick 0100000a00003f21 --conn    one connection

A client that is kicked can connect again if it wants. To keep it out, revoke its token (tidegate revoke), or
let your login refuse it.")]
pub struct KickArgs {
    #[command(flatten)]
    to: Addressee,
    /// Let the clients connect again
    #[arg(long)]
    reconnect: bool,
    #[command(flatten)]
    gateway: AdminArgs,
}

pub fn run(args: &KickArgs) -> ExitCode {
    match kick(args) {
        Ok(text) => output::print(&text),
        Err(message) => output::fail(&message),
    }
}

fn kick(args: &KickArgs) -> Result<String, String> {
    let how = if args.reconnect { "reconnect" } else { "kick" };
    let answer = args.gateway.connect()?.operate(&args.to, Some("close"), &[], how.as_bytes())?;
    match args.gateway.json {
        true => Ok(format!("{answer}\n")),
        false => Ok(format!("disconnected {}\n", args.to.reached(&answer))),
    }
}
