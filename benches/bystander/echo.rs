//! The bystander: one WebSocket, whose messages come back to it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tidegate_bench::load::{TEXT, write_client_frame};
use tidegate_bench::options::Transport;
use tidegate_bench::process::Process;

use crate::strangers::socket::open_websocket;

/// Between two messages.
const INTERVAL: Duration = Duration::from_millis(5);
/// How long the last messages of a phase are waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// A longer latency counts as this.
const LATENCY_MICROS_MAX: u64 = 600_000_000;
/// Of a message: the number of the message, in digits.
const PAYLOAD_BYTES: usize = 8;

pub struct Bystander {
    socket: TcpStream,
    /// Bytes that are no whole frame yet.
    carry: Vec<u8>,
    /// Messages of all phases.
    sent: u32,
}

/// The outcome of the messages of a phase.
pub struct Echoes {
    /// Microseconds from when a message was due to when it was back.
    latency: Histogram<u64>,
    pub lost: u64,
}

impl Echoes {
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }
}

impl Bystander {
    pub fn connect(process: &Process) -> Result<Bystander, String> {
        let socket = open_websocket(process.front(Transport::Plain)?, "/room/bystander")
            .map_err(|error| format!("the bystander did not connect: {error}"))?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(|error| format!("the bystander's socket: {error}"))?;
        Ok(Bystander { socket, carry: Vec::new(), sent: 0 })
    }

    /// Sends a message each interval, and waits for all of them.
    pub fn echo(&mut self, duration: Duration) -> Result<Echoes, String> {
        let count = (duration.as_micros() / INTERVAL.as_micros()) as u32;
        let first = self.sent;
        self.sent += count;
        let start = Instant::now();
        let latency =
            Histogram::new_with_max(LATENCY_MICROS_MAX, 3).map_err(|error| format!("a histogram: {error}"))?;
        let mut echoes = Echoes { latency, lost: count.into() };
        let socket = self.socket.try_clone().map_err(|error| format!("the bystander's socket: {error}"))?;
        let outcome = thread::scope(|scope| {
            let sender = scope.spawn(move || send(socket, start, first, count));
            let heard = self.hear(first, count, start, &mut echoes);
            sender.join().unwrap_or(Ok(())).and(heard)
        });
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                Err(format!("the bystander lost its connection: {error}"))
            }
            // Echoes that have not arrived by now count as lost.
            _ => Ok(echoes),
        }
    }

    fn hear(&mut self, first: u32, count: u32, start: Instant, echoes: &mut Echoes) -> io::Result<()> {
        let mut chunk = [0; 4096];
        while echoes.lost > 0 {
            let read = self.socket.read(&mut chunk)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.carry.extend_from_slice(&chunk[..read]);
            while let Some((head, payload_bytes)) =
                self.carry.first_chunk().map(|[head, len]| (*head, usize::from(*len)))
                && self.carry.len() >= 2 + payload_bytes
            {
                let frame: Vec<u8> = self.carry.drain(..2 + payload_bytes).collect();
                if head != TEXT {
                    continue;
                }
                let number: Option<u32> = str::from_utf8(&frame[2..]).ok().and_then(|digits| digits.parse().ok());
                let number = number.ok_or_else(|| io::Error::other("an echo that was not sent"))?;
                // Of an earlier phase, if it came too late for that.
                if let Some(number) = number.checked_sub(first).filter(|number| *number < count) {
                    let micros = start.elapsed().saturating_sub(INTERVAL * number).as_micros() as u64;
                    echoes.latency.saturating_record(micros);
                    echoes.lost -= 1;
                }
            }
        }
        Ok(())
    }
}

fn send(mut socket: TcpStream, start: Instant, first: u32, count: u32) -> io::Result<()> {
    let mut frame = Vec::new();
    for number in 0..count {
        thread::sleep((start + INTERVAL * number).saturating_duration_since(Instant::now()));
        frame.clear();
        write_client_frame(&mut frame, TEXT, format!("{:0PAYLOAD_BYTES$}", first + number).as_bytes());
        socket.write_all(&frame)?;
    }
    Ok(())
}
