//! One handshake in the making: what the messages of both sides add up to, and when it is over.

use super::certificate::{CertificateLimits, ocsp_response};
use super::finished::Finished;
use super::message::{Message, client_by_message};
use super::side::Side;
use super::transcript::Transcript;
use super::{
    Alert, Anomaly, CertificateForm, CertificateList, CertificateRequest, CertificateVerify, ClientHello, Handshake,
    HandshakeEnd, ServerHello, ServerKeyExchange,
};
use crate::direction::{Direction, PerDirection};
use crate::time::{Moment, Timestamp};

/// Most handshakes that are reported of one connection: an endless row of hellos is an attack.
const HANDSHAKES: u32 = 64;

/// So many application data records of one side end a handshake of which the other side is not seen: what follows is bulk.
const BULK: u32 = 128;

/// A hello has at least a version and a random; less is no hello.
const LEAST_HELLO: usize = 34;

/// Length of an encrypted alert of TLS 1.3 without padding: two bytes, the content type and a 16-byte tag.
const TLS13_ALERT: u16 = 19;

/// The handshake that is being watched, and those that are over.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    limits: CertificateLimits,
    handshake: Box<Handshake>,
    /// Something of the handshake was seen that is worth an event.
    begun: bool,
    sides: PerDirection<Side>,
    /// A ClientHello with the random of the first; it belongs to a HelloRetryRequest, or is a mere repetition.
    repeated: Option<Box<ClientHello>>,
    transcript: Transcript,
    /// The server sent ServerHelloDone, or the client ClientKeyExchange: no resumption.
    full_exchange: bool,
    ssl2_resumed: Option<bool>,
    /// A TLS 1.3 server sent a record after the client's first encrypted one.
    server_answered: bool,
    /// That record may have been an alert.
    answered_with_alert: bool,
    fatal: bool,
    /// One side reset the connection while a message of the other was on its way.
    reset: bool,
    finished: Finished,
    over: bool,
    /// `handshake` is over too and waits to be taken.
    closed: bool,
    /// Bytes that the messages of the handshake hold; each adds what it holds.
    held: usize,
    /// Of the ServerHello; here too because every record asks for it.
    version: Option<u16>,
    /// The ServerHello has SSL 2 format.
    ssl2: bool,
    /// The first ClientHello offers early data.
    offers_early: bool,
    /// When the first ClientHello was complete, until it is answered.
    asked: Option<Timestamp>,
}

/// Where a message or record was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) direction: Direction,
    /// Version in the header of the record.
    pub(super) record_version: u16,
    pub(super) at: &'a Moment,
}

/// How the payload of a record is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Not at all.
    #[default]
    Skip,
    /// Handshake messages.
    Handshake,
    /// Handshake messages if it begins like one, else it is encrypted.
    Peek,
    /// Alerts.
    Alert,
}

impl Conversation {
    pub(super) fn set_limits(&mut self, limits: CertificateLimits) {
        self.limits = limits;
    }

    /// No later message is looked for.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Handshakes that others have followed.
    pub(super) fn finished(&mut self) -> &mut Finished {
        &mut self.finished
    }

    /// The handshake with which the observation ended.
    pub(super) fn into_last(self) -> Option<Box<Handshake>> {
        self.closed.then_some(self.handshake)
    }

    /// Both hellos of TLS 1.3 were seen: what follows is encrypted.
    pub(super) fn is_opaque(&self) -> bool {
        self.version == Some(0x0304) && self.handshake.client_hello.is_some()
    }

    /// Bytes of the longest message that is read.
    pub(super) fn message_bytes(&self) -> usize {
        self.limits.message_bytes
    }

    pub(super) fn note(&mut self, anomaly: Anomaly) {
        if !self.over {
            self.handshake.note(anomaly);
        }
    }

    pub(super) fn set_from_start(&mut self, direction: Direction) {
        let side = self.sides.of_mut(direction);
        side.from_start = true;
        side.present = true;
    }

    pub(super) fn see(&mut self, direction: Direction) {
        self.sides.of_mut(direction).seen = true;
    }

    /// Bytes of a direction are missing.
    pub(super) fn on_gap(&mut self, direction: Direction) {
        let side = self.sides.of_mut(direction);
        side.gap = true;
        side.early_gap |= !side.change_cipher_spec;
        self.transcript.drop_all();
    }

    pub(super) fn on_close(&mut self, direction: Direction, reset: bool, at: &Moment) {
        let side = self.sides.of_mut(direction);
        side.closed = true;
        side.present = true;
        if reset || self.reset {
            self.end(HandshakeEnd::Reset, at);
        } else if Direction::BOTH.iter().all(|direction| self.sides.of(*direction).closed) {
            self.end(HandshakeEnd::Fin, at);
        }
    }

    /// `direction` reset the connection, but a message of the other side has begun and may still come to its end.
    pub(super) fn on_early_reset(&mut self, direction: Direction) {
        self.reset = true;
        let side = self.sides.of_mut(direction);
        side.closed = true;
        side.present = true;
    }

    /// Whether only a message that has begun keeps the handshake open.
    pub(super) fn awaits_end_of_message(&self) -> bool {
        self.reset
    }

    /// The direction has sent ChangeCipherSpec, or so much went missing that it may have.
    pub(super) fn may_be_encrypted(&self, direction: Direction) -> bool {
        self.sides.of(direction).change_cipher_spec
    }

    /// Whether a message begins like a ClientHello with the unusual version of the first one.
    pub(super) fn is_hello_of_client(&self, head: &[u8]) -> bool {
        let Some(hello) = &self.handshake.client_hello else { return false };
        matches!(head, [1, 0, _, _, high, low, ..] if u16::from_be_bytes([*high, *low]) == hello.legacy_version)
    }

    /// Whether an alert record of `length` bytes is in clear (RFC 8446 section 5.1: TLS 1.3 has one alert a record).
    pub(super) fn is_clear_alert(&self, direction: Direction, length: u16) -> bool {
        let encrypted = self.sides.of(direction).change_cipher_spec;
        length == 2
            || !encrypted && length > 0 && length <= 20 && length.is_multiple_of(2) && self.version() != Some(0x0304)
    }

    /// A record is in clear though its sender changed to encryption. TLS 1.3 says nothing by ChangeCipherSpec, and only a second
    /// ClientHello tells that TLS 1.3 is spoken before the ServerHello is seen.
    pub(super) fn on_clear_text(&mut self, direction: Direction) {
        let encrypts = self.version().is_some_and(|version| version <= 0x0303);
        if encrypts && self.sides.of(direction).change_cipher_spec {
            self.note(Anomaly::ClearTextAfterCcs);
        }
    }

    /// A handshake message in clear. What each kind needs stays apart: a hello takes a large stack frame.
    pub(super) fn on_message(&mut self, message: &Message<'_>, place: Place<'_>) {
        let direction = place.direction;
        if self.handshake.client.is_none() {
            self.handshake.client = client_by_message(message.kind, direction);
        }
        match message.kind {
            1 => self.on_client_hello(message, place, ClientHello::fill),
            2 => self.on_server_hello(message, place, ServerHello::fill),
            6 => self.on_server_hello(message, place, ServerHello::fill_draft_retry),
            _ => self.on_later_message(message, place),
        }
        #[cfg(test)]
        assert_eq!(self.held, self.weigh(), "each message adds what it holds");
        self.check(place.at);
    }

    /// An SSL 2 hello.
    pub(super) fn on_ssl2_message(&mut self, message: &Message<'_>, place: Place<'_>) {
        match message.kind {
            1 => {
                self.handshake.client.get_or_insert(place.direction);
                self.on_client_hello(message, place, ClientHello::fill_ssl2);
            }
            4 => {
                self.handshake.client.get_or_insert_with(|| place.direction.reversed());
                let mut answer = None;
                // In SSL 2 the ServerHello has type 4.
                let message = Message { kind: 2, ..*message };
                self.on_server_hello(&message, place, |hello, body, odd| {
                    answer = Some(hello.fill_ssl2(body, odd));
                });
                if let Some(answer) = answer {
                    self.ssl2_resumed = Some(answer.session_id_hit);
                    self.handshake.server_certificates = answer.certificates;
                }
            }
            _ => {}
        }
        self.held = self.weigh();
        self.check(place.at);
    }

    /// Bytes after an SSL 2 hello: its later messages are not read.
    pub(super) fn on_ssl2_rest(&mut self, place: Place<'_>) {
        self.sides.of_mut(place.direction).after_change = true;
        self.check(place.at);
    }

    /// Whether the connection goes on in SSL 2 after both hellos.
    pub(super) fn is_ssl2(&self) -> bool {
        self.ssl2
    }

    /// A record of application data begins; only its header is used.
    pub(super) fn on_application_record(&mut self, length: u16, place: Place<'_>) {
        self.on_application_data(length, place);
        self.check(place.at);
    }

    /// A ChangeCipherSpec record is whole.
    pub(super) fn on_change_cipher_spec(&mut self, place: Place<'_>) {
        let side = self.sides.of_mut(place.direction);
        if self.handshake.ordinal == 0 && side.from_start && !side.spoke && !side.gap {
            // Nothing is agreed upon yet that it could change to: some servers pass over it.
            self.note(Anomaly::UnexpectedMessage);
            return;
        }
        side.change_cipher_spec = true;
        side.spoke = true;
        if self.version() != Some(0x0304) {
            self.handshake.last = *place.at;
        }
        self.check(place.at);
    }

    /// An encrypted record other than application data is whole.
    pub(super) fn on_encrypted(&mut self, kind: u8, place: Place<'_>) {
        let side = self.sides.of_mut(place.direction);
        if side.change_cipher_spec {
            if !side.after_change {
                side.encrypted_handshake = kind == super::record::HANDSHAKE;
                self.handshake.last = *place.at;
            }
            side.after_change = true;
        }
        self.check(place.at);
    }

    /// An alert in clear.
    pub(super) fn on_alert(&mut self, level: u8, description: u8, place: Place<'_>) {
        let direction = place.direction;
        self.on_clear_text(direction);
        let alerts = &mut self.handshake.alerts;
        if alerts.len() < Handshake::MAX_ALERTS {
            alerts.push(Alert { direction, level, description });
        } else {
            self.note(Anomaly::ManyAlerts);
        }
        self.handshake.last = *place.at;
        let side = self.sides.of_mut(direction);
        side.from_start |= !side.spoke && !side.gap;
        side.spoke = true;
        self.fatal |= level == 2;
        self.check(place.at);
    }

    /// Ends the handshake and with it the observation.
    pub(super) fn end(&mut self, end: HandshakeEnd, at: &Moment) {
        if !self.over {
            self.closed = self.close(end, at);
            self.over = true;
        }
    }

    /// Bytes held for the handshake.
    pub(super) fn memory(&self) -> usize {
        size_of::<Handshake>() + self.held + self.transcript.memory()
    }

    /// What [`Self::held`] is, from scratch.
    fn weigh(&self) -> usize {
        let handshake = &self.handshake;
        let hellos = [&handshake.client_hello, &handshake.second_client_hello, &self.repeated];
        let answers = [&handshake.server_hello, &handshake.hello_retry_request];
        let lists = [&handshake.server_certificates, &handshake.client_certificates];
        let hellos = hellos.into_iter().flatten().map(|hello| hello.memory()).sum::<usize>();
        let answers = answers.into_iter().flatten().map(|hello| hello.raw.len() * 2).sum::<usize>();
        let lists = lists.into_iter().flatten().map(|list| list.bytes.len()).sum::<usize>();
        let request = handshake
            .certificate_request
            .as_ref()
            .map_or(0, |request| request.authorities.iter().map(|name| name.len()).sum());
        let ocsp = handshake.ocsp_response.as_ref().map_or(0, |response| response.len());
        hellos + answers + lists + request + ocsp
    }

    fn version(&self) -> Option<u16> {
        self.version
    }

    #[inline(never)]
    fn on_client_hello(
        &mut self,
        message: &Message<'_>,
        place: Place<'_>,
        parse: impl FnOnce(&mut ClientHello, &[u8], &mut Vec<Anomaly>),
    ) {
        let mut odd = Vec::new();
        let mut hello = Box::<ClientHello>::default();
        parse(&mut hello, message.body, &mut odd);
        // Servers take any version that is high enough; where it is none of TLS, the lengths have to tell that this is a hello.
        let sound = hello.legacy_version >> 8 == 3 || !odd.contains(&Anomaly::MalformedClientHello);
        if !hello.ssl2_format && (!sound || message.body.len() < LEAST_HELLO) {
            self.note(Anomaly::MalformedClientHello);
            return;
        }
        if hello.has_unknown_version() || place.record_version > 0x0304 {
            odd.push(Anomaly::UnknownVersion);
        }
        let direction = place.direction;
        if let Some(first) = &self.handshake.client_hello {
            let from_client = self.handshake.client == Some(direction);
            if !from_client && self.handshake.server_hello.is_none() {
                self.note(Anomaly::UnexpectedMessage);
                return;
            }
            let answers_retry =
                self.handshake.hello_retry_request.is_some() && self.handshake.second_client_hello.is_none();
            if from_client && answers_retry {
                self.held += hello.memory();
                self.handshake.second_client_hello = Some(hello);
            } else if from_client && first.random == hello.random && first.ssl2_format == hello.ssl2_format {
                if self.repeated.is_some() || hello.raw == first.raw || self.handshake.hello_retry_request.is_some() {
                    self.note(Anomaly::RepeatedClientHello);
                } else {
                    self.held += hello.memory();
                    self.repeated = Some(hello);
                }
            } else {
                self.supersede(place.at);
                if self.over {
                    return;
                }
                self.first_client_hello(hello, message, place);
            }
        } else {
            if self.handshake.client == Some(direction.reversed()) && self.handshake.server_hello.is_some() {
                // The side that answered as a server now asks as a client: nobody does both in one handshake.
                self.supersede(place.at);
                if self.over {
                    return;
                }
            }
            self.first_client_hello(hello, message, place);
        }
        self.touch(message, place);
        for anomaly in odd {
            self.note(anomaly);
        }
    }

    fn first_client_hello(&mut self, hello: Box<ClientHello>, message: &Message<'_>, place: Place<'_>) {
        self.handshake.client = Some(place.direction);
        let side = self.sides.of_mut(place.direction);
        side.from_start |= !side.gap;
        // One that came before the hello of its sender belongs to no handshake.
        (side.change_cipher_spec, side.after_change, side.encrypted_handshake) = (false, false, false);
        self.handshake.record_version = place.record_version;
        self.held += hello.memory();
        self.offers_early = hello.early_data;
        self.handshake.client_hello = Some(hello);
        self.asked = Some(*place.at).filter(|at| at.time_known).map(|at| at.timestamp);
        if self.begun && message.start.order < self.handshake.first.order {
            self.handshake.first = *message.start;
        }
    }

    #[inline(never)]
    fn on_server_hello(
        &mut self,
        message: &Message<'_>,
        place: Place<'_>,
        parse: impl FnOnce(&mut ServerHello, &[u8], &mut Vec<Anomaly>),
    ) {
        let direction = place.direction;
        if self.handshake.client == Some(direction) {
            self.note(Anomaly::UnexpectedMessage);
            return;
        }
        let mut odd = Vec::new();
        let mut hello = Box::<ServerHello>::default();
        parse(&mut hello, message.body, &mut odd);
        if message.kind == 2 && !hello.ssl2_format && message.body.len() < LEAST_HELLO {
            self.note(Anomaly::MalformedServerHello);
            return;
        }
        self.sides.of_mut(direction).from_start |= !self.sides.of(direction).gap;
        if self.handshake.client_hello.is_none() && self.handshake.record_version == 0 {
            self.handshake.record_version = place.record_version;
        }
        let asked = self.asked.take().filter(|_| message.start.time_known);
        let took = asked.map(|asked| message.start.timestamp.since(asked).nanos()).filter(|took| *took >= 0);
        let handshake = &mut self.handshake;
        handshake.answered_after = handshake.answered_after.or(took);
        let retry = hello.is_hello_retry_request();
        let place_of_hello = if retry { &mut handshake.hello_retry_request } else { &mut handshake.server_hello };
        if place_of_hello.is_some() {
            self.note(Anomaly::RepeatedServerHello);
            return;
        }
        self.held += hello.raw.len() * 2;
        if retry {
            handshake.second_client_hello = self.repeated.take();
        } else {
            self.version = Some(hello.version());
            self.ssl2 = hello.ssl2_format;
        }
        *place_of_hello = Some(hello);
        self.touch(message, place);
        for anomaly in odd {
            self.note(anomaly);
        }
        if self.version() == Some(0x0304) {
            self.transcript.drop_all();
        }
    }

    /// Everything that is no hello.
    #[inline(never)]
    fn on_later_message(&mut self, message: &Message<'_>, place: Place<'_>) {
        let from_client = self.handshake.client == Some(place.direction);
        let version = self.version().unwrap_or(0x0303);
        let cipher_suite = self.handshake.server_hello.as_ref().and_then(|hello| hello.cipher_suite);
        let body = message.body;
        let mut odd = Vec::new();
        let handshake = &mut self.handshake;
        match (message.kind, from_client) {
            // HelloRequest is no part of a handshake; the ClientHello that answers it begins the next.
            (0, false) => return,
            (4, false) => {
                let mut reader = super::reader::Reader::new(body);
                let lifetime = reader.u32();
                let ticket = reader.u16();
                match (lifetime, ticket) {
                    (Some(lifetime), Some(ticket)) => {
                        handshake.new_session_ticket.get_or_insert_with(|| (lifetime, ticket.into()));
                    }
                    _ => odd.push(Anomaly::MalformedMessage),
                }
            }
            (11 | 25, _) => self.on_certificate(message, from_client, &mut odd),
            (12, false) => {
                if handshake.server_key_exchange.is_none() {
                    let exchange = ServerKeyExchange::parse(body, cipher_suite, version, &mut odd);
                    handshake.server_key_exchange = Some(Box::new(exchange));
                }
                self.full_exchange = true;
            }
            (13, false) => {
                if handshake.certificate_request.is_none() {
                    let request = CertificateRequest::parse(body, version, &mut odd);
                    self.held += request.authorities.iter().map(|name| name.len()).sum::<usize>();
                    handshake.certificate_request = Some(Box::new(request));
                }
            }
            (14, false) | (16, true) => self.full_exchange = true,
            (15, true) => {
                let verify = CertificateVerify::parse(body, version, &mut odd);
                handshake.certificate_verify = Some(Box::new(verify));
            }
            (22, false) => match ocsp_response(body) {
                Some(response) if handshake.ocsp_response.is_none() => {
                    self.held += response.len();
                    handshake.ocsp_response = Some(response);
                }
                Some(_) => {}
                None => odd.push(Anomaly::MalformedMessage),
            },
            // SupplementalData, CertificateURL, EndOfEarlyData, EncryptedExtensions, Finished (with a NULL cipher).
            (5 | 8 | 20 | 21 | 23, _) => {}
            _ => odd.push(Anomaly::UnexpectedMessage),
        }
        for anomaly in odd {
            self.note(anomaly);
        }
        self.keep_for_transcript(message, from_client);
        self.touch(message, place);
    }

    fn keep_for_transcript(&mut self, message: &Message<'_>, from_client: bool) {
        if from_client {
            self.transcript.client(message.kind, message.body);
        } else if message.kind == 14 && self.handshake.certificate_request.is_none() {
            self.transcript.drop_all();
        } else {
            self.transcript.server(message.kind, message.body);
        }
    }

    fn on_certificate(&mut self, message: &Message<'_>, from_client: bool, odd: &mut Vec<Anomaly>) {
        let place = if from_client { &self.handshake.client_certificates } else { &self.handshake.server_certificates };
        if place.is_some() {
            odd.push(Anomaly::UnexpectedMessage);
            return;
        }
        let limits = self.limits;
        let form = self.certificate_form(from_client);
        let list = if message.kind == 25 {
            CertificateList::parse_compressed(message.body, limits, odd)
        } else if form != CertificateForm::X509 {
            CertificateList::parse_single(message.body, form, odd)
        } else if self.version() == Some(0x0304) {
            CertificateList::parse_tls13(message.body, limits.chain_length, odd)
        } else {
            CertificateList::parse(message.body, limits.chain_length, odd)
        };
        self.held += list.bytes.len();
        if from_client {
            self.handshake.client_certificates = Some(list);
        } else {
            self.handshake.server_certificates = Some(list);
        }
    }

    /// What the server agreed to put into Certificate messages (RFC 7250 section 3, RFC 6091 section 3.1).
    fn certificate_form(&self, from_client: bool) -> CertificateForm {
        let Some(hello) = &self.handshake.server_hello else { return CertificateForm::X509 };
        let wanted = if from_client { 19 } else { 20 };
        for extension in &hello.extensions {
            if extension.kind != wanted && extension.kind != 9 {
                continue;
            }
            match extension.body_in(&hello.raw) {
                Some([1]) => return CertificateForm::OpenPgp,
                Some([2]) => return CertificateForm::RawPublicKey,
                _ => {}
            }
        }
        CertificateForm::X509
    }

    fn on_application_data(&mut self, length: u16, place: Place<'_>) {
        let direction = place.direction;
        let version = self.version;
        let early = version.is_none();
        let side = self.sides.of_mut(direction);
        side.application_data = side.application_data.saturating_add(1);
        if side.change_cipher_spec {
            side.after_change = true;
        }
        let from_client = match self.handshake.client {
            Some(client) => client == direction,
            None => return,
        };
        let handshake = &mut self.handshake;
        if from_client {
            if early && self.offers_early {
                return;
            }
            if handshake.client_encrypted_lengths.len() < 2 {
                if version == Some(0x0304) && handshake.client_encrypted_lengths.is_empty() {
                    handshake.last = *place.at;
                }
                handshake.client_encrypted_lengths.push(length);
            }
        } else if !early {
            if !handshake.client_encrypted_lengths.is_empty() {
                if !self.server_answered {
                    self.answered_with_alert = length == TLS13_ALERT;
                }
                self.server_answered = true;
            } else if handshake.encrypted_lengths.len() < 16 {
                if version == Some(0x0304) {
                    handshake.last = *place.at;
                }
                handshake.encrypted_lengths.push(length);
            }
        }
    }

    fn touch(&mut self, message: &Message<'_>, place: Place<'_>) {
        // Certificates alone begin a handshake only if they look like some: the capture may begin anywhere.
        let shown = [&self.handshake.server_certificates, &self.handshake.client_certificates];
        let begins = match message.kind {
            1 | 2 | 6 => true,
            11 => shown.into_iter().flatten().flat_map(|list| list.iter().next()).any(|der| der.first() == Some(&0x30)),
            _ => false,
        };
        if !self.begun && begins {
            self.begun = true;
            self.handshake.first = *message.start;
        }
        self.handshake.last = *place.at;
        self.sides.of_mut(place.direction).spoke = true;
    }

    /// Ends the handshake if all that can be seen in clear was seen.
    fn check(&mut self, at: &Moment) {
        if self.over || !self.begun {
            return;
        }
        if self.fatal && !self.awaits_server() {
            self.end(HandshakeEnd::Alert, at);
        } else if self.is_done() {
            self.end(HandshakeEnd::Done, at);
        }
    }

    /// The client refuses what the server sent, but that was captured later and is still to come.
    fn awaits_server(&self) -> bool {
        let by_client = |alert: &Alert| alert.level == 2 && self.handshake.client == Some(alert.direction);
        let server = self.handshake.client.map(|client| self.sides.of(client.reversed()));
        self.handshake.alerts.iter().all(|alert| alert.level != 2 || by_client(alert))
            && server.is_some_and(|server| !server.spoke && !server.closed)
    }

    fn is_done(&self) -> bool {
        let Some(client) = self.handshake.client else { return false };
        let (client, server) = (self.sides.of(client), self.sides.of(client.reversed()));
        let early = self.version.is_none() && self.offers_early;
        if !early && client.application_data.max(server.application_data) >= BULK {
            return true;
        }
        match self.version() {
            Some(0x0304) => self.handshake.client_encrypted_lengths.len() >= 2 && self.server_answered,
            _ => {
                // Application data comes only after the change, even if that was not seen.
                let over = |side: &Side| side.after_change || side.application_data > 0;
                let certificate =
                    self.handshake.client_certificates.as_ref().is_some_and(|list| !list.ranges.is_empty());
                let used = !certificate || client.application_data > 0 && server.application_data > 0;
                // Without a version the ServerHello is lost: the server sends nothing encrypted before it.
                over(client) && over(server) && used
            }
        }
    }

    /// A new handshake begins on the connection.
    fn supersede(&mut self, at: &Moment) {
        let next = self.handshake.ordinal + 1;
        let begun = self.close(HandshakeEnd::Superseded, at);
        if next >= HANDSHAKES {
            (self.over, self.closed) = (true, begun);
            return;
        }
        let PerDirection { low_to_high, high_to_low } = self.sides;
        let sides = PerDirection { low_to_high: low_to_high.of_next(), high_to_low: high_to_low.of_next() };
        let finished = std::mem::take(&mut self.finished);
        let old = std::mem::replace(self, Self { limits: self.limits, finished, sides, ..Self::default() });
        if begun {
            self.finished.push(old.handshake);
        }
        self.handshake.ordinal = next;
    }

    /// Writes down how the handshake ended; `false` when there is none.
    fn close(&mut self, end: HandshakeEnd, at: &Moment) -> bool {
        if !self.begun {
            return false;
        }
        self.begun = false;
        if self.repeated.take().is_some() {
            self.note(Anomaly::RepeatedClientHello);
        }
        let client = self.handshake.client.unwrap_or(Direction::LowToHigh);
        let (client, server) = (*self.sides.of(client), *self.sides.of(client.reversed()));
        let (resumed, established) = (self.resumed(client, server), self.established(client, server));
        let handshake = &mut *self.handshake;
        handshake.ended = *at;
        handshake.end = if self.reset && end != HandshakeEnd::Done { HandshakeEnd::Reset } else { end };
        handshake.client_progress = client.progress();
        handshake.server_progress = server.progress();
        handshake.transcript = self.transcript.assemble(handshake);
        handshake.resumed = resumed;
        handshake.established = established;
        for (side, anomaly) in [(client, Anomaly::ClientGap), (server, Anomaly::ServerGap)] {
            if side.gap {
                handshake.note(anomaly);
            }
        }
        if handshake.client_hello.is_none() {
            handshake.note(Anomaly::NoClientHello);
        }
        let one_sided = !(client.seen || client.present) || !(server.seen || server.present);
        if one_sided {
            handshake.note(Anomaly::OneSided);
        }
        let mid_stream = [client, server].iter().any(|side| side.spoke && !side.from_start);
        if mid_stream {
            handshake.note(Anomaly::MidStream);
        }
        let cut_short =
            matches!(end, HandshakeEnd::EndOfCapture | HandshakeEnd::Evicted) && !clear_part_is_over(handshake);
        let damaged = handshake.anomalies.iter().any(|anomaly| {
            use Anomaly::{ClientGap, CutMessage, MemoryLimit, ServerGap, Snapped};
            matches!(anomaly, ClientGap | ServerGap | CutMessage | Snapped | MemoryLimit)
        });
        handshake.complete = !(one_sided || mid_stream || cut_short || damaged || client.gap || server.gap);
        if self.version != Some(0x0304) {
            handshake.encrypted_lengths.clear();
            handshake.client_encrypted_lengths.clear();
        }
        true
    }

    fn resumed(&self, client: Side, server: Side) -> Option<bool> {
        let handshake = &self.handshake;
        let hello = handshake.server_hello.as_ref()?;
        if hello.ssl2_format {
            return self.ssl2_resumed;
        }
        if hello.version() == 0x0304 {
            return Some(hello.selected_psk.is_some());
        }
        if self.full_exchange || handshake.server_certificates.is_some() {
            return Some(false);
        }
        // A client that goes to ChangeCipherSpec without a ClientKeyExchange tells it even where the server's bytes are missing.
        let short = handshake.client_hello.is_some() && client.change_cipher_spec && !client.early_gap;
        let whole = server.change_cipher_spec && !server.early_gap && handshake.certificate_request.is_none();
        (short || whole).then_some(true)
    }

    fn established(&self, client: Side, server: Side) -> Option<bool> {
        let handshake = &self.handshake;
        if self.fatal {
            return Some(false);
        }
        let Some(hello) = &handshake.server_hello else {
            let refused = handshake.client_hello.is_some() && handshake.hello_retry_request.is_none();
            return refused.then_some(false);
        };
        let certain = if hello.version() == 0x0304 {
            let no_alert = handshake.client_encrypted_lengths.iter().all(|length| *length != TLS13_ALERT)
                && !self.answered_with_alert;
            handshake.client_encrypted_lengths.len() >= 2 && self.server_answered && no_alert
        } else {
            [client, server].iter().all(|side| side.change_cipher_spec && side.encrypted_handshake)
        };
        certain.then_some(true)
    }
}

/// Everything that is sent in clear was sent, whatever follows.
fn clear_part_is_over(handshake: &Handshake) -> bool {
    match handshake.version() {
        Some(0x0304) => true,
        Some(_) => handshake.client_progress.change_cipher_spec && handshake.server_progress.change_cipher_spec,
        None => false,
    }
}
