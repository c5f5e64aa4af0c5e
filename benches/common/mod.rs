//! A handshake of TLS 1.2 with a chain of three, as bytes.

/// One record.
pub(crate) fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    [&[kind, 3, 3], &length.to_be_bytes()[..], payload].concat()
}

/// One handshake message.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn certificate(name: &str) -> Vec<u8> {
    let mut names: Vec<String> = (0..8).map(|number| format!("{number}.{name}")).collect();
    names.push(name.to_owned());
    let made = rcgen::generate_simple_self_signed(names);
    made.map(|made| made.cert.der().to_vec()).unwrap_or_default()
}

/// What both sides send, in the order in which they do: `true` is the client.
pub(crate) fn session() -> Vec<(bool, Vec<u8>)> {
    let name = b"www.example.com";
    let length = u16::try_from(name.len()).unwrap_or(0);
    let server_name =
        [&[0, 0][..], &(length + 5).to_be_bytes(), &(length + 3).to_be_bytes(), &[0], &length.to_be_bytes(), name]
            .concat();
    let groups = [0, 10, 0, 8, 0, 6, 0, 29, 0, 23, 0, 24];
    let algorithms = [0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1];
    let extensions = [&server_name[..], &groups, &algorithms].concat();
    let suites = [0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0xcc, 0xa9, 0xcc, 0xa8];
    let extensions_length = u16::try_from(extensions.len()).unwrap_or(0).to_be_bytes();
    let hello = [&[3, 3][..], &[7; 32], &[0], &[0, 12], &suites, &[1, 0], &extensions_length, &extensions].concat();
    let answer = [&[3, 3][..], &[9; 32], &[0, 0xc0, 0x2f, 0]].concat();
    let mut list = Vec::new();
    for name in ["example.com", "intermediate.example", "root.example"] {
        let der = certificate(name);
        let [_, length @ ..] = u32::try_from(der.len()).unwrap_or(0).to_be_bytes();
        list.extend_from_slice(&length);
        list.extend_from_slice(&der);
    }
    let [_, length @ ..] = u32::try_from(list.len()).unwrap_or(0).to_be_bytes();
    let exchange = [&[3, 0, 29, 32][..], &[5; 32], &[8, 4, 1, 0], &[6; 256]].concat();
    let flight =
        [message(2, &answer), message(11, &[&length[..], &list].concat()), message(12, &exchange), message(14, &[])]
            .concat();
    let finished = [record(20, &[1]), record(22, &[0xee; 40])].concat();
    vec![
        (true, record(22, &message(1, &hello))),
        (false, record(22, &flight)),
        (true, [record(22, &message(16, &[&[32][..], &[4; 32]].concat())), finished.clone()].concat()),
        (false, finished),
    ]
}
