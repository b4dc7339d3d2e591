//! [`Sampling`]: an arbiter's order to sample stacks, as a service takes it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::ipc::profile::{ProfileChannel, ProfileOrder};
use crate::service::SampleOrders;
use crate::time::MonoTime;

#[derive(Debug)]
pub(super) struct Sampling {
    channel: Arc<ProfileChannel>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    order: Option<(ProfileOrder, MonoTime)>,
}

impl Sampling {
    pub(super) fn new(channel: Arc<ProfileChannel>) -> Self {
        let state = Mutex::default();
        Self { channel, state }
    }
}

impl SampleOrders for Sampling {
    fn tick(&self) -> bool {
        // One thread samples: nobody waits for the lock.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((order, next)) = state.order else {
            let order = self.channel.wait(state.last);
            state.last = order.number;
            state.order = Some((order, MonoTime::now() + order.every));
            return true;
        };
        let now = MonoTime::now();
        if next >= order.until {
            thread::sleep(order.until.since(now));
            state.order = None;
            return false;
        }
        thread::sleep(next.since(now));
        // What was missed is not made up for.
        let next = MonoTime::now().max(next) + order.every;
        state.order = Some((order, next));
        true
    }

    fn report(&self, folded: &str) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.channel.report(state.last, folded);
    }
}
