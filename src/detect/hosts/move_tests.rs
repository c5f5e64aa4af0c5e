//! Hosts that move to another public CA, another server or both (`detections.md` 3.5 has CDNs in mind): below medium, whatever
//! comes together. And what looks like a move but is told all the same.

use std::sync::Arc;

use super::tests::{HOST, World, points};
use super::*;
use crate::detect::testing::{Ca, DAY, Plan, Scene, key};
use crate::x509::Certificate;

const OLD: &str = "203.0.113.10";
const NEW: &str = "198.51.100.7";
const MS: i64 = 1_000_000;

/// What a certificate is like, and how it is served.
#[derive(Clone, Copy, Debug, Default)]
struct Move {
    /// The server stands elsewhere.
    address: bool,
    /// It answers in another way.
    stack: bool,
    /// And late.
    slow: bool,
    /// The former one is served on, by its own server.
    gradual: bool,
    /// The same, by the server that has the new one.
    again: bool,
    /// Clients that get the new one, in subnets of their own.
    clients: u8,
    /// The certificate: 0 for the same names, 1 for one of them, 2 for many; 3 lives six days.
    shape: u8,
    /// Both certificates have timestamps.
    logged: bool,
    /// But not the new one.
    unlogged: bool,
    /// By a CA that nobody trusts.
    private: bool,
    /// Live.
    live: bool,
}

fn chain(ca: &Ca, plan: &Plan, logged: bool) -> Vec<Arc<Certificate>> {
    if !logged {
        return ca.chain(plan);
    }
    let above = ca.certificate.facts.as_deref().unwrap().spki_sha256;
    let by = (&key(), &ca.issuer, &above);
    let leaf = crate::x509::sct::tests::logged(&plan.params(), by, (&key(), 1_700_000_000_000));
    vec![Arc::new(leaf), Arc::clone(&ca.certificate)]
}

fn serve(world: &mut World, (client, server): (&str, &str), chain: &[Arc<Certificate>], how: Move) -> Vec<Finding> {
    let mut observation = world.scene.handshake(client, server, chain);
    if how.stack {
        observation.handshake.server_hello.as_mut().unwrap().cipher_suite = Some(0xc02f);
    }
    observation.handshake.client_hello.as_mut().unwrap().signed_certificate_timestamp = true;
    observation.handshake.answered_after = Some(if how.slow { 60 * MS } else { 2 * MS });
    observation.connection.syn_rtt = Some(2 * MS);
    world.scene.show(&mut world.hosts, HOST, &observation)
}

/// A host that six clients know for a week, and the move: the case of the new certificate, and what was told.
fn after(how: Move) -> (Case, Option<Severity>) {
    let (public, other) = (Ca::new("Public Root"), Ca::new("Other Public Root"));
    let scene = if how.private { Scene::new(&[&public]) } else { Scene::new(&[&public, &other]) };
    play(how, scene, (public, &other))
}

/// The same where nobody trusts either CA.
fn after_private(how: Move) -> (Case, Option<Severity>) {
    play(how, Scene::new(&[]), (Ca::new("Our CA"), &Ca::new("Our other CA")))
}

fn play(how: Move, mut scene: Scene, (public, other): (Ca, &Ca)) -> (Case, Option<Severity>) {
    scene.offline = !how.live;
    let hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    let mut world = World { scene, public, hosts };
    let old = chain(&world.public, &Plan::of(&[HOST, "example.com"]), how.logged);
    for round in 0..20_u8 {
        for client in 0..6 {
            let client = format!("10.0.{}.{}", client % 3, client + 1);
            assert!(serve(&mut world, (&client, OLD), &old, Move::default()).is_empty());
        }
        world.scene.now += if round < 19 { DAY / 3 } else { 600 };
    }
    let now = world.scene.now;
    let many: Vec<String> = (0..40).map(|number| format!("customer{number}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain([HOST]).collect();
    let plan = match how.shape {
        0 => Plan::of(&[HOST, "example.com"]),
        1 => Plan::of(&[HOST]),
        2 => Plan::of(&many),
        _ => Plan::of(&[HOST]).dates(now - 3_600, now + 6 * DAY),
    };
    let new = chain(other, &plan, how.logged && !how.unlogged);
    let server = if how.address { NEW } else { OLD };
    let mut found = Vec::new();
    for client in 0..how.clients {
        world.scene.now += 20;
        found.extend(serve(&mut world, (&format!("10.9.{client}.9"), server), &new, how));
        for (more, server) in [(how.gradual, OLD), (how.again, server)] {
            for client in 0..if more { 6 } else { 0 } {
                let client = format!("10.0.{}.{}", client % 3, client + 1);
                found.extend(serve(&mut world, (&client, server), &old, Move::default()));
            }
        }
    }
    found.extend(world.scene.advance(&mut world.hosts, 1_000));
    found.extend(world.end());
    let case = world.hosts.cases(HOST).last().unwrap().clone();
    let told = found.iter().filter(|one| one.effect == crate::detect::catalogue::Effect::Alert);
    (case, told.map(|one| one.severity).max())
}

/// All moves to another public CA; the certificates either have timestamps, or neither has.
fn moves() -> Vec<Move> {
    let mut all = Vec::new();
    for bits in 0..64_u8 {
        let [address, stack, slow, gradual, logged, live] = [0, 1, 2, 3, 4, 5].map(|bit| bits & 1 << bit != 0);
        // Where it stays, it is replaced.
        if gradual && !address {
            continue;
        }
        for (clients, shape) in [(1, 0), (1, 1), (1, 2), (1, 3), (2, 1), (4, 2)] {
            all.push(Move { address, stack, slow, gradual, clients, shape, logged, live, ..Move::default() });
        }
    }
    all
}

#[test]
fn a_move_to_another_public_ca_stays_below_medium() {
    for how in moves() {
        let (case, told) = after(how);
        assert!(told < Some(Severity::Medium), "{how:?} {told:?} {} {:?}", case.score, points(&case));
    }
}

/// The server that has the new one goes on to give the others the former one: it is no move, and what is another way to answer
/// adds to that.
#[test]
fn one_client_that_gets_another_public_certificate_from_the_same_server_is_told() {
    for live in [false, true] {
        let how = Move { again: true, clients: 1, logged: true, live, ..Move::default() };
        let (case, told) = after(how);
        let split = [("H2a", 15), ("H4", 15), ("H5", 20), ("H6", 20), ("B7", -10)];
        assert_eq!((points(&case), told), (split.to_vec(), Some(Severity::Medium)));
        let (case, told) = after(Move { stack: true, slow: true, ..how });
        assert_eq!((case.score, told), (80, Some(Severity::High)));
    }
}

/// A certificate that nobody trusts is told at once, wherever its server stands.
#[test]
fn a_move_to_a_private_ca_is_told() {
    for how in moves().into_iter().filter(|how| how.clients == 1) {
        let (case, told) = after(Move { private: true, ..how });
        assert!(case.score >= 90 && told == Some(Severity::High), "{how:?} {told:?} {:?}", points(&case));
    }
}

/// The owner of a private PKI who makes a new CA is asked once, not at once: the first client after it is no only one.
#[test]
fn a_change_of_a_private_ca_is_at_most_medium() {
    for (again, wanted) in [(false, Severity::Medium), (true, Severity::High)] {
        let (case, told) = after_private(Move { stack: true, clients: 1, again, live: true, ..Move::default() });
        assert_eq!(told, Some(wanted), "{:?}", points(&case));
    }
}

/// Timestamps that are not there any more are told, though the host moved.
#[test]
fn a_public_certificate_without_timestamps_is_told_where_the_former_had_some() {
    let (case, told) = after(Move { clients: 1, address: true, logged: true, unlogged: true, ..Move::default() });
    assert_eq!((points(&case), told), (vec![("H2a", 15), ("H4", 15), ("H8", 20)], Some(Severity::Medium)));
}
