//! What a handshake tells of a certificate beside it: how server and client behaved, and what the owner says.

use super::forgery::allows_issuer;
use super::key_choice::{is_rsa, takes};
use super::presented::{Presented, target};
use super::record::{Answer, HostRecord, KnownCertificate};
use super::score::Circumstances;
use crate::detect::policy_rules::stands_for;
use crate::detect::sighting::Sighting;
use crate::direction::Direction;
use crate::tls::Alert;
use crate::x509::Sha256;

/// What came with a certificate that is new.
pub fn circumstances(sighting: &Sighting<'_>, (record, new): (&HostRecord, &Presented)) -> Circumstances {
    let answer = answer(sighting);
    let old = record.expected(new, sighting.at.map(|at| at.seconds()));
    let revoked = |old: &KnownCertificate| {
        sighting.at.is_some_and(|at| sighting.knowledge.is_revoked((&Sha256(old.issuer), &old.serial), at))
    };
    Circumstances {
        other_stack: record.is_other_stack(answer),
        slow: answer.times.is_some_and(|times| record.answers.is_slow(times)),
        old_revoked: old.is_some_and(revoked),
        scanner: sighting.policy.is_scanner(sighting.observation.ends.client.address),
        // Told by the record when it is judged.
        elsewhere: false,
        no_choice: has_no_choice(sighting, new),
    }
}

/// The client takes no certificate with a key of another kind than this one.
pub fn has_no_choice(sighting: &Sighting<'_>, new: &Presented) -> bool {
    let hello = sighting.observation.handshake.client_hello.as_deref();
    hello.is_some_and(|hello| !takes(hello, !is_rsa(new.kind)))
}

/// How the server answered the hello.
pub fn answer(sighting: &Sighting<'_>) -> Answer {
    let observation = sighting.observation;
    let handshake = &observation.handshake;
    let upper = |hash: u64| u32::try_from(hash >> 32).unwrap_or(0);
    let stack = sighting.client_kind.zip(sighting.gist.stack).map(|(client, stack)| (upper(client.hash), upper(stack)));
    Answer { stack, times: handshake.answered_after.zip(observation.connection.syn_rtt) }
}

/// The client refused the certificate: a fatal alert about it.
pub fn is_refused(sighting: &Sighting<'_>) -> bool {
    let handshake = &sighting.observation.handshake;
    handshake.alerts.iter().any(|alert| is_refusal(alert, handshake.client))
}

/// bad_certificate, unsupported_certificate, certificate_unknown, unknown_ca or bad_certificate_status_response of a
/// client. (bad_certificate_hash_value, 114, is what servers say; RFC 6066 section 9.)
pub fn is_refusal(alert: &Alert, client: Option<Direction>) -> bool {
    client == Some(alert.direction) && alert.level == 2 && matches!(alert.description, 42 | 43 | 46 | 48 | 113)
}

/// An issuer on a verified path is one that the policy allows for the host.
pub fn issuer_allowed(sighting: &Sighting<'_>) -> bool {
    let Some(entry) = sighting.policy.host_entry(&target(sighting)) else { return false };
    let paths = sighting.server.map(|judged| judged.report.paths.as_slice()).unwrap_or_default();
    paths.iter().filter(|path| path.unverified.is_none()).any(|path| {
        let issuers = path.certificates.iter().skip(1).filter_map(|one| one.facts.as_deref());
        issuers.into_iter().any(|facts| {
            allows_issuer(entry, facts) || entry.caa.iter().any(|domain| stands_for(domain, &facts.subject))
        })
    })
}
