//! Threads of one plugin's own, for calls that may take long: what one plugin does there holds up nobody else. They come
//! when there is work and go when there is none.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use plugin_api::Fault;
use tokio::runtime::Runtime;

/// Calls that may wait for a thread.
const QUEUE_MAX: usize = 1024;
/// How long a thread waits for work before it goes.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&Worker) + Send>;

/// The threads of one plugin.
#[derive(Debug)]
pub(crate) struct Crew(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: Box<str>,
    /// Whether calls may wait for something, so that a thread needs a runtime.
    waits: bool,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads_max: usize,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("jobs", &self.jobs.len())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Crew {
    /// Returns a crew of at most `threads_max` threads, none of which is there yet.
    pub(crate) fn new(name: &str, threads_max: usize, waits: bool) -> Self {
        Self(Arc::new(Shared {
            name: name.into(),
            waits,
            state: Mutex::new(State {
                threads_max,
                ..State::default()
            }),
            work: Condvar::new(),
        }))
    }

    /// Has no more than one thread from here on. Called before there was work for more.
    pub(crate) fn shrink(&self) {
        self.0.lock().threads_max = 1;
    }

    /// Has a thread do `job` when one is free.
    ///
    /// # Errors
    /// Too many jobs wait already, or there is no thread at all.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Fault> {
        let mut state = self.0.lock();
        if state.jobs.len() >= QUEUE_MAX {
            return Err(Fault::backend(format!("{QUEUE_MAX} calls wait for an instance")));
        }
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            self.0.work.notify_one();
        } else if state.threads < state.threads_max {
            match self.0.clone().hire() {
                Ok(()) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    state.jobs.pop_back();
                    return Err(Fault::backend(format!("no thread for the call: {error}")));
                }
                // Those that are there take it when they can.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        // Whoever waits for one of them learns that it won't be done.
        let given_up = std::mem::take(&mut state.jobs);
        drop(state);
        drop(given_up);
        self.0.work.notify_all();
    }
}

impl Shared {
    fn hire(self: Arc<Self>) -> io::Result<()> {
        // Names of threads are cut off by the system.
        let name = format!("wasm-{}", self.name);
        std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                let worker = Worker::new(self.waits);
                while let Some(job) = self.next() {
                    // A panic in a job is that job's; whoever waits for it learns of it because its answer is dropped.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&worker)));
                }
            })
            .map(drop)
    }

    /// Waits for a job. `None`: there was none for long enough, or there never will be.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        let mut waited = false;
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed || waited {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            let (after, timeout) = self
                .work
                .wait_timeout(state, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.idle -= 1;
            waited = timeout.timed_out();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread does its jobs with.
#[derive(Debug)]
pub(crate) struct Worker(Option<Runtime>);

impl Worker {
    fn new(waits: bool) -> Self {
        let runtime = waits.then(|| tokio::runtime::Builder::new_current_thread().enable_all().build());
        // Without one, calls that wait fail and say so; the others don't need it.
        Self(runtime.and_then(Result::ok))
    }

    /// Makes a call and returns what came of it. `None`: it waits, and there is nothing to wait with; or nobody wants the
    /// answer any more.
    pub(crate) fn run<T>(
        &self,
        call: impl Future<Output = T>,
        unwanted: impl Future<Output = ()>,
    ) -> Option<T> {
        match &self.0 {
            Some(runtime) => runtime.block_on(async {
                tokio::select! {
                    biased;
                    answer = call => Some(answer),
                    () = unwanted => None,
                }
            }),
            None => at_once(call),
        }
    }
}

/// Returns what a future has without waiting.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn jobs_are_done_by_no_more_threads_than_allowed() {
        let crew = Crew::new("t", 2, false);
        let (tell, told) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..10 {
            let (tell, gate) = (tell.clone(), gate.clone());
            let job = move |_: &Worker| {
                gate.lock().unwrap().recv().unwrap();
                tell.send(std::thread::current().id()).unwrap();
            };
            crew.submit(Box::new(job)).unwrap();
        }
        assert_eq!(crew.0.lock().threads, 2);
        for _ in 0..10 {
            go.send(()).unwrap();
        }
        let ids: std::collections::HashSet<_> = told.iter().take(10).collect();
        assert!(ids.len() <= 2);
    }

    #[test]
    fn a_full_queue_refuses_and_a_panic_is_only_its_own() {
        let crew = Crew::new("t", 1, true);
        let (go, gate) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let block = move |_: &Worker| {
            begun.send(()).unwrap();
            gate.recv().unwrap();
            panic!("a job fell over");
        };
        crew.submit(Box::new(block)).unwrap();
        begins.recv().unwrap();
        for _ in 0..QUEUE_MAX {
            crew.submit(Box::new(|_| {})).unwrap();
        }
        assert!(crew.submit(Box::new(|_| {})).is_err());
        let (tell, told) = mpsc::channel();
        go.send(()).unwrap();
        // One place is free as soon as the first is over.
        while crew
            .submit(Box::new({
                let tell = tell.clone();
                move |worker| {
                    tell.send(worker.run(async { 7 }, std::future::pending()))
                        .unwrap()
                }
            }))
            .is_err()
        {
            std::thread::yield_now();
        }
        assert_eq!(told.recv(), Ok(Some(7)));
    }

    #[test]
    fn jobs_of_a_crew_that_is_gone_are_dropped() {
        let crew = Crew::new("t", 1, false);
        let (go, gate) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        crew.submit(Box::new(move |_| {
            begun.send(()).unwrap();
            // Its sender goes with the test.
            let _ = gate.recv();
        }))
        .unwrap();
        begins.recv().unwrap();
        let (held, dropped) = mpsc::channel::<()>();
        crew.submit(Box::new(move |_| drop(held))).unwrap();
        drop(crew);
        assert!(dropped.recv().is_err());
        drop(go);
    }
}
