//! Plays operators, and the end and the new start of the server.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngExt};

use super::accounts::{Account, Errand, Start};
use super::truth::instance_url;
use super::world::World;
use crate::account::shared_health;
use crate::account::state::Event;
use crate::domain::id::AccountId;

/// What an operator does to the account of a user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    user: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Add,
    Remove,
    Enable(bool),
    Weight(u32),
    Pool(bool),
    Slots(u32),
    Refresh,
    Reset,
    /// GitLab forgets every grant that there is: not an operator's doing, but one of a moment, too.
    Revoke,
}

impl Operation {
    pub(super) fn draw(rng: &mut impl Rng, users: usize) -> Self {
        let what = match rng.random_range(0..12) {
            0..2 => What::Add,
            2..4 => What::Remove,
            4 => What::Enable(false),
            5..7 => What::Enable(true),
            7 => What::Weight(rng.random_range(1..=4)),
            8 => What::Pool(rng.random_bool(0.5)),
            9 => What::Slots(rng.random_range(1..=8)),
            10 if rng.random_bool(0.5) => What::Reset,
            10 => What::Refresh,
            _ => What::Revoke,
        };
        Self { user: rng.random_range(0..users), what }
    }
}

impl World {
    pub(super) fn operate(&mut self, Operation { user, what }: Operation) {
        let instance = self.truth.users[user].instance;
        let id = AccountId::of(&instance_url(instance), user as u64);
        self.say(|| format!("-- operator, for {id}: {what:?}"));
        let Some(account) = self.accounts.get_mut(&id) else {
            if matches!(what, What::Add) {
                self.add(user);
            }
            return;
        };
        match what {
            What::Add => return,
            What::Remove => return self.remove(&id),
            What::Enable(enabled) => account.settings.enabled = enabled,
            What::Weight(weight) => account.settings.weight = weight,
            What::Pool(team) => account.settings.pool = if team { "team" } else { "default" },
            What::Slots(slots) => account.settings.max_concurrency = slots,
            What::Refresh => self.errands.push_back(Errand::Event(id.clone(), Event::RenewalWanted(None))),
            What::Reset => {
                self.errands.push_back(Errand::Event(id.clone(), Event::Reset));
                self.hosts[instance].forgive();
                let gateway = account.state.grant().map(|grant| grant.gateway.clone());
                let (group, instance) = (self.truth.group_of(user), instance_url(instance));
                return self.learn(shared_health::Event::Reset { gateway, group, instance });
            }
            What::Revoke => {
                let last = account.stored.0.number();
                self.truth.users[user].revoked = last;
                return;
            }
        }
        self.show(&id);
    }

    /// Stops routing to an account at once, as the registry does; its requests go on.
    fn remove(&mut self, id: &AccountId) {
        let Some(mut account) = self.accounts.remove(id) else { return };
        for asker in std::mem::take(&mut account.waiting) {
            self.after(Duration::ZERO, super::world::Happening::Answered { asker, renewed: false });
        }
        self.snapshots.remove(id);
        self.gone.insert(id.clone(), account);
        self.publish();
    }

    /// The server ends with all that is in flight, and starts with what was stored.
    pub(super) fn restart(&mut self) {
        self.say(|| "-- the server starts anew".to_owned());
        self.requests.clear();
        self.queued.clear();
        self.errands.clear();
        self.office.news.lock().unwrap().clear();
        self.office.shared_news.lock().unwrap().clear();
        self.check_slots_are_free();
        self.snapshots.clear();
        self.refused = Arc::default();
        self.boot();
        self.publish();
        let accounts = std::mem::take(&mut self.accounts);
        for Account { id, user, settings, terms, stored, mints, .. } in accounts.into_values() {
            self.start(Start { id, user, settings, terms, stored, gauge: Arc::default(), mints });
        }
        self.gone.values_mut().for_each(|account| account.gauge = Arc::default());
    }
}
