//! An answer that a thread gives and a future awaits.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use plugin_api::{HttpError, HttpResponse};

type Answer = Result<HttpResponse, HttpError>;

#[derive(Default)]
struct Place {
    answer: Option<Answer>,
    waker: Option<Waker>,
    unwanted: bool,
}

/// Gives the answer. Dropped without one, it says so.
pub(super) struct Given(Arc<Mutex<Place>>);

/// Awaits the answer. Dropped, it wants none.
pub(super) struct Wait(Arc<Mutex<Place>>);

/// Returns both ends.
pub(super) fn answer() -> (Given, Wait) {
    let place = Arc::<Mutex<Place>>::default();
    (Given(place.clone()), Wait(place))
}

impl Given {
    /// Tells whether anybody waits.
    pub(super) fn is_wanted(&self) -> bool {
        !lock(&self.0).unwanted
    }

    /// Gives it.
    pub(super) fn put(given: Self, answer: Answer) {
        lock(&given.0).answer = Some(answer);
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let waker = {
            let mut place = lock(&self.0);
            let broken = || Err(HttpError::Failed("the request was broken off".to_owned()));
            place.answer.get_or_insert_with(broken);
            place.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Wait {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut place = lock(&self.0);
        match place.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                place.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        lock(&self.0).unwanted = true;
    }
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
