//! The framework as a black box: over real sockets, files and processes.

#![allow(clippy::unwrap_used)] // a test that panics has failed, and says where

mod program;

mod api;
mod auth;
#[cfg(feature = "client")]
mod client;
mod db;
mod examples;
mod health;
mod http;
mod openapi;
#[cfg(feature = "auth")]
mod secure;
mod settings;
mod shop;
mod shop_domains;
mod supervision;
mod ws;
