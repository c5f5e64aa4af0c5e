//! Lengths and headers that claim something of what is behind them.

use super::*;

fn outcome(link_type: LinkType, data: &[u8], original: usize) -> (Option<usize>, Stats) {
    let (mut stats, mut decoder) = (Stats::default(), decoder());
    let frame = Frame { original_len: u32::try_from(original).unwrap(), ..frame(link_type, data) };
    let found = decoder.decode(&frame, &mut stats).map(|packet| payload(&packet).len());
    (found, stats)
}

/// RFC 8200 section 8.1: while segments are left, the destination that the checksum covers stands in the routing header.
#[test]
fn a_packet_on_its_way_over_others_has_no_checksum_to_verify() {
    let whole = tcp6();
    for (next, segments_left, expected) in
        [(43, 0, Checksum::Good), (43, 1, Checksum::Unknown), (60, 0, Checksum::Good), (60, 1, Checksum::Good)]
    {
        let header = [6, 0, 0, segments_left, 0, 0, 0, 0];
        let behind = bytes(&[&header, &whole[40..]]);
        let data = bytes(&[&whole[..4], &length(&behind), &[next], &whole[7..40], &behind]);
        let (mut stats, mut decoder) = (Stats::default(), decoder());
        let packet = decoder.decode(&frame(LinkType::RAW, &data), &mut stats).unwrap();
        assert_eq!(payload(&packet), MESSAGE);
        assert_eq!(verify_checksum(&packet), expected, "{next} {segments_left}");
    }
}

/// Lengths of the link layer that cannot be hide nothing of a packet with a length of its own.
#[test]
fn wrong_lengths_of_the_link_layer_hide_nothing() {
    let snap = bytes(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &tcp4()]);
    let llc = |length: usize| ethernet(u16::try_from(length).unwrap(), &snap);
    let ppp = bytes(&[&[0, 0x21], &tcp4()]);
    let pppoe = |length: u16| ethernet(0x8864, &bytes(&[&[0x11, 0, 0, 9], &length.to_be_bytes(), &ppp]));
    let right = u16::try_from(ppp.len()).unwrap();
    for data in [llc(snap.len()), llc(snap.len() + 1), llc(1_500), pppoe(right), pppoe(0), pppoe(21), pppoe(right + 9)]
    {
        assert_eq!(outcome(LinkType::ETHERNET, &data, data.len()).0, Some(MESSAGE.len()));
    }
}

/// What the capture cut is truncated; what the sender left out is malformed.
#[test]
fn a_header_that_does_not_fit_is_cut_or_was_never_sent() {
    let (whole, header) = (tcp4(), 20);
    for cut in [header + 3, header - 1] {
        let (found, stats) = outcome(LinkType::RAW, &whole[..cut], whole.len());
        assert_eq!((found, stats.decode_truncated, stats.decode_malformed), (None, 1, 0), "{cut}");
    }
    let mut short = whole[..header + 3].to_vec();
    short[2..4].copy_from_slice(&[0, 23]);
    let (found, stats) = outcome(LinkType::RAW, &short, short.len());
    assert_eq!((found, stats.decode_truncated, stats.decode_malformed), (None, 0, 1));
}
