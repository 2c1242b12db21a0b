//! Which benchmarks run, with which options: short for every day, long for the marks.

use crate::road;
use crate::runs::Record;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Everything once, small and brief: under ten minutes in all.
    Short,
    /// The sizes and times of the marks: more than an hour.
    Long,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Form::Short => "short",
            Form::Long => "long",
        }
    }

    pub fn of(name: &str) -> Option<Form> {
        [Form::Short, Form::Long].into_iter().find(|form| form.name() == name)
    }
}

/// Stands for as many connections as the machine can hold, by what was measured before.
const LARGEST: &str = "{largest}";

/// One benchmark with its options, in which [`LARGEST`] may stand.
pub struct Planned {
    /// What the page calls it by.
    pub name: &'static str,
    bench: &'static str,
    /// Options of both forms.
    both: &'static str,
    /// `None`: it has no short form.
    short: Option<&'static str>,
    long: &'static str,
}

pub const PLAN: &[Planned] = &[
    Planned {
        name: "connections",
        bench: "connections",
        both: "--kind both",
        short: Some("--connections 2000 --quiet 2 --burst 3"),
        long: "--connections 15000",
    },
    Planned {
        name: "connections-ws",
        bench: "connections",
        both: "--kind ws --without-peers",
        short: None,
        long: "--connections 15000",
    },
    Planned {
        name: "connections-sse",
        bench: "connections",
        both: "--kind sse --without-peers",
        short: None,
        long: "--connections 15000",
    },
    Planned {
        name: "connections-100000",
        bench: "connections",
        both: "--connections 100000",
        short: None,
        long: "--transport tls --without-peers",
    },
    Planned {
        name: "hold",
        bench: "connections",
        both: "--kind both --transport tls --without-peers",
        short: Some("--connections 2000 --hold 5 --every 2"),
        long: "--connections 100000 --hold 300 --every 10",
    },
    Planned {
        name: "fanout",
        bench: "fanout",
        both: "",
        short: Some("--subscribers 1000 --seconds 2"),
        long: "--subscribers 10000 --seconds 3 --runs 5",
    },
    Planned {
        name: "fanout-tls",
        bench: "fanout",
        both: "--tls",
        short: Some("--subscribers 1000 --seconds 2"),
        long: "--subscribers 10000 --seconds 3 --runs 5",
    },
    Planned {
        name: "fanout-one",
        bench: "fanout",
        both: "--channels 1 --rate 1",
        short: Some("--subscribers 2500 --seconds 3"),
        long: "--subscribers 25000 --seconds 20",
    },
    Planned {
        name: "fanout-fifty",
        bench: "fanout",
        both: "--channels 50 --rate 1",
        short: Some("--subscribers 2500 --seconds 3"),
        long: "--subscribers 25000 --seconds 20",
    },
    Planned { name: "echo", bench: "echo", both: "", short: Some("--seconds 1"), long: "--seconds 2 --runs 5" },
    Planned { name: "proxy", bench: "proxy", both: "", short: Some("--seconds 1"), long: "--seconds 3 --runs 3" },
    Planned {
        name: "tunnel",
        bench: "tunnel",
        both: "",
        short: Some("--connections 2000 --seconds 1"),
        long: "--seconds 3 --runs 3",
    },
    Planned {
        name: "handshake",
        bench: "handshake",
        both: "",
        short: Some("--connects 1000"),
        long: "--connects 5000 --runs 3",
    },
    Planned {
        name: "storm",
        bench: "storm",
        both: "",
        short: Some("--live 1000 --others 2000 --seconds 2"),
        long: "--live 10000 --others 50000 --rate 10000 --seconds 30",
    },
    Planned {
        name: "storm-cut",
        bench: "storm",
        both: "--cut",
        short: Some("--live 1000 --others 2000 --seconds 2 --jitter 1"),
        long: "--live 5000 --others 20000 --rate 5000 --seconds 30 --jitter 5",
    },
    Planned {
        name: "storm-cut-resume",
        bench: "storm",
        both: "--cut --resume",
        short: None,
        long: "--live 5000 --others 20000 --rate 5000 --seconds 30 --jitter 5",
    },
    Planned {
        name: "slow",
        bench: "slow",
        both: "",
        short: Some("--subscribers 500 --seconds 3"),
        long: "--subscribers 10000 --rate 5 --seconds 15",
    },
    Planned { name: "bystander", bench: "bystander", both: "--seconds 3", short: None, long: "" },
    Planned {
        name: "location",
        bench: "location",
        both: "",
        short: Some("--riders 5000 --seconds 3"),
        long: "--riders 50000 --seconds 30",
    },
    Planned { name: "location-floor", bench: "location", both: "", short: None, long: "--riders 15000 --seconds 30" },
    Planned { name: "instructions", bench: "instructions", both: "", short: Some(""), long: "" },
    Planned {
        name: "largest",
        bench: "connections",
        both: "--kind both --transport tls --driver uring --without-peers",
        short: None,
        long: "--connections {largest} --hold 60 --every 60 --heartbeat 600",
    },
];

/// What a run is started with.
pub struct Order {
    pub name: &'static str,
    bench: &'static str,
    options: Vec<String>,
}

impl Planned {
    /// What to try, one after the other until it succeeds: one order, or for `{largest}` half as many each time. None if
    /// this form leaves the run out.
    pub fn orders(&self, form: Form, measured: Option<&Record>) -> Vec<Order> {
        let own = if form == Form::Long { Some(self.long) } else { self.short };
        let Some(own) = own else { return Vec::new() };
        let words: Vec<&str> = self.both.split_whitespace().chain(own.split_whitespace()).collect();
        let mut numbers = road::largest(measured);
        if !words.contains(&LARGEST) {
            numbers.truncate(1);
        }
        let filled = |number: &u64| words.iter().map(|word| word.replace(LARGEST, &number.to_string())).collect();
        numbers.iter().map(|number| Order { name: self.name, bench: self.bench, options: filled(number) }).collect()
    }
}

impl Order {
    /// What cargo is told.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        let head = ["bench", "--quiet", "--bench", self.bench, "--", "--json"];
        head.into_iter().chain(self.options.iter().map(String::as_str))
    }

    /// What a person types to see the same as a table.
    pub fn command(&self) -> String {
        let separator = if self.options.is_empty() { "" } else { " -- " };
        format!("cargo bench --bench {}{separator}{}", self.bench, self.options.join(" "))
    }
}
