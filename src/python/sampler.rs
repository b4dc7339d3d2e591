//! The thread that samples the stacks of this process: with the interpreter held, so that no frame changes meanwhile.
//!
//! It is a thread of Python's own, but none of `threading`'s: nothing waits for it. Between two samples it is detached.

use std::sync::Arc;

use pyo3::prelude::*;

use super::embedded;
use crate::service::SampleOrders;

/// What `sampler.py` asks and tells.
#[pyclass(frozen, module = "oxicorn", name = "orders")]
struct Orders(Arc<dyn SampleOrders>);

#[pymethods]
impl Orders {
    fn tick(&self, py: Python<'_>) -> bool {
        py.detach(|| self.0.tick())
    }

    fn report(&self, py: Python<'_>, text: &str) {
        py.detach(|| self.0.report(text));
    }
}

/// Starts the thread, unless this Python has no interpreter lock, or the application has replaced its threads.
pub(crate) fn start(py: Python<'_>, orders: Arc<dyn SampleOrders>) -> PyResult<()> {
    let start = embedded::function(py, include_str!("sampler.py"), "start")?;
    start.call1((Py::new(py, Orders(orders))?,)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use pyo3::types::PyDict;

    use super::*;
    use crate::python::testing::with_python;

    static ONE: Mutex<()> = Mutex::new(());

    /// Samples a thread whose stack is one call deeper each time, with this much room.
    fn folded(deepest: usize, room: usize) -> Vec<String> {
        let code = cr"
import sys, threading

def down(depth):
    turns.release()
    go.acquire()
    if depth:
        down(depth - 1)

def tick():
    global rest
    if not rest:
        return False
    rest -= 1
    go.release()
    return turns.acquire()

go, turns, rest = threading.Semaphore(0), threading.Semaphore(0), 20
threading.Thread(target=down, args=(20,), daemon=True).start()
turns.acquire()
before = sys.getswitchinterval()
names = sampled.__globals__
names['DEEPEST'], names['ROOM'] = deepest, room
samples = sampled(tick, threading.get_ident())
text = names['folded'](samples)
assert sys.getswitchinterval() == before
go.release()
";
        // The interpreter has one switch interval for all threads.
        let _guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        with_python(|py| {
            let sampled = embedded::function(py, include_str!("sampler.py"), "sampled").unwrap();
            let names = PyDict::new(py);
            names.set_item("sampled", sampled).unwrap();
            names.set_item("deepest", deepest).unwrap();
            names.set_item("room", room).unwrap();
            py.run(code, Some(&names), None).unwrap();
            let text: String = names.as_any().get_item("text").unwrap().extract().unwrap();
            text.lines()
                .filter(|line| line.contains(";down (") || line.starts_with("(other"))
                .map(str::to_owned)
                .collect()
        })
    }

    #[test]
    fn stacks_beyond_the_room_are_counted_as_one() {
        let all = folded(500, 100_000);
        assert_eq!(all.len(), 20, "{all:#?}");
        assert!(all.iter().all(|line| line.ends_with(" 1")), "{all:#?}");
        let some = folded(500, 100);
        let (last, rest) = some.split_last().unwrap();
        assert!((1..20).contains(&rest.len()), "{some:#?}");
        let others: usize = last
            .strip_prefix("(other stacks) ")
            .unwrap()
            .parse()
            .unwrap();
        // Other tests of this process may have threads of Python's, too.
        assert!(others + rest.len() >= 20, "{some:#?}");
    }

    #[test]
    fn a_deep_stack_is_shown_with_its_innermost_calls() {
        let few = folded(10, 100_000);
        let (last, _) = few.split_last().unwrap();
        let calls: Vec<&str> = last.split(';').collect();
        assert_eq!(calls.len(), 11, "{few:#?}");
        assert_eq!(calls[0], "(more calls)");
        assert!(calls[1].starts_with("down ("), "{few:#?}");
    }
}
