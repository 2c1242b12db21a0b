//! `tidegate upstream`: shows the servers behind a running gateway, and takes one out or back in.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::admin::{AdminArgs, AdminClient};
use super::output;

/// How often a drain that waits looks again.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The longest `--wait`.
const WAIT_SECONDS_MAX: u64 = 24 * 3600;

/// Shows the servers behind a running gateway; takes one out of service, and back in.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "Examples:
  tidegate upstream list                                     what each server does now
  tidegate upstream drain app 10.0.0.7:3000 --wait 60        before its deployment
  tidegate upstream ready app 10.0.0.7:3000                  after it

States: up; left_out, after failed requests, for a while; down, its probes fail; unknown, its name has no
address; draining, taken out and still at work; drained, taken out and idle.")]
pub struct UpstreamArgs {
    #[command(subcommand)]
    verb: UpstreamVerb,
}

#[derive(Debug, Subcommand)]
enum UpstreamVerb {
    /// Shows each server with its state and its requests
    List(ListArgs),
    /// Gives a server no further request; those that it has go on to their end
    ///
    /// Clients with its sticky cookie get another server. It stays so until `tidegate upstream ready`, or until the gateway is
    /// started again. If all servers of an upstream are drained, its requests get 503.
    Drain(DrainArgs),
    /// Gives a server requests again
    Ready(ServerArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    gateway: AdminArgs,
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// The name of the [[upstream]], or the URL of the route
    upstream: String,
    /// The server, as the configuration has it
    server: String,
    #[command(flatten)]
    gateway: AdminArgs,
}

#[derive(Debug, Args)]
struct DrainArgs {
    #[command(flatten)]
    which: ServerArgs,
    /// Wait until it has no request left, at most so long; then exit with 1
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=WAIT_SECONDS_MAX))]
    wait: Option<u64>,
}

pub fn run(args: &UpstreamArgs) -> ExitCode {
    let outcome = match &args.verb {
        UpstreamVerb::List(args) => list(&args.gateway),
        UpstreamVerb::Drain(args) => drain(args),
        UpstreamVerb::Ready(args) => set(args, "ready").map(|(_, text)| text),
    };
    match outcome {
        Ok(text) => output::print(&text),
        Err(message) => output::fail(&message),
    }
}

fn list(args: &AdminArgs) -> Result<String, String> {
    let answer = args.connect()?.upstreams()?;
    if args.json {
        return Ok(format!("{answer}\n"));
    }
    let answer = serde_json::from_str(&answer).map_err(|error| format!("the answer is no JSON: {error}"))?;
    Ok(table(&answer))
}

/// Takes the server out, and waits if that is wanted.
fn drain(args: &DrainArgs) -> Result<String, String> {
    let (mut client, text) = set(&args.which, "drain")?;
    let Some(seconds) = args.wait else { return Ok(text) };
    let ServerArgs { upstream, server, .. } = &args.which;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let answer = client.upstreams().ok().and_then(|answer| serde_json::from_str::<Value>(&answer).ok());
        let row = answer.as_ref().and_then(|answer| row(answer, upstream, server));
        match row.map(|row| (&row["state"], &row["in_flight"])) {
            Some((state, _)) if state == "drained" => return Ok(text),
            Some((state, _)) if state != "draining" => {
                return Err(format!("{server} of {upstream} is {state} meanwhile"));
            }
            Some((_, left)) if Instant::now() >= deadline => {
                return Err(format!(
                    "after {seconds} s, {server} of {upstream} has {left} requests; it gets no further ones"
                ));
            }
            None => return Err(format!("the gateway no longer tells of {server} of {upstream}")),
            Some(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Says the verb, and returns the connection and the text to print.
fn set(args: &ServerArgs, verb: &str) -> Result<(AdminClient, String), String> {
    let mut client = args.gateway.connect()?;
    let answer = client.set_server(&args.upstream, &args.server, verb)?;
    let words = if verb == "drain" { "gets no further request" } else { "gets requests again" };
    let text = match args.gateway.json {
        true => format!("{answer}\n"),
        false => format!("{} of {} {words}\n", args.server, args.upstream),
    };
    Ok((client, text))
}

fn upstreams(answer: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let all = answer["upstreams"].as_array().into_iter().flatten();
    all.flat_map(|upstream| {
        let servers = upstream["servers"].as_array().into_iter().flatten();
        servers.map(|server| (upstream["upstream"].as_str().unwrap_or_default(), server))
    })
}

fn row<'a>(answer: &'a Value, upstream: &str, server: &str) -> Option<&'a Value> {
    upstreams(answer).find(|(name, row)| *name == upstream && row["server"] == server).map(|(_, row)| row)
}

/// Columns as wide as their widest entry.
fn table(answer: &Value) -> String {
    const HEADS: [&str; 8] = ["UPSTREAM", "SERVER", "STATE", "IN FLIGHT", "IDLE", "ANSWERED", "FAILED", "ADDRESSES"];
    const KEYS: [&str; 7] = ["server", "state", "in_flight", "idle", "answered", "failed", "addresses"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = |(name, row): (&str, &Value)| -> Vec<String> {
        std::iter::once(name.to_owned()).chain(KEYS.iter().map(|key| text(&row[*key]))).collect()
    };
    let mut lines = vec![HEADS.map(str::to_owned).to_vec()];
    lines.extend(upstreams(answer).map(line));
    if lines.len() == 1 {
        return "the gateway has no upstream\n".to_owned();
    }
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let padded = |line: &Vec<String>| {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_each_server_in_a_line() {
        let server = |text: &str, state: &str| json!({ "server": text, "state": state, "in_flight": 3, "idle": 12, "answered": 4711, "failed": 0, "addresses": 1 });
        let answer = json!({ "upstreams": [
            { "upstream": "app", "servers": [server("10.0.0.7:3000", "up"), server("unix:/run/a", "left_out")] },
            { "upstream": "http://chat:80", "servers": [server("chat:80", "drained")] },
        ] });
        assert_eq!(
            table(&answer),
            "UPSTREAM        SERVER         STATE     IN FLIGHT  IDLE  ANSWERED  FAILED  ADDRESSES\n\
             app             10.0.0.7:3000  up        3          12    4711      0       1\n\
             app             unix:/run/a    left_out  3          12    4711      0       1\n\
             http://chat:80  chat:80        drained   3          12    4711      0       1\n"
        );
        assert_eq!(row(&answer, "app", "unix:/run/a").unwrap()["state"], "left_out");
        assert_eq!(row(&answer, "app", "chat:80"), None);
        assert_eq!(table(&json!({ "upstreams": [] })), "the gateway has no upstream\n");
    }
}
