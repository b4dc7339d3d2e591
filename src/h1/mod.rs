//! HTTP/1.1 for servers without I/O: bytes in, [`Event`]s out.

mod head;

pub use head::{BodyLength, Head, Version};
