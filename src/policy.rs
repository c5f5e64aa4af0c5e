//! What the owner of the network allows, expects and knows: the policy file.

mod setting;
mod severity;

pub use setting::{KnownRule, Setting, SettingKind, SettingValue};
pub use severity::Severity;
