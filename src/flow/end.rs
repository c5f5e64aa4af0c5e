//! Why a flow leaves the table.

use crate::stats::Stats;

/// Why a flow leaves the table that has not closed.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// Its time is over.
    Expired,
    /// Others need the room.
    Evicted,
    /// A new connection takes its place.
    Superseded,
    /// Nothing more comes.
    Capture,
}

impl End {
    /// The counter of such flows.
    pub(super) fn counter(self, stats: &mut Stats) -> &mut u64 {
        match self {
            Self::Expired => &mut stats.flow_expired,
            Self::Evicted => &mut stats.flow_evicted,
            Self::Superseded => &mut stats.flow_superseded,
            Self::Capture => &mut stats.flow_open,
        }
    }
}
