//! A login's life between a GitLab that lags, throttles, fails and loses answers, a disk that fills up, a clock that
//! jumps, and a process that dies at every step; checked after every step.
//!
//! The number of a pair is its generation: each exchange takes the next, and a new login the one after.

use super::calls::{pair, terms_of};
use super::*;
use crate::account::exchange::{Attempt, Heard, Order};
use crate::domain::oauth::OAuthPair;

const STEPS: usize = 1_000;
/// False refusals last for less than this, and come no more often than every two hours.
const LAG_MAX: Duration = Duration::from_mins(10);

/// What GitLab knows. Times are real.
struct GitLab {
    /// The only pair that is any good.
    valid: u64,
    revoked: bool,
    lag_until: Timestamp,
    lag_after: Timestamp,
    down_until: Timestamp,
    throttled_until: Timestamp,
}

/// What outlives the process.
struct Disk {
    number: u64,
    obtained_at: Timestamp,
    begun_at: Option<Timestamp>,
    memory: Memory,
    grant: Option<Arc<Grant>>,
    full_until: Timestamp,
}

/// An exchange that runs, out of reach of the account.
struct Running {
    attempt: Attempt,
    of: u64,
    work: Work,
}

enum Work {
    Note,
    Ask,
    Keep(OAuthPair),
    /// Wait until this real time, with the pair in memory.
    Later(Timestamp),
    Forget,
}

#[expect(clippy::struct_excessive_bools, reason = "each says of one thing whether it is under way")]
struct World {
    seed: u64,
    rng: StdRng,
    now: Timestamp,
    real: Timestamp,
    gitlab: GitLab,
    disk: Disk,
    state: State,
    queued: bool,
    running: Option<Running>,
    /// The pair that an exchange in flight is about.
    asking: Option<u64>,
    minting: Option<u64>,
    listing: bool,
    mints: Vec<Timestamp>,
    /// GitLab handed out a pair that never came to the disk, for a reason that nobody can prevent.
    lost: bool,
    exchanges: u64,
    /// Nothing goes wrong any more.
    calm: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let disk = Disk {
            number: 1,
            obtained_at: NOW,
            begun_at: None,
            memory: Memory::default(),
            grant: None,
            full_until: NOW,
        };
        let gitlab =
            GitLab { valid: 1, revoked: false, lag_until: NOW, lag_after: NOW, down_until: NOW, throttled_until: NOW };
        let state = started(&disk, NOW, &mut rng);
        let (running, asking, minting, mints) = (None, None, None, Vec::new());
        let (queued, listing, lost, exchanges) = (false, false, false, 0);
        let (now, real) = (NOW, NOW);
        Self {
            seed,
            rng,
            now,
            real,
            gitlab,
            disk,
            state,
            queued,
            running,
            asking,
            minting,
            listing,
            mints,
            lost,
            exchanges,
            calm: false,
        }
    }

    fn step(&mut self, event: Event) {
        let what = format!("seed {}: {event:?} at {}", self.seed, self.now);
        let effects = self.state.step(event, self.now, &mut self.rng);
        for effect in effects {
            match effect {
                Effect::Ask(_) => self.queued = true,
                Effect::Exchange => self.exchange(&what),
                Effect::Mint => self.mint(&what),
                Effect::Discover => {
                    assert!(!self.listing && self.minting.is_none(), "{what}: two calls at a time");
                    self.listing = true;
                }
                Effect::Remember => self.disk.memory = self.state.memory(),
                _ => {}
            }
        }
        self.check(&what);
    }

    fn exchange(&mut self, what: &str) {
        assert!(self.minting.is_none(), "{what}: the exchange ends the token of a call in flight");
        let of = self.state.credentials().generation().number();
        if self.running.as_ref().is_some_and(|running| running.of == of) {
            // An account that was started afresh joins.
            return;
        }
        assert!(self.running.is_none(), "{what}: two exchanges at a time");
        let (attempt, order) = Attempt::begin();
        assert_eq!(order, Order::Note);
        self.running = Some(Running { attempt, of, work: Work::Note });
    }

    fn mint(&mut self, what: &str) {
        let number = self.state.credentials().generation().number();
        assert!(self.minting.is_none(), "{what}: two mints at a time");
        assert!(number <= self.disk.number, "{what}: a pair is used that is not on disk");
        self.minting = Some(number);
        self.mints.push(self.real);
        let lately = self.mints.iter().filter(|at| self.real.since(**at) < 5 * MINUTE).count();
        assert!(lately <= 10, "{what}: {lately} mints within five minutes");
    }

    fn check(&self, what: &str) {
        let held = match &self.running {
            Some(Running { of, work: Work::Keep(_) | Work::Later(..), .. }) => of + 1,
            _ => self.disk.number,
        };
        let healthy = !self.lost && !self.gitlab.revoked;
        assert!(!healthy || held == self.gitlab.valid, "{what}: pair {} is lost, {held} is held", self.gitlab.valid);
        if self.state.credentials().needs_login() {
            assert!(!healthy, "{what}: a healthy account needs a login");
            let reason = self.state.trouble().unwrap().reason;
            assert!(!self.lost || reason == Reason::RenewalInterrupted, "{what}: {reason:?} of a lost answer");
        }
    }

    /// Lets the exchange go one step on.
    fn work(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let of = running.of;
        let full = self.real < self.disk.full_until;
        let heard = match running.work {
            Work::Note if self.disk.number != of => return self.overtaken(of),
            Work::Note | Work::Keep(_) if full => {
                if matches!(running.work, Work::Note) {
                    Heard::NotNoted
                } else {
                    Heard::NotKept
                }
            }
            Work::Note => {
                let new = self.disk.begun_at.is_none();
                self.disk.begun_at.get_or_insert(self.now);
                Heard::Noted { new }
            }
            Work::Ask => self.answer(of),
            Work::Keep(ref pair) => {
                assert_eq!(self.disk.number, of, "seed {}: a newer login was replaced", self.seed);
                (self.disk.number, self.disk.obtained_at, self.disk.begun_at) = (of + 1, pair.obtained_at, None);
                Heard::Kept
            }
            Work::Later(until) if self.real < until => {
                self.running = Some(Running { work: Work::Later(until), ..running });
                return;
            }
            Work::Later(..) => Heard::Again,
            Work::Forget => {
                self.disk.begun_at = self.disk.begun_at.filter(|_| full);
                Heard::Forgotten
            }
        };
        let order = running.attempt.step(heard, self.now, &mut self.rng).expect("an order");
        running.work = match order {
            Order::Note => Work::Note,
            Order::Ask => {
                assert!(self.disk.begun_at.is_some(), "seed {}: an exchange that nobody would know of", self.seed);
                assert_eq!(self.asking.replace(of), None, "seed {}: two refreshes in flight", self.seed);
                Work::Ask
            }
            Order::Keep(pair) => Work::Keep(pair),
            Order::TryLater(block) => {
                let until = self.real + block.until.since(self.now);
                self.running = Some(Running { work: Work::Later(until), ..running });
                return self.step(Event::Unsaved(generation(of), block));
            }
            Order::Forget => Work::Forget,
            Order::End(end) => return self.step(Event::Exchanged(generation(of), end)),
            Order::Done(pair) => {
                self.exchanges += 1;
                let terms = terms_of(of + 1, pair.obtained_at);
                return self.step(Event::Exchanged(generation(of), Ended::Stored(terms)));
            }
        };
        self.running = Some(running);
    }

    fn overtaken(&mut self, of: u64) {
        let terms = terms_of(self.disk.number, self.disk.obtained_at);
        self.step(Event::Exchanged(generation(of), Ended::Stored(terms)));
    }

    /// What becomes of a refresh at GitLab, and of its answer.
    fn answer(&mut self, of: u64) -> Heard {
        self.asking = None;
        let unreachable = fault(Scope::Instance, Reason::InstanceUnreachable, Hold::Backoff);
        if self.real < self.gitlab.down_until {
            return match self.rng.random_range(0..8) {
                0 => {
                    self.process(of);
                    Heard::NotIssued(Ended::Unknown(unreachable))
                }
                1..4 => Heard::NotIssued(Ended::Unknown(unreachable)),
                _ => Heard::NotIssued(Ended::Refused(unreachable)),
            };
        }
        if self.real < self.gitlab.throttled_until {
            let throttled = fault(Scope::Instance, Reason::InstanceThrottled, Hold::For(MINUTE));
            return Heard::NotIssued(Ended::Refused(throttled));
        }
        if self.real < self.gitlab.lag_until || self.gitlab.revoked || self.gitlab.valid != of {
            return Heard::NotIssued(Ended::InvalidGrant);
        }
        if !self.calm && self.rng.random_bool(0.02) {
            self.process(of);
            return Heard::NotIssued(Ended::Unknown(unreachable));
        }
        self.gitlab.valid = of + 1;
        Heard::Issued(pair(of + 1, self.now))
    }

    /// GitLab exchanges a pair, and the answer goes nowhere.
    fn process(&mut self, of: u64) {
        if self.gitlab.valid == of && !self.gitlab.revoked && self.real >= self.gitlab.lag_until {
            self.gitlab.valid = of + 1;
            self.lost = true;
        }
    }

    fn end_of_mint(&mut self, number: u64) -> Event {
        let by = generation(number);
        if self.real < self.gitlab.down_until.max(self.gitlab.throttled_until) {
            return Event::MintFailed(by, fault(Scope::Instance, Reason::InstanceUnreachable, Hold::Backoff));
        }
        let unknown = self.gitlab.valid != number || self.gitlab.revoked || self.real < self.gitlab.lag_until;
        if unknown || self.now >= self.disk.obtained_at + 2 * HOUR {
            return Event::MintFailed(by, fault(Scope::Account, Reason::TokenInvalid, Hold::UntilFixed));
        }
        let grant = grant(self.state.next_serial().number(), self.now + HOUR);
        self.disk.grant = Some(Arc::clone(&grant));
        Event::Minted(by, grant)
    }

    /// The process dies, and another one starts on what is on disk.
    fn crash(&mut self) {
        match self.running.take() {
            Some(Running { of, work: Work::Ask, .. }) if self.rng.random_bool(0.5) => self.process(of),
            Some(Running { work: Work::Keep(_) | Work::Later(..), .. }) => {
                assert!(self.disk.begun_at.is_some(), "seed {}: a loss that nobody would know of", self.seed);
                self.lost = true;
            }
            _ => {}
        }
        self.asking = None;
        self.restart();
    }

    /// The account's actor dies and is started afresh; its exchange goes on.
    fn restart(&mut self) {
        (self.queued, self.minting, self.listing) = (false, None, false);
        self.state = started(&self.disk, self.now, &mut self.rng);
    }

    /// A person logs in.
    fn log_in(&mut self) {
        let number = self.disk.number + 2;
        (self.disk.number, self.disk.obtained_at, self.disk.begun_at) = (number, self.now, None);
        (self.gitlab.valid, self.gitlab.revoked, self.lost) = (number, false, false);
        (self.minting, self.listing) = (None, false);
        self.mints.push(self.real);
        let grant = grant(self.state.next_serial().number(), self.now + HOUR);
        self.step(Event::LoggedIn(terms_of(number, self.now), grant));
    }

    fn pass(&mut self) {
        let busy = self.running.is_some() || self.queued || self.minting.is_some();
        let step = match self.rng.random_range(0..100) {
            0..30 => SECOND.mul_f64(self.rng.random_range(0.0..2.0)),
            _ if busy => SECOND.mul_f64(self.rng.random_range(0.0..10.0)),
            30..97 => MINUTE.mul_f64(self.rng.random_range(0.0..12.0)),
            97..99 => MINUTE * self.rng.random_range(1..60),
            _ => HOUR * self.rng.random_range(1..12),
        };
        (self.now, self.real) = (self.now + step, self.real + step);
        if self.rng.random_range(0..400) == 0 {
            self.now = self.now - HOUR * self.rng.random_range(1..48);
        }
        let minutes = MINUTE * self.rng.random_range(1..40);
        let rarely = self.rng.random_range(0..300);
        let (real, gitlab) = (self.real, &mut self.gitlab);
        match rarely {
            0..4 if real >= gitlab.lag_after => {
                (gitlab.lag_until, gitlab.lag_after) = (real + minutes.min(LAG_MAX), real + 2 * HOUR);
            }
            4 => gitlab.down_until = real + minutes,
            5 => gitlab.throttled_until = real + minutes,
            6 => self.disk.full_until = real + minutes,
            7 if self.seed.is_multiple_of(4) => gitlab.revoked = self.rng.random_bool(0.2) || gitlab.revoked,
            _ => {}
        }
    }

    fn happen(&mut self) {
        let crash = if self.running.is_some() { 50 } else { 2 };
        match self.rng.random_range(0..1_000) {
            die if die < crash => self.crash(),
            die if die < crash + 5 => self.restart(),
            100..110 if self.state.credentials().needs_login() => self.log_in(),
            110..150 => {
                let than = self.state.next_serial().number() - 1;
                self.step(Event::RenewalWanted(Some(generation(than))));
            }
            150..155 => self.step(Event::RenewalWanted(None)),
            200..500 if self.running.is_some() => self.work(),
            500..800 => self.go_on(),
            _ => self.step(Event::Tick),
        }
    }

    /// Lets whatever is under way in the account come to its end.
    fn go_on(&mut self) {
        if let Some(number) = self.minting.take() {
            let event = self.end_of_mint(number);
            return self.step(event);
        }
        if std::mem::take(&mut self.listing) {
            let by = self.state.credentials().generation();
            return self.step(Event::Discovered(by));
        }
        if std::mem::take(&mut self.queued) {
            self.step(Event::Turn);
        }
    }

    /// Everything is mended but what only a login can mend; returns whether the account serves in the end.
    fn recovers(&mut self) -> bool {
        let mended = self.real;
        let gitlab = &mut self.gitlab;
        (gitlab.lag_until, gitlab.down_until, gitlab.throttled_until) = (mended, mended, mended);
        self.disk.full_until = mended;
        self.calm = true;
        for _ in 0..(4 * HOUR).as_secs() / 15 {
            (self.now, self.real) = (self.now + 15 * SECOND, self.real + 15 * SECOND);
            self.work();
            self.go_on();
            self.step(Event::Tick);
            if self.state.credentials().needs_login() {
                self.log_in();
            }
        }
        while self.running.is_some() {
            self.work();
        }
        !self.lost
            && self.disk.number == self.gitlab.valid
            && self.state.trouble().is_none()
            && self.state.grant().is_some_and(|grant| grant.is_usable(self.now))
    }
}

fn started(disk: &Disk, now: Timestamp, rng: &mut StdRng) -> State {
    let terms = terms_of(disk.number, disk.obtained_at);
    let credentials = Credentials::new(&terms, disk.begun_at.is_some(), now, rng);
    let serial = disk.grant.as_ref().map(|grant| grant.generation).unwrap_or_default();
    State::new(credentials, (serial, disk.grant.clone()), disk.memory.clone(), now, rng)
}

#[test]
fn whatever_happens_no_login_is_lost_that_could_be_kept_and_none_is_given_up_that_is_good() {
    let mut exchanges = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.pass();
            world.happen();
        }
        assert!(world.recovers(), "seed {seed}: {:?}", world.state);
        exchanges += world.exchanges;
    }
    assert!(exchanges > 5 * SEEDS, "hardly anything happened: {exchanges} exchanges");
}
