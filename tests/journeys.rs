//! Journeys over real TLS with doubles: the gateway as a process, the demo servers of the library in this process. What a
//! real server cannot be asked for is asked of these: wrong answers, hostile requests, settings that change.
#![cfg(test)]

#[path = "journeys/backend.rs"]
mod backend;
#[path = "journeys/bound.rs"]
mod bound;
#[path = "journeys/collector.rs"]
mod collector;
#[path = "journeys/credentials.rs"]
mod credentials;
#[path = "journeys/demo.rs"]
mod demo;
#[path = "journeys/disclosed.rs"]
mod disclosed;
#[path = "journeys/dpop.rs"]
mod dpop;
#[path = "journeys/guard.rs"]
mod guard;
#[path = "journeys/hostile.rs"]
mod hostile;
#[path = "journeys/house.rs"]
mod house;
#[path = "journeys/ignoring.rs"]
mod ignoring;
#[path = "journeys/issuer.rs"]
mod issuer;
#[path = "support/proof.rs"]
mod proof;
#[path = "journeys/raw.rs"]
mod raw;
#[path = "journeys/receiver.rs"]
mod receiver;
#[path = "journeys/redis_server.rs"]
mod redis_server;
#[path = "journeys/replicas.rs"]
mod replicas;
#[path = "journeys/repository.rs"]
mod repository;
#[path = "journeys/settings.rs"]
mod settings;
#[path = "journeys/sharing.rs"]
mod sharing;
#[path = "journeys/sinks.rs"]
mod sinks;
mod support;
#[path = "journeys/together.rs"]
mod together;
#[path = "journeys/traces.rs"]
mod traces;
#[path = "journeys/watched.rs"]
mod watched;
