//! Scenes for tests of detectors: certificates made on the spot, handshakes by hand.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SerialNumber};

use super::catalogue::Effect;
use super::finding::Finding;
use super::gist::{Gist, HostMemo};
use super::hosts::sketch::stable_hash;
use super::knowledge::Knowledge;
use super::observation::{Ends, Observation};
use super::sighting::{Detector, HostKey, JudgedChain, Sighting};
use crate::packet::{Endpoint, Transport};
use crate::policy::Policy;
use crate::time::{Moment, Order, Span, Timestamp, ValidityTime};
use crate::x509::Certificate;
use crate::x509::chain::{Budget, SignatureMemo, Verifier, is_signed_by_own_key};
use crate::x509::judge::{Purpose, Question, judge};
use crate::x509::roots::{Pool, TrustAnchors};

macro_rules! date {
    ($seconds:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(u64::try_from($seconds).unwrap())
    };
}

/// Seconds of one day.
pub(crate) const DAY: i64 = 86_400;
/// Noon of 2026-03-01, shifted so that nothing lies on a whole day: when scenes begin.
pub(crate) const START: i64 = 1_772_366_777;

/// A CA.
pub(crate) struct Ca {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: Arc<Certificate>,
}

/// A certificate to be made.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) names: Vec<String>,
    pub(crate) common_name: String,
    pub(crate) organization: Option<&'static str>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) serial: Vec<u8>,
    pub(crate) key: Option<Arc<KeyPair>>,
    pub(crate) authority: bool,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_key(name, key())
    }

    pub(crate) fn with_key(name: &str, key: KeyPair) -> Self {
        Self::made(name, key, START - 2_000 * DAY)
    }

    /// Valid from this second on.
    pub(crate) fn since(name: &str, from: i64) -> Self {
        Self::made(name, key(), from)
    }

    fn made(name: &str, key: KeyPair, from: i64) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date!(from);
        params.not_after = date!(START + 4_000 * DAY);
        let certificate = parse(params.self_signed(&key).unwrap().der());
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A CA that this one signed for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| ())
    }

    /// A CA that this one signed for, with something changed about it.
    pub(crate) fn intermediate_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = key();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date!(START - 1_000 * DAY);
        params.not_after = date!(START + 2_000 * DAY);
        change(&mut params);
        let certificate = parse(params.signed_by(&key, &self.issuer).unwrap().der());
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn leaf(&self, plan: &Plan) -> Arc<Certificate> {
        let mut params = plan.params();
        params.use_authority_key_identifier_extension = plan.authority;
        parse(params.signed_by(&*plan.key(), &self.issuer).unwrap().der())
    }

    pub(crate) fn chain(&self, plan: &Plan) -> Vec<Arc<Certificate>> {
        vec![self.leaf(plan), Arc::clone(&self.certificate)]
    }
}

impl Plan {
    /// For these names, 90 days of which 20 are gone.
    pub(crate) fn of(names: &[&str]) -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut serial = vec![0x4a; 8];
        serial.extend(stable_hash(&number.to_be_bytes()).to_be_bytes());
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            common_name: names[0].to_owned(),
            organization: None,
            from: START - 20 * DAY - 777 - i64::try_from(number).unwrap(),
            to: START + 70 * DAY,
            serial,
            key: None,
            authority: true,
        }
    }

    pub(crate) fn dates(mut self, from: i64, to: i64) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    pub(crate) fn keyed(mut self, key: &Arc<KeyPair>) -> Self {
        self.key = Some(Arc::clone(key));
        self
    }

    pub(crate) fn self_signed(&self) -> Vec<Arc<Certificate>> {
        vec![parse(self.params().self_signed(&*self.key()).unwrap().der())]
    }

    fn key(&self) -> Arc<KeyPair> {
        self.key.clone().unwrap_or_else(|| Arc::new(key()))
    }

    pub(crate) fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        if let Some(organization) = self.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        (params.not_before, params.not_after) = (date!(self.from), date!(self.to));
        params.serial_number = Some(SerialNumber::from_slice(&self.serial));
        params
    }
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(crate) fn parse(der: &[u8]) -> Arc<Certificate> {
    Arc::new(Certificate::parse(der))
}

/// Anchors, policy and a clock.
pub(crate) struct Scene {
    pub(crate) anchors: Arc<TrustAnchors>,
    pub(crate) policy: Policy,
    pub(crate) knowledge: Knowledge,
    pub(crate) now: i64,
    pub(crate) offline: bool,
    frame: u64,
    memo: SignatureMemo,
}

impl Scene {
    pub(crate) fn new(roots: &[&Ca]) -> Self {
        let mut anchors = TrustAnchors::default();
        for root in roots {
            anchors.add(Arc::clone(&root.certificate));
        }
        Self {
            anchors: Arc::new(anchors),
            policy: Policy::default(),
            knowledge: Knowledge::default(),
            now: START,
            offline: true,
            frame: 0,
            memo: SignatureMemo::new(1 << 20),
        }
    }

    pub(crate) fn policy(&mut self, text: &str) {
        let known: Vec<_> = super::catalogue::rules().map(|rule| rule.known()).collect();
        self.policy = Policy::parse(text, &known).unwrap();
    }

    /// A finished handshake of TLS 1.2 now; `client` is an address in 10.0.0.0/8.
    pub(crate) fn handshake(&mut self, client: &str, server: &str, chain: &[Arc<Certificate>]) -> Observation {
        self.frame += 1;
        let at = Timestamp::new(self.now, 0);
        let moment = Moment {
            order: Order { clock: at, frame: self.frame, ordinal: 0 },
            timestamp: at,
            time_known: true,
            frame: self.frame,
            ..Moment::default()
        };
        let random = |salt: u8| {
            let mut random = [salt; 32];
            random[..8].copy_from_slice(&self.frame.to_be_bytes());
            random
        };
        let ends = Ends {
            client: Endpoint { address: client.parse().unwrap(), port: 40_000 },
            server: Endpoint { address: server.parse().unwrap(), port: 443 },
            transport: Transport::Tcp,
            virtual_network: 0,
        };
        Observation { server_chain: chain.to_vec(), ..Observation::plain(ends, moment, [random(1), random(2)]) }
    }

    /// Shows an observation of `host` to a detector.
    pub(crate) fn show(&mut self, detector: &mut dyn Detector, host: &str, observation: &Observation) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.with(host, observation, |sighting| detector.observe(sighting, &mut findings));
        findings
    }

    /// Asks something about an observation of `host`.
    pub(crate) fn with<T>(&self, host: &str, observation: &Observation, ask: impl FnOnce(&Sighting<'_>) -> T) -> T {
        let at = Some(ValidityTime(self.now));
        let name = Some(host).filter(|name| !name.contains(':'));
        let server = self.judged(&observation.server_chain, (at, name), Purpose::Server);
        self.with_judged((host, observation), server.as_ref(), ask)
    }

    /// [`with`](Self::with) what is known of the server's chain: scenes of many handshakes judge it once.
    pub(crate) fn with_judged<T>(
        &self,
        (host, observation): (&str, &Observation),
        server: Option<&JudgedChain>,
        ask: impl FnOnce(&Sighting<'_>) -> T,
    ) -> T {
        let at = Some(ValidityTime(self.now));
        let client = self.judged(&observation.client_chain, (at, None), Purpose::Client);
        let gist = Gist::of(&observation.handshake, &observation.ends, (None, &mut HostMemo::default()));
        let key = HostKey { name: host.to_owned(), port: observation.ends.server.port };
        let sighting = Sighting {
            observation,
            host: &key,
            host_text: &key.text().into(),
            name_hash: stable_hash(host.as_bytes()),
            clock: Timestamp::new(self.now, 0),
            at,
            server,
            client: client.as_ref(),
            gist: &gist,
            client_kind: gist.client_kind.as_deref(),
            policy: &self.policy,
            knowledge: &self.knowledge,
            offline: self.offline,
        };
        ask(&sighting)
    }

    /// A client gets this chain from `host` at 203.0.113.10.
    pub(crate) fn serve(
        &mut self,
        detector: &mut dyn Detector,
        (host, client): (&str, &str),
        chain: &[Arc<Certificate>],
    ) -> Vec<Finding> {
        let observation = self.handshake(client, "203.0.113.10", chain);
        self.show(detector, host, &observation)
    }

    pub(crate) fn finish(&self, detector: &mut dyn Detector) -> Vec<Finding> {
        let mut findings = Vec::new();
        detector.finish(&self.policy, &mut findings);
        findings
    }

    pub(crate) fn advance(&mut self, detector: &mut dyn Detector, seconds: i64) -> Vec<Finding> {
        self.now += seconds;
        let mut findings = Vec::new();
        let clock = Timestamp::new(self.now, 0).plus(Span::seconds(0));
        detector.advance(clock, &self.policy, &mut findings);
        findings
    }

    pub(crate) fn judged(
        &self,
        chain: &[Arc<Certificate>],
        (at, name): (Option<ValidityTime>, Option<&str>),
        purpose: Purpose,
    ) -> Option<JudgedChain> {
        if chain.is_empty() {
            return None;
        }
        let pool = Pool::new(1 << 20);
        let (anchors, memo, budget) = (&self.anchors, &self.memo, Budget::default());
        let verifier = Verifier { anchors, pool: &pool, memo, budget, purpose };
        let report = verifier.verify_chain(chain);
        let judgement = judge(&report, Question { at, name, purpose });
        let signed_by_own_key = is_signed_by_own_key(chain.first()?, &self.memo);
        Some(JudgedChain {
            leaf: Default::default(),
            expiring: Default::default(),
            wrong_usage: Default::default(),
            wrong_usage_of_ca: Default::default(),
            report,
            judgement,
            signed_by_own_key,
            presented: Default::default(),
            cause: Default::default(),
            quiet: Default::default(),
            weak_signature: Default::default(),
            factorable: Default::default(),
        })
    }
}

/// What alerts says why, in a sentence and with points, once it is written.
pub(crate) fn assert_explained(finding: &Finding) {
    let mut finding = finding.clone();
    finding.complete();
    if finding.completion.is_some() || finding.effect != Effect::Alert {
        return;
    }
    let (id, evidence) = (finding.rule.id, &finding.evidence);
    assert!(finding.message.ends_with('.'), "{id}: {}", finding.message);
    assert!(!(evidence.proofs.is_empty() && evidence.pro.is_empty()), "{id}: no evidence");
    let points = [&evidence.proofs, &evidence.pro, &evidence.contra].into_iter().flatten();
    for point in points {
        let texts = [point.observed.as_ref(), point.expected.as_ref()];
        assert!(!point.text.is_empty() && texts.into_iter().flatten().all(|text| !text.is_empty()), "{id}: {point:?}");
    }
}

/// Ids of rules, sorted, each once.
pub(crate) fn ids(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().for_each(assert_explained);
    let mut ids: Vec<_> = findings.iter().map(|finding| finding.rule.id.trim_start_matches("TLSW-")).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The first finding of a rule.
pub(crate) fn of<'a>(findings: &'a [Finding], id: &str) -> Option<&'a Finding> {
    findings.iter().find(|finding| finding.rule.id.ends_with(id))
}
