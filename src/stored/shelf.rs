//! Answers by id, their items by id, and their texts once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::conversation::Conversation;
use crate::domain::time::Timestamp;
use crate::stored::{ANSWER_BYTES_MAX, Answer, BYTES_MAX, KEPT_FOR, Recalled, TooLong, Wish};

/// What the bookkeeping of an answer takes, in bytes, roughly.
const ANSWER_BYTES: usize = 512;
/// What that of an item in it takes, the entry for its text included.
const ITEM_BYTES: usize = 128;

/// Whose it is, and its id.
type Key = (usize, Arc<str>);

/// See the room's documentation.
#[derive(Default)]
pub(super) struct Shelf {
    answers: HashMap<Key, Entry>,
    /// Items, to the answer that they are in and their place in its output.
    items: HashMap<Key, (Arc<str>, usize)>,
    /// Texts with the number of times that they are in an answer.
    texts: HashMap<Arc<str>, usize>,
    /// Answers in the order in which they were used.
    order: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

struct Entry {
    previous: Option<Arc<str>>,
    input: Vec<Arc<str>>,
    output: Vec<(Arc<str>, Arc<str>)>,
    conversation: Option<Conversation>,
    /// Bytes of the bookkeeping.
    own_bytes: usize,
    used_at: Timestamp,
    /// Place in the order.
    use_number: u64,
}

impl Entry {
    fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.input.iter().chain(self.output.iter().map(|(_, text)| text))
    }
}

impl Shelf {
    /// Returns the number of answers, and the bytes that they take.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.answers.len(), self.bytes)
    }

    pub(super) fn keep(&mut self, client: usize, answer: Answer, now: Timestamp) {
        self.expire(now);
        let Answer { id, previous, input, output, conversation } = answer;
        let ids: usize = output.iter().map(|item| 2 * item.id.len()).sum();
        let own_bytes = ANSWER_BYTES + ITEM_BYTES * (input.len() + output.len()) + 4 * id.len() + ids;
        let texts: usize = input.iter().chain(output.iter().map(|item| &item.text)).map(|text| text.len()).sum();
        if own_bytes + texts > ANSWER_BYTES_MAX {
            return;
        }
        let key = (client, Arc::from(id));
        self.forget(&key);
        let input = input.into_iter().map(|text| self.take(text)).collect();
        let mut places = Vec::with_capacity(output.len());
        for item in output {
            let (id, text) = (Arc::<str>::from(item.id), self.take(item.text));
            self.items.insert((client, Arc::clone(&id)), (Arc::clone(&key.1), places.len()));
            places.push((id, text));
        }
        self.bytes += own_bytes;
        self.uses += 1;
        self.order.insert(self.uses, key.clone());
        let (previous, use_number) = (previous.map(Arc::from), self.uses);
        let entry = Entry { previous, input, output: places, conversation, own_bytes, used_at: now, use_number };
        self.answers.insert(key, entry);
        while self.bytes > BYTES_MAX && self.forget_oldest() {}
    }

    pub(super) fn recall(
        &mut self,
        client: usize,
        wish: Wish<'_>,
        bytes_max: usize,
        now: Timestamp,
    ) -> Result<Recalled, TooLong> {
        self.expire(now);
        let mut room = bytes_max;
        let mut fit = |text: &Arc<str>| {
            room = room.checked_sub(text.len()).ok_or(TooLong)?;
            Ok(Arc::clone(text))
        };
        let mut recalled = Recalled::default();
        let chain = wish.previous.and_then(|id| self.chain(client, id));
        if let Some(chain) = &chain {
            let texts = chain.iter().filter_map(|key| self.answers.get(key)).flat_map(Entry::texts);
            recalled.previous = Some(texts.map(&mut fit).collect::<Result<_, _>>()?);
        }
        let mut used = chain.unwrap_or_default();
        for id in wish.items {
            let key = (client, Arc::from(id.as_str()));
            let Some((answer, place)) = self.items.get(&key) else { continue };
            let answer = (client, Arc::clone(answer));
            let Some((_, text)) = self.answers.get(&answer).and_then(|entry| entry.output.get(*place)) else {
                continue;
            };
            recalled.items.insert(id.clone(), fit(text)?);
            if used.last() != Some(&answer) {
                used.push(answer);
            }
        }
        for key in &used {
            self.touch(key, now);
        }
        Ok(recalled)
    }

    pub(super) fn conversation(&mut self, client: usize, id: &str, now: Timestamp) -> Option<Conversation> {
        self.expire(now);
        self.answers.get(&(client, Arc::from(id)))?.conversation
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let is_over = |entry: &Entry| now.since(entry.used_at) >= KEPT_FOR;
        while self.order.first_key_value().and_then(|(_, key)| self.answers.get(key)).is_some_and(is_over) {
            self.forget_oldest();
        }
    }

    /// Returns the answers that lead up to the one called `id`, the first one first; `None` where one is missing.
    fn chain(&self, client: usize, id: &str) -> Option<Vec<Key>> {
        let mut chain: Vec<Key> = Vec::new();
        let mut next = Some(Arc::<str>::from(id));
        while let Some(id) = next.take() {
            // Ids come from the models' providers: if one came twice, a chain might be a circle.
            if chain.len() > self.answers.len() {
                return None;
            }
            let key = (client, id);
            next.clone_from(&self.answers.get(&key)?.previous);
            chain.push(key);
        }
        chain.reverse();
        Some(chain)
    }

    fn touch(&mut self, key: &Key, now: Timestamp) {
        let Some(entry) = self.answers.get_mut(key) else { return };
        self.uses += 1;
        let before = std::mem::replace(&mut entry.use_number, self.uses);
        entry.used_at = now;
        if let Some(key) = self.order.remove(&before) {
            self.order.insert(self.uses, key);
        }
    }

    /// Returns the one copy of a text.
    fn take(&mut self, text: Arc<str>) -> Arc<str> {
        if let Some((known, _)) = self.texts.get_key_value(&*text) {
            let known = Arc::clone(known);
            *self.texts.entry(Arc::clone(&known)).or_default() += 1;
            return known;
        }
        self.bytes += text.len();
        self.texts.insert(Arc::clone(&text), 1);
        text
    }

    fn give_back(&mut self, text: &Arc<str>) {
        if let Some(uses) = self.texts.get_mut(text) {
            *uses -= 1;
            if *uses == 0 {
                self.texts.remove(text);
                self.bytes -= text.len();
            }
        }
    }

    /// Forgets the answer that was not used for the longest time; `false` if there is none.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, key)) = self.order.pop_first() else { return false };
        self.forget(&key);
        true
    }

    fn forget(&mut self, key: &Key) {
        let Some(entry) = self.answers.remove(key) else { return };
        self.order.remove(&entry.use_number);
        self.bytes -= entry.own_bytes;
        for text in entry.texts() {
            self.give_back(text);
        }
        for (id, _) in entry.output {
            let item = (key.0, id);
            if self.items.get(&item).is_some_and(|(answer, _)| *answer == key.1) {
                self.items.remove(&item);
            }
        }
    }

    /// Returns what is counted, counted anew.
    #[cfg(test)]
    pub(super) fn recount(&self) -> usize {
        let texts: usize = self.texts.keys().map(|text| text.len()).sum();
        let own: usize = self.answers.values().map(|entry| entry.own_bytes).sum();
        assert_eq!(self.order.len(), self.answers.len());
        assert!(self.items.values().all(|(answer, _)| self.answers.keys().any(|(_, id)| id == answer)));
        texts + own
    }
}
