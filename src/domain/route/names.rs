//! Names whose addresses an operator gives, as a hosts file would, for duopool alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Addresses of names. They are checked like those that a look-up brings, and take its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, Vec<IpAddr>>);

impl Names {
    /// Reads entries of the form `HOST=ADDRESS`; of one host there may be several.
    ///
    /// # Errors
    /// The first entry that is none.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut names: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for entry in entries {
            let (host, address) = entry.split_once('=').ok_or(entry)?;
            let (host, address) = (host.trim(), address.trim().trim_start_matches('[').trim_end_matches(']'));
            if host.is_empty() || host.contains(['/', ':', '@']) {
                return Err(entry);
            }
            names.entry(host.to_ascii_lowercase()).or_default().push(address.parse().map_err(|_| entry)?);
        }
        Ok(Self(names))
    }

    /// Returns the addresses of `host`; `None` where nothing is said of it.
    pub fn of(&self, host: &str) -> Option<&[IpAddr]> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&host.to_ascii_lowercase()).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_addresses_that_were_given_however_it_is_written() {
        let names = Names::parse(["GitLab.corp=10.0.0.5", "gitlab.corp = [fd00::5]", "other=192.0.2.1"]).unwrap();
        let addresses: Vec<IpAddr> = vec!["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        assert_eq!(names.of("gitlab.CORP"), Some(addresses.as_slice()));
        assert_eq!((names.of("elsewhere"), Names::default().of("other")), (None, None));
    }

    #[test]
    fn what_is_no_entry_is_named() {
        for entry in [
            "gitlab.corp",
            "=10.0.0.5",
            "gitlab.corp=",
            "gitlab.corp=here",
            "https://gitlab.corp=10.0.0.5",
            "a:443=::1",
        ] {
            assert_eq!(Names::parse(["ok=::1", entry]), Err(entry));
        }
    }
}
