//! A case: an unexpected certificate with everything that speaks for and against it. Plain values, and their text.

use std::fmt::Write as _;
use std::sync::Arc;

use super::score::{LOW, Others};
use crate::detect::finding::{Evidence, KnownHost, Point, Seen};
use crate::policy::{Profile, Severity};
use crate::text::{counted, printable};
use crate::time::Timestamp;

/// The judgement of one certificate of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The host for people.
    pub host: Arc<str>,
    /// When the certificate came first.
    pub at: Timestamp,
    /// Points for minus points against.
    pub score: i32,
    /// Points that do not count for now: what others get may make them count.
    pub pending: i32,
    /// The verdict, without regard to phase and profile; `None` where nothing is wrong.
    pub severity: Option<Severity>,
    /// 0 to 100.
    pub confidence: u8,
    /// The host is not known well enough for an alert without proof.
    pub learning: bool,
    /// There was a certificate to compare with.
    pub has_baseline: bool,
    /// Proofs.
    pub proofs: Vec<Point>,
    /// What speaks for an interception.
    pub pro: Vec<Point>,
    /// What speaks against it.
    pub contra: Vec<Point>,
    /// What was known.
    pub baseline: KnownHost,
    /// What came.
    pub observed: Seen,
    /// Last second of the expected certificate.
    pub expected_until: Option<i64>,
    /// What other clients got.
    pub others: Others,
}

impl Case {
    /// More evidence may make something of it, or already does.
    pub fn is_doubtful(&self) -> bool {
        self.severity.is_some() || self.score.saturating_add(self.pending) >= LOW
    }

    /// The severity it alerts with: weak evidence only where the profile is verbose, none without proof while the host
    /// is still learned.
    pub fn alerts(&self, profile: Profile) -> Option<Severity> {
        let severity = self.severity.filter(|_| self.has_baseline)?;
        if self.proofs.is_empty() && (self.learning || (severity == Severity::Low && profile != Profile::Verbose)) {
            return None;
        }
        Some(severity)
    }

    /// For an alert.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            verdict: self.verdict().to_owned(),
            score: Some(self.score),
            proofs: self.proofs.clone(),
            pro: self.pro.clone(),
            contra: self.contra.clone(),
            baseline: Some(self.baseline.clone()),
            observed: Some(self.observed.clone()),
            next_steps: self.next_steps(),
        }
    }

    /// The conclusion in a few words.
    pub fn verdict(&self) -> &'static str {
        match self.severity {
            _ if !self.has_baseline && self.proofs.is_empty() => "nothing to compare with",
            _ if !self.proofs.is_empty() => "forged",
            Some(_) if self.is_better() => "trusted, in place of one that was not",
            Some(Severity::High | Severity::Critical) => "interception likely",
            Some(Severity::Medium) => "unexpected",
            Some(Severity::Low) => "unusual",
            None if self.contra.iter().any(|point| point.id == "B1") => "renewal with the same key",
            None if self.contra.iter().any(|point| point.id == "B2") => "renewal by the same issuer",
            None => "no alarm",
        }
    }

    /// It leads to a trust anchor, and the expected one did not.
    pub fn is_better(&self) -> bool {
        self.contra.iter().any(|point| point.id == "B12")
    }

    /// It leads to no trust anchor, and the expected one did.
    pub fn has_lost_trust(&self) -> bool {
        self.pro.iter().any(|point| point.id == "H1")
    }

    /// The kind of change (`tlswatch.change.kind`) when it does not alert.
    pub fn change_kind(&self) -> &'static str {
        let has = |id| self.contra.iter().any(|point: &Point| point.id == id);
        if has("B1") {
            "renewal_same_key"
        } else if has("B2") {
            "rotation_same_issuer"
        } else if has("B5") || has("B11") {
            "cdn_variant"
        } else if has("B7") {
            "issuer_change_public"
        } else {
            "unknown"
        }
    }

    fn next_steps(&self) -> Vec<String> {
        let fetch = format!("Fetch the certificate of {} over another network and compare its SHA-256.", self.host);
        if self.is_better() && self.proofs.is_empty() {
            let step = "If that is the trusted one, the host may have got it just now: accept it into the baseline. If \
                others go on to get the former one, look for what stands between them and the server.";
            return vec![fetch, step.to_owned()];
        }
        vec![
            fetch,
            "If the change is right, accept it into the baseline; if not, look for what stands between this client and \
             the server."
                .to_owned(),
        ]
    }

    /// The case for a terminal: verdict, points, baseline. Nothing in it can move the cursor.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _written = writeln!(out, "{}", printable(&text.to_string()));
        };
        line(format_args!("{}  {}", self.host, self.at.rfc3339()));
        let severity = self.severity.map_or("none", Severity::name);
        line(format_args!("  verdict    {} (severity {severity}, score {})", self.verdict(), self.score));
        line(format_args!("  presented  {} ({})", self.observed.sha256, self.observed.chain_status));
        line(format_args!(
            "  baseline   {}, {}, {}",
            counted(self.baseline.support, "handshake"),
            counted(self.baseline.clients, "client"),
            self.baseline.phase
        ));
        self.baseline.issuers.iter().for_each(|issuer| line(format_args!("             issued by {issuer}")));
        for (title, points) in [("proof", &self.proofs), ("for", &self.pro), ("against", &self.contra)] {
            for point in points {
                line(format_args!("  {title:<9}  {:>+4} {:<4} {}", point.points, point.id, point.text));
                let values = [("observed", &point.observed), ("expected", &point.expected)];
                for (name, value) in values {
                    if let Some(value) = value {
                        line(format_args!("                       {name}: {value}"));
                    }
                }
            }
        }
        if self.learning {
            line(format_args!("  note       the host is still being learned: only proofs alert"));
        }
        out
    }
}
