//! The command line: one file per verb.
//!
//! Results go to stdout, errors to stderr in one line each. Exit codes: 0 success, 1 failure or mistakes in the
//! configuration, 2 wrong usage, 130 a second signal ended a drain.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod check;
mod client;
mod config;
mod demo;
mod doctor;
mod kick;
mod log_lines;
mod output;
mod publish;
mod report;
mod revoke;
mod send;
mod serve;
mod source;
mod stop;
mod subscribe;
mod upstream;

/// An edge gateway for connections that stay open: WebSocket, Server-Sent Events, and a bus for workers.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 success, 1 failure or mistakes in the configuration, 2 wrong usage, 130 ended by a second signal."
)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Config(config::ConfigArgs),
    Demo(demo::DemoArgs),
    Doctor(doctor::DoctorArgs),
    #[command(name = "pub")]
    Publish(publish::PublishArgs),
    #[command(name = "sub")]
    Subscribe(subscribe::SubscribeArgs),
    Send(send::SendArgs),
    Kick(kick::KickArgs),
    Revoke(revoke::RevokeArgs),
    Upstream(upstream::UpstreamArgs),
}

/// Runs the verb that the process was started with.
pub fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(words) => return tell(&words),
    };
    match command_line.verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Config(args) => config::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Publish(args) => publish::run(&args),
        Verb::Subscribe(args) => subscribe::run(&args),
        Verb::Send(args) => send::run(&args),
        Verb::Kick(args) => kick::run(&args),
        Verb::Revoke(args) => revoke::run(&args),
        Verb::Upstream(args) => upstream::run(&args),
    }
}

/// Prints the requested help, or the error in the command line.
fn tell(words: &clap::Error) -> ExitCode {
    let printed = words.print();
    match output::unless_unread(printed) {
        Err(message) if !words.use_stderr() => output::fail(&message),
        _ => ExitCode::from(u8::try_from(words.exit_code()).unwrap_or(u8::MAX)),
    }
}

/// A text that fits in one line of a header or a stream.
fn no_control(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("expected a text without control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}
