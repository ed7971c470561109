//! One call after the other, for plugins that can't have two: jobs wait in a queue, and at most one thread of the
//! broker's pool works it off. No thread waits for another one's call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plugin_api::{Fault, Host};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Serial(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    // Bounded by the calls that an instance may have open.
    jobs: VecDeque<Job>,
    running: bool,
}

impl Serial {
    /// Runs `job` when all before it are done.
    ///
    /// # Errors
    /// The pool takes nothing.
    pub(crate) fn run(self: &Arc<Self>, host: &dyn Host, job: Job) -> Result<(), Fault> {
        {
            let mut queue = self.lock();
            queue.jobs.push_back(job);
            if std::mem::replace(&mut queue.running, true) {
                return Ok(());
            }
        }
        let queue = self.clone();
        let started = host.spawn_blocking(Box::new(move || queue.work_off()));
        if started.is_err() {
            // Others may have come in meanwhile; jobs that are dropped say so to whoever waits for them.
            let given_up = {
                let mut queue = self.lock();
                queue.running = false;
                std::mem::take(&mut queue.jobs)
            };
            drop(given_up);
        }
        started
    }

    fn work_off(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        let job = queue.jobs.pop_front();
        queue.running = job.is_some();
        job
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
