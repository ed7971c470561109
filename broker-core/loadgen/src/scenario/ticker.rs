//! A timer that wakes the epoll loop at fixed intervals.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::{Clients, LoadError};

/// Fires at fixed intervals from its start on; whoever watches reads it each time it does.
pub(super) struct Ticker {
    timer: OwnedFd,
    interval: Duration,
}

impl Ticker {
    /// Makes one that `clients` watch.
    pub(super) fn new(interval: Duration, clients: &Clients) -> Result<Self, LoadError> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        clients.watch(&timer)?;
        Ok(Self { timer, interval })
    }

    /// Fires one interval from now for the first time.
    pub(super) fn start(&self) -> Result<(), LoadError> {
        let interval = Timespec::try_from(self.interval).map_err(io::Error::other)?;
        let pace = Itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &pace)?;
        Ok(())
    }

    /// Takes note that it fired.
    pub(super) fn read(&self) -> Result<(), LoadError> {
        let mut ticks = [0; 8];
        match rustix::io::read(&self.timer, &mut ticks) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
