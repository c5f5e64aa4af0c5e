//! How findings of these rules are put together.

use std::net::IpAddr;
use std::sync::Arc;

use super::presented::{Presented, clipped, host_text};
use crate::detect::catalogue::Rule;
use crate::detect::finding::{Cause, Finding};
use crate::detect::observation::Ends;
use crate::detect::sighting::Sighting;
use crate::time::Moment;

/// Makes findings about the chain of one handshake.
#[derive(Clone, Copy, Debug)]
pub struct Reporter<'a> {
    sighting: &'a Sighting<'a>,
    new: &'a Presented,
}

impl<'a> Reporter<'a> {
    /// For this handshake.
    pub fn new(sighting: &'a Sighting<'a>, new: &'a Presented) -> Self {
        Self { sighting, new }
    }

    /// A finding; `what` completes "HOST gave client ADDRESS ..".
    #[cold]
    pub fn finding(&self, rule: &'static Rule, cause: Cause, what: String) -> Finding {
        let place = Place::of(self.sighting);
        let mut finding = place.finding((rule, cause), &what, self.new);
        finding.evidence.observed = Some(self.new.seen());
        finding
    }
}

/// Where a finding was made; owned, so that it can be held.
#[derive(Clone, Debug)]
pub struct Place {
    /// The host for people.
    pub host: Arc<str>,
    /// Both ends.
    pub ends: Ends,
    /// Place in the capture.
    pub moment: Moment,
}

impl Place {
    /// Of a handshake. Nearly all handshakes come to nothing: what makes findings stands apart from what is always run.
    #[cold]
    pub fn of(sighting: &Sighting<'_>) -> Self {
        Self {
            host: host_text(sighting),
            ends: sighting.observation.ends,
            moment: sighting.observation.handshake.first,
        }
    }

    /// A finding about a certificate; `what` completes "HOST gave client ADDRESS ..".
    #[cold]
    pub fn finding(&self, (rule, cause): (&'static Rule, Cause), what: &str, new: &Presented) -> Finding {
        let names = if self.host.starts_with("ip:") && !new.names.is_empty() {
            format!(" (for {})", some_names(&new.names))
        } else {
            String::new()
        };
        let message = format!("{} gave client {} {what}{names}.", self.host, client_text(self.ends.client.address));
        let mut finding = self.plain(rule, cause, message);
        finding.certificate = Some(Arc::clone(&new.leaf));
        finding
    }

    /// A finding with this message.
    #[cold]
    pub fn plain(&self, rule: &'static Rule, cause: Cause, message: String) -> Finding {
        let mut finding = Finding::new(rule, cause, self.moment, message);
        finding.host.clone_from(&self.host);
        finding.ends = Some(self.ends);
        finding
    }
}

/// An address for sentences.
#[cold]
pub fn client_text(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// The first three names, and how many more there are.
#[cold]
pub fn some_names(names: &[String]) -> String {
    let mut out = names.iter().take(3).map(|name| clipped(name)).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(3);
    if more > 0 {
        out.push_str(&format!(" and {more} more"));
    }
    out
}
