//! What is known of one direction of a handshake besides its messages.

use super::Progress;

/// What is known of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) seen: bool,
    /// Its bytes come from the beginning of the connection.
    pub(super) from_start: bool,
    /// Its first packet in the capture was seen (SYN), or its end, even if it never carried bytes.
    pub(super) present: bool,
    pub(super) gap: bool,
    /// Bytes before its ChangeCipherSpec are missing.
    pub(super) early_gap: bool,
    pub(super) closed: bool,
    /// Some of its bytes belong to the handshake.
    pub(super) spoke: bool,
    pub(super) change_cipher_spec: bool,
    /// A record after its ChangeCipherSpec was seen.
    pub(super) after_change: bool,
    pub(super) encrypted_handshake: bool,
    pub(super) application_data: u32,
}

impl Side {
    /// What of it also holds for the next handshake on the connection.
    pub(super) fn of_next(self) -> Self {
        Self {
            seen: self.seen,
            from_start: self.from_start,
            present: self.present,
            closed: self.closed,
            ..Self::default()
        }
    }

    /// What of it a handshake tells.
    pub(super) fn progress(self) -> Progress {
        Progress {
            change_cipher_spec: self.change_cipher_spec,
            encrypted_handshake: self.encrypted_handshake,
            application_data: u8::try_from(self.application_data).unwrap_or(u8::MAX),
            seen: self.seen,
            from_start: self.from_start,
        }
    }
}
