//! Options about judgement: policy, trust anchors, lists, and when alerts are told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(feature = "live")]
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};

use crate::cli::memory::Retrospect;
use crate::cli::{exit, lists};
use crate::detect::alerts::When;
use crate::detect::alerts::past::Past;
use crate::detect::catalogue::{Severity, known_rules};
use crate::detect::knowledge::Knowledge;
use crate::inventory::InventoryError;
use crate::pipeline::judgement::Judging;
use crate::policy::{MISTAKES, Policy, PolicyError};
use crate::text::printable;
use crate::x509::roots::TrustAnchors;
#[cfg(feature = "live")]
use crate::{cli::tell, pipeline::judgement::Renewal};

#[derive(Clone, Debug, Args)]
pub(crate) struct KnowledgeArguments {
    /// Policy: what this network allows, expects and knows (docs/POLICY.md)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// More trust anchors: certificates in PEM or DER (repeatable)
    #[arg(long, value_name = "FILE")]
    roots: Vec<PathBuf>,

    /// Trust none of Mozilla's roots, only those of --roots and the policy
    #[arg(long)]
    no_builtin_roots: bool,

    /// Indicators: lines of `certificate|key|ja3|ja4|name|serial|address VALUE COMMENT`
    #[arg(long, value_name = "FILE")]
    indicators: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct JudgementArguments {
    #[command(flatten)]
    knowledge: KnowledgeArguments,

    /// Exit with 3 when there is an alert of this severity or above
    #[arg(long, value_name = "LEVEL", value_enum)]
    fail_on: Option<Level>,

    /// Read only: no alerts
    #[arg(long, conflicts_with_all = ["no_key_exchange_checks", "policy", "roots", "no_builtin_roots", "indicators", "fail_on", "stream", "show_suppressed"])]
    no_judgement: bool,

    /// Verify no signatures of ServerKeyExchange and CertificateVerify: to measure, or on a machine that is too slow
    #[arg(long, hide = true)]
    no_key_exchange_checks: bool,

    /// Tell alerts as they happen, not each once at the end
    #[arg(long)]
    stream: bool,

    /// Tell alerts that the policy suppresses, too
    #[arg(long)]
    show_suppressed: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Low,
    Medium,
    High,
    Critical,
}

impl JudgementArguments {
    /// How to judge captures; `None` with `--no-judgement`.
    ///
    /// # Errors
    /// What is wrong with the files, one mistake a line.
    pub(crate) fn judging(&self) -> Result<Option<Judging>, String> {
        if self.no_judgement {
            return Ok(None);
        }
        Ok(Some(Judging {
            knowledge: Arc::new(self.knowledge.read()?),
            when: if self.stream { When::AtOnce } else { When::AtEnd },
            show_suppressed: self.show_suppressed,
            offline: true,
            proofs: !self.no_key_exchange_checks,
            backing: None,
            renewal: None,
            past: Vec::new(),
            why_not: None,
        }))
    }

    /// How to judge what is on a network: alerts are told as they happen.
    ///
    /// # Errors
    /// What is wrong with the files, one mistake a line.
    #[cfg(feature = "live")]
    pub(crate) fn judging_live(&self) -> Result<Option<Judging>, String> {
        Ok(self.judging()?.map(|judging| Judging { when: When::AtOnce, offline: false, ..judging }))
    }

    /// Reads the files anew whenever `reload` is set, and applies them to what is stored.
    #[cfg(feature = "live")]
    pub(crate) fn renewal(&self, reload: Arc<AtomicBool>, stored: Option<Retrospect>) -> Arc<dyn Renewal> {
        Arc::new(Reload { files: self.knowledge.clone(), reload, stored })
    }

    /// What the lists say of what is stored and was not told yet.
    ///
    /// # Errors
    /// When the inventory fails.
    pub(crate) fn past(&self, stored: &Retrospect, knowledge: &Knowledge) -> Result<Vec<Past>, InventoryError> {
        self.knowledge.past(stored, knowledge)
    }

    /// The exit code of a run that came to its end: what `--fail-on` waits for is graver than a capture that could not be
    /// read, or not to its end. A script would not hear of it else, and hears of the other on standard error.
    pub(crate) fn graver(&self, code: u8, gravest: Option<Severity>) -> u8 {
        if self.fails_on(gravest) { exit::ALERT } else { code }
    }

    /// Whether `--fail-on` asks for a failure.
    fn fails_on(&self, gravest: Option<Severity>) -> bool {
        let level = self.fail_on.map(|level| match level {
            Level::Low => Severity::Low,
            Level::Medium => Severity::Medium,
            Level::High => Severity::High,
            Level::Critical => Severity::Critical,
        });
        level.is_some_and(|level| gravest.is_some_and(|gravest| gravest >= level))
    }
}

impl KnowledgeArguments {
    fn past(&self, stored: &Retrospect, knowledge: &Knowledge) -> Result<Vec<Past>, InventoryError> {
        if !knowledge.has_lists() {
            return Ok(Vec::new());
        }
        let files = (self.policy.as_deref(), self.indicators.as_deref());
        stored.past(knowledge, lists::digest_of(&knowledge.policy, files))
    }

    /// Policy, anchors and lists.
    ///
    /// # Errors
    /// What is wrong with the files, one mistake a line.
    pub(crate) fn read(&self) -> Result<Knowledge, String> {
        let (policy, mut mistakes) = self.policy.as_deref().map(read_policy).transpose()?.unwrap_or_default();
        let builtin = TrustAnchors::mozilla();
        let trusted = policy.trust.builtin_roots && !self.no_builtin_roots;
        let anchors = Arc::new(if trusted { builtin.clone() } else { TrustAnchors::default() });
        let mut knowledge = Knowledge { policy, anchors, builtin, ..Knowledge::default() };
        let mut wrong = Vec::new();
        for path in &self.roots {
            wrong.extend(lists::add_roots(Arc::make_mut(&mut knowledge.anchors), path).err());
        }
        match self.indicators.as_deref().map(lists::indicators) {
            Some(Ok(list)) => knowledge.indicators.push(list),
            Some(Err(error)) => wrong.push(error),
            None => {}
        }
        if let Some(path) = &self.policy {
            mistakes.extend(lists::read_all(&mut knowledge, folder_of(path)));
            wrong.extend(in_words(path, mistakes));
        }
        if wrong.is_empty() { Ok(knowledge) } else { Err(wrong.join("\n")) }
    }
}

/// Reads the files of the policy anew when a signal asks for it.
#[cfg(feature = "live")]
#[derive(Debug)]
struct Reload {
    files: KnowledgeArguments,
    reload: Arc<AtomicBool>,
    /// What earlier runs, and this one, stored.
    stored: Option<Retrospect>,
}

#[cfg(feature = "live")]
impl Renewal for Reload {
    fn next(&self) -> Option<(Arc<Knowledge>, Vec<Past>)> {
        if !self.reload.swap(false, Ordering::AcqRel) {
            return None;
        }
        match self.files.read() {
            Ok(knowledge) => {
                tell("policy, roots and lists were read anew");
                let past = self.stored.as_ref().map(|stored| self.files.past(stored, &knowledge)).transpose();
                let past = past.unwrap_or_else(|error| {
                    tell(&printable(&format!("inventory: the lists are not applied to it: {error}")));
                    None
                });
                Some((Arc::new(knowledge), past.unwrap_or_default()))
            }
            Err(errors) => {
                errors.lines().for_each(tell);
                tell("the policy stays as it was");
                None
            }
        }
    }
}

/// Reads a policy file: what could be understood, and the mistakes in it.
pub(crate) fn read_policy(path: &Path) -> Result<(Policy, Vec<PolicyError>), String> {
    let text = std::fs::read_to_string(path).map_err(|error| cannot_read(path, &error))?;
    Ok(Policy::parse_partly(&text, &known_rules()))
}

/// The folder that paths in a policy file are relative to.
pub(crate) fn folder_of(policy: &Path) -> &Path {
    policy.parent().unwrap_or_else(|| Path::new(""))
}

/// What to say of the mistakes in a policy file, in its order: the first ones, and how many more there are.
pub(crate) fn in_words(path: &Path, mut mistakes: Vec<PolicyError>) -> Vec<String> {
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    let words = mistakes.iter().take(MISTAKES);
    let mut words: Vec<String> =
        words.map(|mistake| printable(&format!("{}: {mistake}", path.display())).into_owned()).collect();
    let more = mistakes.len().saturating_sub(MISTAKES);
    if more > 0 {
        words.push(printable(&format!("{}: at least {more} more", path.display())).into_owned());
    }
    words
}

/// What to say of a file that cannot be read.
pub(crate) fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    printable(&format!("cannot read {}: {error}", path.display())).into_owned()
}
