//! One probe: a connection, a request, the head of its answer.

use tokio::time;

use super::wire::{Aim, converse};
use crate::limits::{ANSWER_HEAD_BYTES_MAX, INTERIM_ANSWERS_MAX};
use crate::proto::http::next_answer;
use crate::proto::upstream::HealthRule;

/// The error is a clause about the server.
pub(super) async fn probe(aim: &Aim, rule: &HealthRule) -> Result<(), String> {
    match time::timeout(rule.timeout, attempt(aim, rule)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("it has not answered within {} s", rule.timeout.as_secs())),
    }
}

/// The body of the answer is not read: the status is the verdict, and the connection closes.
async fn attempt(aim: &Aim, rule: &HealthRule) -> Result<(), String> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tidegate-health\r\nConnection: close\r\n\r\n",
        rule.path, aim.host
    );
    converse(aim, &request, |heard, _| {
        let Some(status) = final_status(heard)? else {
            // One head and the beginning of the next are there at most.
            let is_long = heard.len() > 2 * ANSWER_HEAD_BYTES_MAX;
            return if is_long { Err("the head of its answer is too long".to_owned()) } else { Ok(None) };
        };
        let is_good = rule.statuses.contains(&status);
        if is_good { Ok(Some(())) } else { Err(format!("it has answered with status {status}")) }
    })
    .await
}

/// The status of the final answer, if its head has arrived. Takes the answers before it.
fn final_status(heard: &mut Vec<u8>) -> Result<Option<u16>, String> {
    let mut input = &mut heard[..];
    let mut is_final = None;
    for _ in 0..=INTERIM_ANSWERS_MAX {
        match next_answer(&mut input, false).map_err(|_| "its answer is no HTTP".to_owned())? {
            Some(head) if head.is_interim() => {}
            Some(head) => {
                is_final = Some(head.status);
                break;
            }
            None => break,
        }
    }
    let rest = input.len();
    heard.drain(..heard.len() - rest);
    Ok(is_final)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_that_of_the_final_answer() {
        let mut heard = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".to_vec();
        assert_eq!(final_status(&mut heard), Ok(Some(204)));
        let mut heard = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 20".to_vec();
        assert_eq!(final_status(&mut heard), Ok(None));
        assert_eq!(heard, b"HTTP/1.1 20");
        assert_eq!(final_status(&mut b"SSH-2.0-OpenSSH".to_vec()), Err("its answer is no HTTP".to_owned()));
        assert_eq!(final_status(&mut Vec::new()), Ok(None));
    }
}
