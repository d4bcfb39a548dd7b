//! Where a domain's server is: SRV records (RFC 6120 §3.2.1, XEP-0368), else the domain itself.

use hickory_resolver::{
    TokioResolver,
    proto::rr::{Name, RData, rdata::SRV},
};
use rand::RngExt as _;

use crate::wire::Setback;

/// A place to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Host name or address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// TLS from the first byte.
    pub(crate) direct: bool,
}

/// A domain as it stands in DNS and in certificates: A-labels (RFC 5890), no dot at the end.
pub(crate) fn ascii(domain: &str) -> Result<String, Setback> {
    if domain.parse::<std::net::IpAddr>().is_ok() {
        return Ok(domain.to_owned());
    }
    let bare = domain.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(bare.to_owned());
    }
    let name = Name::from_utf8(domain).map_err(|why| Setback::Broken(format!("{domain}: {why}")))?;
    Ok(name.to_ascii().trim_end_matches('.').to_owned())
}

/// The places to try for `domain` (in A-labels), best first. With `direct_only` those that speak TLS from
/// the first byte, else both kinds, as their priorities say.
pub(crate) async fn places(domain: &str, direct_only: bool) -> Result<Vec<Place>, Setback> {
    let itself =
        Place { host: domain.to_owned(), port: if direct_only { 5223 } else { 5222 }, direct: direct_only };
    if domain.parse::<std::net::IpAddr>().is_ok() {
        return Ok(vec![itself]);
    }
    let resolver = match TokioResolver::builder_tokio().and_then(|builder| builder.build()) {
        Ok(resolver) => resolver,
        Err(error) => {
            tracing::debug!(%error, "no resolver for SRV records; trying the domain itself");
            return Ok(vec![itself]);
        }
    };
    let direct = records(&resolver, "_xmpps-client._tcp", domain);
    let starttls = async {
        match direct_only {
            true => Vec::new(),
            false => records(&resolver, "_xmpp-client._tcp", domain).await,
        }
    };
    let (direct, starttls) = tokio::join!(direct, starttls);
    let records: Vec<(SRV, bool)> = direct
        .into_iter()
        .map(|record| (record, true))
        .chain(starttls.into_iter().map(|record| (record, false)))
        .collect();
    if records.is_empty() {
        return Ok(vec![itself]);
    }
    let places = in_order(records, |total| rand::rng().random_range(0..=total));
    match places.is_empty() {
        true => {
            Err(Setback::Broken(format!("{domain} offers no service to clients (its SRV record is a dot)")))
        }
        false => Ok(places),
    }
}

/// The SRV records of a service; none when they cannot be had.
async fn records(resolver: &TokioResolver, service: &str, domain: &str) -> Vec<SRV> {
    // The dot at the end keeps the search list of the system out of it.
    match resolver.srv_lookup(format!("{service}.{domain}.")).await {
        Ok(lookup) => lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv.clone()),
                _ => None,
            })
            .collect(),
        Err(error) => {
            tracing::debug!(%error, service, domain, "no SRV records");
            Vec::new()
        }
    }
}

/// Records in the order of RFC 2782: lowest priority first, within one priority by weight. The target
/// "." says that a service is not offered. `pick` chooses a number from 0 to its argument.
fn in_order(mut records: Vec<(SRV, bool)>, mut pick: impl FnMut(u32) -> u32) -> Vec<Place> {
    records.retain(|(srv, _)| !srv.target.is_root());
    // Weight 0 goes first, so that it has a very small chance and not none.
    records.sort_by_key(|(srv, _)| (srv.priority, srv.weight));
    let mut places = Vec::with_capacity(records.len());
    while let Some((first, _)) = records.first() {
        let priority = first.priority;
        let peers = records.iter().take_while(|(srv, _)| srv.priority == priority).count();
        let total: u32 = records[..peers].iter().map(|(srv, _)| u32::from(srv.weight)).sum();
        let mut left = pick(total);
        let chosen = records[..peers]
            .iter()
            .position(|(srv, _)| {
                let weight = u32::from(srv.weight);
                let found = left <= weight;
                left = left.saturating_sub(weight);
                found
            })
            .unwrap_or(0);
        let (srv, direct) = records.remove(chosen);
        let host = srv.target.to_ascii().trim_end_matches('.').to_owned();
        places.push(Place { host, port: srv.port, direct });
    }
    places
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn record(priority: u16, weight: u16, target: &str) -> (SRV, bool) {
        (SRV::new(priority, weight, 5222, Name::from_ascii(target).unwrap()), false)
    }

    fn hosts(records: Vec<(SRV, bool)>, pick: impl FnMut(u32) -> u32) -> Vec<String> {
        in_order(records, pick).into_iter().map(|place| place.host).collect()
    }

    #[test]
    fn srv_records_go_by_priority_then_weight() {
        let records = || {
            vec![
                record(20, 5, "last."),
                record(10, 10, "light."),
                record(10, 90, "heavy."),
                record(5, 0, "."),
            ]
        };
        assert_eq!(hosts(records(), |_| 0), ["light", "heavy", "last"]);
        assert_eq!(hosts(records(), |total| total), ["heavy", "light", "last"]);
        assert_eq!(hosts(vec![record(0, 0, ".")], |total| total), [""; 0], "a dot: not offered");
    }

    #[test]
    fn domains_are_asked_for_in_ascii() {
        assert_eq!(ascii("müller.example").unwrap(), "xn--mller-kva.example");
        assert_eq!(ascii("example.org").unwrap(), "example.org");
        assert_eq!(ascii("127.0.0.1").unwrap(), "127.0.0.1");
        assert_eq!(ascii("[::1]").unwrap(), "::1");
    }

    #[tokio::test]
    async fn an_address_needs_no_dns() {
        let place = Place { host: "127.0.0.1".to_owned(), port: 5222, direct: false };
        assert_eq!(places("127.0.0.1", false).await.unwrap(), [place]);
    }
}
