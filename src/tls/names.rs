//! Numbers of the IANA registries "Transport Layer Security (TLS) Parameters" and "TLS ExtensionType Values" as names.
//!
//! Unknown numbers and GREASE have no name here: how they are shown is the event's matter.

use tls_parser::TlsCipherSuite;

/// Cipher suite by its IANA name; where IANA has none, by the one in common use.
pub fn cipher_suite(number: u16) -> Option<&'static str> {
    TlsCipherSuite::from_id(number).map(|suite| suite.name).or_else(|| unlisted_cipher_suite(number))
}

/// Version as `tls.version` has it: `"1.2"`; SSL 2 and 3 are `"2.0"` and `"3.0"`. DTLS 1.0 is what TLS 1.1 is, but called 1.0.
pub fn version(number: u16) -> Option<&'static str> {
    Some(match number {
        0x0002 => "2.0",
        0x0300 => "3.0",
        0x0301 => "1.0",
        0x0302 => "1.1",
        0x0303 => "1.2",
        0x0304 => "1.3",
        0xfeff => "1.0",
        0xfefd => "1.2",
        0xfefc => "1.3",
        _ if super::is_tls13_draft(number) => "1.3",
        _ => return None,
    })
}

/// A version as people call it.
pub fn version_text(number: u16) -> String {
    match (number, version(number)) {
        (0x0002 | 0x0300, Some(name)) => format!("SSL {name}"),
        (0xfe00.., Some(name)) => format!("DTLS {name}"),
        (_, Some(name)) => format!("TLS {name}"),
        (_, None) => format!("version {number:#06x}"),
    }
}

/// NamedGroup: elliptic curves, finite-field groups, post-quantum and hybrid groups.
pub fn group(number: u16) -> Option<&'static str> {
    Some(match number {
        0x0001 => "sect163k1",
        0x0002 => "sect163r1",
        0x0003 => "sect163r2",
        0x0004 => "sect193r1",
        0x0005 => "sect193r2",
        0x0006 => "sect233k1",
        0x0007 => "sect233r1",
        0x0008 => "sect239k1",
        0x0009 => "sect283k1",
        0x000a => "sect283r1",
        0x000b => "sect409k1",
        0x000c => "sect409r1",
        0x000d => "sect571k1",
        0x000e => "sect571r1",
        0x000f => "secp160k1",
        0x0010 => "secp160r1",
        0x0011 => "secp160r2",
        0x0012 => "secp192k1",
        0x0013 => "secp192r1",
        0x0014 => "secp224k1",
        0x0015 => "secp224r1",
        0x0016 => "secp256k1",
        0x0017 => "secp256r1",
        0x0018 => "secp384r1",
        0x0019 => "secp521r1",
        0x001a => "brainpoolP256r1",
        0x001b => "brainpoolP384r1",
        0x001c => "brainpoolP512r1",
        0x001d => "x25519",
        0x001e => "x448",
        0x001f => "brainpoolP256r1tls13",
        0x0020 => "brainpoolP384r1tls13",
        0x0021 => "brainpoolP512r1tls13",
        0x0022 => "GC256A",
        0x0023 => "GC256B",
        0x0024 => "GC256C",
        0x0025 => "GC256D",
        0x0026 => "GC512A",
        0x0027 => "GC512B",
        0x0028 => "GC512C",
        0x0029 => "curveSM2",
        0x0100 => "ffdhe2048",
        0x0101 => "ffdhe3072",
        0x0102 => "ffdhe4096",
        0x0103 => "ffdhe6144",
        0x0104 => "ffdhe8192",
        0x0200 => "MLKEM512",
        0x0201 => "MLKEM768",
        0x0202 => "MLKEM1024",
        0x11eb => "SecP256r1MLKEM768",
        0x11ec => "X25519MLKEM768",
        0x11ed => "SecP384r1MLKEM1024",
        0x11ee => "curveSM2MLKEM768",
        0x4138 => "CECPQ2",
        0x6399 => "X25519Kyber768Draft00",
        0x639a => "SecP256r1Kyber768Draft00",
        0xfe30 => "X25519Kyber512Draft00",
        0xfe31 => "X25519Kyber768Draft00",
        0xff01 => "arbitrary_explicit_prime_curves",
        0xff02 => "arbitrary_explicit_char2_curves",
        _ => return None,
    })
}

/// SignatureScheme, and the SignatureAndHashAlgorithm pairs of TLS 1.2 that have no scheme.
pub fn signature_scheme(number: u16) -> Option<&'static str> {
    Some(match number {
        0x0101 => "rsa_md5",
        0x0201 => "rsa_pkcs1_sha1",
        0x0202 => "dsa_sha1",
        0x0203 => "ecdsa_sha1",
        0x0301 => "rsa_pkcs1_sha224",
        0x0302 => "dsa_sha224",
        0x0303 => "ecdsa_sha224",
        0x0401 => "rsa_pkcs1_sha256",
        0x0402 => "dsa_sha256",
        0x0403 => "ecdsa_secp256r1_sha256",
        0x0420 => "rsa_pkcs1_sha256_legacy",
        0x0501 => "rsa_pkcs1_sha384",
        0x0502 => "dsa_sha384",
        0x0503 => "ecdsa_secp384r1_sha384",
        0x0520 => "rsa_pkcs1_sha384_legacy",
        0x0601 => "rsa_pkcs1_sha512",
        0x0602 => "dsa_sha512",
        0x0603 => "ecdsa_secp521r1_sha512",
        0x0620 => "rsa_pkcs1_sha512_legacy",
        0x0704 => "eccsi_sha256",
        0x0705 => "iso_ibs1",
        0x0706 => "iso_ibs2",
        0x0707 => "iso_chinese_ibs",
        0x0708 => "sm2sig_sm3",
        0x0709 => "gostr34102012_256a",
        0x070a => "gostr34102012_256b",
        0x070b => "gostr34102012_256c",
        0x070c => "gostr34102012_256d",
        0x070d => "gostr34102012_512a",
        0x070e => "gostr34102012_512b",
        0x070f => "gostr34102012_512c",
        0x0804 => "rsa_pss_rsae_sha256",
        0x0805 => "rsa_pss_rsae_sha384",
        0x0806 => "rsa_pss_rsae_sha512",
        0x0807 => "ed25519",
        0x0808 => "ed448",
        0x0809 => "rsa_pss_pss_sha256",
        0x080a => "rsa_pss_pss_sha384",
        0x080b => "rsa_pss_pss_sha512",
        0x081a => "ecdsa_brainpoolP256r1tls13_sha256",
        0x081b => "ecdsa_brainpoolP384r1tls13_sha384",
        0x081c => "ecdsa_brainpoolP512r1tls13_sha512",
        0x0840 => "gostr34102012_256_intrinsic",
        0x0841 => "gostr34102012_512_intrinsic",
        0x0904 => "mldsa44",
        0x0905 => "mldsa65",
        0x0906 => "mldsa87",
        0xeded => "gostr34102001",
        0xeeee => "gostr34102012_256",
        0xefef => "gostr34102012_512",
        _ => return None,
    })
}

/// ExtensionType.
pub fn extension(number: u16) -> Option<&'static str> {
    Some(match number {
        0 => "server_name",
        1 => "max_fragment_length",
        2 => "client_certificate_url",
        3 => "trusted_ca_keys",
        4 => "truncated_hmac",
        5 => "status_request",
        6 => "user_mapping",
        7 => "client_authz",
        8 => "server_authz",
        9 => "cert_type",
        10 => "supported_groups",
        11 => "ec_point_formats",
        12 => "srp",
        13 => "signature_algorithms",
        14 => "use_srtp",
        15 => "heartbeat",
        16 => "application_layer_protocol_negotiation",
        17 => "status_request_v2",
        18 => "signed_certificate_timestamp",
        19 => "client_certificate_type",
        20 => "server_certificate_type",
        21 => "padding",
        22 => "encrypt_then_mac",
        23 => "extended_master_secret",
        24 => "token_binding",
        25 => "cached_info",
        26 => "tls_lts",
        27 => "compress_certificate",
        28 => "record_size_limit",
        29 => "pwd_protect",
        30 => "pwd_clear",
        31 => "password_salt",
        32 => "ticket_pinning",
        33 => "tls_cert_with_extern_psk",
        34 => "delegated_credential",
        35 => "session_ticket",
        36 => "TLMSP",
        37 => "TLMSP_proxying",
        38 => "TLMSP_delegate",
        39 => "supported_ekt_ciphers",
        41 => "pre_shared_key",
        42 => "early_data",
        43 => "supported_versions",
        44 => "cookie",
        45 => "psk_key_exchange_modes",
        47 => "certificate_authorities",
        48 => "oid_filters",
        49 => "post_handshake_auth",
        50 => "signature_algorithms_cert",
        51 => "key_share",
        52 => "transparency_info",
        53 => "connection_id_deprecated",
        54 => "connection_id",
        55 => "external_id_hash",
        56 => "external_session_id",
        57 => "quic_transport_parameters",
        58 => "ticket_request",
        59 => "dnssec_chain",
        60 => "sequence_number_encryption_algorithms",
        61 => "rrc",
        62 => "tls_flags",
        13172 => "next_protocol_negotiation",
        17513 => "application_settings_old",
        17613 => "application_settings",
        30031 => "channel_id_old",
        30032 => "channel_id",
        64768 => "ech_outer_extensions",
        65037 => "encrypted_client_hello",
        65281 => "renegotiation_info",
        65445 => "quic_transport_parameters_draft",
        65486 => "encrypted_server_name",
        _ => return None,
    })
}

/// AlertDescription.
pub fn alert(number: u8) -> Option<&'static str> {
    Some(match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        117 => "general_error",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

/// AlertLevel.
pub fn alert_level(number: u8) -> Option<&'static str> {
    match number {
        1 => Some("warning"),
        2 => Some("fatal"),
        _ => None,
    }
}

/// CertificateCompressionAlgorithm (RFC 8879 section 7.3).
pub fn certificate_compression(number: u16) -> Option<&'static str> {
    match number {
        1 => Some("zlib"),
        2 => Some("brotli"),
        3 => Some("zstd"),
        _ => None,
    }
}

/// Cipher suites that the table of the crate lacks: drafts, GOST, Fortezza, the export suites that never became standard.
fn unlisted_cipher_suite(number: u16) -> Option<&'static str> {
    Some(match number {
        0x001c => "SSL_FORTEZZA_KEA_WITH_NULL_SHA",
        0x001d => "SSL_FORTEZZA_KEA_WITH_FORTEZZA_CBC_SHA",
        0x0080 => "TLS_GOSTR341094_WITH_28147_CNT_IMIT",
        0x0081 => "TLS_GOSTR341001_WITH_28147_CNT_IMIT",
        0x0082 => "TLS_GOSTR341094_WITH_NULL_GOSTR3411",
        0x0083 => "TLS_GOSTR341001_WITH_NULL_GOSTR3411",
        0xc0ff => "TLS_ECJPAKE_WITH_AES_128_CCM_8",
        0xc100 => "TLS_GOSTR341112_256_WITH_KUZNYECHIK_CTR_OMAC",
        0xc101 => "TLS_GOSTR341112_256_WITH_MAGMA_CTR_OMAC",
        0xc102 => "TLS_GOSTR341112_256_WITH_28147_CNT_IMIT",
        0xc103 => "TLS_GOSTR341112_256_WITH_KUZNYECHIK_MGM_L",
        0xc104 => "TLS_GOSTR341112_256_WITH_MAGMA_MGM_L",
        0xc105 => "TLS_GOSTR341112_256_WITH_KUZNYECHIK_MGM_S",
        0xc106 => "TLS_GOSTR341112_256_WITH_MAGMA_MGM_S",
        0xcc13 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_OLD_SHA256",
        0xcc14 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_OLD_SHA256",
        0xcc15 => "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_OLD_SHA256",
        0xfefe => "SSL_RSA_FIPS_WITH_DES_CBC_SHA",
        0xfeff => "SSL_RSA_FIPS_WITH_3DES_EDE_CBC_SHA",
        0xff85 => "TLS_GOSTR341112_256_WITH_28147_CNT_IMIT_OLD",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_have_their_registered_names() {
        assert_eq!(cipher_suite(0x1301), Some("TLS_AES_128_GCM_SHA256"));
        assert_eq!(cipher_suite(0xc02f), Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
        assert_eq!(cipher_suite(0x00ff), Some("TLS_EMPTY_RENEGOTIATION_INFO_SCSV"));
        assert_eq!(cipher_suite(0xc100), Some("TLS_GOSTR341112_256_WITH_KUZNYECHIK_CTR_OMAC"));
        assert_eq!(group(0x11ec), Some("X25519MLKEM768"));
        assert_eq!(signature_scheme(0x0905), Some("mldsa65"));
        assert_eq!(extension(43), Some("supported_versions"));
        assert_eq!(alert(48), Some("unknown_ca"));
        assert_eq!(version(0x7f1c), Some("1.3"));
        assert_eq!(certificate_compression(2), Some("brotli"));
    }

    #[test]
    fn unknown_and_grease_have_none() {
        for name in [cipher_suite, group, extension, signature_scheme] {
            assert_eq!(name(0x0a0a), None);
        }
        assert_eq!(version(0x0305), None);
    }

    #[test]
    fn own_table_holds_only_what_the_crate_lacks() {
        for number in 0..=u16::MAX {
            assert!(
                unlisted_cipher_suite(number).is_none() || TlsCipherSuite::from_id(number).is_none(),
                "{number:#06x}"
            );
        }
    }
}
