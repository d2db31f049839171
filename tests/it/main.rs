//! The framework as a black box: over real sockets, files and processes.

#![allow(clippy::unwrap_used)] // a test that panics has failed, and says where

mod program;
#[cfg(all(feature = "client", feature = "tls"))]
mod authority;

mod api;
mod auth;
#[cfg(feature = "client")]
mod client;
mod db;
mod draining;
mod examples;
mod health;
mod http;
#[cfg(target_os = "linux")]
mod listening;
mod openapi;
#[cfg(feature = "auth")]
mod secure;
mod settings;
mod shop;
mod shop_domains;
mod sse;
#[cfg(feature = "testing")]
mod supervision;
#[cfg(all(feature = "auth", feature = "testing"))]
mod testing;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix_socket;
#[cfg(feature = "client")]
mod tracing;
mod ws;
