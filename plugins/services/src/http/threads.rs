//! A small pool of threads that may block: started when there is work, gone when there has been none for a while.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use plugin_api::HttpError;

/// Threads at most.
const THREADS_MAX: usize = 32;
/// Work that may wait for a thread.
const QUEUE_MAX: usize = 1024;
/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct Threads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    turn: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    over: bool,
}

impl Threads {
    /// Runs `job` on a thread of the pool.
    ///
    /// # Errors
    /// There is too much to do.
    pub(super) fn run(&self, job: Job) -> Result<(), HttpError> {
        let mut queue = self.0.lock();
        if queue.jobs.len() >= QUEUE_MAX {
            return Err(HttpError::Busy);
        }
        queue.jobs.push_back(job);
        if queue.idle < queue.jobs.len() && queue.threads < THREADS_MAX {
            let shared = self.0.clone();
            let started = thread::Builder::new()
                .name("plugin-http".to_owned())
                .spawn(move || shared.work());
            match started {
                Ok(_) => queue.threads += 1,
                Err(error) if queue.threads == 0 => {
                    queue.jobs.pop_back();
                    return Err(HttpError::Failed(error.to_string()));
                }
                Err(_) => {}
            }
        }
        drop(queue);
        self.0.turn.notify_one();
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let jobs = {
            let mut queue = self.0.lock();
            queue.over = true;
            std::mem::take(&mut queue.jobs)
        };
        self.0.turn.notify_all();
        drop(jobs);
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.over {
                queue.threads -= 1;
                return None;
            }
            queue.idle += 1;
            let (woken, waited) = self
                .turn
                .wait_timeout(queue, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if waited.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return None;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
