//! Files made in memory, read back, cut and spoiled.

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// A frame as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    number: u64,
    interface: u32,
    timestamp: i64,
    time_known: bool,
    link_type: u16,
    original_len: u32,
    data: Vec<u8>,
}

fn drain(files: &mut Files) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Next::Frame(frame) = files.next().unwrap() {
        seen.push(Seen {
            number: frame.number,
            interface: frame.interface,
            timestamp: frame.timestamp.0,
            time_known: frame.time_known,
            link_type: frame.link_type.0,
            original_len: frame.original_len,
            data: frame.data.to_vec(),
        });
    }
    assert!(matches!(files.next().unwrap(), Next::End));
    seen
}

fn read(bytes: &[u8]) -> (Vec<Seen>, Files) {
    let mut files = Files::from_reader("x", Box::new(Cursor::new(bytes.to_vec())), Options::default());
    (drain(&mut files), files)
}

fn word(big: bool, value: u32) -> [u8; 4] {
    if big { value.to_be_bytes() } else { value.to_le_bytes() }
}

fn half(big: bool, value: u16) -> [u8; 2] {
    if big { value.to_be_bytes() } else { value.to_le_bytes() }
}

/// A classic file; a frame is (seconds, fraction, data).
fn pcap_file(magic: u32, big: bool, frames: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    for value in [magic, 0x0004_0002, 0, 0, 65_535, 0xf000_0001] {
        file.extend(word(big, value));
    }
    for (seconds, fraction, data) in frames {
        let length = u32::try_from(data.len()).unwrap();
        for value in [*seconds, *fraction, length, length + 100] {
            file.extend(word(big, value));
        }
        if magic == 0xa1b2_cd34 {
            file.extend([7; 8]);
        }
        file.extend(*data);
    }
    file
}

fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = word(big, u32::try_from(padded + 12).unwrap());
    let mut block = word(big, kind).to_vec();
    block.extend(length);
    block.extend(body);
    block.resize(8 + padded, 0);
    block.extend(length);
    block
}

fn section(big: bool) -> Vec<u8> {
    let body = [word(big, 0x1a2b_3c4d).as_slice(), &[1, 0, 0, 0], &[0xff; 8]].concat();
    block(big, 0x0a0d_0d0a, &body)
}

fn interface(big: bool, link_type: u16, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = [half(big, link_type).as_slice(), &[0, 0], &word(big, 0)].concat();
    for (kind, value) in options {
        body.extend(half(big, *kind));
        body.extend(half(big, u16::try_from(value.len()).unwrap()));
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    block(big, 1, &body)
}

fn enhanced(big: bool, interface: u32, ticks: u64, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let high = u32::try_from(ticks >> 32).unwrap();
    let low = u32::try_from(ticks & 0xffff_ffff).unwrap();
    let mut body: Vec<u8> = [interface, high, low, length, length].iter().flat_map(|value| word(big, *value)).collect();
    body.extend(data);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend([0, 0, 0, 0]);
    block(big, 6, &body)
}

fn pcapng_file(big: bool) -> Vec<u8> {
    let offset = if big { 10_i64.to_be_bytes() } else { 10_i64.to_le_bytes() };
    let obsolete: Vec<u8> = [half(big, 1), half(big, 0)].concat();
    let obsolete =
        [obsolete, [0, 2, 3, 3].iter().flat_map(|value| word(big, *value)).collect(), b"old".to_vec()].concat();
    let secrets = [word(big, 0x544c_534b), word(big, 5)].concat();
    [
        section(big),
        interface(big, 1, &[(2, b"eth0"), (9, &[9])]),
        interface(big, 101, &[(9, &[0x80 | 10]), (14, &offset)]),
        block(big, 10, &[secrets, b"CLIEN".to_vec()].concat()),
        enhanced(big, 0, 5_000_000_007, b"nano"),
        enhanced(big, 1, 1_536, b"binary"),
        block(big, 3, &[word(big, 6).as_slice(), b"simple"].concat()),
        block(big, 2, &obsolete),
        block(big, 0x0bad, &[0; 40]),
        section(!big),
        interface(!big, 113, &[(2, b"any\x1b")]),
        enhanced(!big, 0, 3_000_001, b"micro"),
    ]
    .concat()
}

fn small_files() -> Vec<Vec<u8>> {
    let frames: [(u32, u32, &[u8]); 3] = [(1, 2, b"first"), (1, 3, b""), (2, 999_999, b"third one")];
    let mut files = vec![pcapng_file(false), pcapng_file(true)];
    for magic in [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34] {
        files.extend([false, true].map(|big| pcap_file(magic, big, &frames)));
    }
    files
}

fn compressions(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(bytes).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    vec![("gz", gzip.finish().unwrap()), ("lz4", lz4.finish().unwrap()), ("zst", zstd)]
}

/// Gives at most `step` bytes at once.
struct Dribble(Cursor<Vec<u8>>, usize);

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn classic_files_of_every_kind() {
    for big in [false, true] {
        for (magic, unit) in [(0xa1b2_c3d4, 1_000), (0xa1b2_3c4d, 1), (0xa1b2_cd34, 1_000)] {
            let (seen, files) = read(&pcap_file(magic, big, &[(5, 7, b"abc"), (u32::MAX, u32::MAX, b"")]));
            assert_eq!(seen.len(), 2, "{magic:x} {big}");
            assert_eq!((seen[0].number, seen[0].link_type, seen[0].original_len), (1, 1, 103));
            assert_eq!((seen[0].timestamp, seen[0].data.as_slice()), (5_000_000_000 + 7 * unit, b"abc".as_slice()));
            assert_eq!((seen[1].number, seen[1].data.len()), (2, 0));
            assert_eq!(files.problems(), []);
        }
    }
}

#[test]
fn sections_and_interfaces_of_pcapng() {
    for big in [false, true] {
        let (seen, files) = read(&pcapng_file(big));
        let told: Vec<_> =
            seen.iter().map(|f| (f.interface, f.link_type, f.timestamp, f.time_known, f.data.as_slice())).collect();
        let expected: [(u32, u16, i64, bool, &[u8]); 5] = [
            (0, 1, 5_000_000_007, true, b"nano"),
            (1, 101, 11_500_000_000, true, b"binary"),
            (0, 1, 11_500_000_000, false, b"simple"),
            (1, 101, 10_001_953_125, true, b"old"),
            (2, 113, 3_000_001_000, true, b"micro"),
        ];
        assert_eq!(told, expected);
        assert_eq!(seen.iter().map(|frame| frame.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(files.problems(), []);
        assert_eq!(files.interface_name(0, 0), Some("eth0"));
        assert_eq!(files.interface_name(0, 1), None);
        assert_eq!(files.interface_name(0, 2), Some("any\x1b"));
        assert_eq!(
            files.secrets().map(|s| (s.kind, s.data.clone())).collect::<Vec<_>>(),
            [(0x544c_534b, b"CLIEN".to_vec())]
        );
        assert_eq!((files.stats().capture_secrets, files.stats().capture_time_unknown), (1, 1));
    }
}

#[test]
fn cut_at_every_byte_gives_the_frames_before() {
    for file in small_files() {
        let (whole, _) = read(&file);
        for length in 0..file.len() {
            let (seen, files) = read(&file[..length]);
            assert_eq!(seen[..], whole[..seen.len()], "cut at {length}");
            assert!(files.problems().len() <= 1);
            if (1..4).contains(&length) {
                assert_eq!(files.problems()[0].kind, ProblemKind::NotACapture);
            }
            assert!(files.stats().capture_damaged <= 1);
        }
        let (seen, files) = read(&file[..file.len() - 1]);
        assert_eq!(seen.len(), whole.len() - 1);
        assert!(matches!(files.problems()[0].kind, ProblemKind::Damaged { damage: Damage::Cut, .. }));
    }
}

#[test]
fn any_size_of_reads_gives_the_same() {
    for file in small_files() {
        let (whole, _) = read(&file);
        for step in [1, 2, 3, 5, 17, 4096] {
            let input = Dribble(Cursor::new(file.clone()), step);
            assert_eq!(drain(&mut Files::from_reader("-", Box::new(input), Options::default())), whole);
        }
    }
}

#[test]
fn frames_across_blocks_are_whole() {
    let data: Vec<u8> = (0..=255).cycle().take(200_001).collect();
    let frames: Vec<(u32, u32, &[u8])> = (0..40).map(|n| (n, 0, &data[..100_001 + 2_500 * n as usize])).collect();
    let file = pcap_file(0xa1b2_c3d4, false, &frames);
    let (seen, files) = read(&file);
    assert!(seen.iter().zip(&frames).all(|(seen, frame)| seen.data == frame.2));
    assert_eq!((seen.len(), files.problems().len()), (40, 0));
    assert_eq!(files.progress().read, file.len() as u64);
}

#[test]
fn compressed_members_are_one_stream() {
    let file = pcapng_file(false);
    let (whole, _) = read(&file);
    let (head, tail) = file.split_at(150);
    for ((kind, mut first), (_, second)) in compressions(head).into_iter().zip(compressions(tail)) {
        first.extend(second);
        let (seen, files) = read(&first);
        assert_eq!((seen, files.problems()), (whole.clone(), [].as_slice()), "{kind}");
        for length in 7..first.len() {
            let (seen, files) = read(&first[..length]);
            assert_eq!(seen[..], whole[..seen.len()], "{kind} cut at {length}");
            assert!(files.problems().len() <= 1);
        }
        let (_, files) = read(&first[..first.len() - 1]);
        assert_eq!(files.stats().capture_damaged, 1, "{kind}");
    }
}

#[test]
fn zeros_behind_gzip_are_padding() {
    let file = pcapng_file(false);
    let (whole, _) = read(&file);
    let [(_, gzip), ..] = <[_; 3]>::try_from(compressions(&file)).unwrap();
    for zeros in [1, 511, 600_000] {
        let (seen, files) = read(&[&gzip[..], &vec![0; zeros]].concat());
        assert_eq!((&seen, files.problems()), (&whole, [].as_slice()), "{zeros}");
        // Something else behind them is damage.
        let (seen, files) = read(&[&gzip[..], &vec![0; zeros], b"else"].concat());
        assert_eq!((&seen, files.stats().capture_damaged), (&whole, 1), "{zeros}");
    }
}

#[test]
fn skippable_frames_may_come_first() {
    let file = pcapng_file(false);
    let (whole, _) = read(&file);
    let frame = |magic: u32, body: &[u8]| {
        [&magic.to_le_bytes()[..], &u32::try_from(body.len()).unwrap().to_le_bytes(), body].concat()
    };
    // As pzstd writes it, and with any of the magics.
    let before = [frame(0x184d_2a50, &[7; 4]), frame(0x184d_2a5f, &[]), frame(0x184d_2a57, &[8; 300])].concat();
    for (kind, compressed) in compressions(&file) {
        let bytes = [&before[..], &compressed].concat();
        let (seen, files) = read(&bytes);
        if kind == "gz" {
            assert!(matches!(files.problems()[0].kind, ProblemKind::Damaged { .. }), "{:?}", files.problems());
            continue;
        }
        assert_eq!((&seen, files.problems()), (&whole, [].as_slice()), "{kind}");
        assert_eq!(
            drain(&mut Files::from_reader("-", Box::new(Dribble(Cursor::new(bytes.clone()), 1)), Options::default())),
            whole
        );
        for length in 7..bytes.len() {
            let (seen, files) = read(&bytes[..length]);
            assert_eq!(seen[..], whole[..seen.len()], "{kind} cut at {length}");
            // Where a frame ends the file may, as it may without a single byte.
            let ends = [12, 20, before.len()].contains(&length);
            assert_eq!(files.problems().is_empty(), ends, "{kind} cut at {length}");
        }
    }
    let (seen, files) = read(&[&before[..], b"something else"].concat());
    assert!(seen.is_empty() && files.stats().capture_damaged == 1);
}

/// The capture inside `tests/data/compressed/many.pcap.*`, which the tools `xz -6`, `zstd -19` and `lz4 -9 -B4 -BD` made.
fn many_frames() -> Vec<u8> {
    let frames: Vec<Vec<u8>> = (0..600_usize)
        .map(|i| {
            let byte = |j: usize| u8::try_from(((i * 31 + j * j) >> 4) & 0x0f | (i & 0x30)).unwrap();
            (0..60 + (i * 37) % 900).map(byte).collect()
        })
        .collect();
    let mut file: Vec<u8> = Vec::new();
    for value in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(value.to_le_bytes());
    }
    for (number, frame) in (0_u32..).zip(&frames) {
        let length = u32::try_from(frame.len()).unwrap();
        for value in [1_700_000_000 + number, number, length, length] {
            file.extend(value.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

#[test]
fn compressed_files_that_are_cut_give_all_before_the_cut() {
    // Frames that the tools themselves give of so many eighths of their files.
    let tools = [
        ("xz", [21, 45, 70, 122, 192, 289, 446]),
        ("zst", [21, 41, 60, 86, 86, 256, 256]),
        ("lz4", [0, 0, 130, 130, 256, 381, 504]),
    ];
    let (whole, _) = read(&many_frames());
    assert_eq!(whole.len(), 600);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/compressed");
    for (tool, frames) in tools {
        let packed = fs::read(folder.join(format!("many.pcap.{tool}"))).unwrap();
        assert_eq!(read(&packed).0, whole, "{tool}");
        for (eighths, least) in frames.into_iter().enumerate() {
            let (seen, files) = read(&packed[..packed.len() * (eighths + 1) / 8]);
            // The xz decoder begins no symbol in the last 20 bytes, which stand for some 1,000 here.
            assert!(seen.len() + 3 >= least, "{tool} cut at {} eighths: {} frames of {least}", eighths + 1, seen.len());
            assert_eq!(seen, whole[..seen.len()], "{tool}");
            assert_eq!(files.problems().len(), 1, "{tool}");
        }
        // Everywhere, also inside headers, checksums and the index at the end.
        let mut before = 0;
        for cut in (0..64).chain((64..packed.len() - 64).step_by(997)).chain(packed.len() - 64..packed.len()) {
            let (seen, files) = read(&packed[..cut]);
            assert!(seen.len() >= before, "{tool} cut at {cut}: {} frames after {before}", seen.len());
            assert_eq!(seen, whole[..seen.len()], "{tool}");
            assert_eq!(files.problems().len(), usize::from(cut > 0), "{tool} cut at {cut}");
            before = seen.len();
        }
        assert_eq!(before, 600, "{tool}");
    }
}

#[test]
fn compressed_files_that_are_spoiled_give_what_is_before() {
    let (whole, _) = read(&many_frames());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/compressed");
    for tool in ["xz", "zst", "lz4"] {
        let mut packed = fs::read(folder.join(format!("many.pcap.{tool}"))).unwrap();
        let place = packed.len() * 7 / 8;
        packed[place] ^= 0x55;
        let (seen, files) = read(&packed);
        let same = seen.iter().zip(&whole).take_while(|(seen, whole)| seen == whole).count();
        assert!(same > 300, "{tool}: {same}");
        assert_eq!(files.stats().capture_damaged, 1, "{tool}: {:?}", files.problems());
    }
}

#[test]
fn a_record_too_long_is_damage() {
    let mut file = pcap_file(0xa1b2_c3d4, false, &[(1, 1, b"good")]);
    let offset = file.len() as u64;
    file.extend([1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0]);
    let (seen, files) = read(&file);
    assert_eq!(seen.len(), 1);
    let kind = &files.problems()[0].kind;
    assert_eq!(*kind, ProblemKind::Damaged { offset, damage: Damage::TooLong { length: 1 << 31 } });
    assert_eq!(kind.weight(), Weight::Damage);
}

#[test]
fn pcapng_goes_on_behind_a_bad_block() {
    let good = enhanced(false, 0, 1, b"good");
    for spoil in [4, 5, 7, good.len() - 4, 9, 22] {
        let mut bad = good.clone();
        bad[spoil] = 0xfd;
        let file = [section(false), interface(false, 1, &[]), bad, good.clone(), good.clone()].concat();
        let (seen, files) = read(&file);
        assert_eq!(seen.len(), 2, "spoilt at {spoil}");
        assert_eq!((files.problems().len(), files.stats().capture_bad_places), (1, 1));
    }
}

/// The place that is told, and what is read behind it.
fn behind_damage(damage: &[u8]) -> (u64, Damage, Vec<Vec<u8>>) {
    let mut file = [section(false), interface(false, 1, &[]), enhanced(false, 0, 1, b"before")].concat();
    let place = u64::try_from(file.len()).unwrap();
    file.extend(damage);
    file.extend(enhanced(false, 0, 2, b"behind"));
    file.extend(enhanced(false, 0, 3, b"end"));
    let (seen, files) = read(&file);
    let [Problem { kind: ProblemKind::Damaged { offset, damage }, .. }] = files.problems() else {
        panic!("{:?}", files.problems())
    };
    assert_eq!(files.stats().capture_bad_places, 1);
    (offset.abs_diff(place), damage.clone(), seen.into_iter().map(|frame| frame.data).collect())
}

#[test]
fn an_impossible_block_hides_no_other() {
    let all = [&b"before"[..], b"behind", b"end"];
    // Unknown, secrets and names: types of which a block may be long.
    for kind in [0x0bad_u32, 10, 4] {
        let claim = [&kind.to_le_bytes()[..], &0x7fff_fff0_u32.to_le_bytes(), &[0; 8]].concat();
        assert_eq!(behind_damage(&claim), (0, Damage::TooLong { length: 0x7fff_fff0 }, all.map(<[u8]>::to_vec).into()));
    }
    // Not too long for an unknown block, but longer than the file, or with another length at its end.
    let claim = [&[0xad, 0x0b, 0, 0][..], &(1_u32 << 20).to_le_bytes(), &[0; 8]].concat();
    assert_eq!(behind_damage(&claim), (0, Damage::Cut, all.map(<[u8]>::to_vec).into()));
    let claim = [&[0xad, 0x0b, 0, 0][..], &16_u32.to_le_bytes(), &[0; 8]].concat();
    assert_eq!(behind_damage(&claim), (0, Damage::BlockLength { length: 16 }, all.map(<[u8]>::to_vec).into()));
    // Bytes that are no block, and not a multiple of four of them.
    for length in 200..204 {
        let garbage: Vec<u8> = b"\xde\xad\xbe\xef".iter().copied().cycle().take(length).collect();
        let (offset, _, seen) = behind_damage(&garbage);
        assert_eq!((offset, seen), (0, all.map(<[u8]>::to_vec).into()), "{length}");
    }
}

#[test]
fn large_blocks_that_nobody_needs_are_passed_over() {
    for (kind, length) in [(0x0bad, 2 << 20), (4, 2 << 20), (4, 20 << 20), (10, 20 << 20)] {
        let large = block(false, kind, &vec![0; length]);
        let file = [section(false), interface(false, 1, &[]), large, enhanced(false, 0, 1, b"behind")].concat();
        let (seen, files) = read(&file);
        assert_eq!((seen.len(), files.problems()), (1, [].as_slice()), "{kind} {length}");
        // Cut inside: the place is where the block begins.
        let start = u64::try_from(section(false).len() + interface(false, 1, &[]).len()).unwrap();
        let (_, files) = read(&file[..file.len() - 100]);
        let ProblemKind::Damaged { offset, .. } = files.problems()[0].kind else { panic!("{:?}", files.problems()) };
        assert_eq!(offset, start, "{kind} {length}");
    }
}

#[test]
fn files_are_merged_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let magic = 0xa1b2_c3d4;
    write("a.pcap", &pcap_file(magic, false, &[(1, 0, b"a1"), (5, 0, b"a5"), (9, 0, b"a9")]));
    write("b.pcap.gz", &compressions(&pcap_file(magic, true, &[(2, 0, b"b2"), (5, 0, b"b5")]))[0].1);
    write("c.txt", b"no capture at all");
    write("d.empty", b"");
    write("e.pcap", &pcap_file(magic, false, &[]));
    fs::create_dir(folder.path().join("f")).unwrap();
    let options = |from, to| Options { filter: None, from, to };
    let mut files = Files::open(&[folder.path().to_owned()], options(None, None));
    let seen = drain(&mut files);
    let order: Vec<_> = seen.iter().map(|frame| String::from_utf8_lossy(&frame.data).into_owned()).collect();
    assert_eq!(order, ["a1", "b2", "a5", "b5", "a9"]);
    assert_eq!(seen.iter().map(|frame| frame.number).collect::<Vec<_>>(), [1, 1, 2, 2, 3]);
    assert_eq!(files.problems().len(), 1);
    assert_eq!(files.problems()[0].kind, ProblemKind::Skipped);
    assert_eq!((files.stats().capture_files, files.stats().capture_packets), (4, 5));
    // Of the 17 bytes of text only the first six are read.
    assert_eq!(files.progress().read, files.progress().total.unwrap() - 11);

    let missing = PathBuf::from("/nonexistent/x.pcap");
    let text = folder.path().join("c.txt");
    let a = folder.path().join("a.pcap");
    let window = options(Some(Timestamp::new(5, 0)), Some(Timestamp::new(6, 0)));
    let mut files = Files::open(&[missing, text, a], window);
    assert_eq!(drain(&mut files).len(), 1);
    assert_eq!(files.stats().capture_filtered, 2);
    assert!(files.problems().iter().all(|problem| problem.kind.weight() == Weight::Failure));
    assert_eq!(files.problems().len(), 2);
}

/// Frames of `count` files, all of which begin before the first one ends.
fn overlapping(folder: &std::path::Path, count: u32) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for number in 0..count {
        let texts = [0, 1, 2].map(|round| format!("{round}-{number:04}").into_bytes());
        let records: Vec<_> = (0_u32..).zip(&texts).map(|(round, text)| (1 + round, number, text.as_slice())).collect();
        let mut file = pcap_file(0xa1b2_c3d4, number % 2 == 0, &records);
        let mut name = format!("{number:04}.pcap");
        if number % 5 == 0 {
            let (suffix, packed) = compressions(&file).swap_remove(usize::try_from(number).unwrap() / 5 % 3);
            file = packed;
            name = format!("{name}.{suffix}");
        }
        fs::write(folder.join(name), file).unwrap();
        frames.extend(texts);
    }
    frames.sort();
    frames
}

#[test]
fn a_thousand_files_that_overlap_need_no_thousand_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let expected = overlapping(folder.path(), 1_100);
    let mut files = Files::open(&[folder.path().to_owned()], Options::default());
    let seen: Vec<_> = drain(&mut files).into_iter().map(|frame| frame.data).collect();
    assert_eq!(files.problems(), []);
    assert_eq!(seen, expected);
    assert_eq!(files.stats().capture_files, 1_100);
}

#[test]
fn files_that_are_closed_in_between_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let expected = overlapping(folder.path(), 23);
    for name in ["x.pcapng", "y.pcapng"] {
        fs::write(folder.path().join(name), pcapng_file(name == "y.pcapng")).unwrap();
    }
    fs::write(folder.path().join("z.pcap"), &pcap_file(0xa1b2_c3d4, false, &[(2, 0, b"z"), (3, 0, b"z")])[..50])
        .unwrap();
    let mut all = Files::open(&[folder.path().to_owned()], Options::default());
    let all_seen = drain(&mut all);
    assert!(all_seen.len() > expected.len());
    for limit in [0, 1, 7] {
        let mut files = Files::open(&[folder.path().to_owned()], Options::default());
        files.max_descriptors = limit;
        assert_eq!(drain(&mut files), all_seen, "{limit}");
        assert_eq!(files.problems(), all.problems());
        assert_eq!(files.problems().len(), 1);
        assert_eq!(files.stats(), all.stats());
    }
}

#[test]
fn unsupported_link_types_are_told_once_each() {
    let file = [
        section(false),
        interface(false, 1, &[]),
        interface(false, 147, &[]),
        interface(false, 189, &[]),
        enhanced(false, 1, 1, b"a"),
        enhanced(false, 0, 1, b"b"),
        enhanced(false, 1, 1, b"c"),
        enhanced(false, 2, 1, b"d"),
        enhanced(false, 1, 1, b"e"),
    ]
    .concat();
    let (seen, files) = read(&file);
    assert_eq!(seen.len(), 5);
    let told: Vec<String> = files.problems().iter().map(ToString::to_string).collect();
    let line = |number: u16| format!("x: link type {number} is not supported: its frames are only counted");
    assert_eq!(told, [line(147), line(189)]);
    assert!(files.problems().iter().all(|problem| problem.kind.weight() == Weight::Warning));
}

#[cfg(feature = "live")]
#[test]
fn filters_are_compiled_for_each_link_type() {
    let mut ip = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    ip.extend([0, 53, 0, 53, 0, 8, 0, 0]);
    let ethernet = [&[2; 12][..], &[8, 0], &ip].concat();
    let file = [
        section(false),
        interface(false, 1, &[]),
        interface(false, 101, &[]),
        enhanced(false, 0, 1, &ethernet),
        enhanced(false, 1, 2, &ip),
        enhanced(false, 1, 3, &ip[..19]),
    ]
    .concat();
    for (expression, frames) in [("udp port 53", 2), ("tcp", 0), ("udp", 3)] {
        let filter = Some(Filter::new(expression).unwrap());
        let options = Options { filter, ..Options::default() };
        let mut files = Files::from_reader("-", Box::new(Cursor::new(file.clone())), options);
        assert_eq!(drain(&mut files).len(), frames, "{expression}");
    }
    assert!(matches!(Filter::new("udp port"), Err(CaptureError::Filter { .. })));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(kind in 0_usize..8, noise in proptest::collection::vec((0_usize..400, any::<u8>()), 0..40)) {
        let mut file = small_files().swap_remove(kind);
        for (place, value) in noise {
            if let Some(byte) = file.get_mut(place) {
                *byte = value;
            }
        }
        let (seen, files) = read(&file);
        let heavy = files.problems().iter().filter(|problem| problem.kind.weight() > Weight::Warning).count();
        prop_assert!(seen.len() <= 20 && heavy <= 1);
        for (_, packed) in compressions(&file) {
            prop_assert_eq!(&read(&packed).0, &seen);
        }
    }

    #[test]
    fn random_compressed_bytes_never_panic(kind in 0_usize..3, noise in proptest::collection::vec((0_usize..400, any::<u8>()), 1..20)) {
        let (_, mut file) = compressions(&pcapng_file(false)).swap_remove(kind);
        for (place, value) in noise {
            if let Some(byte) = file.get_mut(place) {
                *byte = value;
            }
        }
        read(&file);
    }
}
