//! Who waits for a slot on one worker: bounded, and in turn by key.
//!
//! Pure: knows neither time nor accounts. Within a key, first come, first served; between keys, one each in turn, so
//! that a key with a hundred requests does not keep one with a single request waiting for a hundred answers.

use std::collections::VecDeque;

/// Those who wait.
#[derive(Debug)]
pub(super) struct Queue<T> {
    places: usize,
    /// One line for each key, none of them empty; the key whose turn it is comes first.
    lines: VecDeque<Line<T>>,
}

#[derive(Debug)]
struct Line<T> {
    key: usize,
    waiters: VecDeque<T>,
}

/// What becomes of one who comes to the end of the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined<T> {
    /// There was room.
    Yes,
    /// There is now: the last one of the longest line had to go.
    InPlaceOf(T),
    /// There is none: nobody has more places than this key.
    No(T),
}

impl<T> Queue<T> {
    /// Makes an empty queue of so many places.
    pub(super) fn new(places: usize) -> Self {
        Self { places, lines: VecDeque::new() }
    }

    /// Returns whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.lines.iter().map(|line| line.waiters.len()).sum()
    }

    /// Lets `waiter` wait in the line of `key`.
    pub(super) fn join(&mut self, key: usize, waiter: T) -> Joined<T> {
        let mut joined = Joined::Yes;
        if self.len() >= self.places {
            let own = self.lines.iter().find(|line| line.key == key).map_or(0, |line| line.waiters.len());
            // The one that has to go must leave its line no shorter than the line that gets its place.
            let longest = self.lines.iter_mut().max_by_key(|line| line.waiters.len());
            let Some(last) =
                longest.filter(|line| line.waiters.len() > own + 1).and_then(|line| line.waiters.pop_back())
            else {
                return Joined::No(waiter);
            };
            joined = Joined::InPlaceOf(last);
        }
        match self.lines.iter_mut().find(|line| line.key == key) {
            Some(line) => line.waiters.push_back(waiter),
            None => self.lines.push_back(Line { key, waiters: VecDeque::from([waiter]) }),
        }
        joined
    }

    /// Forgets those who are not `wanted` any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.lines.iter_mut().for_each(|line| line.waiters.retain(&wanted));
        self.lines.retain(|line| !line.waiters.is_empty());
    }

    /// Offers every waiter in turn to `serve`, which gives back whom it cannot serve, until nobody more can be served.
    ///
    /// Whoever cannot be served does not hold up those behind: they may want something else.
    pub(super) fn serve(&mut self, mut serve: impl FnMut(T) -> Option<T>) {
        loop {
            let mut served = VecDeque::new();
            let mut others = VecDeque::new();
            for mut line in std::mem::take(&mut self.lines) {
                if serve_one(&mut line.waiters, &mut serve) {
                    served.push_back(line);
                } else {
                    others.push_back(line);
                }
            }
            let done = served.is_empty();
            // Who had a turn goes behind those who had none.
            others.extend(served.into_iter().filter(|line| !line.waiters.is_empty()));
            self.lines = others;
            if done {
                return;
            }
        }
    }
}

/// Serves the first of `waiters` that can be; `false` if none can.
fn serve_one<T>(waiters: &mut VecDeque<T>, serve: &mut impl FnMut(T) -> Option<T>) -> bool {
    for index in 0..waiters.len() {
        let Some(waiter) = waiters.remove(index) else { return false };
        match serve(waiter) {
            Some(waiter) => waiters.insert(index, waiter),
            None => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves `free` waiters and returns them.
    fn served(queue: &mut Queue<&'static str>, free: usize) -> Vec<&'static str> {
        let mut served = Vec::new();
        queue.serve(|waiter| {
            if served.len() == free {
                return Some(waiter);
            }
            served.push(waiter);
            None
        });
        served
    }

    fn queue(places: usize, waiters: &[(usize, &'static str)]) -> Queue<&'static str> {
        let mut queue = Queue::new(places);
        for (key, waiter) in waiters {
            assert_eq!(queue.join(*key, *waiter), Joined::Yes);
        }
        queue
    }

    #[test]
    fn keys_take_turns_and_each_keeps_its_order() {
        let waiters = [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")];
        let mut one_by_one = queue(8, &waiters);
        let each: Vec<_> = (0..7).flat_map(|_| served(&mut one_by_one, 1)).collect();
        assert_eq!(each, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(one_by_one.is_empty());
        assert_eq!(served(&mut queue(8, &waiters), 6), each);
    }

    #[test]
    fn who_cannot_be_served_holds_up_nobody_and_keeps_its_place() {
        let mut queue = queue(8, &[(1, "a1"), (1, "x"), (1, "a2"), (2, "b1")]);
        let mut order = Vec::new();
        queue.serve(|waiter| {
            if waiter != "x" {
                return Some(waiter);
            }
            order.push(waiter);
            None
        });
        assert_eq!(order, ["x"]);
        assert_eq!(served(&mut queue, 9), ["b1", "a1", "a2"]);
    }

    #[test]
    fn a_full_queue_makes_room_for_who_has_less_in_it_and_for_nobody_else() {
        let mut queue = queue(3, &[(1, "a1"), (1, "a2"), (1, "a3")]);
        assert_eq!(queue.join(1, "a4"), Joined::No("a4"));
        assert_eq!(queue.join(2, "b1"), Joined::InPlaceOf("a3"));
        assert_eq!(queue.join(2, "b2"), Joined::No("b2"));
        assert_eq!(queue.len(), 3);
        queue.retain(|waiter| *waiter != "b1");
        assert_eq!(queue.join(3, "c1"), Joined::Yes);
        assert_eq!(served(&mut queue, 9), ["a1", "c1", "a2"]);
    }

    #[test]
    fn without_places_nobody_waits() {
        assert_eq!(Queue::new(0).join(1, "a"), Joined::No("a"));
    }
}
