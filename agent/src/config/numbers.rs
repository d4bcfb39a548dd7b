//! `[metrics]` and `[prometheus]`: how often to look at what is used, and who may read it on this host.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

/// As often as is looked at most, and at least.
const EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3600)];

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MetricsSection {
    /// How often to look, and to publish it, while somebody listens or wants to be told.
    #[serde(deserialize_with = "super::duration")]
    pub every: Duration,
    /// Whether the last week is remembered: one look a minute.
    pub history: bool,
}

impl Default for MetricsSection {
    fn default() -> Self {
        Self { every: Duration::from_secs(10), history: true }
    }
}

impl MetricsSection {
    pub(super) fn check(&self) -> Result<(), String> {
        match self.every >= EVERY[0] && self.every <= EVERY[1] {
            true => Ok(()),
            false => Err("must be between \"1s\" and \"1h\"; write \"10s\"".into()),
        }
    }
}

/// `[prometheus]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PrometheusSection {
    /// `127.0.0.1:9177`, `[::1]:9177`, or a whole path of a socket; nowhere when left out.
    pub listen: Option<String>,
}

/// Where Prometheus is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrometheusListen {
    /// On loopback.
    Tcp(SocketAddr),
    /// On a socket in the file system.
    Unix(PathBuf),
}

impl PrometheusSection {
    /// Where, if anywhere.
    ///
    /// # Errors
    /// It would be reached from other hosts, or is no place at all: what to write.
    pub fn place(&self) -> Result<Option<PrometheusListen>, String> {
        let Some(listen) = &self.listen else { return Ok(None) };
        if listen.starts_with('/') {
            return Ok(Some(PrometheusListen::Unix(listen.into())));
        }
        let address: SocketAddr = listen.parse().map_err(|_| {
            format!("{listen:?} is no address with a port, and no path; write \"127.0.0.1:9177\"")
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "{address} can be reached from other hosts, and who asks there is not asked who they are; write \
                 \"127.0.0.1:{}\", or a path for a socket",
                address.port()
            ));
        }
        Ok(Some(PrometheusListen::Tcp(address)))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.place().map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn place(listen: &str) -> Result<Option<PrometheusListen>, String> {
        PrometheusSection { listen: Some(listen.into()) }.place()
    }

    #[test]
    fn prometheus_is_answered_on_this_host_alone() {
        assert_eq!(PrometheusSection::default().place(), Ok(None));
        let here = place("127.0.0.1:9177").unwrap().unwrap();
        assert_eq!(here, PrometheusListen::Tcp(([127, 0, 0, 1], 9177).into()));
        assert!(matches!(place("[::1]:9177"), Ok(Some(PrometheusListen::Tcp(_)))));
        assert_eq!(place("/run/x.sock"), Ok(Some(PrometheusListen::Unix("/run/x.sock".into()))));
        for open in ["0.0.0.0:9177", "192.0.2.7:9177", "[::]:9177", "[::ffff:127.0.0.1]:9177"] {
            assert!(place(open).unwrap_err().contains("other hosts"), "{open}");
        }
        for none in ["9177", "localhost", "kvm1.example.org:9177", ""] {
            assert!(place(none).unwrap_err().contains("127.0.0.1:9177"), "{none}");
        }
    }

    #[test]
    fn looks_have_a_pace() {
        let of = |seconds: u64| MetricsSection { every: Duration::from_secs(seconds), history: true }.check();
        assert!(of(1).is_ok() && of(3600).is_ok() && MetricsSection::default().check().is_ok());
        assert!(of(0).is_err() && of(3601).is_err());
    }
}
