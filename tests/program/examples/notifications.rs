//! Notifications: several devices, a worker that is killed again and again, connections that are cut.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::examples::cable::Cable;
use crate::examples::running::{PATIENCE, Running, page, program, repository};
use crate::examples::stage::Stage;

const ROUNDS: usize = 5;
/// Notifications of a round, and how many are seen when its worker dies.
const EACH: usize = 120;
const SEEN: usize = 40;
/// What a worker has published and not noted, at least, when it dies.
const UNNOTED: usize = 10;

fn worker(stage: &Stage, outbox: &Path) -> Running {
    let mut worker = Running::start(program("examples/notifications/worker.py").arg(stage.nats()).arg(outbox));
    assert!(worker.line().starts_with("notifications: working for"));
    worker
}

/// Forgets that the last were sent, as if the worker had died between that and the note of it: that is the worst moment to die,
/// and hard to hit.
fn forget_the_last(outbox: &Path) {
    let program = format!(
        "import sqlite3, sys\n\
         with sqlite3.connect(sys.argv[1]) as outbox:\n\
        \x20   last = outbox.execute('SELECT max(number) FROM outbox WHERE is_sent').fetchone()[0]\n\
        \x20   outbox.execute('UPDATE outbox SET is_sent = 0 WHERE number > ? - {UNNOTED}', (last,))\n"
    );
    let python = Command::new(repository("tests/.venv/bin/python")).arg("-c").arg(program).arg(outbox).status();
    assert!(python.expect("it runs").success());
}

struct Device {
    running: Running,
    /// Number and text of each notification, as they came.
    seen: Vec<(usize, String)>,
}

impl Device {
    fn connect(base: &str, transport: &str) -> Device {
        let mut running = Running::start(program("examples/notifications/device.mjs").args([base, "ann", transport]));
        assert_eq!(running.line(), "connected");
        Device { running, seen: Vec::new() }
    }

    fn sees(&mut self, count: usize) {
        while self.seen.len() < count {
            let line = self.running.line();
            if line == "connected" {
                continue;
            }
            let seen = line.split_once(' ').and_then(|(number, text)| Some((number.parse().ok()?, text.to_owned())));
            self.seen.push(seen.unwrap_or_else(|| panic!("{line}")));
        }
    }
}

/// An application that says something so many times, one after the other.
struct Application(Running);

impl Application {
    fn notify(stage: &Stage, text: &str, times: usize) -> Application {
        let arguments = [&stage.http(), "ann", text, &times.to_string()].map(str::to_owned);
        Application(Running::start(program("examples/notifications/notify.mjs").args(arguments)))
    }

    fn hears_accepted(mut self, times: usize) {
        for _ in 0..times {
            let line = self.0.line();
            assert!(line.starts_with("accepted: /notifications/"), "{line}");
        }
        self.0.ends_well();
    }
}

fn outbox(driver: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("notifications-{driver}"));
    // Of an earlier run, if there was one.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join("outbox.sqlite")
}

fn each_device_sees_each_once(driver: &str) {
    let stage = Stage::start("notifications", driver);
    let outbox = outbox(driver);
    let cable = Cable::to(&stage.front);
    let far = format!("http://{}", cable.address);
    let mut devices = [(stage.http(), "sse"), (stage.http(), "websocket"), (far.clone(), "sse"), (far, "websocket")]
        .map(|(base, transport)| Device::connect(&base, transport));
    for round in 0..ROUNDS {
        let worker = worker(&stage, &outbox);
        let application = Application::notify(&stage, &format!("round {round}"), EACH);
        devices[0].sees(round * EACH + SEEN);
        if round % 2 == 1 {
            cable.pull();
        } else {
            devices.iter_mut().for_each(|device| device.sees(round * EACH + SEEN));
        }
        drop(worker);
        forget_the_last(&outbox);
        application.hears_accepted(EACH);
        if round % 2 == 1 {
            cable.plug_in();
        }
    }
    let _worker = worker(&stage, &outbox);
    for device in &mut devices {
        device.sees(ROUNDS * EACH);
        let numbers = device.seen.iter().map(|(number, _)| *number);
        assert!(numbers.eq(1..=ROUNDS * EACH), "each once, in order: {:?}", device.seen);
    }
    assert!(devices.iter().all(|device| device.seen == devices[0].seen), "the same on each device");
    let texts: HashSet<&str> = devices[0].seen.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts.len(), ROUNDS * EACH, "nothing that was accepted is lost, and nothing was said twice");
    // The devices may have seen everything before the last worker has repeated what was not noted.
    let (until, least) = (Instant::now() + PATIENCE, (ROUNDS * UNNOTED) as u64);
    loop {
        let suppressed = stage.count("tidegate_messages_lost_total", "reason=\"duplicate\"");
        if suppressed >= least {
            break;
        }
        assert!(Instant::now() < until, "{suppressed} came again");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_device_sees_each_notification_once_although_the_worker_dies_on_epoll() {
    each_device_sees_each_once("epoll");
}

#[test]
fn each_device_sees_each_notification_once_although_the_worker_dies_on_uring() {
    each_device_sees_each_once("uring");
}

#[test]
fn a_tab_shows_notifications() {
    let stage = Stage::start("notifications", "auto");
    let _worker = worker(&stage, &outbox("tab"));
    let mut tab = page("tab", &stage.http());
    assert_eq!(tab.line(), "connected");
    Application::notify(&stage, "hello", 3).hears_accepted(3);
    assert_eq!(tab.line(), "hello (3), hello (2), hello (1)");
    tab.ends_well();
}
