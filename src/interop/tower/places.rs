//! [`Places`]: as many as there are threads, for which requests wait first come, first served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::lock;

/// The places of a pool.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Whether everything goes through, since nothing is served any more.
    open: bool,
    /// What waits: a number, and its task.
    waiting: VecDeque<(u64, Waker)>,
    next: u64,
}

/// A place that is taken, until this is dropped.
#[derive(Debug)]
pub(super) struct Place(Places);

/// A wait for a place: it keeps its rank from one poll to the next, and gives it up when it is dropped.
#[derive(Debug)]
pub(super) struct PlaceRequest {
    places: Places,
    number: Option<u64>,
}

impl Places {
    pub(super) fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free,
            open: false,
            waiting: VecDeque::new(),
            next: 0,
        })))
    }

    /// Begins to wait.
    pub(super) fn request(&self) -> PlaceRequest {
        PlaceRequest {
            places: self.clone(),
            number: None,
        }
    }

    /// Lets all through: a call that comes now is refused elsewhere.
    pub(super) fn open_for_all(&self) {
        let mut state = lock(&self.0);
        state.open = true;
        for (_, task) in state.waiting.drain(..) {
            task.wake();
        }
    }
}

impl State {
    /// Wakes those that may have a place now.
    fn wake(&self) {
        for (_, task) in self.waiting.iter().take(self.free) {
            task.wake_by_ref();
        }
    }
}

impl PlaceRequest {
    /// A place, if one is free and no other request has waited longer for it.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Place> {
        let mut state = lock(&self.places.0);
        let waiting = state
            .waiting
            .iter()
            .position(|(number, _)| Some(*number) == self.number);
        let before = waiting.unwrap_or(state.waiting.len());
        if state.open || before < state.free {
            if let Some(at) = waiting {
                state.waiting.remove(at);
            }
            self.number = None;
            state.free = state.free.saturating_sub(1);
            return Poll::Ready(Place(self.places.clone()));
        }
        if let Some(at) = waiting {
            state.waiting[at].1.clone_from(context.waker());
        } else {
            let number = state.next;
            state.next += 1;
            self.number = Some(number);
            state.waiting.push_back((number, context.waker().clone()));
        }
        Poll::Pending
    }
}

impl Drop for PlaceRequest {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut state = lock(&self.places.0);
            state.waiting.retain(|(other, _)| *other != number);
            state.wake();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.0.0);
        state.free += 1;
        state.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(request: &mut PlaceRequest) -> Option<Place> {
        match request.poll(&Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn places_are_given_first_come_first_served() {
        let places = Places::new(1);
        let (mut first, mut second, mut third) =
            (places.request(), places.request(), places.request());
        let place = poll(&mut first).unwrap();
        assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
        drop(place);
        assert!(poll(&mut third).is_none() && poll(&mut first).is_none());
        let place = poll(&mut second).unwrap();
        // One that gives up is not waited for.
        drop(third);
        drop(place);
        assert!(poll(&mut first).is_some());
        assert_eq!(lock(&places.0).free, 1);
    }

    #[test]
    fn all_get_through_at_the_end() {
        let places = Places::new(1);
        let _place = poll(&mut places.request()).unwrap();
        let mut waiting = places.request();
        assert!(poll(&mut waiting).is_none());
        places.open_for_all();
        assert!(poll(&mut waiting).is_some() && poll(&mut places.request()).is_some());
    }
}
