//! Settings of rules: which a rule has, and which values they may take.

/// What the policy must know of a rule to check what is said about it. The catalogue of rules gives these.
#[derive(Clone, Copy, Debug)]
pub struct KnownRule {
    /// `TLSW-MITM-003`.
    pub id: &'static str,
    /// `leaf-signed-by-own-key`.
    pub slug: &'static str,
    /// The settings it takes beside `enabled`.
    pub settings: &'static [Setting],
}

/// One setting of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Key in the policy file.
    pub name: &'static str,
    /// Kind and default.
    pub kind: SettingKind,
    /// What it changes, one phrase.
    pub meaning: &'static str,
}

/// Kind of a setting, with its default and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// An integer from `least` to `most`.
    Number {
        /// Value where the policy says nothing.
        default: i64,
        /// Smallest value allowed.
        least: i64,
        /// Largest value allowed.
        most: i64,
    },
    /// One to eight integers from `least` to `most`, falling.
    Numbers {
        /// Values where the policy says nothing.
        default: &'static [i64],
        /// Smallest value allowed.
        least: i64,
        /// Largest value allowed.
        most: i64,
    },
    /// A length of time such as `"15m"`; the default is in seconds.
    Duration {
        /// Seconds where the policy says nothing.
        default: i64,
    },
    /// `true` or `false`.
    Flag {
        /// Value where the policy says nothing.
        default: bool,
    },
}

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// An integer.
    Number(i64),
    /// A falling list of integers.
    Numbers(Vec<i64>),
    /// Seconds.
    Duration(i64),
    /// Yes or no.
    Flag(bool),
}

impl SettingKind {
    /// The value where the policy says nothing.
    pub fn default_value(self) -> SettingValue {
        match self {
            Self::Number { default, .. } => SettingValue::Number(default),
            Self::Numbers { default, .. } => SettingValue::Numbers(default.to_vec()),
            Self::Duration { default } => SettingValue::Duration(default),
            Self::Flag { default } => SettingValue::Flag(default),
        }
    }

    /// What may stand in the file, for error messages.
    pub fn expectation(self) -> String {
        match self {
            Self::Number { least, most, .. } => format!("an integer from {least} to {most}"),
            Self::Numbers { least, most, .. } => {
                format!("a falling list of one to eight integers from {least} to {most}")
            }
            Self::Duration { .. } => "a duration such as \"15m\" (s, m, h, d)".to_owned(),
            Self::Flag { .. } => "true or false".to_owned(),
        }
    }
}
