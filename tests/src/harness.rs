//! Starts a broker for one test, with its own clock, on ports of its own. The only file that touches the embedding API.
//!
//! With `JACKFIELD_TEST_BROKER=/usr/sbin/mosquitto` the tests run against that program instead: a check of the tests
//! themselves, not of the program. See [`foreign`].

mod foreign;

use std::net::SocketAddr;
use std::time::Duration;

use broker_types::Limits;

use crate::wire::{Client, Connect, Version};
use foreign::Foreign;

/// What a test may change before the broker starts.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Limits of the listener.
    pub limits: Limits,
}

/// A broker of one test. Dropping it ends it.
#[derive(Debug)]
pub struct TestBroker {
    addr: SocketAddr,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Foreign(#[expect(dead_code, reason = "held for its drop")] Foreign),
}

impl TestBroker {
    /// Starts a broker with default limits that lets everybody in.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts a broker after `change` had its way with the set-up.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let program =
            std::env::var_os("JACKFIELD_TEST_BROKER").expect("JACKFIELD_TEST_BROKER names a broker");
        let foreign = Foreign::start(&program, &setup.limits);
        Self {
            addr: foreign.addr(),
            running: Running::Foreign(foreign),
        }
    }

    /// Returns where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets the broker's clock advance. What falls due happens soon after, not before this returns.
    pub fn advance(&self, by: Duration) {
        match &self.running {
            Running::Foreign(_) => foreign::wait(by),
        }
    }

    /// Starts a CONNECT of MQTT 5.0.
    pub fn v5(&self, client_id: impl AsRef<[u8]>) -> Connect {
        Connect::new(self.addr, Version::V5, client_id)
    }

    /// Starts a CONNECT of MQTT 3.1.1.
    pub fn v311(&self, client_id: impl AsRef<[u8]>) -> Connect {
        Connect::new(self.addr, Version::V311, client_id)
    }

    /// Starts a CONNECT of MQTT 3.1.
    pub fn v31(&self, client_id: impl AsRef<[u8]>) -> Connect {
        Connect::new(self.addr, Version::V31, client_id)
    }

    /// Opens a Network Connection and sends nothing; what comes is read as this version.
    #[must_use]
    pub fn open(&self, version: Version) -> Client {
        Client::open(self.addr, version)
    }
}

/// Returns `count` seconds.
#[must_use]
pub fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
