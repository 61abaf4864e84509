//! How long requests took.

use std::ptr;

use crate::arena::Arena;
use crate::call::entry;
use crate::error::{XvirtError, XvirtStatus};
use crate::functions::XvirtLatencies;
use crate::handle::given;
use crate::output::{Struct, ToC, list, out, put_list};

/// How many requests took how long.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtLatencyBucket {
    /// The longest time of these requests, in nanoseconds.
    pub end_ns: u64,
    /// Their number.
    pub count: u64,
}

/// A list, which `xvirt_latency_bucket_list_free()` frees with all that is in it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtLatencyBucketList {
    /// The values.
    pub items: *const *const XvirtLatencyBucket,
    /// Their number.
    pub count: usize,
}

list!(XvirtLatencyBucketList, *const XvirtLatencyBucket);

/// A bucket: its upper end and its count.
struct Bucket(std::time::Duration, u64);

impl Struct for Bucket {
    type C = XvirtLatencyBucket;

    fn to_struct(&self, arena: &Arena) -> XvirtLatencyBucket {
        XvirtLatencyBucket { end_ns: self.0.to_c(arena), count: self.1 }
    }
}

/// The buckets with requests in them, from the shortest times to the longest.
///
/// Free `buckets` with xvirt_latency_bucket_list_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_latencies_buckets(
    latencies: Option<&XvirtLatencies>,
    buckets: Option<&mut *mut XvirtLatencyBucketList>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let buckets = out(buckets, ptr::null_mut(), "buckets")?;
        let found: Vec<_> = given(latencies, "latencies")?.0.buckets().map(|(end, count)| Bucket(end, count)).collect();
        put_list(buckets, found.iter());
        Ok(())
    })
}

/// Frees it with all that is in it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_latency_bucket_list_free(list: *mut XvirtLatencyBucketList) {
    // SAFETY: a call returned it, and the caller passes it once.
    unsafe { crate::output::free(list) };
}
