//! The framework as a black box: over real sockets, files and processes.

mod db;
mod settings;
