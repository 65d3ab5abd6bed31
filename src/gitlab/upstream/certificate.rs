//! What a certificate says of itself, for people: whose it is, who signed it, and from when to when it holds.
//!
//! Pure. Nothing is decided by it: whether a certificate is trusted, rustls says. Only the few members that are shown are
//! read of the DER (RFC 5280, section 4.1).

use crate::domain::time::Timestamp;

/// Longest name that is shown, in characters.
const NAME_CHARS_MAX: usize = 200;
/// `CN` and `O`, in the order in which they name somebody. Source: RFC 5280, appendix A.1, `id-at`.
const NAMING: [[u8; 3]; 2] = [[0x55, 0x04, 0x03], [0x55, 0x04, 0x0a]];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`, the version, which the oldest certificates leave out.
const VERSION: u8 = 0xa0;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Whose it is; empty where it says so in its alternative names alone.
    pub(crate) subject: String,
    /// Who signed it.
    pub(crate) issuer: String,
    /// When it begins.
    pub(crate) not_before: Option<Timestamp>,
    /// When it ends.
    pub(crate) not_after: Option<Timestamp>,
}

impl Certificate {
    /// Reads a certificate as DER; `None` where it is none.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let mut signed = Der(Der(Der(der).of(SEQUENCE)?).of(SEQUENCE)?);
        let (tag, _) = signed.next()?;
        // What was read is the serial number, or what comes before it; the algorithm of the signature follows.
        let before_issuer = if tag == VERSION { 2 } else { 1 };
        for _ in 0..before_issuer {
            signed.next()?;
        }
        let issuer = name(signed.of(SEQUENCE)?);
        let mut validity = Der(signed.of(SEQUENCE)?);
        let (not_before, not_after) = (time(validity.next()?), time(validity.next()?));
        let subject = name(signed.of(SEQUENCE)?);
        Some(Self { subject, issuer, not_before, not_after })
    }
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Reads the next value, with its tag.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let count = usize::from(*first & 0x7f);
            let digits = rest.get(..count).filter(|digits| (1..=4).contains(&digits.len()))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), &rest[count..])
        };
        let value = rest.get(..length)?;
        self.0 = &rest[length..];
        Some((*tag, value))
    }

    /// Reads the next value, which must be of kind `wanted`.
    fn of(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    }
}

fn name(mut rest: &[u8]) -> String {
    let mut found = [None, None];
    let mut names = Der(rest);
    while let Some(set) = names.of(SET) {
        let Some(pair) = Der(set).of(SEQUENCE) else { break };
        let mut pair = Der(pair);
        let Some(kind) = pair.of(OBJECT_IDENTIFIER) else { break };
        if let (Some(at), Some((_, value))) = (NAMING.iter().position(|known| known == kind), pair.next()) {
            found[at] = Some(value);
        }
    }
    rest = found.into_iter().flatten().next().unwrap_or_default();
    let text = String::from_utf8_lossy(rest);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME_CHARS_MAX).collect()
}

fn time((tag, value): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?;
    let full = match tag {
        // RFC 5280, section 4.1.2.5.1: from 50 on, it is the last century.
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let digits = full.strip_suffix('Z').filter(|digits| digits.len() == 14)?;
    let (date, clock) = digits.split_at(8);
    Timestamp::from_rfc3339(&format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &clock[..2],
        &clock[2..4],
        &clock[4..]
    ))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn authority() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(include_bytes!("../../../tests/fixtures/authority.pem")).unwrap()
    }

    #[test]
    fn a_certificate_says_whose_it_is_and_when_it_ends() {
        let read = Certificate::read(&authority()).unwrap();
        assert_eq!((read.subject.as_str(), &read.issuer), ("An authority of nobody", &read.subject));
        assert_eq!(read.not_before, Timestamp::from_rfc3339("2026-11-23T07:30:47Z"));
        assert_eq!(read.not_after, Timestamp::from_rfc3339("2126-10-30T07:30:47Z"));
    }

    #[test]
    fn an_organization_names_who_has_no_other_name() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Corp\u{7}");
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        assert_eq!(Certificate::read(certificate.der()).unwrap().subject, "Corp ");
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        let whole = authority();
        for end in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..end]), None, "{end}");
        }
        for index in 0..whole.len() {
            for byte in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut bent = whole.to_vec();
                bent[index] = byte;
                // Whatever it is read as, it is read to an end.
                drop(Certificate::read(&bent));
            }
        }
        assert_eq!(time((UTC_TIME, b"990101000000Z")), Timestamp::from_rfc3339("1999-01-01T00:00:00Z"));
        for nonsense in [&b""[..], b"9", b"99010100000", b"991301000000Z", "9\u{e9}0101000000Z".as_bytes()] {
            assert_eq!(time((UTC_TIME, nonsense)), None);
        }
    }
}
