//! The MITRE ATT&CK techniques that rules tell of.

/// The release of ATT&CK for Enterprise whose numbers, names and tactics these are. Release 19 divided the tactic
/// Defense Evasion into Stealth and Defense Impairment, and made T1562.010 a technique of its own, T1689.
pub const ATTACK_VERSION: &str = "19";

/// A technique or sub-technique of ATT&CK for Enterprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Technique {
    /// `T1557` or `T1552.004` (`threat.technique.id`).
    pub id: &'static str,
    /// Name; of a sub-technique with its technique's before it.
    pub name: &'static str,
    /// Tactics it serves (`threat.tactic.name`).
    pub tactics: &'static [&'static str],
}

impl Technique {
    /// Its page (`threat.technique.reference`).
    pub fn reference(&self) -> String {
        format!("https://attack.mitre.org/techniques/{}/", self.id.replace('.', "/"))
    }
}

pub(super) const ADVERSARY_IN_THE_MIDDLE: Technique =
    Technique { id: "T1557", name: "Adversary-in-the-Middle", tactics: &["Credential Access", "Collection"] };
pub(super) const FORGE_CERTIFICATES: Technique =
    Technique { id: "T1649", name: "Steal or Forge Authentication Certificates", tactics: &["Credential Access"] };
pub(super) const OBTAIN_CERTIFICATES: Technique = Technique {
    id: "T1588.004",
    name: "Obtain Capabilities: Digital Certificates",
    tactics: &["Resource Development"],
};
pub(super) const DEVELOP_CERTIFICATES: Technique = Technique {
    id: "T1587.003",
    name: "Develop Capabilities: Digital Certificates",
    tactics: &["Resource Development"],
};
pub(super) const PRIVATE_KEYS: Technique =
    Technique { id: "T1552.004", name: "Unsecured Credentials: Private Keys", tactics: &["Credential Access"] };
pub(super) const INSTALL_ROOT: Technique = Technique {
    id: "T1553.004",
    name: "Subvert Trust Controls: Install Root Certificate",
    tactics: &["Defense Impairment"],
};
pub(super) const WEAKEN_ENCRYPTION: Technique =
    Technique { id: "T1600", name: "Weaken Encryption", tactics: &["Defense Impairment"] };
pub(super) const DOWNGRADE: Technique =
    Technique { id: "T1689", name: "Downgrade Attack", tactics: &["Defense Impairment"] };
pub(super) const TRUSTED_RELATIONSHIP: Technique =
    Technique { id: "T1199", name: "Trusted Relationship", tactics: &["Initial Access"] };
pub(super) const VALID_ACCOUNTS: Technique = Technique {
    id: "T1078",
    name: "Valid Accounts",
    tactics: &["Initial Access", "Persistence", "Privilege Escalation", "Stealth"],
};
pub(super) const WEB_PROTOCOLS: Technique =
    Technique { id: "T1071.001", name: "Application Layer Protocol: Web Protocols", tactics: &["Command and Control"] };
pub(super) const ASYMMETRIC_CHANNEL: Technique = Technique {
    id: "T1573.002",
    name: "Encrypted Channel: Asymmetric Cryptography",
    tactics: &["Command and Control"],
};
