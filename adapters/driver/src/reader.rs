//! The body of one exchange.

use std::io::{self, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tus_proto::{Body, Failure, FailureKind};

use crate::Source;
use crate::control::Exchange;

/// The most that is read from a source at once, in bytes (64 KiB).
pub(crate) const PIECE: u64 = 64 * 1024;

/// Exactly this range of the source: never more, and an error where there is less.
///
/// The stacks that read it must never see an early end: some take it for the end of the body, and
/// some wait for ever. What went wrong is left in the exchange, for it overrules whatever the
/// stack makes of the error.
pub(crate) struct BodyReader {
    source: Arc<dyn Source>,
    exchange: Arc<Exchange>,
    range: Body,
    at: u64,
}

impl BodyReader {
    pub(crate) fn new(source: Arc<dyn Source>, range: &Body, exchange: Arc<Exchange>) -> Self {
        Self {
            source,
            exchange,
            at: range.start,
            range: range.clone(),
        }
    }

    fn read_source(&mut self, buf: &mut [u8]) -> Result<usize, Broken> {
        let read = loop {
            match self.source.read_at(buf, self.at) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Broken::unreadable(&error, self.at)),
                Ok(read) => break read,
            }
        };
        if read > buf.len() {
            return Err(Broken::new(
                ErrorKind::InvalidData,
                FailureKind::Source,
                "it says that it read more than was asked for",
            ));
        }
        let at = self.at.saturating_add(read as u64);
        // The last bytes go out only if all that went before was the same content.
        if (at >= self.range.end || read == 0)
            && !self
                .source
                .unchanged(self.range.clone())
                .map_err(|error| Broken::unreadable(&error, at))?
        {
            return Err(Broken::new(
                if read == 0 {
                    ErrorKind::UnexpectedEof
                } else {
                    ErrorKind::InvalidData
                },
                FailureKind::SourceChanged,
                "the source has changed since the upload began",
            ));
        }
        if read == 0 {
            return Err(Broken::new(
                ErrorKind::UnexpectedEof,
                FailureKind::Source,
                format!(
                    "it ends at byte {}, before byte {}",
                    self.at, self.range.end
                ),
            ));
        }
        self.at = at;
        Ok(read)
    }
}

impl Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.exchange.stopped() {
            return Err(stopped());
        }
        if let Some(failure) = self.exchange.source_failure() {
            return Err(io::Error::other(failure));
        }
        let left = self.range.end.saturating_sub(self.at);
        // At most 64 KiB, which every usize holds.
        let wanted = buf
            .len()
            .min(usize::try_from(left.min(PIECE)).unwrap_or(buf.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let buf = &mut buf[..wanted];
        let read = catch_unwind(AssertUnwindSafe(|| self.read_source(buf))).unwrap_or_else(|_| {
            Err(Broken::new(
                ErrorKind::Other,
                FailureKind::Source,
                "its reader panicked",
            ))
        });
        match read {
            // The source may have taken its time: nothing is handed over after a stop.
            Ok(_) if self.exchange.stopped() => Err(stopped()),
            Ok(read) => Ok(read),
            Err(Broken { kind, failure }) => {
                self.exchange.source_failed(failure.clone());
                Err(io::Error::new(kind, failure))
            }
        }
    }
}

fn stopped() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "the exchange was stopped")
}

/// What is wrong with the source.
struct Broken {
    kind: ErrorKind,
    failure: Failure,
}

impl Broken {
    fn new(kind: ErrorKind, failure: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            failure: Failure::new(failure, message),
        }
    }

    fn unreadable(error: &io::Error, at: u64) -> Self {
        Self::new(
            error.kind(),
            FailureKind::Source,
            format!("{error} (at byte {at})"),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Four bytes, and something that happens at each reading of them.
    struct Meddled<F>(Mutex<F>);

    impl<F: FnMut() -> io::Result<()> + Send + 'static> Source for Meddled<F> {
        fn length(&self) -> Option<u64> {
            Some(4)
        }

        fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
            (self.0.lock().unwrap())()?;
            "four".read_at(buf, at)
        }
    }

    fn reader(
        exchange: &Arc<Exchange>,
        meddle: impl FnMut() -> io::Result<()> + Send + 'static,
    ) -> BodyReader {
        let source = Arc::new(Meddled(Mutex::new(meddle)));
        BodyReader::new(source, &(1..4), Arc::clone(exchange))
    }

    #[test]
    fn a_range_is_read_and_no_more() {
        let mut body = reader(&Arc::default(), || Ok(()));
        let mut read = Vec::new();
        body.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"our");
        assert_eq!(body.read(&mut [0; 10]).unwrap(), 0);
    }

    #[test]
    fn nothing_is_read_after_a_stop() {
        let exchange = Arc::default();
        let mut body = reader(&exchange, || panic!("it is not to be read"));
        exchange.stop();
        assert!(body.read(&mut [0; 10]).is_err());
        assert_eq!(exchange.source_failure(), None);
    }

    #[test]
    fn nothing_is_handed_over_that_was_read_during_a_stop() {
        let exchange = Arc::default();
        let stop = Arc::clone(&exchange);
        let mut body = reader(&exchange, move || {
            stop.stop();
            Ok(())
        });
        assert!(body.read(&mut [0; 10]).is_err());
    }

    #[test]
    fn what_failed_once_fails_for_good() {
        let exchange = Arc::default();
        let mut failures = 0;
        let mut body = reader(&exchange, move || {
            failures += 1;
            if failures == 1 {
                Err(io::Error::other("once"))
            } else {
                Ok(())
            }
        });
        assert!(body.read(&mut [0; 10]).is_err());
        assert!(body.read(&mut [0; 10]).is_err());
        assert_eq!(
            exchange.source_failure().unwrap().message,
            "once (at byte 1)"
        );
    }
}
