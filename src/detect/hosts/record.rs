//! What is remembered of one host: plain values that can be stored and given back.

use serde::{Deserialize, Serialize};

use super::key_choice::is_rsa;
use super::presented::Presented;
use super::sketch::{address_hash, estimate, least_of_full, mark, subnet_hash};
use crate::detect::finding::KnownHost;
use crate::detect::observation::Ends;
use crate::detect::sighting::HostKey;
use crate::time::{NANOS_PER_SECOND, Timestamp};
use crate::x509::Sha256;

/// Certificates remembered per host; beyond, the one not seen for the longest time leaves.
pub const MAX_CERTIFICATES: usize = 16;
/// Issuers remembered per host.
pub const MAX_ISSUERS: usize = 8;
/// Kinds of clients whose answers are remembered per host.
pub const MAX_STACKS: usize = 16;
/// Answers of one kind before another kind is a change.
const STEADY: u8 = 10;
/// Handshakes from which a host counts as established.
pub const ESTABLISHED_SUPPORT: u32 = 30;
const DAY: i64 = 86_400 * NANOS_PER_SECOND;
const HOUR: i64 = 3_600 * NANOS_PER_SECOND;
const MONTH: i64 = 30 * DAY;

/// The baseline of one host. Times are nanoseconds of packet time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Name part of the [`HostKey`].
    pub name: Box<str>,
    /// Port part.
    pub port: u16,
    /// First handshake with a certificate.
    pub first: i64,
    /// Last one.
    pub last: i64,
    /// How many there were.
    pub support: u32,
    /// Sketch of all clients.
    pub clients: [u64; 8],
    /// Its certificates, also those that are not accepted.
    pub certificates: Vec<KnownCertificate>,
    /// Keys that issued the accepted ones.
    pub issuers: Vec<KnownIssuer>,
    /// When the last three self-signed or private certificates replaced others.
    pub rotations: [i64; 3],
    /// How the server answered each kind of client.
    #[serde(default)]
    pub stacks: Vec<KnownStack>,
    /// How long it took to answer.
    #[serde(default)]
    pub answers: Answers,
}

/// How a host answers one kind of client: a fingerprint of its ServerHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownStack {
    /// Hash of the client's JA4.
    pub kind: u32,
    /// Hash of the answer.
    pub stack: u32,
    /// How often it was seen, less how often another one was.
    pub count: u8,
}

/// The times from hello to answer over those from SYN to SYN-ACK, in sixteenths: how many lie between each power of two
/// and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// The lowest first.
    pub buckets: [u8; 16],
}

/// How one handshake was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Hashes of the client's JA4 and of the answer to it; `None` without either hello.
    pub stack: Option<(u32, u32)>,
    /// Nanoseconds from hello to answer and from SYN to SYN-ACK; `None` where either was not seen.
    pub times: Option<(i64, i64)>,
}

impl Answers {
    /// Handshakes before which nothing is usual.
    const LEAST: u32 = 5;
    /// An answer must be late by so many nanoseconds.
    const LATE: i64 = 5_000_000;

    fn note(&mut self, (answer, round_trip): (i64, i64)) {
        let sixteenths = answer.saturating_mul(16).checked_div(round_trip).unwrap_or(i64::MAX).max(1);
        let place = usize::try_from(sixteenths.ilog2()).unwrap_or(usize::MAX).min(15);
        if self.buckets.contains(&u8::MAX) {
            self.buckets.iter_mut().for_each(|count| *count /= 2);
        }
        if let Some(count) = self.buckets.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    /// Five times as slow as nineteen of twenty answers, and by more than five milliseconds.
    pub fn is_slow(&self, (answer, round_trip): (i64, i64)) -> bool {
        let all: u32 = self.buckets.iter().map(|count| u32::from(*count)).sum();
        let mut sum = 0;
        let most = self.buckets.iter().position(|count| {
            sum += u32::from(*count);
            sum * 20 >= all * 19
        });
        let edge = most.and_then(|place| u32::try_from(place).ok()).map_or(0, |place| 2_i64 << place);
        let usual = round_trip.saturating_mul(edge) / 16;
        round_trip > 0
            && all >= Self::LEAST
            && answer >= usual.saturating_mul(5)
            && answer.saturating_sub(usual) > Self::LATE
    }
}

/// A key that issued certificates of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownIssuer {
    /// See [`Presented::issuer`].
    pub key: [u8; 32],
    /// Hash of the authority key identifier in its leaves; 0 without.
    pub authority: u64,
    /// Its name.
    pub text: Box<str>,
}

/// Whether a certificate belongs to what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It does.
    Accepted,
    /// More evidence is waited for.
    Held,
    /// It raised evidence of medium severity or more.
    Suspect,
}

/// When the validity of a certificate begins, beside that of its issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Made {
    /// It says nothing, or it is not known.
    #[default]
    Otherwise,
    /// At the same time, as installers and devices make them; or it is its own issuer.
    WithIssuer,
    /// Before: the dates are those of another one.
    BeforeIssuer,
}

/// One certificate of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownCertificate {
    /// SHA-256 of the DER.
    pub sha256: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki: [u8; 32],
    /// See [`Presented::issuer`].
    pub issuer: [u8; 32],
    /// The names.
    pub names: NameSet,
    /// The last 20 octets of the serial number, right-aligned.
    pub serial: [u8; 20],
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
    /// First sight.
    pub first: i64,
    /// Last sight.
    pub last: i64,
    /// Sights.
    pub count: u32,
    /// About bits of symmetric strength of the key.
    pub strength: u16,
    /// Whether it is expected.
    pub standing: Standing,
    /// Trusted: by a public root or an internal CA.
    pub trusted: bool,
    /// By a public root.
    pub public: bool,
    /// Self-signed.
    pub self_signed: bool,
    /// It came with signed certificate timestamps.
    pub sct: bool,
    /// It matches the name of the host.
    pub name_matches: bool,
    /// RSA key, for pairs of RSA and ECDSA.
    pub rsa: bool,
    /// When it was made, beside its issuer.
    #[serde(default)]
    pub made: Made,
    /// Sketch of clients.
    pub clients: [u64; 2],
    /// Sketch of their subnets.
    pub subnets: u64,
    /// Sketch of the subnets of servers.
    pub servers: u64,
    /// Sketch of kinds of clients.
    pub shapes: u64,
    /// The hour that the first of each pair below is about, counted from the epoch; the second is the hour before.
    pub hour: i32,
    /// Clients of this and of the last hour.
    pub hour_clients: [[u64; 2]; 2],
    /// Subnets of this and of the last hour.
    pub hour_subnets: [u64; 2],
    /// Handshakes of this and of the last hour.
    pub hour_counts: [u16; 2],
    /// Where the filter of its clients is, if there are many: see [`Crowds`](super::crowd::Crowds).
    #[serde(skip)]
    pub crowd: u16,
}

/// Who got a certificate in this and the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lately {
    /// Sketch of clients.
    pub clients: [u64; 2],
    /// Sketch of their subnets.
    pub subnets: u64,
    /// Handshakes.
    pub count: u32,
}

/// A set of names: size, sum of hashes, and the eight smallest hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameSet {
    /// How many.
    pub count: u16,
    /// Sum of all hashes: equal sets have equal sums.
    pub sum: u64,
    /// The smallest upper halves of the hashes, ascending, `u32::MAX` where there are none.
    pub smallest: [u32; 8],
}

/// How much is known of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Too little.
    Learning,
    /// Enough to be surprised.
    Established,
    /// It makes new certificates all the time.
    Volatile,
    /// It has several certificates at once.
    Multi,
}

impl Phase {
    /// `learning`, `established`, `volatile` or `multi`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Established => "established",
            Self::Volatile => "volatile",
            Self::Multi => "multi",
        }
    }
}

impl NameSet {
    /// The set of these hashes, each given once.
    pub fn of(hashes: &[u64]) -> Self {
        let mut upper: Vec<u32> = hashes.iter().map(|hash| u32::try_from(hash >> 32).unwrap_or(0)).collect();
        upper.sort_unstable();
        let mut smallest = [u32::MAX; 8];
        smallest.iter_mut().zip(upper).for_each(|(place, hash)| *place = hash);
        Self {
            count: u16::try_from(hashes.len()).unwrap_or(u16::MAX),
            sum: hashes.iter().fold(0, |sum, hash| sum.wrapping_add(*hash)),
            smallest,
        }
    }

    /// At least half of the names of the smaller set are in the other (of the eight compared).
    pub fn overlaps(&self, other: &Self) -> bool {
        let mine = self.smallest.iter().take(self.count.into());
        let theirs: Vec<u32> = other.smallest.iter().take(other.count.into()).copied().collect();
        let common = mine.filter(|hash| theirs.contains(hash)).count();
        let least = usize::from(self.count.min(other.count)).min(8);
        least > 0 && common * 2 >= least
    }
}

impl KnownCertificate {
    /// A certificate at its first sight.
    pub fn new(presented: &Presented, standing: Standing, at: Timestamp) -> Self {
        Self {
            sha256: presented.leaf.sha256.0,
            spki: presented.spki.0,
            issuer: presented.issuer.key.0,
            names: NameSet::of(&presented.name_hashes()),
            serial: presented.serial,
            not_before: presented.not_before,
            not_after: presented.not_after,
            first: at.nanos(),
            last: at.nanos(),
            count: 0,
            strength: presented.strength,
            standing,
            trusted: presented.is_trusted(),
            public: presented.public,
            self_signed: presented.self_signed,
            sct: presented.has_sct(),
            name_matches: presented.name_matches == Some(true),
            rsa: is_rsa(presented.kind),
            made: presented.made,
            clients: [0; 2],
            subnets: 0,
            servers: 0,
            shapes: 0,
            hour: 0,
            hour_clients: [[0; 2]; 2],
            hour_subnets: [0; 2],
            hour_counts: [0; 2],
            crowd: 0,
        }
    }

    /// One more sight, or (not `new`) one that was counted before.
    pub fn count(&mut self, ends: &Ends, at: Timestamp, new: bool) {
        self.count = self.count.saturating_add(u32::from(new));
        self.last = self.last.max(at.nanos());
        let client = address_hash(ends.client.address);
        let subnet = subnet_hash(ends.client.address);
        mark(&mut self.clients, client);
        mark(std::slice::from_mut(&mut self.subnets), subnet);
        mark(std::slice::from_mut(&mut self.servers), subnet_hash(ends.server.address));
        if !new {
            return;
        }
        self.turn(at);
        self.hour_counts[0] = self.hour_counts[0].saturating_add(1);
        mark(&mut self.hour_clients[0], client);
        mark(std::slice::from_mut(&mut self.hour_subnets[0]), subnet);
    }

    /// Clients and subnets that got it in this and the last hour.
    pub fn recent(&self, at: Timestamp) -> (u32, u32) {
        let lately = self.lately(at);
        (estimate(&lately.clients), estimate(&[lately.subnets]))
    }

    /// What is counted by the hour goes no further than the hour of this time.
    pub fn is_of_hour(&self, at: Timestamp) -> bool {
        i64::from(self.hour) <= at.nanos().div_euclid(HOUR)
    }

    /// Who got it in this and the last hour.
    pub fn lately(&self, at: Timestamp) -> Lately {
        let ahead = i32::try_from(at.nanos().div_euclid(HOUR)).unwrap_or(0).saturating_sub(self.hour);
        // As `turn` does it.
        let hours = match ahead {
            -1 | 0 => 2,
            1 => 1,
            _ => 0,
        };
        let mut out = Lately::default();
        let all = self.hour_clients.iter().zip(self.hour_subnets).zip(self.hour_counts);
        for (([first, second], subnets), count) in all.take(hours) {
            out.clients = [out.clients[0] | first, out.clients[1] | second];
            out.subnets |= subnets;
            out.count = out.count.saturating_add(count.into());
        }
        out
    }

    /// Of one that was just counted: whether its clients of this and the last hour lie in so few subnets.
    pub fn is_within(&self, subnets: usize) -> bool {
        let marked = (self.hour_subnets[0] | self.hour_subnets[1]).count_ones();
        usize::try_from(marked).is_ok_and(|marked| marked <= subnets)
    }

    /// Whether it was valid at a time (seconds).
    pub fn is_valid_at(&self, seconds: i64) -> bool {
        (self.not_before..=self.not_after).contains(&seconds)
    }

    /// It has a name in common with this one, whose ClientHello was not seen, or both have none. Of its own names the eight
    /// that are kept are compared: how many more either has is for whoever made it to choose.
    pub fn is_for(&self, presented: &Presented) -> bool {
        let mut names = self.names.smallest.iter().take(self.names.count.into());
        names.any(|name| presented.kin.binary_search(name).is_ok())
            || (self.names.count == 0 && presented.names.is_empty())
    }

    fn turn(&mut self, at: Timestamp) {
        let hour = i32::try_from(at.nanos().div_euclid(HOUR)).unwrap_or(0);
        let ahead = hour.saturating_sub(self.hour);
        if ahead == 1 {
            self.hour_clients = [[0; 2], self.hour_clients[0]];
            self.hour_subnets = [0, self.hour_subnets[0]];
            self.hour_counts = [0, self.hour_counts[0]];
        } else if !(-1..=0).contains(&ahead) {
            // Far back only another capture goes, which is read after a later one.
            self.hour_clients = [[0; 2]; 2];
            self.hour_subnets = [0; 2];
            self.hour_counts = [0; 2];
        }
        self.hour = if ahead < -1 { hour } else { self.hour.max(hour) };
    }

    fn days(&self) -> bool {
        self.first.div_euclid(DAY) != self.last.div_euclid(DAY)
    }
}

impl HostRecord {
    /// A host that was never seen.
    pub fn new(key: &HostKey, at: Timestamp) -> Self {
        Self {
            name: key.name.as_str().into(),
            port: key.port,
            first: at.nanos(),
            last: at.nanos(),
            support: 0,
            clients: [0; 8],
            certificates: Vec::new(),
            issuers: Vec::new(),
            rotations: [i64::MIN; 3],
            stacks: Vec::new(),
            answers: Answers::default(),
        }
    }

    /// Its key.
    pub fn key(&self) -> HostKey {
        HostKey { name: self.name.as_ref().to_owned(), port: self.port }
    }

    /// Where it stands among others in a file.
    pub fn place(&self) -> (&str, u16) {
        (self.name.as_ref(), self.port)
    }

    /// As octets to store (JSON).
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Back from [`to_bytes`](Self::to_bytes); `None` for anything else. Bounds are kept whatever is stored.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut record: Self = serde_json::from_slice(bytes).ok()?;
        record.certificates.truncate(MAX_CERTIFICATES);
        record.issuers.truncate(MAX_ISSUERS);
        record.stacks.truncate(MAX_STACKS);
        record.stacks.shrink_to_fit();
        record.certificates.shrink_to_fit();
        record.issuers.shrink_to_fit();
        Some(record)
    }

    /// Whether a stored record has an accepted certificate of a public CA that holds its name: without the work of
    /// [`from_bytes`](Self::from_bytes), for many are looked at.
    pub fn is_public(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Brief {
            certificates: Vec<Known>,
        }
        #[derive(Deserialize)]
        struct Known {
            standing: Standing,
            public: bool,
            name_matches: bool,
        }
        let accepted = |one: &Known| one.standing == Standing::Accepted && one.public && one.name_matches;
        serde_json::from_slice::<Brief>(bytes).is_ok_and(|record| record.certificates.iter().any(accepted))
    }

    /// Certificate and key that it showed last before a time: what came later is no predecessor.
    pub fn latest(&self, before: Timestamp) -> Option<(Sha256, Sha256)> {
        let earlier = self.certificates.iter().filter(|known| known.last < before.nanos());
        let latest = earlier.max_by_key(|known| known.last)?;
        Some((Sha256(latest.sha256), Sha256(latest.spki)))
    }

    /// The certificate with this fingerprint.
    pub fn certificate(&self, sha256: &Sha256) -> Option<&KnownCertificate> {
        self.certificates.iter().find(|known| known.sha256 == sha256.0)
    }

    /// The certificate with this fingerprint, to change it.
    pub fn certificate_mut(&mut self, sha256: &Sha256) -> Option<&mut KnownCertificate> {
        self.certificates.iter_mut().find(|known| known.sha256 == sha256.0)
    }

    /// Accepted certificates.
    pub fn accepted(&self) -> impl Iterator<Item = &KnownCertificate> {
        self.certificates.iter().filter(|known| known.standing == Standing::Accepted)
    }

    /// What a new certificate is compared with: the most seen accepted one that is valid now, else the one seen last. Not
    /// what was made and seen only later: captures come in any order. Nor, where it is not known which host of an address was
    /// asked for, what is for other names.
    pub fn expected(&self, presented: &Presented, seconds: Option<i64>) -> Option<&KnownCertificate> {
        let later = |known: &KnownCertificate, at: i64| known.not_before > at && known.first > Timestamp::new(at, 0).0;
        let fits = |known: &&KnownCertificate| !seconds.is_some_and(|seconds| later(known, seconds));
        let valid = |known: &&KnownCertificate| seconds.is_none_or(|seconds| known.is_valid_at(seconds));
        let same_host = || self.accepted().filter(|known| !presented.unasked || known.is_for(presented));
        let valid = same_host().filter(valid).max_by_key(|known| (known.count, known.last));
        valid.or_else(|| same_host().filter(fits).max_by_key(|known| known.last))
    }

    /// Whether the issuer of this certificate is one of the accepted ones. An issuer that was not sent is told by the
    /// authority key identifier; a forged identifier is found out by MITM-005.
    pub fn knows_issuer(&self, presented: &Presented) -> bool {
        self.issuers.iter().any(|known| {
            let unsent = !presented.issuer.verified && presented.issuer.authority != 0;
            known.key == presented.issuer.key.0 || (unsent && known.authority == presented.issuer.authority)
        })
    }

    /// Notes a handshake with a certificate, which is added when it is new. `kind`: the kind of client. `new`: it was not
    /// counted before.
    pub fn count(
        &mut self,
        presented: &Presented,
        (ends, at, kind): (&Ends, Timestamp, u64),
        (standing, new): (Standing, bool),
    ) {
        self.support = self.support.saturating_add(u32::from(new));
        self.last = self.last.max(at.nanos());
        mark(&mut self.clients, address_hash(ends.client.address));
        if self.certificate(&presented.leaf.sha256).is_none() {
            self.make_room();
            self.certificates.reserve_exact(1);
            self.certificates.push(KnownCertificate::new(presented, standing, at));
        }
        if let Some(known) = self.certificate_mut(&presented.leaf.sha256) {
            known.count(ends, at, new);
            mark(std::slice::from_mut(&mut known.shapes), kind);
        }
        if standing == Standing::Accepted {
            self.set_standing(presented, standing);
        }
    }

    /// Takes note of how the server answered with an accepted certificate.
    pub fn note_answer(&mut self, answer: Answer) {
        answer.times.into_iter().for_each(|times| self.answers.note(times));
        let Some((kind, stack)) = answer.stack else { return };
        match self.stacks.iter_mut().find(|known| known.kind == kind) {
            // Twice what makes it steady, so that an update of the server is learned in time.
            Some(known) if known.stack == stack => known.count = known.count.saturating_add(1).min(2 * STEADY),
            Some(known) if known.count >= STEADY => known.count -= 1,
            Some(known) => *known = KnownStack { kind, stack, count: 1 },
            None => {
                if self.stacks.len() >= MAX_STACKS {
                    let rarest = self.stacks.iter().enumerate().min_by_key(|(_, known)| known.count);
                    rarest.map(|(place, _)| place).map(|place| self.stacks.remove(place));
                }
                self.stacks.reserve_exact(1);
                self.stacks.push(KnownStack { kind, stack, count: 1 });
            }
        }
    }

    /// The server always answered this kind of client in another way.
    pub fn is_other_stack(&self, answer: Answer) -> bool {
        answer.stack.is_some_and(|(kind, stack)| {
            self.stacks.iter().any(|known| known.kind == kind && known.stack != stack && known.count >= STEADY)
        })
    }

    /// A person accepted this certificate: it is expected from now on, and so is its issuer. `false` where the host has not
    /// shown it.
    pub fn accept(&mut self, sha256: &Sha256) -> bool {
        let Some(known) = self.certificate_mut(sha256) else { return false };
        known.standing = Standing::Accepted;
        let issuer = known.issuer;
        if self.issuers.iter().all(|known| known.key != issuer) {
            if self.issuers.len() >= MAX_ISSUERS {
                self.issuers.remove(0);
            }
            self.issuers.push(KnownIssuer { key: issuer, authority: 0, text: "an issuer that was accepted".into() });
        }
        true
    }

    /// A person accepted these certificates.
    pub fn accept_all(&mut self, accepted: &[Sha256]) {
        for sha256 in accepted {
            self.accept(sha256);
        }
    }

    /// Sets the standing of a certificate; an accepted one brings its issuer along.
    pub fn set_standing(&mut self, presented: &Presented, standing: Standing) {
        if let Some(known) = self.certificate_mut(&presented.leaf.sha256) {
            known.standing = standing;
        }
        if standing != Standing::Accepted || self.issuers.iter().any(|known| known.key == presented.issuer.key.0) {
            return;
        }
        if self.issuers.len() >= MAX_ISSUERS {
            self.issuers.remove(0);
        }
        self.issuers.reserve_exact(1);
        self.issuers.push(KnownIssuer {
            key: presented.issuer.key.0,
            authority: presented.issuer.authority,
            text: presented.issuer.text.chars().take(128).collect::<String>().into(),
        });
    }

    /// A certificate that was accepted is doubted; its issuer counts no longer unless another accepted one has the same.
    pub fn doubt(&mut self, sha256: &Sha256, standing: Standing) {
        let Some(known) = self.certificate_mut(sha256) else { return };
        known.standing = standing;
        let issuer = known.issuer;
        if self.accepted().all(|known| known.issuer != issuer) {
            self.issuers.retain(|known| known.key != issuer);
        }
    }

    /// More is known of the path of a certificate than when it came.
    pub fn judged_again(&mut self, presented: &Presented) {
        let sha256 = presented.leaf.sha256;
        let Some(known) = self.certificate(&sha256) else { return };
        let standing = known.standing;
        self.doubt(&sha256, Standing::Held);
        if let Some(known) = self.certificate_mut(&sha256) {
            known.issuer = presented.issuer.key.0;
            (known.trusted, known.public, known.made) = (presented.is_trusted(), presented.public, presented.made);
        }
        self.set_standing(presented, standing);
    }

    /// Forgets a certificate, and its issuer unless another accepted certificate has the same: how things stood before it
    /// came, as far as that can be told.
    pub fn forget(&mut self, sha256: &Sha256) {
        let Some(place) = self.certificates.iter().position(|known| known.sha256 == sha256.0) else { return };
        let gone = self.certificates.remove(place);
        if self.accepted().all(|known| known.issuer != gone.issuer) {
            self.issuers.retain(|known| known.key != gone.issuer);
        }
    }

    /// A self-signed or private certificate took the place of another one.
    pub fn note_rotation(&mut self, at: Timestamp) {
        let [_, second, third] = self.rotations;
        self.rotations = [second, third, at.nanos()];
    }

    /// How much is known of it.
    pub fn phase(&self, at: Timestamp) -> Phase {
        let since = at.nanos().saturating_sub(MONTH);
        if self.rotations.iter().all(|rotation| *rotation >= since) {
            return Phase::Volatile;
        }
        let steady = || self.accepted().filter(|known| known.last >= since && known.days());
        let mut keys: Vec<_> = steady().map(|known| known.spki).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut issuers: Vec<_> = steady().map(|known| known.issuer).collect();
        issuers.sort_unstable();
        issuers.dedup();
        if keys.len() >= 3 || issuers.len() >= 2 {
            return Phase::Multi;
        }
        let wide = estimate(&self.clients) >= 3 || self.support >= 100;
        let long = self.last.saturating_sub(self.first) >= DAY;
        if self.support >= ESTABLISHED_SUPPORT && wide && long { Phase::Established } else { Phase::Learning }
    }

    /// For the evidence of an alert.
    pub fn known_host(&self, at: Timestamp) -> KnownHost {
        let mut certificates: Vec<_> = self.accepted().collect();
        certificates.sort_by_key(|known| (std::cmp::Reverse(known.count), known.sha256));
        let (clients, words) = self.accepted_clients();
        let least = least_of_full(clients, words);
        KnownHost {
            support: self.accepted().map(|known| u64::from(known.count)).sum(),
            since: Some(Timestamp(self.first)),
            clients: least.unwrap_or(clients).into(),
            clients_more: least.is_some(),
            certificates: certificates.iter().map(|known| Sha256(known.sha256)).collect(),
            issuers: self.issuers.iter().map(|issuer| issuer.text.as_ref().to_owned()).collect(),
            phase: self.phase(at).name(),
        }
    }

    /// Clients that got an accepted certificate, about, and the words of the sketch that tells it.
    pub fn accepted_clients(&self) -> (u32, u32) {
        let all = estimate(&self.clients);
        if self.certificates.iter().all(|known| known.standing == Standing::Accepted) {
            return (all, u32::try_from(self.clients.len()).unwrap_or(u32::MAX));
        }
        let union =
            self.accepted().fold([0; 2], |union, known| [union[0] | known.clients[0], union[1] | known.clients[1]]);
        (estimate(&union).min(all), 2)
    }

    /// Bytes held, heap included.
    pub fn memory(&self) -> usize {
        let texts: usize = self.issuers.iter().map(|issuer| issuer.text.len()).sum();
        size_of::<Self>()
            + self.name.len()
            + self.certificates.capacity() * size_of::<KnownCertificate>()
            + self.issuers.capacity() * size_of::<KnownIssuer>()
            + self.stacks.capacity() * size_of::<KnownStack>()
            + texts
    }

    /// Suspects leave before accepted ones: a flood of forgeries must not wash out what is known.
    fn make_room(&mut self) {
        if self.certificates.len() < MAX_CERTIFICATES {
            return;
        }
        let victim = self
            .certificates
            .iter()
            .enumerate()
            .min_by_key(|(_, known)| (known.standing == Standing::Accepted, known.last))
            .map(|(index, _)| index);
        if let Some(victim) = victim {
            self.certificates.remove(victim);
        }
    }
}
