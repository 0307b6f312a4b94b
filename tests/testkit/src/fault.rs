//! What can go wrong with an exchange, and plans of it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};

use crate::{Begun, Reading, Server};

/// What happens to one exchange between a client and a server.
///
/// A fault is plain data: [`Server::exchange`] and [`Loopback`](crate::Loopback) carry it out, and so
/// may a simulation of one's own.
#[derive(Clone, Debug)]
pub enum Fault {
    /// No connection comes about, and the client knows that nothing was sent. On a
    /// [`Loopback`](crate::Loopback), which has accepted it by then, the same as `LoseRequest`.
    Refuse,
    /// The connection is lost, and the server knows nothing of the request.
    LoseRequest,
    /// The connection is lost after this many bytes of the body. The server keeps them, unless they were
    /// still to be checked. If the body is no longer than that, the request is carried out and its answer
    /// is lost.
    Cut {
        /// Bytes of the body.
        after: u64,
    },
    /// The request is carried out and its answer is lost.
    LoseAnswer,
    /// The client gets another answer than the server's, from a proxy perhaps.
    Answer {
        /// How much of the request the server got.
        reach: Reach,
        /// What the client gets.
        response: Response<Bytes>,
    },
    /// After this many bytes of the body everything stands still: nothing more is taken, no answer
    /// comes, the connection stays. If the body is no longer than that, the request is carried out. A
    /// [`Loopback`](crate::Loopback) reads on, and forgets it: so it sees the client leave, which ends
    /// the request. [`Trouble::Stall`](crate::Trouble::Stall) reads nothing.
    Stall {
        /// Bytes of the body.
        after: u64,
    },
    /// The answer comes this much later.
    Delay(Duration),
}

/// How much of a request reached the server before something else answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing. The answer came at once, while the body was still to be sent.
    Nothing,
    /// Nothing, but the body was read to its end before the answer.
    Swallowed,
    /// The head and this many bytes of the body. The answer came in the middle of it.
    Bytes(u64),
    /// Everything, and the server carried it out.
    All,
}

/// What became of a request in memory.
#[derive(Debug)]
#[must_use]
pub struct Outcome {
    /// How many bytes of the body were taken from the client.
    pub taken: u64,
    /// How much later the ending comes.
    pub delay: Duration,
    /// What the client sees.
    pub ending: Ending,
}

/// What a client sees of an exchange.
#[derive(Debug)]
pub enum Ending {
    /// An answer.
    Answer(Response<Bytes>),
    /// No connection: nothing was sent.
    NotSent,
    /// The connection was lost.
    Lost,
    /// Nothing, for ever. If the server is still waiting for the body, its handle is here; give it to
    /// [`Server::abort`] when the server notices.
    Silence(Option<Reading>),
}

impl Server {
    /// Has a request undergo a fault, or none, in memory.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Request;
    /// use tus_testkit::{Ending, Fault, Options, Server};
    ///
    /// let mut server = Server::new(Options::default());
    /// let url = server.place(10, 0);
    /// let append = Request::patch(&url)
    ///     .header("Tus-Resumable", "1.0.0")
    ///     .header("Content-Length", "10")
    ///     .header("Content-Type", "application/offset+octet-stream")
    ///     .header("Upload-Offset", "0")
    ///     .body(Bytes::from_static(b"0123456789"))
    ///     .unwrap();
    /// let outcome = server.exchange(append, Some(&Fault::Cut { after: 4 }));
    /// assert!(matches!(outcome.ending, Ending::Lost));
    /// assert_eq!(server.upload(&url).unwrap().content(), b"0123");
    /// ```
    pub fn exchange(&mut self, request: Request<Bytes>, fault: Option<&Fault>) -> Outcome {
        let length = request.body().len() as u64;
        let mut outcome = Outcome {
            taken: length,
            delay: Duration::ZERO,
            ending: Ending::Lost,
        };
        match fault {
            None => outcome.ending = Ending::Answer(self.handle(request)),
            Some(Fault::Delay(delay)) => {
                outcome.delay = *delay;
                outcome.ending = Ending::Answer(self.handle(request));
            }
            Some(Fault::Refuse) => {
                outcome.taken = 0;
                outcome.ending = Ending::NotSent;
            }
            Some(Fault::LoseRequest) => {
                outcome.taken = 0;
                self.note(&request.into_parts().0, None);
            }
            Some(Fault::LoseAnswer) => drop(self.handle(request)),
            Some(&Fault::Cut { after }) => {
                outcome.taken = after.min(length);
                if let Some(reading) = self.handle_some(request, after) {
                    self.abort(reading);
                }
            }
            Some(&Fault::Stall { after }) => {
                outcome.taken = after.min(length);
                outcome.ending = Ending::Silence(self.handle_some(request, after));
            }
            Some(Fault::Answer { reach, response }) => {
                match *reach {
                    Reach::All => drop(self.handle(request)),
                    Reach::Bytes(after) => {
                        outcome.taken = after.min(length);
                        if let Some(reading) = self.handle_some(request, after) {
                            self.abort(reading);
                        }
                    }
                    Reach::Nothing | Reach::Swallowed => {
                        if *reach == Reach::Nothing {
                            outcome.taken = 0;
                        }
                        self.note(&request.into_parts().0, Some(response.status()));
                    }
                }
                outcome.ending = Ending::Answer(response.clone());
            }
        }
        outcome
    }

    /// Carries out the head and `after` bytes of the body; all of it, if it has no more.
    fn handle_some(&mut self, request: Request<Bytes>, after: u64) -> Option<Reading> {
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        if after >= request.body().len() {
            self.handle(request);
            return None;
        }
        let (head, body) = request.into_parts();
        match self.begin(&head) {
            Begun::Answered(_) => None,
            Begun::Reading(reading) => {
                self.body(&reading, &body[..after]);
                Some(reading)
            }
        }
    }
}

/// What happens to the exchanges of a run, one after the other.
///
/// ```
/// use tus_testkit::{Fault, FaultPlan, Rates};
///
/// let mut plan = FaultPlan::scripted([None, Some(Fault::LoseAnswer)]);
/// assert!(plan.next_fault().is_none());
/// assert!(matches!(plan.next_fault(), Some(Fault::LoseAnswer)));
/// assert!(plan.next_fault().is_none()); // and so on
///
/// let mut rough = FaultPlan::seeded(42, Rates::rough()).at_most(20);
/// # rough.next_fault();
/// ```
#[derive(Clone, Debug)]
pub struct FaultPlan {
    script: VecDeque<Option<Fault>>,
    seeded: Option<(SplitMix64, Rates)>,
    left: u64,
}

impl FaultPlan {
    /// Nothing ever happens.
    #[must_use]
    pub fn none() -> Self {
        Self::scripted([])
    }

    /// What happens to the first exchange, to the second, and so on; nothing after the last.
    #[must_use]
    pub fn scripted(script: impl IntoIterator<Item = Option<Fault>>) -> Self {
        Self {
            script: script.into_iter().collect(),
            seeded: None,
            left: u64::MAX,
        }
    }

    /// Draws each exchange's fault. The same seed and rates give the same faults on every machine.
    #[must_use]
    pub fn seeded(seed: u64, rates: Rates) -> Self {
        Self {
            script: VecDeque::new(),
            seeded: Some((SplitMix64::new(seed), rates)),
            left: u64::MAX,
        }
    }

    /// Has nothing more happen after so many faults, that a run may come to its end.
    #[must_use]
    pub fn at_most(self, faults: u64) -> Self {
        Self {
            left: faults,
            ..self
        }
    }

    /// What happens to the next exchange.
    pub fn next_fault(&mut self) -> Option<Fault> {
        if self.left == 0 {
            return None;
        }
        let fault = match &mut self.seeded {
            None => self.script.pop_front().flatten(),
            Some((random, rates)) => rates.draw(random),
        };
        self.left -= u64::from(fault.is_some());
        fault
    }
}

/// How often each kind of fault happens, in exchanges of a thousand. What they leave to a thousand is
/// what goes well.
#[derive(Clone, Debug)]
pub struct Rates {
    /// [`Fault::Refuse`].
    pub refuse: u32,
    /// [`Fault::LoseRequest`].
    pub lose_request: u32,
    /// [`Fault::Cut`], after 0 to `span` bytes.
    pub cut: u32,
    /// [`Fault::LoseAnswer`].
    pub lose_answer: u32,
    /// [`Fault::Answer`], of any [`Reach`], with one of `answers`.
    pub answer: u32,
    /// [`Fault::Stall`], after 0 to `span` bytes.
    pub stall: u32,
    /// [`Fault::Delay`], of up to `longest`.
    pub delay: u32,
    /// The bytes of a body among which cuts and stalls come, small ones as often as large ones.
    pub span: u64,
    /// The longest delay.
    pub longest: Duration,
    /// What the answers are drawn from.
    pub answers: Vec<Response<Bytes>>,
}

impl Rates {
    /// No faults: the ground for a choice of one's own.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            refuse: 0,
            lose_request: 0,
            cut: 0,
            lose_answer: 0,
            answer: 0,
            stall: 0,
            delay: 0,
            span: 1 << 20,
            longest: Duration::from_secs(10),
            answers: Vec::new(),
        }
    }

    /// A bad line: something of every kind, about every other exchange, and answers that a client is
    /// expected to survive.
    #[must_use]
    pub fn rough() -> Self {
        let answers = [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::LOCKED,
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::INTERNAL_SERVER_ERROR,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        let answers = answers.map(|status| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = status;
            if matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ) {
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            response
        });
        Self {
            refuse: 70,
            lose_request: 70,
            cut: 130,
            lose_answer: 70,
            answer: 70,
            stall: 40,
            delay: 50,
            answers: answers.into(),
            ..Self::calm()
        }
    }

    fn draw(&self, random: &mut SplitMix64) -> Option<Fault> {
        // Every exchange takes the same number of draws, so that changing one rate leaves the other
        // exchanges of a seed alone.
        let [kind, which, size] = [random.below(1000), random.next_u64(), random.next_u64()];
        let mut kind = u32::try_from(kind).ok()?;
        let mut is = |rate: u32| {
            let hit = kind < rate;
            kind = kind.saturating_sub(rate);
            hit
        };
        // A number of bits first, then a number of so many: small ones are where the edges are.
        let bits = 64 - self.span.leading_zeros();
        let bytes =
            (size >> (63 - (which % u64::from(bits + 1)).min(63))) % self.span.saturating_add(1);
        if is(self.refuse) {
            Some(Fault::Refuse)
        } else if is(self.lose_request) {
            Some(Fault::LoseRequest)
        } else if is(self.cut) {
            Some(Fault::Cut { after: bytes })
        } else if is(self.lose_answer) {
            Some(Fault::LoseAnswer)
        } else if is(self.answer) {
            let count = self.answers.len() as u64;
            let response = self
                .answers
                .get(usize::try_from(which.checked_rem(count)?).ok()?)?
                .clone();
            let reach = match size % 4 {
                0 => Reach::Nothing,
                1 => Reach::Swallowed,
                2 => Reach::Bytes(bytes),
                _ => Reach::All,
            };
            Some(Fault::Answer { reach, response })
        } else if is(self.stall) {
            Some(Fault::Stall { after: bytes })
        } else if is(self.delay) {
            let longest = u64::try_from(self.longest.as_nanos()).unwrap_or(u64::MAX);
            Some(Fault::Delay(Duration::from_nanos(
                size % longest.saturating_add(1),
            )))
        } else {
            None
        }
    }
}

/// A small deterministic source of numbers: Steele, Lea and Flood's splitmix64.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number, brought below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64().checked_rem(end).unwrap_or(0)
    }
}
