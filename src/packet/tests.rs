//! Frames of every link type and tunnel, whole, cut at every byte, and random.

mod lengths;

use etherparse::{LaxSlicedPacket, PacketBuilder, TransportSlice};
use proptest::prelude::*;

use crate::config::Limits;
use crate::stats::Stats;
use crate::time::{Span, Timestamp};

use super::*;

const MESSAGE: &[u8] = b"a payload to be found again";

/// Link types whose frames are generated at random.
const LINKS: [LinkType; 16] = [
    LinkType::NULL,
    LinkType::ETHERNET,
    LinkType::PPP,
    LinkType::PPP_HDLC,
    LinkType::PPP_ETHER,
    LinkType::RAW_BSD,
    LinkType::RAW_OPENBSD,
    LinkType::RAW,
    LinkType::IEEE802_11,
    LinkType::LOOP,
    LinkType::LINUX_SLL,
    LinkType::IEEE802_11_RADIOTAP,
    LinkType::IPV4,
    LinkType::IPV6,
    LinkType::NFLOG,
    LinkType::LINUX_SLL2,
];

fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn length(data: &[u8]) -> [u8; 2] {
    u16::try_from(data.len()).unwrap().to_be_bytes()
}

fn tcp4() -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 61)
        .tcp(40_000, 443, 1_000, 64_000)
        .ack(77)
        .write(&mut out, MESSAGE)
        .unwrap();
    out
}

fn tcp6() -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 61).tcp(40_000, 443, 1_000, 64_000).ack(77).write(&mut out, MESSAGE).unwrap();
    out
}

fn udp4(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 9).udp(50_000, port).write(&mut out, payload).unwrap();
    out
}

fn ip4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    fragment4(protocol, [0, 0], payload)
}

fn fragment4(protocol: u8, flags_and_offset: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let mut header = [0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    header[2..4].copy_from_slice(&u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    header[6..8].copy_from_slice(&flags_and_offset);
    bytes(&[&header, payload])
}

fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
    bytes(&[&[0x60, 0, 0, 0], &length(payload), &[next, 64], &[3; 16], &[4; 16], payload])
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    bytes(&[&[2; 12], &ether_type.to_be_bytes(), payload])
}

fn gre(flags: u16, protocol: u16, payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &ip4(47, &bytes(&[&flags.to_be_bytes(), &protocol.to_be_bytes(), payload])))
}

fn vxlan(network: u8, inner: &[u8]) -> Vec<u8> {
    bytes(&[&[8, 0, 0, 0, 0, 0, network, 0], inner])
}

fn frame(link_type: LinkType, data: &[u8]) -> Frame<'_> {
    Frame {
        sequence: 1,
        number: 1,
        file: 0,
        interface: 0,
        timestamp: Timestamp::new(1_700_000_000, 0),
        time_known: true,
        link_type,
        original_len: u32::try_from(data.len()).unwrap(),
        data,
    }
}

fn decoder() -> Decoder {
    Decoder::new(&Limits::default(), ChecksumMode::Count)
}

fn payload<'a>(packet: &Packet<'a>) -> &'a [u8] {
    match packet.payload {
        TransportPayload::Tcp(segment) => segment.payload,
        TransportPayload::Udp(payload) => payload,
    }
}

/// One of each way to carry the inner packet: name, link type, frame, layers.
fn scenes() -> Vec<(&'static str, LinkType, Vec<u8>, Vec<Layer>)> {
    let v4 = tcp4();
    let v6 = tcp6();
    let inner = ethernet(0x0800, &v4);
    let snap = bytes(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4]);
    let label = [0, 0, 0x51, 0x40];
    let pppoe = |ip: &[u8]| bytes(&[&[0x11, 0, 0, 9], &length(&[&[0; 2], ip].concat()), &[0, 0x21], ip]);
    let over_udp = |port: u16, payload: &[u8]| ethernet(0x0800, &udp4(port, payload));
    let gtp = |flags: u8, optional: &[u8]| {
        let body = bytes(&[optional, &v4]);
        over_udp(2_152, &bytes(&[&[0x30 | flags, 0xff], &length(&body), &[0, 0, 0, 7], &body]))
    };
    let sll2 = bytes(&[&[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6], &[0; 8], &v4]);
    let attribute = |payload: &[u8]| u16::try_from(payload.len() + 4).unwrap().to_le_bytes();
    let nflog = bytes(&[&[2, 0, 0, 1], &[5, 0, 10, 0, b'x', 0, 0, 0], &attribute(&v4), &[9, 0], &v4]);
    let wlan = bytes(&[&[0x08, 1], &[0; 22], &snap]);
    let amsdu = bytes(&[&[0x88, 1], &[0; 22], &[0x80, 0], &[1; 12], &length(&snap), &snap, &[0, 0], &[9; 40]]);
    let radiotap = bytes(&[&[0, 0, 9, 0, 2, 0, 0, 0, 0x20], &[0x88, 1], &[0; 22], &[0, 0], &[0, 0], &snap]);
    let nothing = Vec::new;
    vec![
        ("ethernet", LinkType::ETHERNET, inner.clone(), nothing()),
        ("ethernet v6", LinkType::ETHERNET, ethernet(0x86dd, &v6), nothing()),
        ("padded", LinkType::ETHERNET, bytes(&[&inner, &[0xee; 12]]), nothing()),
        ("802.3", LinkType::ETHERNET, bytes(&[&[2; 12], &length(&snap), &snap]), nothing()),
        ("vlan", LinkType::ETHERNET, ethernet(0x8100, &bytes(&[&[0x20, 5, 8, 0], &v4])), vec![Layer::Vlan(5)]),
        (
            "qinq 9100",
            LinkType::ETHERNET,
            ethernet(0x9100, &bytes(&[&[0, 5, 0x81, 0, 0, 6, 8, 0], &v4])),
            vec![Layer::Vlan(5), Layer::Vlan(6)],
        ),
        (
            "mpls",
            LinkType::ETHERNET,
            ethernet(0x8847, &bytes(&[&[0, 0, 0x10, 0x40], &[0, 0, 0x51, 0x40], &v4])),
            vec![Layer::Mpls(5)],
        ),
        (
            "mpls control word",
            LinkType::ETHERNET,
            ethernet(0x8847, &bytes(&[&label, &[0; 4], &inner])),
            vec![Layer::Mpls(5)],
        ),
        ("mpls ethernet", LinkType::ETHERNET, ethernet(0x8847, &bytes(&[&label, &inner])), vec![Layer::Mpls(5)]),
        ("pppoe", LinkType::ETHERNET, ethernet(0x8864, &pppoe(&v4)), vec![Layer::Pppoe(9)]),
        ("provider bridge", LinkType::ETHERNET, ethernet(0x88e7, &bytes(&[&[0, 0, 0, 1], &inner])), nothing()),
        ("ppp ether", LinkType::PPP_ETHER, pppoe(&v4), vec![Layer::Pppoe(9)]),
        ("ppp", LinkType::PPP, bytes(&[&[0xff, 3, 0, 0x57], &v6]), nothing()),
        ("ppp bare", LinkType::PPP, bytes(&[&[0x21], &v4]), nothing()),
        ("cisco hdlc", LinkType::PPP_HDLC, bytes(&[&[0x0f, 0, 8, 0], &v4]), nothing()),
        ("null little", LinkType::NULL, bytes(&[&[2, 0, 0, 0], &v4]), nothing()),
        ("null big", LinkType::NULL, bytes(&[&[0, 0, 0, 30], &v6]), nothing()),
        ("loop", LinkType::LOOP, bytes(&[&[0, 0, 0, 24], &v6]), nothing()),
        ("raw", LinkType::RAW, v4.clone(), nothing()),
        ("raw v6", LinkType::IPV6, v6.clone(), nothing()),
        ("sll", LinkType::LINUX_SLL, bytes(&[&[0; 14], &[8, 0], &v4]), nothing()),
        ("sll2", LinkType::LINUX_SLL2, sll2, nothing()),
        ("nflog", LinkType::NFLOG, nflog, nothing()),
        ("wlan", LinkType::IEEE802_11, wlan, nothing()),
        ("a-msdu", LinkType::IEEE802_11, amsdu, nothing()),
        ("radiotap padded", LinkType::IEEE802_11_RADIOTAP, radiotap, nothing()),
        ("gre", LinkType::ETHERNET, gre(0, 0x0800, &v4), vec![Layer::Gre(None)]),
        (
            "gre all fields",
            LinkType::ETHERNET,
            gre(0xb000, 0x86dd, &bytes(&[&[0; 4], &[0, 0, 0, 8], &[0; 4], &v6])),
            vec![Layer::Gre(Some(8))],
        ),
        ("gre ethernet", LinkType::ETHERNET, gre(0, 0x6558, &inner), vec![Layer::Gre(None)]),
        (
            "pptp",
            LinkType::ETHERNET,
            gre(0x3081, 0x880b, &bytes(&[&[0, 1, 0, 2], &[0; 8], &[0xff, 3, 0, 0x21], &v4])),
            vec![Layer::Gre(Some(2))],
        ),
        ("erspan 1", LinkType::ETHERNET, gre(0, 0x88be, &inner), vec![Layer::Erspan(1, 0)]),
        (
            "erspan 2",
            LinkType::ETHERNET,
            gre(0x1000, 0x88be, &bytes(&[&[0; 4], &[0x10, 1, 0, 77, 0, 0, 0, 0], &inner])),
            vec![Layer::Erspan(2, 77)],
        ),
        (
            "erspan 3 subheader",
            LinkType::ETHERNET,
            gre(0x1000, 0x22eb, &bytes(&[&[0; 4], &[0x20, 1, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1], &[0; 8], &inner])),
            vec![Layer::Erspan(3, 77)],
        ),
        ("vxlan", LinkType::ETHERNET, over_udp(4_789, &vxlan(9, &inner)), vec![Layer::Vxlan(9)]),
        ("vxlan linux", LinkType::ETHERNET, over_udp(8_472, &vxlan(9, &inner)), vec![Layer::Vxlan(9)]),
        (
            "geneve options",
            LinkType::ETHERNET,
            over_udp(6_081, &bytes(&[&[2, 0, 0x65, 0x58, 0, 1, 0, 0], &[0; 8], &inner])),
            vec![Layer::Geneve(256)],
        ),
        ("gtp", LinkType::ETHERNET, gtp(0, &[]), vec![Layer::Gtpu(7)]),
        ("gtp extension", LinkType::ETHERNET, gtp(4, &[0, 0, 0, 0x85, 1, 0, 9, 0]), vec![Layer::Gtpu(7)]),
        ("6in4", LinkType::ETHERNET, ethernet(0x0800, &ip4(41, &v6)), vec![Layer::IpInIp]),
        ("4in6", LinkType::ETHERNET, ethernet(0x86dd, &ip6(4, &v4)), vec![Layer::IpInIp]),
        (
            "teredo",
            LinkType::ETHERNET,
            over_udp(3_544, &bytes(&[&[0, 1, 0, 0], &[0; 9], &[0, 0, 1, 2, 3, 4, 5, 6], &v6])),
            vec![Layer::Teredo],
        ),
        (
            "extensions",
            LinkType::ETHERNET,
            ethernet(
                0x86dd,
                &ip6(
                    0,
                    &bytes(&[
                        &[60, 0, 0, 0, 0, 0, 0, 0],
                        &[44, 0, 0, 0, 0, 0, 0, 0],
                        &[51, 0, 0, 0, 0, 0, 0, 1],
                        &[4, 1, 0, 0],
                        &[0; 8],
                        &v4,
                    ]),
                ),
            ),
            vec![Layer::IpInIp],
        ),
        (
            "vxlan in gre",
            LinkType::ETHERNET,
            gre(0, 0x0800, &udp4(4_789, &vxlan(3, &inner))),
            vec![Layer::Gre(None), Layer::Vxlan(3)],
        ),
    ]
}

#[test]
fn every_way_leads_to_the_segment() {
    for (name, link, data, layers) in scenes() {
        let mut stats = Stats::default();
        let mut decoder = decoder();
        let packet = decoder.decode(&frame(link, &data), &mut stats).unwrap_or_else(|| panic!("{name}: {stats:?}"));
        let TransportPayload::Tcp(segment) = packet.payload else { panic!("{name}") };
        assert_eq!(segment.payload, MESSAGE, "{name}");
        assert_eq!((segment.sequence, segment.acknowledgment), (1_000, 77), "{name}");
        assert_eq!((packet.source_port, packet.destination_port, packet.hop_limit), (40_000, 443, 61), "{name}");
        assert_eq!(packet.encapsulation.iter().collect::<Vec<_>>(), layers, "{name}");
        assert_eq!(packet.missing, 0, "{name}");
        assert_eq!(verify_checksum(&packet), Checksum::Good, "{name}");
        let network = layers.iter().rev().find_map(|layer| match layer {
            Layer::Vxlan(id) | Layer::Geneve(id) => Some(*id),
            _ => None,
        });
        assert_eq!(packet.virtual_network, network.unwrap_or(0), "{name}");
        assert_eq!(stats.decode_tcp, 1, "{name}");
    }
}

#[test]
fn a_cut_frame_never_gives_more_than_it_has() {
    for (name, link, data, _) in scenes() {
        for cut in 0..data.len() {
            for original in [cut, data.len()] {
                let mut stats = Stats::default();
                let mut decoder = decoder();
                let cut_frame = Frame { original_len: u32::try_from(original).unwrap(), ..frame(link, &data[..cut]) };
                let range = cut_frame.data.as_ptr_range();
                let found = decoder.decode(&cut_frame, &mut stats);
                if let Some(packet) = found {
                    let part = payload(&packet);
                    let inside =
                        part.is_empty() || (range.contains(&part.as_ptr()) && part.as_ptr_range().end <= range.end);
                    assert!(inside, "{name} cut at {cut}");
                    if let TransportPayload::Tcp(segment) = packet.payload {
                        assert!(MESSAGE.starts_with(segment.payload), "{name} cut at {cut}");
                        assert_eq!(
                            segment.payload.len() + packet.missing as usize,
                            MESSAGE.len(),
                            "{name} cut at {cut}"
                        );
                    }
                }
                let counted: u64 = stats.entries().filter(|(name, _)| is_outcome(name)).map(|(_, value)| value).sum();
                assert_eq!(counted, 1, "{name} cut at {cut}: one outcome per frame");
            }
        }
    }
}

fn is_outcome(name: &str) -> bool {
    matches!(
        name,
        "decode.tcp"
            | "decode.udp"
            | "decode.other"
            | "decode.fragment"
            | "decode.truncated"
            | "decode.malformed"
            | "decode.too_deep"
    )
}

#[test]
fn tunnels_that_are_none_are_plain_datagrams() {
    for port in [4_789, 8_472, 6_081, 2_152, 3_544] {
        for content in
            [&b""[..], b"x", &[0xc0; 60], &[0x16; 60], &[0x08; 60], &[0; 60], &[0x30, 0xff, 0, 4, 0, 0, 0, 0]]
        {
            let data = ethernet(0x0800, &udp4(port, content));
            let mut stats = Stats::default();
            let mut decoder = decoder();
            let packet = decoder.decode(&frame(LinkType::ETHERNET, &data), &mut stats).unwrap();
            assert_eq!(payload(&packet), content);
            assert!(packet.encapsulation.is_empty());
            assert_eq!((packet.virtual_network, stats.decode_tunnelled), (0, 0));
        }
    }
}

#[test]
fn depth_is_bounded() {
    let mut data = tcp4();
    for _ in 0..4 {
        data = ip4(4, &data);
    }
    let mut stats = Stats::default();
    assert!(decoder().decode(&frame(LinkType::RAW, &data), &mut stats).is_some());
    data = ip4(4, &data);
    assert!(decoder().decode(&frame(LinkType::RAW, &data), &mut stats).is_none());
    assert_eq!(stats.decode_too_deep, 1);
    let mut tagged = vec![2; 12];
    tagged.extend([0x81, 0, 0, 1].repeat(1_000));
    assert!(decoder().decode(&frame(LinkType::ETHERNET, &tagged), &mut stats).is_none());
    assert_eq!(stats.decode_too_deep, 2);
}

#[test]
fn offloaded_and_lying_lengths() {
    let mut stats = Stats::default();
    let mut offloaded = tcp4();
    offloaded[2..4].fill(0);
    assert_eq!(decoder().decode(&frame(LinkType::RAW, &offloaded), &mut stats).map(|p| payload(&p).len()), Some(27));
    let mut jumbo = tcp6();
    jumbo[4..6].fill(0);
    assert_eq!(decoder().decode(&frame(LinkType::RAW, &jumbo), &mut stats).map(|p| payload(&p).len()), Some(27));
    for offset in [0x00, 0x40, 0xf0] {
        let mut wrong = tcp4();
        wrong[20 + 12] = offset;
        wrong.truncate(50);
        wrong[2..4].copy_from_slice(&[0, 50]);
        assert!(decoder().decode(&frame(LinkType::RAW, &wrong), &mut stats).is_none());
    }
    assert_eq!(stats.decode_malformed, 3);
    // A SYN cut within its options still tells its numbers.
    let mut syn = tcp4();
    syn[20 + 12] = 0x80;
    syn.truncate(44);
    let mut decoder = decoder();
    let packet = decoder.decode(&frame(LinkType::RAW, &syn), &mut stats).unwrap();
    assert_eq!((payload(&packet), packet.missing), (&b""[..], 15));
}

#[test]
fn checksums_are_counted_or_drop() {
    let mut data = tcp4();
    let last = data.len() - 1;
    data[last] ^= 1;
    for (mode, given, counted) in [
        (ChecksumMode::Off, true, 0),
        (ChecksumMode::Count, true, 0),
        (ChecksumMode::All, true, 1),
        (ChecksumMode::Drop, false, 1),
    ] {
        let mut stats = Stats::default();
        let mut decoder = Decoder::new(&Limits::default(), mode);
        let packet = decoder.decode(&frame(LinkType::RAW, &data), &mut stats);
        assert_eq!(packet.is_some(), given);
        assert!(packet.is_none_or(|packet| verify_checksum(&packet) == Checksum::Bad));
        assert_eq!(stats.decode_bad_checksum, counted);
    }
}

/// Pieces of `data` of `size` bytes as IPv4 fragments.
fn pieces4(data: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = data.chunks(size).count();
    data.chunks(size)
        .enumerate()
        .map(|(index, piece)| {
            let more = if index + 1 < count { 0x2000 } else { 0 };
            let offset = u16::try_from(index * size / 8).unwrap();
            fragment4(data[0], (more | offset).to_be_bytes(), piece)
        })
        .collect()
}

/// Pieces as IPv6 fragments.
fn pieces6(next: u8, data: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = data.chunks(size).count();
    data.chunks(size)
        .enumerate()
        .map(|(index, piece)| {
            let more = u16::from(index + 1 < count);
            let offset = u16::try_from(index * size).unwrap() | more;
            ip6(44, &bytes(&[&[next, 0], &offset.to_be_bytes(), &[0, 0, 0, 5], piece]))
        })
        .collect()
}

fn big_udp(length: usize) -> Vec<u8> {
    let mut datagram = bytes(&[&[17, 0, 1, 187], &u16::try_from(length + 8).unwrap().to_be_bytes(), &[0, 0]]);
    datagram.extend((0..length).map(|index| u8::try_from(index % 251).unwrap()));
    datagram
}

#[test]
fn fragments_come_together_in_any_order() {
    // The first byte is the high byte of the source port, and 17: `pieces4` takes it for the protocol.
    let datagram = big_udp(1_000);
    for pieces in [pieces4(&datagram, 120), pieces6(17, &datagram, 120)] {
        for turn in 0..pieces.len() {
            let mut order = pieces.clone();
            order.rotate_left(turn);
            order.insert(1, order[0].clone());
            let mut stats = Stats::default();
            let mut decoder = decoder();
            for (index, piece) in order.iter().enumerate() {
                let packet = decoder.decode(&frame(LinkType::RAW, piece), &mut stats);
                assert_eq!(packet.is_some(), index + 1 == order.len());
                assert!(packet.is_none_or(|packet| payload(&packet) == &datagram[8..]));
            }
            assert_eq!((stats.fragment_seen, stats.fragment_reassembled), (10, 1));
        }
    }
}

#[test]
fn fragments_of_tunnels_lead_inside() {
    let inner = bytes(&[&[17, 9, 0x12, 0xb5], &[0, 0], &[0, 0], &vxlan(4, &ethernet(0x0800, &tcp4()))]);
    let mut stats = Stats::default();
    let mut decoder = decoder();
    let mut found = 0;
    for piece in pieces4(&inner, 32) {
        if let Some(packet) = decoder.decode(&frame(LinkType::RAW, &piece), &mut stats) {
            assert_eq!((payload(&packet), packet.virtual_network), (MESSAGE, 4));
            found += 1;
        }
    }
    assert_eq!(found, 1);
}

#[test]
fn overlaps_drop_the_datagram() {
    let datagram = big_udp(400);
    let mut pieces = pieces4(&datagram, 80);
    let mut other = pieces[1].clone();
    other[30] ^= 1;
    pieces.insert(2, other);
    let mut stats = Stats::default();
    let mut decoder = decoder();
    for piece in &pieces {
        assert!(decoder.decode(&frame(LinkType::RAW, piece), &mut stats).is_none());
    }
    assert_eq!((stats.fragment_overlap, stats.fragment_reassembled), (1, 0));
    assert_eq!(stats.decode_fragment, pieces.len() as u64);
    // It was counted once, whether its time is over or the capture.
    let mut later = frame(LinkType::RAW, &pieces[0]);
    later.timestamp = later.timestamp.plus(Span::seconds(100));
    assert!(decoder.decode(&later, &mut stats).is_none());
    assert_eq!((stats.fragment_expired, stats.fragment_overlap), (0, 1));
    decoder.finish(&mut stats);
    assert_eq!((stats.fragment_unfinished, stats.fragment_overlap), (1, 1));
}

#[test]
fn fragments_are_bounded_in_number_bytes_and_time() {
    let limits = Limits { fragmented_datagrams: 8, fragment_bytes: 100_000, ..Limits::default() };
    let mut decoder = Decoder::new(&limits, ChecksumMode::Off);
    let mut stats = Stats::default();
    let mut send = |id: u16, piece: usize, seconds: i64, stats: &mut Stats| {
        let mut data = pieces4(&big_udp(30_000), 20_000).swap_remove(piece);
        data[4..6].copy_from_slice(&id.to_be_bytes());
        let timestamp = Timestamp::new(1_700_000_000, 0).plus(Span::seconds(seconds));
        decoder.decode(&Frame { timestamp, ..frame(LinkType::RAW, &data) }, stats).is_some()
    };
    for id in 0..6 {
        assert!(!send(id, 0, 0, &mut stats));
    }
    assert_eq!(stats.fragment_evicted, 2, "four of 20,000 bytes fit");
    assert!(send(5, 1, 30, &mut stats), "still in time");
    assert!(!send(4, 1, 31, &mut stats), "too late");
    assert_eq!(stats.fragment_expired, 3);
    for id in 100..200 {
        send(id, 1, 31, &mut stats);
    }
    assert_eq!(stats.fragment_evicted, 2 + 93);
    decoder.finish(&mut stats);
    // 6 and 100 were begun, and 4 once more.
    let ends = [stats.fragment_reassembled, stats.fragment_evicted, stats.fragment_expired, stats.fragment_unfinished];
    assert_eq!((ends.iter().sum::<u64>(), stats.fragment_reassembled), (107, 1));
}

fn transport_of(data: &[u8]) -> Option<(IpAddr, IpAddr, u16, u16, Vec<u8>)> {
    let sliced = LaxSlicedPacket::from_ethernet(data).ok()?;
    let (source, destination) = match sliced.net? {
        etherparse::LaxNetSlice::Ipv4(v4) => (v4.header().source_addr().into(), v4.header().destination_addr().into()),
        etherparse::LaxNetSlice::Ipv6(v6) => (v6.header().source_addr().into(), v6.header().destination_addr().into()),
        etherparse::LaxNetSlice::Arp(_) => return None,
    };
    match sliced.transport? {
        TransportSlice::Tcp(tcp) => {
            Some((source, destination, tcp.source_port(), tcp.destination_port(), tcp.payload().to_vec()))
        }
        TransportSlice::Udp(udp) => {
            Some((source, destination, udp.source_port(), udp.destination_port(), udp.payload().to_vec()))
        }
        _ => None,
    }
}

proptest! {
    #[test]
    fn plain_frames_agree_with_etherparse(
        tags in 0..3_usize,
        v6: bool,
        tcp: bool,
        ports in any::<(u16, u16)>(),
        addresses in any::<([u8; 4], [u8; 16])>(),
        content in proptest::collection::vec(any::<u8>(), 0..200),
        padding in 0..20_usize,
    ) {
        let (four, six) = addresses;
        prop_assume!(!matches!(ports.0, 4_789 | 8_472 | 6_081 | 2_152 | 3_544));
        prop_assume!(!matches!(ports.1, 4_789 | 8_472 | 6_081 | 2_152 | 3_544));
        let link = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let id = etherparse::VlanId::try_new(7).unwrap();
        let net = match (tags, v6) {
            (0, false) => link.ipv4(four, [9; 4], 3),
            (0, true) => link.ipv6(six, [9; 16], 3),
            (1, false) => link.single_vlan(id).ipv4(four, [9; 4], 3),
            (1, true) => link.single_vlan(id).ipv6(six, [9; 16], 3),
            (_, false) => link.double_vlan(id, id).ipv4(four, [9; 4], 3),
            (_, true) => link.double_vlan(id, id).ipv6(six, [9; 16], 3),
        };
        let mut data = Vec::new();
        if tcp {
            net.tcp(ports.0, ports.1, 5, 6).write(&mut data, &content).unwrap();
        } else {
            net.udp(ports.0, ports.1).write(&mut data, &content).unwrap();
        }
        data.resize(data.len() + padding, 0);
        let mut decoder = decoder();
        let packet = decoder.decode(&frame(LinkType::ETHERNET, &data), &mut Stats::default()).unwrap();
        let ours =
            (packet.source, packet.destination, packet.source_port, packet.destination_port, payload(&packet).to_vec());
        prop_assert_eq!(Some(ours), transport_of(&data));
        prop_assert_eq!(verify_checksum(&packet), Checksum::Good);
        prop_assert_eq!(packet.encapsulation.iter().count(), tags);
        // Plain as it is, a glance is enough.
        let glance = FlowPacket::glance(&frame(LinkType::ETHERNET, &data));
        prop_assert_eq!(glance, Some(FlowPacket::of(&packet)));
        prop_assert_eq!(glance.map(|glance| glance.verify_checksum()), Some(Checksum::Good));
        prop_assert_eq!(flow_packet::tags(&frame(LinkType::ETHERNET, &data)), packet.encapsulation);
    }

    /// Whatever a glance tells of a frame, decoding tells the same.
    #[test]
    fn glance_agrees_with_decoding(
        damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        cut in any::<u16>(),
    ) {
        let plain = [tcp4(), udp4(53, MESSAGE), udp4(4_789, MESSAGE), tcp6()];
        let plain = plain.iter().flat_map(|packet| {
            let ether_type = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
            let tagged = |tag: u16| ethernet(tag, &bytes(&[&[0xe0, 7], &u16::to_be_bytes(ether_type), packet]));
            [ethernet(ether_type, packet), tagged(0x8100), tagged(0x88a8)]
        });
        let scenes = scenes().into_iter().map(|(_, link, data, _)| (link, data));
        for (link, mut data) in plain.map(|data| (LinkType::ETHERNET, data)).chain(scenes) {
            for (at, value) in &damage {
                let at = usize::from(*at) % data.len();
                data[at] = *value;
            }
            if cut % 4 == 0 {
                data.truncate(usize::from(cut) % (data.len() + 1));
            }
            let frame = frame(link, &data);
            if let Some(glance) = FlowPacket::glance(&frame) {
                let mut decoder = decoder();
                let packet = decoder.decode(&frame, &mut Stats::default());
                prop_assert_eq!(Some(glance), packet.as_ref().map(FlowPacket::of));
                prop_assert_eq!(Some(flow_packet::tags(&frame)), packet.map(|packet| packet.encapsulation));
            }
        }
    }

    #[test]
    fn noise_is_only_counted(data in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..400_u32) {
        for link in LINKS {
            let mut stats = Stats::default();
            decoder().decode(&Frame { original_len: cut, ..frame(link, &data) }, &mut stats);
        }
    }

    /// Noise alone seldom gets past the first header, so whole scenes are damaged.
    #[test]
    fn damaged_scenes_are_only_counted(damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
        let mut decoder = decoder();
        let mut stats = Stats::default();
        for (_, link, mut data, _) in scenes() {
            for (at, value) in &damage {
                let at = usize::from(*at) % data.len();
                data[at] = *value;
            }
            let range = data.as_ptr_range();
            if let Some(packet) = decoder.decode(&frame(link, &data), &mut stats) {
                let part = payload(&packet);
                prop_assert!(part.is_empty() || range.contains(&part.as_ptr()) || stats.fragment_reassembled > 0);
            }
        }
    }
}
