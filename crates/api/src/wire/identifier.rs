//! Names and times that answers carry: ids, `created`, `system_fingerprint`.
//! Responses of every dialect begin with them; the request log uses the same ids.
//! Invariant: two ids of one process differ; none holds anything about the request.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells one build of the server from another in `system_fingerprint`.
pub const SYSTEM_FINGERPRINT: &str = concat!("lampstand-", env!("CARGO_PKG_VERSION"));

/// `prefix` with 32 hexadecimal digits that this process has not used before.
pub fn fresh(prefix: &str) -> String {
    static KEYS: LazyLock<(RandomState, RandomState)> = LazyLock::new(|| (RandomState::new(), RandomState::new()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let digits = |keys: &RandomState| {
        let mut hasher = keys.build_hasher();
        hasher.write_u64(count);
        hasher.finish()
    };
    format!("{prefix}{:016x}{:016x}", digits(&KEYS.0), digits(&KEYS.1))
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|passed| passed.as_secs()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_have_one_length() {
        let ids: std::collections::HashSet<String> = (0..1000).map(|_| fresh("x-")).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 34));
    }
}
