//! Oddities of the wire: data of the event, never an error.

macro_rules! anomalies {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Something that a well-behaved peer on a well-captured wire does not do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Anomaly {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Anomaly {
            /// Every anomaly, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Name in `tlswatch.anomalies`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// One sentence for docs/EVENTS.md.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

anomalies! {
    /// Bytes of the client were not in the capture and were skipped.
    ClientGap = "client_gap",
    /// Bytes of the server were not in the capture and were skipped.
    ServerGap = "server_gap",
    /// The capture begins inside the connection.
    MidStream = "mid_stream",
    /// Only one side's packets are in the capture.
    OneSided = "one_sided",
    /// Two copies of a segment carried different bytes; the first was used.
    OverlapConflict = "overlap_conflict",
    /// A reset came that its receiver need not have taken (another sequence number than expected, or a wrong checksum), and its
    /// sender went on: probably it was forged.
    ResetOutOfPlace = "reset_out_of_place",
    /// A packet of the handshake was cut by the snap length.
    Snapped = "snapped",
    /// A packet of the handshake has a wrong checksum.
    BadChecksum = "bad_checksum",
    /// A record longer than its version allows.
    RecordTooLong = "record_too_long",
    /// A record of an unknown type.
    UnknownRecordType = "unknown_record_type",
    /// A handshake, alert or ChangeCipherSpec record without content.
    EmptyRecord = "empty_record",
    /// A handshake message longer than the limit; it was not read.
    MessageTooLong = "message_too_long",
    /// A handshake message of a type that does not belong here, or a ChangeCipherSpec before the first hello.
    UnexpectedMessage = "unexpected_message",
    /// A message or record that the end of the flow cut.
    CutMessage = "cut_message",
    /// A ClientHello whose lengths contradict each other; what could be read is reported.
    MalformedClientHello = "malformed_client_hello",
    /// A ServerHello whose lengths contradict each other; what could be read is reported.
    MalformedServerHello = "malformed_server_hello",
    /// An extension whose body does not parse.
    MalformedExtension = "malformed_extension",
    /// A Certificate message whose lengths contradict each other.
    MalformedCertificateMessage = "malformed_certificate_message",
    /// Another handshake message whose lengths contradict each other.
    MalformedMessage = "malformed_message",
    /// An extension that occurs twice in one hello.
    DuplicateExtension = "duplicate_extension",
    /// More than one name in `server_name`.
    MultipleServerNames = "multiple_server_names",
    /// A `server_name` that is no host name: another type, empty, or with a wrong length.
    InvalidServerName = "invalid_server_name",
    /// A list of cipher suites of odd length.
    OddCipherSuites = "odd_cipher_suites",
    /// A certificate that does not parse; it is hashed and reported all the same.
    UnparsableCertificate = "unparsable_certificate",
    /// More certificates than the limit; those beyond it are left out.
    ChainTooLong = "chain_too_long",
    /// Compressed certificates that could not be unpacked within the limits.
    CompressedCertificate = "compressed_certificate",
    /// A second ClientHello that is no answer to a HelloRetryRequest.
    RepeatedClientHello = "repeated_client_hello",
    /// A second ServerHello on the same handshake.
    RepeatedServerHello = "repeated_server_hello",
    /// A server hello without its client hello in the capture.
    NoClientHello = "no_client_hello",
    /// Clear text where encrypted data was due.
    ClearTextAfterCcs = "clear_text_after_change_cipher_spec",
    /// A second alert that contradicts the first, or more alerts than are kept.
    ManyAlerts = "many_alerts",
    /// A parser gave up on this connection; a bug to report.
    ParserPanic = "parser_panic",
    /// Memory limits ended the handshake early.
    MemoryLimit = "memory_limit",
    /// The transport carries TLS records after bytes that are none.
    LeadingBytes = "leading_bytes",
    /// Another segment at the same place than the one already passed on, with other bytes (possible injection).
    RetransmissionConflict = "retransmission_conflict",
    /// A record version or ClientHello version that no version of TLS has.
    UnknownVersion = "unknown_version",
}
