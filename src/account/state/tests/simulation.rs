//! An account's life under random events, checked after every step.

use super::*;

const STEPS: usize = 600;
/// The longest hold there is, its jitter, and a clock that was corrected by a moment.
const AHEAD_MAX: Duration = Duration::from_mins(75);

/// What others can see of a state without being told.
type Seen = (Option<Generation>, Option<Block>, Option<Block>, Arc<BTreeMap<ModelName, Block>>, bool);

struct World {
    state: State,
    rng: StdRng,
    /// What the machine's clock shows.
    now: Timestamp,
    /// How much time has really passed.
    real: Timestamp,
    queued: bool,
    minting: bool,
    listing: bool,
    waiting: u32,
    mints: Vec<Timestamp>,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let stored = rng.random_bool(0.5).then(|| grant(7, NOW + rng.random_range(0..90) * MINUTE));
        let state = start(generation(7), stored, NOW, &mut rng);
        let (now, real) = (NOW, NOW);
        Self {
            state,
            rng,
            now,
            real,
            queued: false,
            minting: false,
            listing: false,
            waiting: 0,
            mints: Vec::new(),
            seed,
        }
    }

    fn seen(&self) -> Seen {
        let state = &self.state;
        let generation = state.grant().map(|grant| grant.generation);
        (generation, state.block().cloned(), state.trouble().cloned(), Arc::clone(state.models()), state.is_minting())
    }

    fn step(&mut self, event: Event) {
        let seed = self.seed;
        let what = format!("seed {seed}: {event:?} at {}", self.now);
        match &event {
            Event::RenewalWanted(_) => self.waiting += 1,
            Event::Minted(..) | Event::MintFailed(..) => self.minting = false,
            Event::LoggedIn(..) => (self.minting, self.listing) = (false, false),
            Event::Discovered(_) => self.listing = false,
            Event::Turn | Event::NoTurn(_) => self.queued = false,
            _ => {}
        }
        let refused = match &event {
            Event::Failed { generation, fault, .. } if fault.hold == Hold::UntilMinted => Some(*generation),
            _ => None,
        };
        let (before, serial) = (self.seen(), self.state.next_serial());
        let effects = self.state.step(event, self.now, &mut self.rng);
        let told = effects.contains(&Effect::Publish);
        assert!(told || self.seen() == before, "{what}: a change that nobody hears of");
        for effect in effects {
            self.run(&effect, &what);
        }
        let state = &self.state;
        assert_eq!(state.is_minting(), self.minting, "{what}");
        let coming = self.queued || self.minting || self.listing;
        assert!(self.waiting == 0 || coming, "{what}: somebody waits for nothing");
        assert!(state.models().len() <= super::super::requests::MODEL_BLOCKS_MAX, "{what}");
        for block in state.block().into_iter().chain(state.trouble()).chain(state.models().values()) {
            assert!(block.until <= self.now + AHEAD_MAX, "{what}: {block:?}");
        }
        assert!(state.next_serial() >= serial, "{what}: a number would be given twice");
        assert!(before.0.is_none() || state.grant().is_some() || refused == before.0, "{what}: a grant was lost");
    }

    fn run(&mut self, effect: &Effect, what: &str) {
        match effect {
            Effect::Mint => {
                assert!(!self.minting, "{what}: two mints in flight");
                self.minting = true;
                self.mints.push(self.real);
                let lately = self.mints.iter().filter(|at| self.real.since(**at) < 5 * MINUTE).count();
                assert!(lately <= 10, "{what}: {lately} mints within five minutes");
            }
            Effect::Discover => {
                assert!(!self.listing, "{what}: two listings in flight");
                self.listing = true;
            }
            Effect::Reply(Ok(generation)) | Effect::Answer(Ok(generation)) => {
                let grant = self.state.grant().unwrap();
                assert!(
                    grant.generation == *generation && grant.is_usable(self.now),
                    "{what}: a bad grant was promised"
                );
            }
            Effect::Ask(_) => self.queued = true,
            Effect::Exchange => panic!("{what}: a personal access token was exchanged"),
            _ => {}
        }
        match effect {
            Effect::Reply(_) => self.waiting -= 1,
            Effect::Answer(_) => self.waiting = 0,
            _ => {}
        }
    }

    fn pass(&mut self) {
        let step = match self.rng.random_range(0..100) {
            0..60 => SECOND.mul_f64(self.rng.random_range(0.0..2.0)),
            60..95 => MINUTE.mul_f64(self.rng.random_range(0.0..1.0)),
            95..99 => MINUTE * self.rng.random_range(1..60),
            _ => HOUR * self.rng.random_range(1..12),
        };
        self.now = self.now + step;
        self.real = self.real + step;
        // Now and then the clock is set back, by a moment or by much.
        match self.rng.random_range(0..400) {
            0 => self.now = self.now - HOUR * self.rng.random_range(1..48),
            1..5 => self.now = self.now - Duration::from_millis(self.rng.random_range(1..3_000)),
            _ => {}
        }
    }

    fn event(&mut self) -> Event {
        let last = self.state.next_serial().number() - 1;
        let asked = generation(last.saturating_sub(self.rng.random_range(0..2)));
        let model = model(&format!("claude-{}", self.rng.random_range(0..80)));
        match self.rng.random_range(0..100) {
            0..10 if self.minting => self.end_of_mint(),
            // A person logs in anew.
            10..11 => {
                self.mints.push(self.real);
                let number = self.state.next_serial().number();
                logged_in(number, self.now + HOUR)
            }
            11..16 => Event::RenewalWanted(Some(asked)),
            16..17 => Event::RenewalWanted(None),
            17..25 if self.listing => Event::Discovered(login()),
            50..70 if self.queued => Event::Turn,
            70..72 if self.queued => Event::NoTurn(self.pause()),
            25..32 => Event::Succeeded(model),
            32..50 => Event::Failed { generation: asked, model, fault: self.fault() },
            _ => Event::Tick,
        }
    }

    fn end_of_mint(&mut self) -> Event {
        if self.rng.random_bool(0.6) {
            return self.new_grant();
        }
        let (reason, hold) = match self.rng.random_range(0..4) {
            0 => (Reason::TokenRevoked, Hold::UntilFixed),
            1 => (Reason::QuotaExhausted, Hold::For(QUOTA)),
            2 => (Reason::InstanceThrottled, Hold::For(MINUTE)),
            _ => (Reason::InstanceUnreachable, Hold::Backoff),
        };
        Event::MintFailed(login(), fault(Scope::Account, reason, hold))
    }

    fn new_grant(&mut self) -> Event {
        let life = match self.rng.random_range(0..10) {
            0 => Duration::ZERO,
            1 => SECOND * self.rng.random_range(1..600),
            _ => HOUR,
        };
        let number = self.state.next_serial().number();
        Event::Minted(login(), grant(number, self.now + life))
    }

    /// The instance is left alone for a while.
    fn pause(&mut self) -> Block {
        let until = self.now + SECOND * self.rng.random_range(1..300);
        Block { reason: Reason::InstanceThrottled, since: self.now, until, attempts: 1 }
    }

    fn fault(&mut self) -> Fault {
        let (scope, reason, hold) = match self.rng.random_range(0..8) {
            0..2 => (Scope::Account, Reason::GrantRefused, Hold::UntilMinted),
            2 => (Scope::Account, Reason::ProxyNotEnabled, Hold::UntilFixed),
            3 => (Scope::Account, Reason::NotEntitled, Hold::Backoff),
            4..6 => (Scope::Model, Reason::QuotaExhausted, Hold::For(QUOTA)),
            6 => (Scope::Model, Reason::QuotaUnknown, Hold::Backoff),
            _ => (Scope::Gateway, Reason::GatewayError, Hold::None),
        };
        fault(scope, reason, hold)
    }

    /// Everything is mended; returns whether the account serves again in the end.
    fn recovers(&mut self) -> bool {
        for _ in 0..AHEAD_MAX.as_secs() / 10 {
            self.now = self.now + 10 * SECOND;
            self.real = self.real + 10 * SECOND;
            if self.minting {
                let number = self.state.next_serial().number();
                self.step(Event::Minted(login(), grant(number, self.now + HOUR)));
            }
            if self.listing {
                self.step(Event::Discovered(login()));
            }
            if self.queued {
                self.step(Event::Turn);
            }
            self.step(Event::Tick);
        }
        let state = &self.state;
        let holds = |block: &Block| block.holds(self.now);
        state.grant().is_some_and(|grant| grant.is_usable(self.now))
            && !state.block().is_some_and(holds)
            && !state.models().values().any(holds)
            && state.trouble().is_none()
    }
}

#[test]
fn whatever_happens_an_account_keeps_its_promises_and_recovers() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.pass();
            let event = world.event();
            world.step(event);
        }
        assert!(world.recovers(), "seed {seed}: {:?}", world.state);
    }
}
