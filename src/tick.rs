//! Time as an argument.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on the caller's monotonic clock: the time since an epoch of the caller's choice, the
/// same for one machine's whole life.
///
/// Arithmetic saturates. A machine that is given an earlier tick than before goes on from the
/// later one.
///
/// ```
/// use std::time::{Duration, Instant};
/// use tus_proto::Tick;
///
/// let epoch = Instant::now();
/// let now = Tick(epoch.elapsed());
/// assert_eq!((now + Duration::from_secs(2)) - now, Duration::from_secs(2));
/// assert_eq!(now - (now + Duration::from_secs(2)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub Duration);

impl Add<Duration> for Tick {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl Sub for Tick {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}
