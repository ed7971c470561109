//! The broker's own pool for work that would hold up a shard: hashing passwords, reading files. Few threads and a bounded
//! queue: a flood of logins waits or is refused, it doesn't take the machine.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use plugin_api::Fault;

/// Jobs that may wait.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Threads for blocking jobs. Dropping it lets the jobs end that wait already.
pub(crate) struct BlockingPool {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl BlockingPool {
    /// Starts `threads` threads.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..threads.max(1))
            .map(|index| {
                let queue = queue.clone();
                std::thread::Builder::new()
                    .name(format!("jackfield-block-{index}"))
                    .spawn(move || work(&queue))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            jobs: Some(jobs),
            threads,
        })
    }

    /// Runs `job` when a thread is free.
    pub(crate) fn run(&self, job: Job) -> Result<(), Fault> {
        match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => Ok(()),
            _ => Err(Fault::backend("too many blocking jobs wait")),
        }
    }
}

impl Drop for BlockingPool {
    fn drop(&mut self) {
        self.jobs = None;
        // Dropped by a job itself, a thread must not wait for its own end.
        let own = std::thread::current().id();
        for thread in self
            .threads
            .drain(..)
            .filter(|thread| thread.thread().id() != own)
        {
            // A panic in a job was that job's; its thread went on.
            let _ = thread.join();
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Whoever waits for the job learns of the panic because its result is dropped.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}
