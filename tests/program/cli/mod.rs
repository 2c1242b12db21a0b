//! The command line, as a user meets it: what it prints, where, and with which exit code.

mod check;
mod folder;
mod keys;
mod operate;
mod output;
mod program;
mod publish;
mod server;
mod subscribe;
mod trust;
mod upstream;
mod url;
mod usage;
