//! Two threads and a table, in every order of their steps that loom finds: with what the orderings allow a thread to see.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread::{self, JoinHandle};

use super::*;

type ModelTable = TalliesOf<AtomicU64>;

impl Word for AtomicU64 {
    fn load(&self) -> u64 {
        self.load(Acquire)
    }

    fn replace(&self, old: u64, new: u64) -> Result<u64, u64> {
        self.compare_exchange_weak(old, new, AcqRel, Acquire)
    }
}

/// More interruptions of a thread show nothing new here, and take hours.
const INTERRUPTIONS: usize = 3;

/// Tries all orders of what `model` begins.
fn in_every_order(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(INTERRUPTIONS);
    builder.check(model);
}

/// A table in which every key has the same eight places.
fn table() -> Arc<ModelTable> {
    Arc::new(TalliesOf::new(PROBES, [1, 2, 3, 4]))
}

/// So many of the places are in use for ever, by other keys.
fn crowded(count: usize) -> Arc<ModelTable> {
    let table = table();
    (0..count).for_each(|name| assert_eq!(table.acquire(table.key(&name), 1, 0), Acquired::Yes));
    table
}

fn acquiring(table: &Arc<ModelTable>, name: &'static str, most: u32) -> JoinHandle<Acquired> {
    let table = table.clone();
    thread::spawn(move || table.acquire(table.key(&name), most, 0))
}

#[test]
fn of_two_who_want_the_last_of_a_key_one_gets_it() {
    in_every_order(|| {
        let table = crowded(PROBES - 2);
        let other = acquiring(&table, "a", 1);
        let own = table.acquire(table.key(&"a"), 1, 0);
        let outcomes = [own, other.join().unwrap()];
        assert!(outcomes.contains(&Acquired::Yes) && outcomes.contains(&Acquired::AtMost), "{outcomes:?}");
        assert_eq!(table.open(), PROBES as u64 - 1);
        assert!(table.release(table.key(&"a")) && !table.release(table.key(&"a")));
    });
}

#[test]
fn of_two_keys_for_the_last_place_one_gets_it() {
    in_every_order(|| {
        let table = crowded(PROBES - 1);
        let other = acquiring(&table, "a", 9);
        let own = table.acquire(table.key(&"b"), 9, 0);
        let outcomes = [other.join().unwrap(), own];
        let taken = outcomes.iter().filter(|outcome| **outcome == Acquired::Yes).count();
        assert_eq!((taken, table.open()), (1, PROBES as u64), "{outcomes:?}");
        let released = ["a", "b"].map(|name| table.release(table.key(&name)));
        assert_eq!(released, outcomes.map(|outcome| outcome == Acquired::Yes));
    });
}

#[test]
fn a_count_is_released_once_while_another_key_wants_its_place() {
    in_every_order(|| {
        let table = crowded(PROBES - 1);
        assert_eq!(table.acquire(table.key(&"a"), 9, 0), Acquired::Yes);
        let other = acquiring(&table, "b", 9);
        assert!(table.release(table.key(&"a")), "it has one");
        let again = table.acquire(table.key(&"a"), 9, 0);
        let taken = [again, other.join().unwrap()].iter().filter(|outcome| **outcome == Acquired::Yes).count() as u64;
        assert_eq!(table.open(), PROBES as u64 - 1 + taken);
        assert!(taken <= 1, "there was one place");
    });
}

#[test]
fn two_charges_of_one_key_are_two() {
    in_every_order(|| {
        let table = crowded(PROBES - 1);
        let add = |table: &ModelTable| table.charge(table.key(&"a"), 5, |time| Ok::<_, ()>(time.max(5) + 1));
        let other = thread::spawn({
            let table = table.clone();
            move || add(&table)
        });
        let mut times = [add(&table), other.join().unwrap()];
        times.sort_by_key(|time| time.and_then(Result::ok));
        assert_eq!(times, [Some(Ok(6)), Some(Ok(7))]);
    });
}
