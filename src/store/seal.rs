//! Seals secrets at rest with XChaCha20-Poly1305.
//!
//! Nonces are random, which 24 bytes allow for any number of writes this store will ever make. They come from the system
//! and are not an argument, unlike chance elsewhere in the house: a nonce that a test could repeat would break the seal.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand::TryRng;
use rand::rngs::SysRng;

use crate::store::master_key::MasterKey;

const NONCE_BYTES: usize = 24;

/// The place that a sealed value belongs to; under any other it does not open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The kind of record.
    pub(super) kind: &'a str,
    /// The record's key.
    pub(super) id: &'a str,
    /// The version of the record's format.
    pub(super) version: u32,
    /// The part of the record that is readable: it decides where a secret is sent, so it must not change unnoticed.
    pub(super) readable: &'a str,
}

impl Place<'_> {
    /// Returns the associated data; lengths keep two places from reading the same.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        for part in [self.kind, self.id, self.readable] {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }
}

/// The master key, ready for use.
pub(super) struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    pub(super) fn new(key: &MasterKey) -> Self {
        Self { cipher: XChaCha20Poly1305::new(key.bytes().expose().into()) }
    }

    /// Returns nonce and ciphertext as base64; `None` if the system has no randomness to give.
    pub(super) fn seal(&self, place: Place<'_>, secret: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_BYTES];
        SysRng.try_fill_bytes(&mut nonce).ok()?;
        let payload = Payload { msg: secret, aad: &place.bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(STANDARD.encode([&nonce[..], &sealed].concat()))
    }

    /// Returns what was sealed at `place` under this key; `None` for anything else.
    pub(super) fn open(&self, place: Place<'_>, text: &str) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: &place.bytes() };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { kind: "account", id: "a", version: 1, readable: "{}" };

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&MasterKey::from_bytes([byte; 32]))
    }

    #[test]
    fn a_sealed_value_opens_at_its_own_place_under_its_own_key_alone() {
        let sealed = sealer(1).seal(PLACE, b"glpat-1").unwrap();
        assert_eq!(sealer(1).open(PLACE, &sealed).as_deref(), Some(&b"glpat-1"[..]));
        assert_eq!(sealer(2).open(PLACE, &sealed), None);
        let elsewhere = [
            Place { kind: "grant", ..PLACE },
            Place { id: "b", ..PLACE },
            Place { version: 2, ..PLACE },
            Place { readable: "{ }", ..PLACE },
            Place { kind: "accounta", id: "", ..PLACE },
        ];
        for place in elsewhere {
            assert_eq!(sealer(1).open(place, &sealed), None, "{place:?}");
        }
    }

    #[test]
    fn every_changed_or_missing_byte_breaks_the_seal() {
        let sealed = STANDARD.decode(sealer(1).seal(PLACE, b"glpat-1").unwrap()).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(sealer(1).open(PLACE, &STANDARD.encode(changed)), None, "byte {at}");
            assert_eq!(sealer(1).open(PLACE, &STANDARD.encode(&sealed[..at])), None, "cut at {at}");
        }
        assert_eq!(sealer(1).open(PLACE, "not base64!"), None);
    }

    #[test]
    fn the_same_secret_never_looks_the_same_twice() {
        assert_ne!(sealer(1).seal(PLACE, b"x"), sealer(1).seal(PLACE, b"x"));
    }
}
