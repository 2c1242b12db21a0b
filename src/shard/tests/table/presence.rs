//! A client that listens is known to be there, until it leaves.

use serde_json::json;

use super::*;

pub(super) fn play(stage: &mut Stage, way: Way) -> Cell {
    let ear = stage.join(way);
    let subject = ear.subject.clone();
    let (path, why) = match way {
        Way::Client | Way::Http => (format!("/api/channels/{subject}/presence"), None),
        Way::User | Way::Connection => ("/api/users/ann".to_owned(), None),
        Way::Request => (format!("/api/channels/result.{}/presence", subject.trim_start_matches("tg.request.")), None),
        Way::Plain | Way::Wildcard | Way::Queue | Way::Thread => {
            let path = format!("/api/channels/{subject}/presence");
            (path, Some("workers are not there, whatever they listen to: presence is of clients"))
        }
        Way::Service | Way::Reply => {
            let path = format!("/api/channels/{}/presence", stage.room);
            (path, Some("its receiver is a worker, and its subject no channel"))
        }
    };
    let mut count = || {
        let said = stage.get(&path);
        if path.starts_with("/api/users") { said["connections"].clone() } else { said["clients"].clone() }
    };
    let expected = if why.is_some() { 0 } else { 1 };
    assert_eq!(count(), json!(expected));
    if way.is_channel() {
        let heard = stage.asked(&format!("tg.presence.{subject}"), "", "m1");
        assert!(heard.contains(&format!("\"clients\":{expected}")), "a worker is told the same: {heard}");
    }
    let _left = Stage::leave(ear, way);
    stage.bench.run_for(SECOND * 10);
    assert_eq!(stage.get(&path)[if path.starts_with("/api/users") { "connections" } else { "clients" }], json!(0));
    why.map_or(Cell::Holds, Cell::DoesNotApply)
}
