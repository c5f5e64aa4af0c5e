//! Record layer of one direction (RFC 8446 section 5.1): finds the records in a stream of bytes without keeping any of them.
//!
//! Payload is lent on as it comes, so a record never waits in memory until it is whole. Where bytes are missing or make no sense the
//! layer looks for the next header.

/// The content type of change_cipher_spec records.
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
/// The content type of alert records.
pub(super) const ALERT: u8 = 21;
/// The content type of handshake records.
pub(super) const HANDSHAKE: u8 = 22;
/// The content type of application_data records.
pub(super) const APPLICATION_DATA: u8 = 23;
/// The highest content type in use: tls12_cid; heartbeat is 24.
const HIGHEST_TYPE: u8 = 25;

/// Most bytes of a record in clear (RFC 8446 section 5.1).
pub(super) const CLEAR_LIMIT: u16 = 1 << 14;
/// Most bytes of an encrypted record before TLS 1.3 (RFC 5246 section 6.2.3).
pub(super) const ENCRYPTED_LIMIT: u16 = (1 << 14) + 2048;

/// Header of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// TLS content type; 0 in SSL 2.
    pub(super) kind: u8,
    /// `legacy_record_version`; 2 in SSL 2.
    pub(super) version: u16,
    /// Bytes of payload.
    pub(super) length: u16,
    /// Message type of an SSL 2 record: it is read with the header to tell the two formats apart, and not given again as payload.
    pub(super) ssl2_message: Option<u8>,
}

/// What the record layer found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A record begins.
    Begin(RecordHeader),
    /// The next bytes of its payload.
    Payload(&'a [u8]),
    /// The record is whole.
    End,
    /// The bytes are no record: what follows is searched for one.
    Lost,
}

/// What a hole in the stream meant for the record layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// It lies inside the payload of the record; more of it follows.
    Inside,
    /// It reaches exactly to the end of the record.
    ToEnd,
    /// Where the next record begins is not known.
    Beyond,
}

/// State of the record layer of one direction.
#[derive(Debug, Default)]
pub(super) struct RecordLayer {
    header: [u8; 5],
    have: usize,
    /// Payload bytes of the open record that did not come yet.
    left: u16,
    state: State,
    /// Bytes passed while looking for a header.
    searched: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing was read: the first record may have SSL 2 format.
    #[default]
    Start,
    /// At a header.
    Header,
    /// Inside a payload.
    Payload,
    /// Looking for a header.
    Lost,
    /// Given up looking.
    Dead,
}

impl RecordLayer {
    /// How far a header is looked for. A record is at most 18 KiB, so three whole ones fit in between.
    const SEARCH: u32 = 64 << 10;

    /// Takes the next item off `input`; `None` when more bytes are needed.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Item<'a>> {
        match self.state {
            State::Start => self.start(input),
            State::Header => self.read_header(input),
            State::Payload => self.payload(input),
            State::Lost => self.search(input),
            State::Dead => {
                *input = &[];
                None
            }
        }
    }

    /// Takes a record that is whole off `input`, between two records: what [`Self::next`] would give one by one.
    #[inline]
    pub(super) fn whole<'a>(&mut self, input: &mut &'a [u8]) -> Option<(RecordHeader, &'a [u8])> {
        if self.have != 0 || !matches!(self.state, State::Start | State::Header) {
            return None;
        }
        let (header, rest) = input.split_first_chunk()?;
        let header = parse_header(*header);
        if header.version >> 8 != 3 || !(CHANGE_CIPHER_SPEC..=HIGHEST_TYPE).contains(&header.kind) {
            return None;
        }
        let (payload, rest) = rest.split_at_checked(header.length.into())?;
        *input = rest;
        self.state = State::Header;
        Some((header, payload))
    }

    /// `missing` bytes of the stream never came.
    pub(super) fn skip(&mut self, missing: u64) -> Skipped {
        let left = u16::try_from(missing).ok().and_then(|missing| self.left.checked_sub(missing));
        if let Some(left) = left.filter(|_| self.state == State::Payload) {
            self.left = left;
            if left > 0 {
                return Skipped::Inside;
            }
            self.expect_header();
            return Skipped::ToEnd;
        }
        self.lose();
        Skipped::Beyond
    }

    /// Payload bytes of the open record that did not come yet; 0 between records.
    pub(super) fn left(&self) -> u16 {
        if self.state == State::Payload { self.left } else { 0 }
    }

    /// Without more bytes there is nothing to tell. Only inside a record there may be: its end.
    pub(super) fn waits(&self) -> bool {
        self.state != State::Payload
    }

    /// The stream stands between two records, or has not begun.
    pub(super) fn is_between(&self) -> bool {
        match self.state {
            State::Start | State::Header => self.have == 0,
            State::Payload => false,
            State::Lost | State::Dead => true,
        }
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        self.have = 0;
        self.searched = 0;
    }

    fn expect_header(&mut self) {
        self.state = State::Header;
        self.have = 0;
    }

    fn start<'a>(&mut self, input: &mut &'a [u8]) -> Option<Item<'a>> {
        self.fill(input, 3)?;
        let [high, low, message, ..] = self.header;
        if high & 0x80 != 0 && matches!(message, 1 | 4) {
            let length = u16::from_be_bytes([high & 0x7f, low]);
            self.begin(length.saturating_sub(1));
            return Some(Item::Begin(RecordHeader { kind: 0, version: 2, length, ssl2_message: Some(message) }));
        }
        self.state = State::Header;
        self.read_header(input)
    }

    fn read_header<'a>(&mut self, input: &mut &'a [u8]) -> Option<Item<'a>> {
        let whole = input.split_first_chunk().filter(|_| self.have == 0);
        let header = if let Some((header, rest)) = whole {
            *input = rest;
            *header
        } else {
            self.fill(input, 5)?;
            self.header
        };
        self.open(header)
    }

    /// Begins the record with this header, if it is one.
    fn open<'a>(&mut self, bytes: [u8; 5]) -> Option<Item<'a>> {
        let header = parse_header(bytes);
        let known = (CHANGE_CIPHER_SPEC..=HIGHEST_TYPE).contains(&header.kind);
        if header.version >> 8 != 3 || !known && (header.kind > 0x7f || header.length > ENCRYPTED_LIMIT) {
            (self.header, self.have) = (bytes, bytes.len());
            self.state = State::Lost;
            self.searched = 0;
            self.shift();
            return Some(Item::Lost);
        }
        self.begin(header.length);
        Some(Item::Begin(header))
    }

    fn begin(&mut self, length: u16) {
        self.left = length;
        self.have = 0;
        self.state = State::Payload;
    }

    fn payload<'a>(&mut self, input: &mut &'a [u8]) -> Option<Item<'a>> {
        if self.left == 0 {
            self.expect_header();
            return Some(Item::End);
        }
        if input.is_empty() {
            return None;
        }
        let (payload, rest) = input.split_at_checked(self.left.into()).unwrap_or((input, &[]));
        *input = rest;
        self.left = self.left.saturating_sub(u16::try_from(payload.len()).unwrap_or(u16::MAX));
        Some(Item::Payload(payload))
    }

    fn search<'a>(&mut self, input: &mut &'a [u8]) -> Option<Item<'a>> {
        let whole = *input;
        // What is left of an earlier input goes byte by byte, together with what comes now.
        while self.have != whole.len() - input.len() {
            self.fill(input, 5)?;
            let header = parse_header(self.header);
            if is_plausible(header) {
                self.begin(header.length);
                return Some(Item::Begin(header));
            }
            self.shift();
            self.searched += 1;
            if self.searched >= Self::SEARCH {
                return self.give_up(input);
            }
        }
        self.have = 0;
        let most = usize::try_from(Self::SEARCH - self.searched).unwrap_or(0);
        let places = whole.windows(5).take(most);
        let passed = places.len();
        let headers = places.filter_map(|place| place.first_chunk().copied()).map(parse_header);
        if let Some((place, header)) = headers.enumerate().find(|(_, header)| is_plausible(*header)) {
            *input = whole.get(place.saturating_add(5)..).unwrap_or_default();
            self.searched = self.searched.saturating_add(u32::try_from(place).unwrap_or(u32::MAX));
            self.begin(header.length);
            return Some(Item::Begin(header));
        }
        self.searched = self.searched.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
        if self.searched >= Self::SEARCH {
            return self.give_up(input);
        }
        *input = whole.get(passed..).unwrap_or_default();
        self.fill(input, 5)?;
        None
    }

    /// Nothing was found for too long.
    fn give_up<'a>(&mut self, input: &mut &'a [u8]) -> Option<Item<'a>> {
        self.state = State::Dead;
        *input = &[];
        None
    }

    /// Drops the first byte of the header that is being read.
    fn shift(&mut self) {
        self.header.rotate_left(1);
        self.have = self.have.saturating_sub(1);
    }

    /// Reads until `wanted` bytes of a header are there.
    fn fill(&mut self, input: &mut &[u8], wanted: usize) -> Option<()> {
        while self.have < wanted {
            let (byte, rest) = input.split_first()?;
            *self.header.get_mut(self.have)? = *byte;
            self.have += 1;
            *input = rest;
        }
        Some(())
    }
}

fn parse_header([kind, major, minor, high, low]: [u8; 5]) -> RecordHeader {
    RecordHeader {
        kind,
        version: u16::from_be_bytes([major, minor]),
        length: u16::from_be_bytes([high, low]),
        ssl2_message: None,
    }
}

/// Whether a header found by searching can be believed: one in four million random places passes.
fn is_plausible(header: RecordHeader) -> bool {
    let length = match header.kind {
        CHANGE_CIPHER_SPEC => header.length == 1,
        ALERT => header.length == 2 || (17..=512).contains(&header.length),
        HANDSHAKE => (4..=ENCRYPTED_LIMIT).contains(&header.length),
        APPLICATION_DATA => (17..=ENCRYPTED_LIMIT).contains(&header.length),
        _ => false,
    };
    length && (0x0300..=0x0304).contains(&header.version)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first header that a layer which lost its place finds, and how many bytes it took.
    fn found(chunks: &[&[u8]]) -> (Option<RecordHeader>, usize) {
        let mut layer = RecordLayer::default();
        layer.lose();
        let mut taken = 0;
        for chunk in chunks {
            let mut input = *chunk;
            let item = layer.next(&mut input);
            taken += chunk.len() - input.len();
            match item {
                Some(Item::Begin(header)) => return (Some(header), taken),
                Some(other) => panic!("{other:?}"),
                None => assert!(input.is_empty()),
            }
        }
        (None, taken)
    }

    fn expected(bytes: &[u8]) -> (Option<RecordHeader>, usize) {
        let most = usize::try_from(RecordLayer::SEARCH).unwrap();
        let headers = bytes.windows(5).take(most).map(|place| parse_header(place.try_into().unwrap()));
        let first = headers.enumerate().find(|(_, header)| is_plausible(*header));
        first.map_or((None, bytes.len()), |(place, header)| (Some(header), place + 5))
    }

    proptest! {
        #[test]
        fn the_first_header_is_found_however_it_comes(
            bytes in prop::collection::vec(prop_oneof![Just(22_u8), Just(3), Just(1), Just(0), any::<u8>()], 0..60),
            cuts in prop::collection::vec(0_usize..60, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
            prop_assert_eq!(found(&chunks), expected(&bytes));
        }
    }

    #[test]
    fn a_header_that_is_too_far_is_not_found() {
        let most = usize::try_from(RecordLayer::SEARCH).unwrap();
        for (before, is_found) in [(most - 1, true), (most, false), (most + 9, false)] {
            let mut bytes = vec![7; before];
            bytes.extend([22, 3, 3, 0, 9]);
            for size in [1, 4, 7, 1_000, bytes.len()] {
                let (header, taken) = found(&bytes.chunks(size).collect::<Vec<_>>());
                assert_eq!((header.is_some(), taken), (is_found, bytes.len()), "{before} {size}");
            }
        }
    }
}
