//! `tidegate revoke`: tokens are not taken any more, and the streams that they have let in end.

use std::process::ExitCode;

use serde_json::{Map, Value};

use super::client::admin::AdminArgs;
use super::output;

/// Revokes tokens: they are not taken any more, and the streams that they have let in end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate revoke --user ann                  every token of ann, for a day
  tidegate revoke --user ann --issued-before 1767225600
                                              those from before: ann may log in again
  tidegate revoke --sid 4f1c                  the tokens of one session

A gateway keeps revocations in memory: a restart forgets them, and each gateway is told for itself.")]
#[group(id = "which", required = true, multiple = false, args = ["user", "jti", "sid"])]
pub struct RevokeArgs {
    /// The user whose tokens are revoked
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The id of one token, its claim `jti`
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// The session whose tokens are revoked, their claim `sid`
    #[arg(long, value_name = "ID")]
    sid: Option<String>,
    /// Only tokens that were issued before this second of Unix time
    #[arg(long, value_name = "SECONDS")]
    issued_before: Option<u64>,
    /// Until this second of Unix time; otherwise a day
    #[arg(long, value_name = "SECONDS")]
    until: Option<u64>,
    #[command(flatten)]
    gateway: AdminArgs,
}

pub fn run(args: &RevokeArgs) -> ExitCode {
    match revoke(args) {
        Ok(text) => output::print(&text),
        Err(message) => output::fail(&message),
    }
}

fn revoke(args: &RevokeArgs) -> Result<String, String> {
    let RevokeArgs { user, jti, sid, issued_before, until, gateway } = args;
    let texts = [("user", user), ("jti", jti), ("sid", sid)];
    let numbers = [("issued_before", issued_before), ("until", until)];
    let texts = texts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.as_deref()?.into())));
    let numbers = numbers.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from((*value)?))));
    let text = Value::Object(texts.chain(numbers).collect::<Map<String, Value>>()).to_string();
    let answer = gateway.connect()?.revoke(&text)?;
    let closed = serde_json::from_str::<Value>(&answer).map(|answer| answer["closed"].clone()).unwrap_or_default();
    match gateway.json {
        true => Ok(format!("{answer}\n")),
        false => Ok(format!("revoked; {closed} streams have ended\n")),
    }
}
