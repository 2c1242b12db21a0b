//! The program `tidegate` as its users meet it: processes of it, and programs and pages that talk to them.

mod access_log;
#[path = "../process/certificate.rs"]
mod certificate;
mod cli;
#[path = "../process/command.rs"]
mod command;
mod doctor;
mod ends;
mod examples;
mod log;
mod nats;
mod page;
#[path = "../process/ports.rs"]
mod ports;
mod serve;
mod served;
mod systemd;
mod told;
