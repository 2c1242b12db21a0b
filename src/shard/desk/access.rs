//! The access log at the desk: lines leave for their writer, and are lost before anything waits for it.

use super::Desk;
use crate::mesh::Mail;
use crate::mesh::log::LogMail;

/// Hands over the lines that are due; `is_last`: all there are.
pub(in crate::shard) fn hand_over(desk: &mut Desk, is_last: bool) {
    if desk.settings.generation.access.is_none() {
        return;
    }
    let now = if is_last { desk.settings.access.due() } else { desk.now };
    let Some(due) = desk.settings.access.take_due(now) else { return };
    let lines = LogMail::Lines { text: due.text, count: due.count };
    let mesh = desk.post.mesh();
    let is_taken = mesh.log_writer().is_some_and(|writer| mesh.try_send(writer, Mail::Log(lines)).is_ok());
    desk.counters().access_log_lost.add(due.lost + if is_taken { 0 } else { due.count });
}
