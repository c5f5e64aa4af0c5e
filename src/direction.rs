//! Which end of a connection sent something, before it is known who is client and who is server.

/// Which end of the canonical order of a flow sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the lower end to the upper.
    LowToHigh,
    /// From the upper end to the lower.
    HighToLow,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::LowToHigh, Self::HighToLow];

    /// The other direction.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::LowToHigh => Self::HighToLow,
            Self::HighToLow => Self::LowToHigh,
        }
    }
}

/// One value for each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerDirection<T> {
    /// Of what the lower end sends.
    pub low_to_high: T,
    /// Of what the upper end sends.
    pub high_to_low: T,
}

impl<T> PerDirection<T> {
    /// The value of `direction`.
    pub fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::LowToHigh => &self.low_to_high,
            Direction::HighToLow => &self.high_to_low,
        }
    }

    /// The value of `direction`, to change it.
    pub fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::LowToHigh => &mut self.low_to_high,
            Direction::HighToLow => &mut self.high_to_low,
        }
    }
}
