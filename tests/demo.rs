#![cfg(test)]
//! The demo servers over real HTTP on loopback: they must be honest doubles before anything is tested against them.

#[path = "demo/client.rs"]
mod client;
#[path = "demo/login.rs"]
mod login;
#[path = "demo/records.rs"]
mod records;
#[path = "demo/trouble.rs"]
mod trouble;
