//! Scenes of one connection, and what to look for in their events.

use serde_json::Value;

use super::scene::*;
use super::tls::*;

/// A certificate for `example.org`, always the same.
pub fn chain() -> Vec<u8> {
    static CHAIN: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    CHAIN.get_or_init(|| certificate("example.org")).clone()
}

/// Whether an event tells of this anomaly.
pub fn has(event: &Value, anomaly: &str) -> bool {
    event["tlswatch"]["anomalies"].as_array().is_some_and(|all| all.iter().any(|name| name == anomaly))
}

/// The texts of a list.
pub fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|all| all.iter().map(|text| text.as_str().unwrap()).collect()).unwrap_or_default()
}

/// A connection on which these parts are said.
pub fn talk(parts: &[(Side, Vec<u8>)]) -> Scene {
    let mut scene = Scene::new();
    scene.talk(Connection::new(1), parts);
    scene
}

/// A whole session of TLS 1.2 that begins with this hello.
pub fn session(hello: &ClientHello) -> Scene {
    let mut scene = Scene::new();
    scene.session(Connection::new(1), hello, &[&chain()]);
    scene
}

/// A whole session of TLS 1.2 whose server shows these certificates.
pub fn showing(chain: &[&[u8]]) -> Scene {
    let mut scene = Scene::new();
    scene.session(Connection::new(1), &ClientHello::default(), chain);
    scene
}
