//! A merged policy with every value decided: what the parts of a handler at work read.

use std::sync::Arc;
use std::time::Duration;

use crate::layer::retry::RetryRules;
use crate::policy::{Instances, Overflow, Restart};

/// What one handler lives by.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) queue_max: usize,
    pub(crate) overflow: Overflow,
    pub(crate) concurrency: usize,
    pub(crate) instances: Instances,
    pub(crate) ordered_by_key: bool,
    pub(crate) parks_key: bool,
    pub(crate) priority: Option<i32>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) stuck_after: Duration,
    pub(crate) retry: RetryRules,
    pub(crate) restart: RestartRules,
    pub(crate) blocking: Option<usize>,
}

impl Rules {
    /// On how many threads of its own it runs.
    pub(crate) fn threads(&self) -> Option<usize> {
        match self.instances {
            Instances::Threads(threads) => self.blocking.or(Some(threads)),
            Instances::One | Instances::PerWorker => self.blocking,
        }
    }
}

/// When an actor that ended is built again.
#[derive(Clone, Debug)]
pub(crate) struct RestartRules {
    pub(crate) restart: Restart,
    pub(crate) max: u32,
    pub(crate) within: Duration,
    pub(crate) delay: Duration,
    pub(crate) delay_max: Duration,
}
