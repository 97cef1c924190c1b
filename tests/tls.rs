//! TLS of the running gateway as others see it: OpenSSL and sslscan tell exactly what each profile accepts; raw bytes, names
//! and rotation under load are the rows TLS-001 … TLS-013 and FLT-024 of the hostile catalogue.
#![cfg(test)]

#[path = "tls/house.rs"]
mod house;
#[path = "support/ocsp.rs"]
mod ocsp;
#[path = "tls/profiles.rs"]
mod profiles;
#[path = "tls/programs.rs"]
mod programs;
#[path = "tls/raw.rs"]
mod raw;
#[path = "tls/rotation.rs"]
mod rotation;
