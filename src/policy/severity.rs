//! How bad a finding is.

use std::fmt;

/// Severity of a rule or a finding: the four steps that Elastic's detection engine maps (`event.severity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// 21: worth a look some day.
    Low,
    /// 47: worth a look today.
    Medium,
    /// 73: worth a look now.
    High,
    /// 99: worth waking somebody.
    Critical,
}

impl Severity {
    /// All steps, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The number of `event.severity`: 21, 47, 73 or 99.
    pub const fn number(self) -> u8 {
        match self {
            Self::Low => 21,
            Self::Medium => 47,
            Self::High => 73,
            Self::Critical => 99,
        }
    }

    /// `low`, `medium`, `high` or `critical`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The step with this number.
    pub fn of_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|step| i64::from(step.number()) == number)
    }

    /// The step with this name, in any case.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back() {
        for step in Severity::ALL {
            assert_eq!(Severity::of_number(i64::from(step.number())), Some(step));
            assert_eq!(Severity::of_name(&step.name().to_uppercase()), Some(step));
        }
        for number in [i64::MIN, -1, 0, 20, 22, 48, 74, 100, 21 + 256, i64::MAX] {
            assert_eq!(Severity::of_number(number), None);
        }
        assert!(Severity::Low < Severity::Medium && Severity::High < Severity::Critical);
    }
}
