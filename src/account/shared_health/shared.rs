//! What everybody sees of the health that accounts share: immutable, part of the published table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::trial::{Trial, Trying};
use crate::account::api::Block;
use crate::account::bell::Bell;
use crate::domain::endpoint::{GatewayUrl, InstanceUrl};
use crate::domain::fault::Scope;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;

/// Accounts that may draw on the same credits: those of one root namespace of an instance and, where GitLab names no
/// namespace, all of the instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CreditGroup(Arc<str>);

impl CreditGroup {
    /// Returns the group of the accounts of `instance` whose root namespace is `root`.
    pub(crate) fn of(instance: &InstanceUrl, root: Option<&str>) -> Self {
        Self(format!("{instance}#{}", root.unwrap_or_default()).into())
    }
}

impl fmt::Display for CreditGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that several accounts depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Site {
    /// This machine.
    Host,
    /// A gateway.
    Gateway(GatewayUrl),
    /// A model's provider behind a gateway.
    Provider(GatewayUrl, ModelName),
    /// A root namespace that pays.
    Namespace(CreditGroup),
    /// A GitLab; only calls to it are held back, never requests to models.
    Instance(InstanceUrl),
}

impl Site {
    /// Returns how far a fault there reaches.
    pub(crate) const fn scope(&self) -> Scope {
        match self {
            Self::Host => Scope::Host,
            Self::Gateway(_) => Scope::Gateway,
            Self::Provider(..) => Scope::Provider,
            Self::Namespace(_) => Scope::Namespace,
            Self::Instance(_) => Scope::Instance,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("this machine"),
            Self::Gateway(gateway) => gateway.fmt(f),
            Self::Provider(gateway, model) => write!(f, "{model} at {gateway}"),
            Self::Namespace(group) => group.fmt(f),
            Self::Instance(instance) => instance.fmt(f),
        }
    }
}

/// Serial number of something that happened. What was decided before says nothing about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(pub(super) u64);

/// Numbers what happens, on whichever thread. A number and not a time: clocks are set, and stand still for a moment.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn next(&self) -> Epoch {
        Epoch(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn last(&self) -> Epoch {
        Epoch(self.0.load(Ordering::Relaxed))
    }
}

/// A block, running or ended, and the place of the one that tries it out after its end.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    scope: Scope,
    block: Block,
    trial: Arc<Trial>,
}

impl Opened {
    pub(super) fn new(scope: Scope, block: Block, trial: Arc<Trial>) -> Self {
        Self { scope, block, trial }
    }
}

/// Whether a request may go a way that it shares with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage<'a> {
    /// Nothing is known against it.
    Free,
    /// A block has ended, and one request is to try; `taken` if one does.
    Unproven {
        /// Whether somebody tries now.
        taken: bool,
    },
    /// It is blocked.
    Blocked {
        /// How far the block reaches that ends last.
        scope: Scope,
        /// The block that ends last.
        block: &'a Block,
        /// Whether that is an opinion that a request already on its way may test: what failed for others may have been
        /// chance. That a namespace is shut out is none.
        by_opinion: bool,
    },
}

/// The health that accounts share, as of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    /// The same one in every state.
    pub(super) counter: Arc<Counter>,
    /// The last number of what this state shows.
    pub(super) shows: Epoch,
    pub(super) host: Option<Opened>,
    pub(super) gateways: BTreeMap<GatewayUrl, Opened>,
    pub(super) providers: BTreeMap<GatewayUrl, BTreeMap<ModelName, Opened>>,
    pub(super) namespaces: BTreeMap<CreditGroup, Opened>,
    pub(super) pauses: BTreeMap<InstanceUrl, Block>,
    /// Where there were faults that are no evidence yet.
    pub(super) suspects: BTreeSet<Site>,
    /// Groups of which somebody ran out of credits.
    pub(super) hinted: BTreeSet<CreditGroup>,
    /// Whether anything at all stands in a request's way.
    pub(super) has_blocks: bool,
}

impl Shared {
    /// Returns whether nothing stands in any request's way, which is nearly always.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_blocks
    }

    /// Returns the number of the last thing that happened until now, whether or not this state shows it.
    pub(crate) fn epoch(&self) -> Epoch {
        self.counter.last()
    }

    /// Returns a number for what happens now.
    pub(crate) fn next_epoch(&self) -> Epoch {
        self.counter.next()
    }

    /// Returns whether a request for `model` may go through `gateway` on an account of `group` at `now`.
    pub(crate) fn passage(
        &self,
        gateway: &GatewayUrl,
        model: &ModelName,
        group: &CreditGroup,
        now: Timestamp,
    ) -> Passage<'_> {
        let (mut last, mut by_opinion) = (None::<(Scope, &Block)>, true);
        let (mut unproven, mut taken) = (false, false);
        for opened in self.on_the_way(gateway, model, group) {
            if opened.block.holds(now) {
                by_opinion &= opened.scope != Scope::Namespace;
                let this = (opened.scope, &opened.block);
                last = last.filter(|(_, last)| last.until >= opened.block.until).or(Some(this));
            } else {
                unproven = true;
                taken |= opened.trial.is_out(now);
            }
        }
        match (last, unproven) {
            (Some((scope, block)), _) => Passage::Blocked { scope, block, by_opinion },
            (None, true) => Passage::Unproven { taken },
            (None, false) => Passage::Free,
        }
    }

    /// Takes the place of the one that tries, wherever this way is unproven; `None` if somebody else has one of them.
    pub(crate) fn try_out(
        &self,
        gateway: &GatewayUrl,
        model: &ModelName,
        group: &CreditGroup,
        bell: &Arc<Bell>,
        now: Timestamp,
    ) -> Option<Vec<Trying>> {
        let unproven = self.on_the_way(gateway, model, group).filter(|opened| !opened.block.holds(now));
        unproven.map(|opened| opened.trial.begin(bell, now)).collect()
    }

    /// Returns whether a success on this way would be news, or may be: something has happened that is not shown yet.
    pub(crate) fn in_doubt(&self, gateway: &GatewayUrl, model: &ModelName, group: &CreditGroup) -> bool {
        if self.shows < self.counter.last() {
            return true;
        }
        let quiet = !self.has_blocks && self.suspects.is_empty() && self.hinted.is_empty();
        if quiet {
            return false;
        }
        let is_suspect = |site: &Site| match site {
            Site::Host => true,
            Site::Gateway(of) => of == gateway,
            Site::Provider(of, name) => of == gateway && name == model,
            Site::Namespace(of) => of == group,
            Site::Instance(_) => false,
        };
        self.hinted.contains(group)
            || self.on_the_way(gateway, model, group).next().is_some()
            || self.suspects.iter().any(is_suspect)
    }

    /// Returns everything that is blocked at `now`.
    pub(crate) fn blocked(&self, now: Timestamp) -> Vec<(Site, Block)> {
        self.all().filter(|(_, block)| block.holds(now)).map(|(site, block)| (site, block.clone())).collect()
    }

    /// Returns what is blocked at `now` of what an account depends on; a gateway with all providers behind it.
    pub(crate) fn against(
        &self,
        gateway: Option<&GatewayUrl>,
        group: &CreditGroup,
        instance: &InstanceUrl,
        now: Timestamp,
    ) -> Vec<(Site, Block)> {
        let mut blocked = self.blocked(now);
        blocked.retain(|(site, _)| match site {
            Site::Host => true,
            Site::Gateway(of) | Site::Provider(of, _) => Some(of) == gateway,
            Site::Namespace(of) => of == group,
            Site::Instance(of) => of == instance,
        });
        blocked
    }

    fn all(&self) -> impl Iterator<Item = (Site, &Block)> {
        let host = self.host.iter().map(|opened| (Site::Host, &opened.block));
        let gateways = self.gateways.iter().map(|(of, opened)| (Site::Gateway(of.clone()), &opened.block));
        let providers = self.providers.iter().flat_map(|(of, models)| {
            models.iter().map(move |(model, opened)| (Site::Provider(of.clone(), model.clone()), &opened.block))
        });
        let namespaces = self.namespaces.iter().map(|(of, opened)| (Site::Namespace(of.clone()), &opened.block));
        let pauses = self.pauses.iter().map(|(of, block)| (Site::Instance(of.clone()), block));
        host.chain(gateways).chain(providers).chain(namespaces).chain(pauses)
    }

    fn on_the_way(
        &self,
        gateway: &GatewayUrl,
        model: &ModelName,
        group: &CreditGroup,
    ) -> impl Iterator<Item = &Opened> {
        let gateways = if self.gateways.is_empty() { None } else { self.gateways.get(gateway) };
        let providers = if self.providers.is_empty() { None } else { self.providers.get(gateway) };
        let namespaces = if self.namespaces.is_empty() { None } else { self.namespaces.get(group) };
        let provider = providers.and_then(|models| models.get(model));
        [self.host.as_ref(), gateways, provider, namespaces].into_iter().flatten()
    }
}
