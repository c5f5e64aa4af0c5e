//! Who got a certificate that many clients get: the sketches in its record are for a few dozen.
//!
//! A split block Bloom filter (Putze, Sanders, Singler 2007) for each of this and the last hour, which grows by stages, made
//! when the sketch of the hour gets used up. All of them share a budget; the one that was not used lately leaves. They
//! are not stored: what a baseline brings back from the file is sketches, and full ones say nothing for two hours.

use super::record::KnownCertificate;
use super::sketch::{estimate, is_marked};

/// Bytes of all filters.
const MAX_BYTES: usize = 16 << 20;
/// Certificates that have one.
const MAX_CROWDS: usize = 32_768;
/// Bits of the sketch of the hour that are set when the filter is made.
const BUSY: u32 = 12;
/// Words of a block: one bit is set in each.
const BLOCK: usize = 8;
/// Blocks of the first stage; each further one has four times as many.
const FIRST: usize = 4;
/// Blocks of the last stage, which takes what comes.
const LAST: usize = 1_024;
/// Clients for each block of a stage: two of five bits are set then, and one of 1,000 strangers seems to be among them.
const FULL: usize = 32;

/// The certificate of a host: hash of the host's name, first octets of the leaf's fingerprint.
pub type Owner = (u64, u64);

/// The filters of all certificates.
#[derive(Debug)]
pub struct Crowds {
    /// A certificate knows its place here, counted from one.
    places: Vec<Crowd>,
    /// Places without one.
    free: Vec<usize>,
    /// Next that may have to leave.
    hand: usize,
    bytes: usize,
    /// Bytes that there may be.
    most: usize,
    /// Filters of this or the last hour that had to leave.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Crowd {
    owner: Owner,
    /// Used since the hand passed.
    used: bool,
    /// The hour that the first of each pair is about, as in [`KnownCertificate`].
    hour: i32,
    /// The hour in which it was made.
    since: i32,
    /// The sketches of that hour and of the one before, when it was made.
    earlier: [[u64; 2]; 2],
    filters: [Filter; 2],
    /// Clients of this hour that were none of the last.
    fresh: u32,
}

#[derive(Debug, Default)]
struct Filter {
    stages: Vec<Vec<[u64; BLOCK]>>,
    /// Clients of the last stage.
    staged: usize,
    /// Clients of all.
    count: u32,
}

impl Default for Crowds {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), hand: 0, bytes: 0, most: MAX_BYTES, forgotten: 0 }
    }
}

impl Crowds {
    /// Notes a client that got a certificate, whose record was told before.
    pub fn note(&mut self, known: &mut KnownCertificate, owner: Owner, client: u64) {
        let [now, _] = known.hour_clients;
        let is_busy = || now.iter().map(|word| word.count_ones()).sum::<u32>() >= BUSY;
        if known.crowd != 0 || is_busy() {
            self.note_busy(known, owner, client);
        }
    }

    fn note_busy(&mut self, known: &mut KnownCertificate, owner: Owner, client: u64) {
        let place = match self.place(known, owner) {
            Some(place) => place,
            None => {
                let Some(place) = self.take_place(known.hour) else { return };
                known.crowd = u16::try_from(place.saturating_add(1)).unwrap_or(0);
                let made = Crowd {
                    owner,
                    hour: known.hour,
                    since: known.hour,
                    earlier: known.hour_clients,
                    ..Crowd::default()
                };
                if let Some(crowd) = self.places.get_mut(place) {
                    *crowd = made;
                }
                place
            }
        };
        let Some(crowd) = self.places.get_mut(place) else { return };
        crowd.used = true;
        let before = crowd.bytes();
        crowd.turn(known.hour);
        let [now, last] = &mut crowd.filters;
        if now.add(client) && !last.has(client) {
            crowd.fresh = crowd.fresh.saturating_add(1);
        }
        self.bytes = self.bytes.saturating_sub(before).saturating_add(crowd.bytes());
        if self.bytes > self.most {
            self.make_room((place, known.hour));
        }
    }

    /// Whether a client may have got a certificate in this hour: never a wrong no. It was looked up in the sketch before.
    pub fn may_have(&self, known: &KnownCertificate, owner: Owner, (client, hour): (u64, i32)) -> bool {
        let Some(crowd) = self.place(known, owner).and_then(|place| self.places.get(place)) else { return true };
        let ago = crowd.hour.saturating_sub(hour);
        let Some(filter) = usize::try_from(ago).ok().and_then(|ago| crowd.filters.get(ago)) else { return true };
        let earlier = usize::try_from(crowd.since.saturating_sub(hour)).ok().and_then(|ago| crowd.earlier.get(ago));
        filter.has(client) || (hour <= crowd.since && earlier.is_none_or(|earlier| is_marked(earlier, client)))
    }

    /// About how many clients got a certificate in this and the last hour; `None` where the sketch has to tell.
    pub fn clients(&self, known: &KnownCertificate, owner: Owner, hour: i32) -> Option<u32> {
        let crowd = self.place(known, owner).and_then(|place| self.places.get(place))?;
        let [now, last] = &crowd.filters;
        let counted = match hour.saturating_sub(crowd.hour) {
            0 => last.count.saturating_add(crowd.fresh),
            1 => now.count,
            _ => return None,
        };
        // Of those that were there when it was made some come again.
        let missed = if hour.saturating_sub(crowd.since) <= 1 { estimate(&crowd.earlier[0]) } else { 0 };
        Some(counted.max(missed))
    }

    /// Filters in use that had to leave.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let places = self.places.capacity().saturating_mul(size_of::<Crowd>());
        self.bytes.saturating_add(places).saturating_add(self.free.capacity().saturating_mul(size_of::<usize>()))
    }

    /// Where the filter of a certificate is, if it was not given to another.
    fn place(&self, known: &KnownCertificate, owner: Owner) -> Option<usize> {
        let place = usize::from(known.crowd).checked_sub(1)?;
        self.places.get(place).filter(|crowd| crowd.owner == owner).map(|_| place)
    }

    fn take_place(&mut self, hour: i32) -> Option<usize> {
        if self.free.is_empty() && self.places.len() < MAX_CROWDS {
            self.places.push(Crowd::default());
            return self.places.len().checked_sub(1);
        }
        if self.free.is_empty() {
            let place = self.next_unused(usize::MAX)?;
            self.leave((place, hour));
        }
        self.free.pop()
    }

    fn make_room(&mut self, (kept, hour): (usize, i32)) {
        while self.bytes > self.most
            && let Some(place) = self.next_unused(kept)
        {
            self.leave((place, hour));
        }
    }

    /// The hand goes on to what was not used since it passed; twice round there is one.
    fn next_unused(&mut self, kept: usize) -> Option<usize> {
        for _ in 0..self.places.len().saturating_mul(2) {
            let place = self.hand;
            self.hand = place.saturating_add(1) % self.places.len().max(1);
            let Some(crowd) = self.places.get_mut(place).filter(|_| place != kept) else { continue };
            if !std::mem::take(&mut crowd.used) && crowd.bytes() > 0 {
                return Some(place);
            }
        }
        None
    }

    fn leave(&mut self, (place, hour): (usize, i32)) {
        let Some(crowd) = self.places.get_mut(place) else { return };
        self.bytes = self.bytes.saturating_sub(crowd.bytes());
        self.forgotten = self.forgotten.saturating_add(u64::from(hour.saturating_sub(crowd.hour) <= 1));
        *crowd = Crowd::default();
        self.free.push(place);
    }
}

impl Crowd {
    fn bytes(&self) -> usize {
        self.filters.iter().map(Filter::bytes).sum()
    }

    /// The same as the record of the certificate does with its sketches.
    fn turn(&mut self, hour: i32) {
        let ahead = hour.saturating_sub(self.hour);
        if ahead == 0 {
            return;
        }
        let [now, _] = std::mem::take(&mut self.filters);
        if ahead == 1 {
            self.filters = [Filter::default(), now];
        } else {
            // Nothing is known of the hours between; in an older capture, of none.
            (self.since, self.earlier) = (hour.saturating_sub(1), Default::default());
        }
        (self.hour, self.fresh) = (hour, 0);
    }
}

impl Filter {
    fn bytes(&self) -> usize {
        self.stages.iter().map(|stage| stage.capacity().saturating_mul(size_of::<[u64; BLOCK]>())).sum()
    }

    fn has(&self, client: u64) -> bool {
        self.stages.iter().any(|stage| {
            stage
                .get(place_of(client, stage.len()))
                .is_some_and(|block| block.iter().zip(0_u32..).all(|(word, index)| word & bit_of(client, index) != 0))
        })
    }

    /// Whether it was new.
    fn add(&mut self, client: u64) -> bool {
        if self.has(client) {
            return false;
        }
        let blocks = self.stages.last().map_or(0, Vec::len);
        if blocks < LAST && self.staged >= blocks.saturating_mul(FULL) {
            self.stages.push(vec![[0; BLOCK]; blocks.saturating_mul(4).max(FIRST)]);
            self.staged = 0;
        }
        if let Some(stage) = self.stages.last_mut() {
            let place = place_of(client, stage.len());
            if let Some(block) = stage.get_mut(place) {
                block.iter_mut().zip(0_u32..).for_each(|(word, index)| *word |= bit_of(client, index));
            }
        }
        self.staged = self.staged.saturating_add(1);
        self.count = self.count.saturating_add(1);
        true
    }
}

/// The upper 16 bits of a hash choose a block, the lower 48 the bits in it.
fn place_of(client: u64, blocks: usize) -> usize {
    usize::try_from(client >> 48).unwrap_or(0) % blocks.max(1)
}

fn bit_of(client: u64, index: u32) -> u64 {
    1 << ((client >> (6 * index)) & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::hosts::record::{NameSet, Standing};
    use crate::detect::hosts::sketch::{mark, stable_hash};

    fn client(number: u32) -> u64 {
        stable_hash(&number.to_be_bytes())
    }

    struct Host {
        known: KnownCertificate,
        owner: Owner,
    }

    impl Host {
        fn new(number: u64) -> Self {
            let known = KnownCertificate {
                sha256: [0; 32],
                spki: [0; 32],
                issuer: [0; 32],
                names: NameSet::default(),
                serial: [0; 20],
                not_before: 0,
                not_after: 0,
                first: 0,
                last: 0,
                count: 0,
                strength: 0,
                standing: Standing::Accepted,
                trusted: false,
                public: false,
                self_signed: false,
                sct: false,
                name_matches: false,
                rsa: false,
                clients: [0; 2],
                subnets: 0,
                servers: 0,
                shapes: 0,
                hour: 0,
                hour_clients: [[0; 2]; 2],
                hour_subnets: [0; 2],
                hour_counts: [0; 2],
                crowd: 0,
                made: crate::detect::hosts::record::Made::default(),
            };
            Self { known, owner: (number, number) }
        }

        /// As the record of the certificate does it.
        fn get(&mut self, crowds: &mut Crowds, (hour, clients): (i32, std::ops::Range<u32>)) {
            for number in clients {
                if hour != self.known.hour {
                    let [now, _] = self.known.hour_clients;
                    let last = if hour == self.known.hour + 1 { now } else { [0; 2] };
                    (self.known.hour, self.known.hour_clients) = (hour, [[0; 2], last]);
                }
                mark(&mut self.known.hour_clients[0], client(number));
                crowds.note(&mut self.known, self.owner, client(number));
            }
        }

        /// Of 1,000 strangers, how many seem to be among the clients of an hour, by sketch and filter.
        fn strangers(&self, crowds: &Crowds, hour: i32) -> usize {
            let sketch = self.known.hour_clients[usize::try_from(self.known.hour - hour).unwrap()];
            let seems = |number: &u32| {
                is_marked(&sketch, client(*number)) && crowds.may_have(&self.known, self.owner, (client(*number), hour))
            };
            (1_000_000..1_001_000).filter(seems).count()
        }
    }

    #[test]
    fn few_of_many_strangers_seem_to_be_among_a_crowd() {
        for (clients, most) in [(5, 60), (100, 130), (5_000, 130), (30_000, 140), (60_000, 150)] {
            let (mut crowds, mut host) = (Crowds::default(), Host::new(1));
            host.get(&mut crowds, (7, 0..clients));
            // Those that came before there was a filter are known by the sketch.
            assert!(host.strangers(&crowds, 7) <= most, "{clients} {}", host.strangers(&crowds, 7));
            host.get(&mut crowds, (8, 0..clients));
            assert!(clients < 99 || host.strangers(&crowds, 8) <= 25, "{clients} {}", host.strangers(&crowds, 8));
            for number in (0..clients).step_by(7) {
                assert!(crowds.may_have(&host.known, host.owner, (client(number), 7)));
                assert!(crowds.may_have(&host.known, host.owner, (client(number), 8)));
            }
            if clients > 99 {
                let counted = crowds.clients(&host.known, host.owner, 8).unwrap();
                assert!(counted.abs_diff(clients) <= clients / 30 + 12, "{clients} {counted}");
                host.get(&mut crowds, (9, clients..2 * clients));
                let counted = crowds.clients(&host.known, host.owner, 9).unwrap();
                assert!(counted.abs_diff(2 * clients) <= clients / 15 + 12, "{clients} {counted}");
                // Two hours later the first are over.
                assert!(!crowds.may_have(&host.known, host.owner, (client(1), 9)));
            } else {
                assert_eq!((crowds.memory(), crowds.clients(&host.known, host.owner, 8)), (0, None));
            }
        }
    }

    #[test]
    fn hours_that_were_not_seen_hold_nobody() {
        let (mut crowds, mut host) = (Crowds::default(), Host::new(1));
        host.get(&mut crowds, (7, 0..500));
        host.get(&mut crowds, (3, 0..1));
        assert!(!crowds.may_have(&host.known, host.owner, (client(9), 3)), "an older capture");
        host.get(&mut crowds, (20, 0..1));
        assert!(!crowds.may_have(&host.known, host.owner, (client(9), 20)));
        assert!(!crowds.may_have(&host.known, host.owner, (client(9), 19)));
        // A record that comes from the file knows no place.
        host.known.crowd = 0;
        assert!(crowds.may_have(&host.known, host.owner, (client(9), 20)));
    }

    #[test]
    fn filters_have_a_budget_and_the_unused_leave() {
        let mut crowds = Crowds { most: 64 << 10, ..Crowds::default() };
        let (mut busy, mut first) = (Host::new(1_000), Host::new(0));
        busy.get(&mut crowds, (7, 0..600));
        first.get(&mut crowds, (7, 0..600));
        let mut lost = 0;
        for number in 1..400 {
            Host::new(number).get(&mut crowds, (7, 0..600));
            lost += usize::from(crowds.place(&busy.known, busy.owner).is_none());
            busy.get(&mut crowds, (7, 0..1));
            assert!(crowds.bytes <= crowds.most);
        }
        assert_eq!(crowds.bytes, crowds.places.iter().map(Crowd::bytes).sum::<usize>());
        assert!(crowds.forgotten() > 40 && crowds.places.len() < 60, "places are used again");
        assert!(crowds.place(&busy.known, busy.owner).is_some(), "in use");
        assert!(lost <= 1, "and nearly always was: {lost}");
        assert!(crowds.may_have(&first.known, first.owner, (client(1_000_000), 7)), "not known any more");
        // What was not used in this or the last hour is no loss.
        let before = crowds.forgotten();
        (1_200..1_210).for_each(|number| Host::new(number).get(&mut crowds, (70, 0..600)));
        assert_eq!(crowds.forgotten(), before);
    }

    #[test]
    fn where_all_have_a_filter_the_unused_leaves() {
        let mut crowds = Crowds::default();
        for number in 0..=MAX_CROWDS {
            let mut host = Host::new(u64::try_from(number).unwrap());
            host.get(&mut crowds, (7, 0..30));
            assert!(crowds.place(&host.known, host.owner).is_some(), "{number}");
        }
        assert_eq!((crowds.places.len(), crowds.forgotten()), (MAX_CROWDS, 1));
    }
}
