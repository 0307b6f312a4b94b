//! One exchange at a time: ids, time, what is to be said, credentials, redirects, the budget.
//!
//! It knows nothing of what the requests are for.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};

use crate::credentials::{Admitted, Credentials, Refusal};
use crate::retry::{Budget, Next, Random};
use crate::wire::request::override_method;
use crate::{
    Algorithm, Authorize, Body, Cause, Config, Deadline, Duty, DutyId, Error, Event, Limit, Op,
    Origin, Place, Terms, Tick, Timeouts, UploadUrl, Veto,
};

/// How many redirects one request follows.
const REDIRECTS: u32 = 5;
/// How often credentials are asked for without new bytes.
const AUTHORIZATIONS: u32 = 3;

/// What is to be said at the next polls.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is seldom more than one at a time"
)]
pub(crate) enum Signal {
    Begin(DutyId, Duty),
    Stop(DutyId),
    Event(Event),
}

#[derive(Debug)]
pub(crate) struct Line {
    lane: u32,
    serial: u32,
    now: Tick,
    /// When the last poll asked to be polled again.
    wanted: Option<Tick>,
    said: VecDeque<Signal>,
    flight: Option<Flight>,
    pub(crate) budget: Budget,
    timeouts: Timeouts,
    credentials: Credentials,
    authorize: Authorize,
    authorizations: u32,
    /// Why the last attempt failed.
    cause: Option<Cause>,
    /// Where a redirect leads the request that is next.
    detour: Option<Detour>,
    /// The next request goes over a new connection.
    fresh: bool,
    /// No request is begun before this time, for reasons that are not this lane's.
    hold: Tick,
    veto: Veto,
    method_override: bool,
    /// Where requests carry an id, and where that comes from.
    request_id: Option<(HeaderName, Random)>,
}

#[derive(Debug)]
struct Detour {
    url: UploadUrl,
    hops: u32,
    permanent: bool,
}

/// The exchange that is out.
#[derive(Debug)]
pub(crate) struct Flight {
    id: DutyId,
    pub(crate) op: Op,
    pub(crate) url: UploadUrl,
    pub(crate) body: Body,
    /// It went over a new connection on purpose.
    pub(crate) fresh: bool,
    /// Every redirect that led it here was for good.
    pub(crate) moved: bool,
    /// What the transport says it took; `None`: it does not report.
    sent: Option<u64>,
    /// When the silence began that the deadline is about; `None`: the driver was not told to begin
    /// it yet, and no time runs.
    quiet: Option<Tick>,
    /// An interim response has extended the deadline.
    extended: bool,
    /// How long the answer may take once the body is gone.
    patience: Duration,
}

impl Flight {
    fn len(&self) -> u64 {
        self.body.end - self.body.start
    }

    /// Whether it has this id, and the driver knows.
    fn is(&self, id: DutyId) -> bool {
        self.id == id && self.quiet.is_some()
    }

    /// Whether, for all we know, the last byte of the body left.
    pub(crate) fn handed_over(&self) -> bool {
        self.sent.is_none_or(|sent| sent >= self.len())
    }

    /// The offset that the server may have come to by this request (rule R3).
    pub(crate) fn reach(&self, stopped: bool) -> u64 {
        match self.sent {
            Some(sent) if !stopped => self.body.start + sent,
            _ => self.body.end,
        }
    }

    fn deadline(&self, timeouts: &Timeouts) -> Option<(Tick, Deadline)> {
        let quiet = self.quiet?;
        Some(match (self.len(), self.sent) {
            (0, _) => (quiet + self.patience, Deadline::Answer),
            (len, None) => {
                let least = Duration::from_secs(len / timeouts.least_speed.max(1));
                let whole = timeouts.stall.saturating_add(least);
                (quiet + whole + self.patience, Deadline::Answer)
            }
            (_, Some(0)) => (quiet + timeouts.stall, Deadline::Connect),
            (len, Some(sent)) if sent < len => (quiet + timeouts.stall, Deadline::Stall),
            _ => (quiet + self.patience, Deadline::Answer),
        })
    }
}

/// Why there is no further attempt.
#[derive(Debug)]
pub(crate) enum Spent {
    Limit(Limit, Option<Cause>),
    ComeBackAt(Duration, Cause),
}

impl Spent {
    pub(crate) fn at(self, place: Box<Place>) -> Error {
        match self {
            Self::Limit(limit, cause) => Error::Exhausted {
                place,
                limit,
                cause: cause.map(Box::new),
            },
            Self::ComeBackAt(after, cause) => Error::ComeBackAt {
                place,
                after,
                cause: Box::new(cause),
            },
        }
    }
}

/// Why a redirect is not followed.
#[derive(Debug)]
pub(crate) enum NotFollowed {
    TooMany,
    Refused(Refusal),
}

impl From<Refusal> for NotFollowed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What fresh credentials are to be asked for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) origin: Origin,
    url: UploadUrl,
    status: StatusCode,
    challenges: Vec<HeaderValue>,
}

impl Line {
    pub(crate) fn new(config: &Config, credentials: Credentials) -> Self {
        Self::of_lane(0, config, credentials)
    }

    /// One of several, with jitter of its own.
    pub(crate) fn of_lane(lane: u32, config: &Config, credentials: Credentials) -> Self {
        let mut seeds = Random(config.seed.wrapping_add(u64::from(lane) << 32));
        let seed = if lane == 0 { config.seed } else { seeds.next() };
        let ids = Random(seeds.next());
        Self {
            lane,
            serial: 0,
            now: Tick::default(),
            wanted: None,
            said: VecDeque::new(),
            flight: None,
            budget: Budget::new(config.retry.clone(), seed),
            timeouts: config.timeouts.clone(),
            credentials,
            authorize: config.authorize.clone(),
            authorizations: 0,
            cause: None,
            detour: None,
            fresh: false,
            hold: Tick::default(),
            veto: config.veto.clone(),
            method_override: config.method_override,
            request_id: config.request_id.clone().map(|name| (name, ids)),
        }
    }

    pub(crate) fn lane(&self) -> u32 {
        self.lane
    }

    /// Whether `PATCH` is sent as `POST`.
    pub(crate) fn overrides_methods(&self) -> bool {
        self.method_override
    }

    // Time.

    pub(crate) fn now(&self) -> Tick {
        self.now
    }

    /// Goes on to `now`, never back (rule R9). What the caller overslept is nobody's fault.
    pub(crate) fn advance(&mut self, now: Tick) {
        self.now = self.now.max(now);
        self.budget.begin(self.now);
        if let Some(wanted) = self.wanted.take() {
            self.budget.excuse(wanted, self.now);
        }
    }

    /// Since then somebody else was asked.
    pub(crate) fn excuse(&mut self, since: Tick) {
        self.budget.excuse(since, self.now);
    }

    /// The caller is told to come back at this time.
    pub(crate) fn until(&mut self, wanted: Option<Tick>) -> Option<Tick> {
        self.wanted = wanted;
        wanted
    }

    /// When the exchange that is out will have taken too long, and by which limit.
    pub(crate) fn deadline(&self) -> Option<(Tick, Deadline)> {
        self.flight.as_ref()?.deadline(&self.timeouts)
    }

    /// Why there is no further attempt, where this limit says so.
    pub(crate) fn spent(&self, limit: Limit) -> Spent {
        // What progress was made since has overcome it.
        let failed = self.budget.failures() > 0;
        Spent::Limit(limit, self.cause.clone().filter(|_| failed))
    }

    /// No request is begun before this time.
    pub(crate) fn hold_until(&mut self, until: Tick) {
        self.hold = self.hold.max(until);
    }

    /// One may be begun at once.
    pub(crate) fn release(&mut self) {
        self.hold = Tick::default();
    }

    /// Until when no request is begun, if that is still to come.
    pub(crate) fn held(&self) -> Option<Tick> {
        (self.hold > self.now).then_some(self.hold)
    }

    // What is said.

    pub(crate) fn next_signal(&mut self) -> Option<Signal> {
        let signal = self.said.pop_front()?;
        if let (Signal::Begin(id, _), Some(flight)) = (&signal, &mut self.flight)
            && *id == flight.id
        {
            flight.quiet = Some(self.now + self.timeouts.connect);
        }
        Some(signal)
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.said.push_back(Signal::Event(event));
    }

    pub(crate) fn next_id(&mut self) -> DutyId {
        let id = DutyId {
            lane: self.lane,
            serial: self.serial,
        };
        self.serial = self.serial.wrapping_add(1);
        id
    }

    pub(crate) fn begin(&mut self, duty: Duty) -> DutyId {
        let id = self.next_id();
        self.said.push_back(Signal::Begin(id, duty));
        id
    }

    pub(crate) fn stop(&mut self, id: DutyId) {
        self.said.push_back(Signal::Stop(id));
    }

    // The exchange.

    /// Sends a request to where it says, or to where a redirect says.
    /// `trailer`: the checksum that is to follow its body.
    pub(crate) fn exchange(
        &mut self,
        op: Op,
        mut request: Request<Body>,
        trailer: Option<Algorithm>,
    ) -> Result<(), Limit> {
        self.budget.request()?;
        if self.method_override {
            override_method(&mut request);
        }
        let detour = self.detour.as_ref();
        if let Some(detour) = detour {
            *request.uri_mut() = detour.url.as_uri().clone();
        }
        let url = UploadUrl::from(request.uri().clone());
        let moved = detour.is_some_and(|detour| detour.permanent);
        let body = request.body().clone();
        let patience = match op {
            Op::Concatenate => self.timeouts.concatenation,
            _ if body.is_empty() => self.timeouts.answer,
            _ => self.timeouts.answer_to_body,
        };
        let trusted = self.credentials.dress(url.as_uri(), request.headers_mut());
        if let Some((name, ids)) = self.request_id.as_mut().filter(|_| trusted) {
            let id = format!("{:016x}{:016x}", ids.next(), ids.next());
            let id = HeaderValue::try_from(id).expect("hexadecimal digits are visible ASCII");
            // A map that is full (32,768 lines) takes no more.
            let _ = request.headers_mut().try_insert(name.clone(), id);
        }
        let terms = Terms {
            op,
            attempt: self.budget.failures(),
            trusted,
            fresh: self.fresh,
            trailer,
            connect: self.timeouts.connect,
            stall: self.timeouts.stall,
            answer: patience,
        };
        if !body.is_empty() {
            self.event(Event::Appending {
                from: body.start,
                to: body.end,
            });
        }
        let id = self.begin(Duty::Exchange(request, terms));
        self.flight = Some(Flight {
            id,
            op,
            url,
            body,
            fresh: self.fresh,
            moved,
            sent: None,
            quiet: None,
            extended: false,
            patience,
        });
        Ok(())
    }

    /// Takes the exchange that is out, if it has this id: it has ended.
    pub(crate) fn land(&mut self, id: DutyId) -> Option<Flight> {
        self.flight.take_if(|flight| flight.is(id))
    }

    /// Stops the exchange that is out. If nobody was told of it yet, there was none.
    pub(crate) fn stop_flight(&mut self) -> Option<Flight> {
        let flight = self.flight.take()?;
        if flight.quiet.is_none() {
            self.said
                .retain(|signal| !matches!(signal, Signal::Begin(id, _) if *id == flight.id));
            return None;
        }
        self.stop(flight.id);
        Some(flight)
    }

    /// Nothing more is begun.
    pub(crate) fn hush(&mut self) {
        self.said
            .retain(|signal| !matches!(signal, Signal::Begin(..)));
    }

    pub(crate) fn sent(&mut self, id: DutyId, bytes: u64) {
        let now = self.now;
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.is(id)) else {
            return;
        };
        let before = flight.sent.unwrap_or(0);
        let bytes = bytes.clamp(before, flight.len().max(before));
        flight.sent = Some(bytes);
        if bytes == before {
            return;
        }
        let since = flight.quiet.replace(now).unwrap_or(now);
        let offset = flight.body.start + bytes;
        // Bytes are taken: whatever comes of it, the line is not dead.
        self.budget.excuse(since, now);
        // Only the last count matters to a display.
        if let Some(Signal::Event(Event::Sent { offset: last })) = self.said.back_mut() {
            *last = offset;
        } else {
            self.event(Event::Sent { offset });
        }
    }

    /// The server is alive: that extends the wait for its answer, once. While body remains it is the
    /// transport that must show life.
    pub(crate) fn interim(&mut self, id: DutyId) {
        let now = self.now;
        if let Some(flight) = self.flight.as_mut().filter(|flight| flight.is(id))
            && !flight.extended
            && flight.handed_over()
            && flight.quiet < Some(now)
        {
            flight.extended = true;
            flight.quiet = Some(now);
        }
    }

    // What an answer leads to, whatever the request was for.

    /// The next request is another one than the last: what was said of that does not hold for it.
    pub(crate) fn settle(&mut self) {
        self.detour = None;
        self.fresh = false;
    }

    /// Counts a failed attempt, and says when the next one may be.
    pub(crate) fn fail(
        &mut self,
        op: Op,
        cause: Cause,
        retry_after: Option<Duration>,
    ) -> Result<Tick, Spent> {
        self.settle();
        let lost = match &cause {
            Cause::Failed(failure) => failure.kind == crate::FailureKind::Lost,
            Cause::TimedOut(_) => true,
            _ => false,
        };
        self.cause = Some(cause.clone());
        if self.veto.ends(op, &cause) {
            return Err(Spent::Limit(Limit::Veto, Some(cause)));
        }
        match self.budget.fail(self.now, lost, retry_after) {
            Next::Wait(after) => {
                self.event(Event::Retrying {
                    op,
                    cause,
                    attempt: self.budget.failures(),
                    after,
                });
                Ok(self.now + after)
            }
            Next::GiveUp(limit) => Err(Spent::Limit(limit, Some(cause))),
            Next::ComeBackAt(after) => Err(Spent::ComeBackAt(after, cause)),
        }
    }

    /// The server confirmed so many bytes that it never had before.
    pub(crate) fn gain(&mut self, bytes: u64, all: bool) {
        if bytes > 0 {
            self.authorizations = 0;
        }
        self.budget.gain(bytes, all);
    }

    /// Resolves what the server named, by the rules for what may be used (S1, S2, S5).
    pub(crate) fn admit(&mut self, base: &Uri, location: &[u8]) -> Result<UploadUrl, Refusal> {
        let Admitted {
            uri,
            foreign,
            upgraded,
        } = self.credentials.admit(base, location)?;
        let url = UploadUrl::from(uri);
        if upgraded {
            self.event(Event::Upgraded { url: url.clone() });
        }
        if let Some(origin) = foreign {
            self.event(Event::Foreign { origin });
        }
        Ok(url)
    }

    /// The next request goes to where this redirect says.
    pub(crate) fn follow(
        &mut self,
        flight: &Flight,
        location: &[u8],
        permanent: bool,
    ) -> Result<(), NotFollowed> {
        let hops = self.detour.as_ref().map_or(0, |detour| detour.hops) + 1;
        if hops > REDIRECTS {
            return Err(NotFollowed::TooMany);
        }
        let url = self.admit(flight.url.as_uri(), location)?;
        self.event(Event::Redirected {
            op: flight.op,
            to: url.clone(),
        });
        let before = self.detour.as_ref().is_none_or(|detour| detour.permanent);
        self.detour = Some(Detour {
            url,
            hops,
            permanent: before && permanent,
        });
        Ok(())
    }

    /// The next request goes over a new connection.
    pub(crate) fn renew_connection(&mut self) {
        self.fresh = true;
    }

    pub(crate) fn authorize(&self) -> &Authorize {
        &self.authorize
    }

    /// What to ask the caller for, if it was not asked too often.
    pub(crate) fn may_ask(&mut self, flight: &Flight, answer: &Response<Bytes>) -> Option<Ask> {
        if self.authorizations >= AUTHORIZATIONS {
            return None;
        }
        self.authorizations += 1;
        let challenges = answer.headers().get_all(WWW_AUTHENTICATE);
        Some(Ask {
            origin: Origin::of(flight.url.as_uri()).ok()?,
            url: flight.url.clone(),
            status: answer.status(),
            challenges: challenges.into_iter().cloned().collect(),
        })
    }

    /// Asks the caller for fresh credentials.
    pub(crate) fn ask(&mut self, ask: &Ask) -> DutyId {
        self.event(Event::Authorizing {
            origin: ask.origin.clone(),
        });
        self.begin(Duty::Authorize {
            uri: ask.url.as_uri().clone(),
            status: ask.status,
            challenges: ask.challenges.clone(),
        })
    }

    /// Whether these fields may be sent from now on, and so will be.
    pub(crate) fn renew_credentials(&mut self, origin: Origin, headers: HeaderMap) -> bool {
        self.credentials.renew(origin, headers).is_ok()
    }
}
