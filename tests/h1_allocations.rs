//! Keep-alive costs no allocation: counted by an allocator of this test's own.

// A global allocator is unsafe to write, and there is no other way to count.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::BytesMut;
use oxicorn::h1::{Conn, ConnConfig, Event};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

// SAFETY: every call goes to `System` unchanged; the counter is a plain cell that never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\r\n";

/// One request and its answer.
fn exchange(conn: &mut Conn, out: &mut BytesMut) {
    conn.receive(GET);
    let Ok(Event::Request(head)) = conn.next_event() else {
        panic!("no request");
    };
    out.clear();
    let mut response = conn.begin(out, 200, b"").unwrap();
    response.field(b"Content-Type", b"text/plain").unwrap();
    response.finish(Some(5)).unwrap();
    assert_eq!(conn.frame(5).unwrap().take, 5);
    out.extend_from_slice(conn.finish().unwrap());
    conn.recycle(head);
    assert!(matches!(conn.next_event(), Ok(Event::NeedMore)));
}

#[test]
fn a_kept_connection_allocates_for_its_first_request_only() {
    let mut conn = Conn::server(ConnConfig::default());
    let mut out = BytesMut::with_capacity(1024);
    exchange(&mut conn, &mut out);
    assert_eq!(
        allocations(|| (0..100).for_each(|_| exchange(&mut conn, &mut out))),
        0
    );
}

#[test]
fn memory_goes_from_one_connection_to_the_next() {
    let mut out = BytesMut::with_capacity(1024);
    let mut first = Conn::server(ConnConfig::default());
    exchange(&mut first, &mut out);
    let mut spare = first.release();
    assert!(spare.is_some() && first.release().is_none());
    let count = allocations(|| {
        for _ in 0..100 {
            let mut conn = Conn::server(ConnConfig::default());
            if let Some(memory) = spare.take() {
                conn.adopt(memory);
            }
            exchange(&mut conn, &mut out);
            spare = conn.release();
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn an_idle_connection_that_gave_its_memory_away_holds_none() {
    let mut out = BytesMut::with_capacity(1024);
    let mut conn = Conn::server(ConnConfig::default());
    exchange(&mut conn, &mut out);
    drop(conn.release());
    assert!(conn.is_idle() && conn.buffered() == 0);
    assert_eq!(allocations(|| conn.end_of_input()), 0);
    assert!(matches!(conn.next_event(), Ok(Event::Closed(_))));
}
