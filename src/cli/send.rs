//! `tidegate send`: sends a message to a user or a connection, or asks it.

use std::process::ExitCode;

use super::client::Field;
use super::client::admin::{Addressee, AdminArgs};
use super::output;
use tidegate::proto::reserved::headers::{ACK_HEADER, EVENT_HEADER, TIMEOUT_HEADER};

/// Sends a message to all connections of a user, or to one connection.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate send ann '{\"ride\":7}'                          to all devices of ann that are connected
  tidegate send ann '{\"seat\":\"12A\"}' --ack 3600           again and again until one acknowledges it; returns then
  tidegate send ann '{\"takes_ride\":7}' --ask 15            prints the first answer

Clients answer and acknowledge on routes with `control = true` and over the client protocol.")]
pub struct SendArgs {
    #[command(flatten)]
    to: Addressee,
    /// The message
    payload: String,
    /// Event name, for event streams
    #[arg(long, value_parser = super::no_control, conflicts_with = "ask")]
    event: Option<String>,
    /// Send it again until a client acknowledges it, for so long; waits for that
    #[arg(long, value_name = "SECONDS", conflicts_with = "ask")]
    ack: Option<u32>,
    /// Ask a question: wait for an answer so long, and print it
    #[arg(long, value_name = "SECONDS")]
    ask: Option<u32>,
    #[command(flatten)]
    gateway: AdminArgs,
}

pub fn run(args: &SendArgs) -> ExitCode {
    match send(args) {
        Ok(text) => output::print(&text),
        Err(message) => output::fail(&message),
    }
}

fn send(args: &SendArgs) -> Result<String, String> {
    let fields = [
        (EVENT_HEADER, args.event.clone()),
        (ACK_HEADER, args.ack.map(|seconds| seconds.to_string())),
        (TIMEOUT_HEADER, args.ask.map(|seconds| (u64::from(seconds) * 1_000).to_string())),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some(Field { name: name.to_owned(), value: value? }));
    let fields: Vec<Field> = fields.collect();
    let mut client = args.gateway.connect()?;
    if let Some(seconds) = args.ask.or(args.ack) {
        client.wait_for(seconds)?;
    }
    let verb = args.ask.map(|_| "question");
    let answer = client.operate(&args.to, verb, &fields, args.payload.as_bytes())?;
    Ok(match (args.ask.is_some() || args.gateway.json, args.ack) {
        (true, _) => format!("{answer}\n"),
        (false, Some(_)) => "a client has acknowledged it\n".to_owned(),
        (false, None) => format!("sent to {}\n", args.to.reached(&answer)),
    })
}
