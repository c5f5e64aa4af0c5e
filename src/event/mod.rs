//! Events: what observations, certificates, findings and counters become. The only place that knows ECS names.
//!
//! Every function appends one NDJSON line to a buffer that the caller reuses. The lines are pure functions of what they
//! are made of, so that workers can render them in any order. docs/EVENTS.md describes every field.

mod alert;
mod certificate;
mod context;
mod facts;
mod id;
mod json;
mod kinds;
mod memo;
mod stats;
mod tls;
mod wire;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod sample;

pub use alert::{AlertView, append_alert, display_filter};
pub use certificate::{CertificateView, Role, Side, append_certificate};
pub use context::{Context, Detail, Observer, Places};
pub use memo::Memo;
pub use stats::{StatsView, append_stats};
pub use tls::append_tls;
pub use wire::{cipher_name, version_name};

/// Version of ECS that the events follow (`ecs.version`).
pub const ECS_VERSION: &str = "9.4.0";

/// Kind of an event, as in `event.dataset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dataset {
    /// A handshake.
    Tls,
    /// A certificate in a role.
    Certificate,
    /// A finding.
    Alert,
    /// Counters.
    Stats,
}

impl Dataset {
    /// Every dataset.
    pub const ALL: [Self; 4] = [Self::Tls, Self::Certificate, Self::Alert, Self::Stats];

    /// Value of `event.dataset`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls => "tlswatch.tls",
            Self::Certificate => "tlswatch.certificate",
            Self::Alert => "tlswatch.alert",
            Self::Stats => "tlswatch.stats",
        }
    }
}
