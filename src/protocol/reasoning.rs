//! Reasoning of one provider, kept by clients of another's API.
//!
//! A model goes on thinking where it left off only if its own blocks come back unchanged, and each API has one place for
//! something that only the provider can read: `signature` in Messages, `encrypted_content` in Responses. What stands there
//! in a translated answer is the whole block of the other API, sealed: the client cannot change it, and it opens only
//! for the upstream it came from (the associated data is the origin). What does not open, because it comes from another
//! provider, another gateway or another duopool, is left out: sent on, it would be refused with the whole request.
//!
//! The seal is standard base64, since that is what clients expect there. Its nonce is a keyed hash of what is sealed, so
//! that the same block always looks the same, streamed or not; equal seals tell no more than equal blocks would.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::protocol::canonical::{Block, Conversation, Proof, Reasoning};

/// What every seal begins with: 9 bytes, which are 12 characters of base64.
const MAGIC: &[u8; 9] = b"duopool\x01\x00";
/// [`MAGIC`] in base64.
pub(super) const SEAL_PREFIX: &str = "ZHVvcG9vbAEA";
const NONCE_BYTES: usize = 24;
/// Longest seal that is opened, in bytes.
const SEALED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Seals reasoning of one origin, and opens it again.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    nonce_key: [u8; 32],
    origin: String,
}

impl Sealer {
    /// Seals under `key` for `origin`: whoever can make use of the blocks, such as the organisation behind a gateway, and
    /// the dialect that they are of.
    pub fn new(key: &[u8; 32], origin: &str) -> Self {
        let derived =
            |purpose: &[u8]| -> [u8; 32] { Sha256::new().chain_update(purpose).chain_update(key).finalize().into() };
        let cipher = XChaCha20Poly1305::new(&derived(b"duopool reasoning cipher").into());
        Self { cipher, nonce_key: derived(b"duopool reasoning nonce"), origin: origin.to_owned() }
    }

    /// Returns the block with this text and proof, sealed; `None` for a proof that is sealed already.
    pub fn seal(&self, text: &str, proof: &Proof<'_>) -> Option<String> {
        let kept = match proof {
            Proof::Sealed(_) => return None,
            Proof::Signature(signature) => Kept::Signature { text: text.into(), signature: (&**signature).into() },
            Proof::Redacted(data) => Kept::Redacted { data: (&**data).into() },
            Proof::Encrypted { id, content, summary } => Kept::Encrypted {
                id: (&**id).into(),
                content: (&**content).into(),
                summary: summary.iter().map(|part| Cow::Borrowed(&**part)).collect(),
            },
        };
        let plain = crate::protocol::json::to_vec(&kept);
        let nonce = self.nonce(&plain);
        let payload = Payload { msg: &plain, aad: self.origin.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(STANDARD.encode([&MAGIC[..], &nonce, &sealed].concat()))
    }

    /// Returns the block that was sealed under this key for this origin; `None` for anything else.
    pub fn open(&self, seal: &str) -> Option<Reasoning<'static>> {
        if !is_seal(seal) || seal.len() > SEALED_BYTES_MAX {
            return None;
        }
        let bytes = STANDARD.decode(seal).ok()?;
        let (nonce, sealed) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: self.origin.as_bytes() };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        Some(serde_json::from_slice::<Kept<'_>>(&plain).ok()?.into_reasoning())
    }

    fn nonce(&self, plain: &[u8]) -> [u8; NONCE_BYTES] {
        let origin_bytes = (self.origin.len() as u64).to_le_bytes();
        let hash = Sha256::new()
            .chain_update(self.nonce_key)
            .chain_update(origin_bytes)
            .chain_update(&self.origin)
            .chain_update(plain)
            .finalize();
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&hash[..NONCE_BYTES]);
        nonce
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Returns whether a text looks like a seal of some duopool, which no provider can read.
pub fn is_seal(text: &str) -> bool {
    text.starts_with(SEAL_PREFIX)
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept<'a> {
    Signature { text: Cow<'a, str>, signature: Cow<'a, str> },
    Redacted { data: Cow<'a, str> },
    Encrypted { id: Cow<'a, str>, content: Cow<'a, str>, summary: Vec<Cow<'a, str>> },
}

impl Kept<'_> {
    fn into_reasoning(self) -> Reasoning<'static> {
        let owned = |text: Cow<'_, str>| Cow::<'static, str>::Owned(text.into_owned());
        match self {
            Self::Signature { text, signature } => {
                Reasoning { text: owned(text), proof: Some(Proof::Signature(owned(signature))) }
            }
            Self::Redacted { data } => Reasoning { text: Cow::Borrowed(""), proof: Some(Proof::Redacted(owned(data))) },
            Self::Encrypted { id, content, summary } => Reasoning {
                text: summary.join("\n\n").into(),
                proof: Some(Proof::Encrypted {
                    id: owned(id),
                    content: owned(content),
                    summary: summary.into_iter().map(owned).collect(),
                }),
            },
        }
    }
}

/// Opens all reasoning of a conversation, and drops what does not open.
pub fn open(conversation: &mut Conversation<'_>, sealer: Option<&Sealer>) {
    for turn in &mut conversation.turns {
        turn.blocks.retain_mut(|block| {
            let Block::Reasoning(reasoning) = block else { return true };
            let Some(Proof::Sealed(seal)) = &reasoning.proof else { return false };
            let Some(opened) = sealer.and_then(|sealer| sealer.open(seal)) else { return false };
            *reasoning = opened;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::canonical::{Role, Turn};

    const KEY: [u8; 32] = [7; 32];

    fn proofs() -> Vec<(&'static str, Proof<'static>)> {
        vec![
            ("I \u{1f980} think\n", Proof::Signature("EqQB+/=".into())),
            ("", Proof::Signature("EqQB".into())),
            ("", Proof::Redacted("EmwK".into())),
            (
                "one\n\ntwo",
                Proof::Encrypted {
                    id: "rs_1".into(),
                    content: "gAAAA".into(),
                    summary: vec!["one".into(), "two".into()],
                },
            ),
        ]
    }

    #[test]
    fn a_block_comes_back_as_it_was_whatever_the_client_did_to_its_text() {
        let sealer = Sealer::new(&KEY, "gitlab.com messages");
        for (text, proof) in proofs() {
            let seal = sealer.seal(text, &proof).unwrap();
            assert!(is_seal(&seal) && STANDARD.decode(&seal).is_ok(), "{seal}");
            let opened = sealer.open(&seal).unwrap();
            assert_eq!((&*opened.text, opened.proof), (text, Some(proof)));
        }
    }

    #[test]
    fn a_seal_opens_for_its_origin_and_under_its_key_alone() {
        let seal = Sealer::new(&KEY, "a messages").seal("x", &Proof::Signature("s".into())).unwrap();
        for other in [
            Sealer::new(&KEY, "b messages"),
            Sealer::new(&KEY, "a responses"),
            Sealer::new(&KEY, ""),
            Sealer::new(&[8; 32], "a messages"),
        ] {
            assert_eq!(other.open(&seal), None);
        }
    }

    #[test]
    fn what_was_changed_or_is_of_others_does_not_open() {
        let sealer = Sealer::new(&KEY, "a");
        let seal = sealer.seal("text", &Proof::Signature("s".into())).unwrap();
        for at in (12..seal.len()).step_by(7) {
            let mut changed = seal.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sealer.open(&String::from_utf8(changed).unwrap()), None, "byte {at}");
        }
        let half = &seal[..seal.len() / 2];
        for text in ["", "EqQBCkYIBxgCKkB", "gAAAAABm", "ZHVvcG9vbAEA", "ZHVvcG9vbAEAAAAA", half] {
            assert_eq!(sealer.open(text), None, "{text}");
        }
    }

    #[test]
    fn a_block_is_always_sealed_the_same_way_and_two_blocks_never() {
        let sealer = Sealer::new(&KEY, "a");
        let seal = |text: &str| sealer.seal(text, &Proof::Signature("s".into())).unwrap();
        assert_eq!(seal("x"), seal("x"));
        assert_ne!(seal("x")[12..44], seal("y")[12..44], "another nonce");
    }

    #[test]
    fn a_conversation_keeps_what_opens_and_drops_the_rest_cleanly() {
        let sealer = Sealer::new(&KEY, "a");
        let ours = sealer.seal("exact", &Proof::Signature("s".into())).unwrap();
        let block = |text: &'static str, seal: Option<&str>| {
            let proof = seal.map(|seal| Proof::Sealed(seal.to_owned().into()));
            Block::Reasoning(Reasoning { text: text.into(), proof })
        };
        let blocks =
            vec![block("shown", Some(&ours)), block("x", Some("EqQB")), block("y", None), Block::Text("t".into())];
        let turns = vec![Turn { role: Role::Assistant, blocks }];
        let mut conversation = Conversation { turns, ..Conversation::default() };
        let mut without = conversation.clone();
        open(&mut conversation, Some(&sealer));
        let exact = Reasoning { text: "exact".into(), proof: Some(Proof::Signature("s".into())) };
        assert_eq!(conversation.turns[0].blocks, [Block::Reasoning(exact), Block::Text("t".into())]);
        open(&mut without, None);
        assert_eq!(without.turns[0].blocks, [Block::Text("t".into())]);
    }

    #[test]
    fn a_sealer_never_shows_its_key() {
        assert_eq!(format!("{:?}", Sealer::new(&KEY, "a")), "Sealer { origin: \"a\", .. }");
    }
}
