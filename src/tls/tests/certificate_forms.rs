//! What stands in a Certificate message where it is no X.509, and ServerKeyExchanges that do not hold what they should.

use super::*;

/// RFC 7250 section 4.2 and RFC 6091 section 3.1: the server's extension says it, each for its own side.
#[test]
fn each_side_has_the_form_that_the_server_agreed_to() {
    let x509 = CertificateForm::X509;
    let (raw, pgp) = (CertificateForm::RawPublicKey, CertificateForm::OpenPgp);
    for (agreed, forms) in [
        (vec![], [x509, x509]),
        (vec![extension(20, &[2])], [raw, x509]),
        (vec![extension(19, &[2])], [x509, raw]),
        (vec![extension(19, &[2]), extension(20, &[2])], [raw, raw]),
        (vec![extension(9, &[1])], [pgp, pgp]),
        (vec![extension(20, &[0]), extension(19, &[0])], [x509, x509]),
        (vec![extension(20, &[2, 0])], [x509, x509]),
        // Another extension with such a body says nothing.
        (vec![extension(35, &[2])], [x509, x509]),
    ] {
        let mut session = session12(true);
        session.server[0] = server_hello_of(&[2; 32], ECDHE_RSA, &agreed);
        let hello = record(22, &session.client[0].concat());
        let rest = session.client_bytes().split_off(hello.len());
        let parts = [(CLIENT, &hello[..]), (SERVER, &session.server_bytes()), (CLIENT, &rest)];
        let handshake = only(observe(&parts));
        let lists = [&handshake.server_certificates, &handshake.client_certificates];
        assert_eq!(lists.map(|list| list.as_ref().unwrap().form), forms, "{agreed:x?}");
    }
}

/// Without a cipher suite whose key exchange is known nothing can be wrong with its parameters.
#[test]
fn parameters_are_wrong_only_where_it_is_known_what_they_are() {
    for (cipher_suite, anomalies) in
        [(Some(ECDHE_RSA), vec![Anomaly::MalformedMessage]), (Some(0x1301), vec![]), (None, vec![])]
    {
        let mut odd = Vec::new();
        let exchange = ServerKeyExchange::parse(&[3, 0], cipher_suite, 0x0303, &mut odd);
        assert_eq!((odd, &*exchange.params, exchange.kind), (anomalies, &[3, 0][..], KeyExchange::Other));
    }
}
