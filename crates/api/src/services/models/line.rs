//! Who may use which loaded model, and who waits for one that is not loaded: names and counts alone, no model is touched.
//! `models` asks it under its lock, does what [`Line::step`] says, and tells how it went.
//!
//! The rule: at most `models_max` models are loaded. Whoever needs another one stands in one line, first come, first
//! served. The model that must go for the head of the line is the one that was used least recently; from then on it
//! takes nobody new: who asks for it stands behind. It goes when the last request on it has ended. A model that has
//! come takes everybody in the line who wants it at once, so there is at most one switch per model and round.
//! Invariant: a model with requests under way never goes.

use std::collections::VecDeque;

/// What somebody wants of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// A request on it.
    Use,
    /// That it be loaded.
    Load,
    /// That it be loaded anew, even if it is loaded.
    Reload,
    /// That it be gone.
    Unload,
}

/// A place in the line.
pub(super) type Ticket = u64;

/// What is to be done now, outside the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Models that go first.
    pub(super) unload: Vec<String>,
    /// The model that comes, and whose wish that is.
    pub(super) load: Option<(String, Ticket)>,
}

struct Resident {
    name: String,
    under_way: usize,
    used: u64,
}

struct Waiter {
    ticket: Ticket,
    name: String,
    wish: Wish,
}

/// The loaded models and the line before them.
pub(super) struct Line {
    models_max: usize,
    residents: Vec<Resident>,
    waiting: VecDeque<Waiter>,
    granted: Vec<Ticket>,
    is_busy: bool,
    clock: u64,
}

impl Line {
    /// Nobody yet.
    pub(super) fn new(models_max: usize) -> Self {
        let (residents, waiting, granted) = Default::default();
        Self { models_max: models_max.max(1), residents, waiting, granted, is_busy: false, clock: 0 }
    }

    /// Takes note of what is loaded, whoever did that.
    pub(super) fn see(&mut self, loaded: &[String]) {
        if self.is_busy {
            return;
        }
        self.residents.retain(|resident| resident.under_way > 0 || loaded.contains(&resident.name));
        for name in loaded {
            if self.resident(name).is_none() {
                self.arrive(name.clone());
            }
        }
    }

    /// Whether `name` is loaded and need not go.
    pub(super) fn stays(&self, name: &str) -> bool {
        self.resident(name).is_some() && !self.leaving().contains(&name)
    }

    /// The model that gathers whoever has no wish of its own: `preferred` if it stays, else the one that is coming, else the
    /// one that was used last. None if nothing is loaded or coming.
    pub(super) fn gathering<'a>(&'a self, preferred: &'a str) -> Option<&'a str> {
        if self.stays(preferred) {
            return Some(preferred);
        }
        let comes = |waiter: &&Waiter| waiter.wish != Wish::Unload;
        let coming = self.waiting.iter().find(comes).map(|waiter| waiter.name.as_str());
        let last = self.residents.iter().max_by_key(|resident| resident.used).map(|resident| resident.name.as_str());
        coming.or(last)
    }

    /// Asks for a model: none if it is granted at once, else a place in the line.
    pub(super) fn ask(&mut self, name: &str, wish: Wish) -> Option<Ticket> {
        let at_once = match wish {
            Wish::Use => self.stays(name),
            Wish::Load => self.stays(name),
            Wish::Reload => false,
            Wish::Unload => !self.is_busy && self.resident(name).is_none(),
        };
        self.clock += 1;
        if at_once {
            if wish == Wish::Use {
                self.enter(name);
            }
            return None;
        }
        let ticket = self.clock;
        self.waiting.push_back(Waiter { ticket, name: name.to_owned(), wish });
        Some(ticket)
    }

    /// Somebody in the line has gone away.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.waiting.retain(|waiter| waiter.ticket != ticket);
    }

    /// A request on `name` has ended.
    pub(super) fn release(&mut self, name: &str) {
        if let Some(resident) = self.resident_mut(name) {
            resident.under_way = resident.under_way.saturating_sub(1);
        }
    }

    /// What is to be done, if anything can be.
    pub(super) fn step(&mut self) -> Option<Step> {
        while !self.is_busy {
            let head = self.waiting.front()?;
            let (name, wish, ticket) = (head.name.clone(), head.wish, head.ticket);
            let is_there = self.resident(&name).is_some();
            let is_done = match wish {
                Wish::Use | Wish::Load => is_there,
                Wish::Reload => false,
                Wish::Unload => !is_there,
            };
            if is_done {
                self.waiting.pop_front();
                self.grant(&name, wish, ticket);
                continue;
            }
            let leaving: Vec<String> = self.leaving().into_iter().map(str::to_owned).collect();
            let in_use = |name: &String| self.resident(name).is_some_and(|resident| resident.under_way > 0);
            if leaving.iter().any(in_use) {
                return None;
            }
            self.residents.retain(|resident| !leaving.contains(&resident.name));
            self.is_busy = true;
            let load = (wish != Wish::Unload).then_some((name, ticket));
            return Some(Step { unload: leaving, load });
        }
        None
    }

    /// A step has been done. Gives the tickets of those who wait in vain for what could not be loaded.
    pub(super) fn finish(&mut self, step: &Step, has_loaded: bool) -> Vec<Ticket> {
        self.is_busy = false;
        let Some((name, of)) = &step.load else { return Vec::new() };
        if has_loaded {
            self.arrive(name.clone());
        }
        let (served, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiter| {
                let wants_it = matches!(waiter.wish, Wish::Use | Wish::Load) || waiter.ticket == *of;
                waiter.name == *name && wants_it
            });
        self.waiting = waiting;
        if !has_loaded {
            return served.into_iter().map(|waiter| waiter.ticket).collect();
        }
        served.into_iter().for_each(|waiter| self.grant(name, waiter.wish, waiter.ticket));
        Vec::new()
    }

    /// Those whose turn has come since the last call.
    pub(super) fn granted(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.granted)
    }

    fn grant(&mut self, name: &str, wish: Wish, ticket: Ticket) {
        if wish == Wish::Use {
            self.enter(name);
        }
        self.granted.push(ticket);
    }

    fn enter(&mut self, name: &str) {
        self.clock += 1;
        let used = self.clock;
        if let Some(resident) = self.resident_mut(name) {
            resident.under_way += 1;
            resident.used = used;
        }
    }

    fn arrive(&mut self, name: String) {
        self.clock += 1;
        self.residents.push(Resident { name, under_way: 0, used: self.clock });
    }

    /// The models that must go for the head of the line: its own where it is to be loaded anew or to go, else those that
    /// were used least recently, idle ones first.
    fn leaving(&self) -> Vec<&str> {
        let Some(head) = self.waiting.front().filter(|_| !self.is_busy) else { return Vec::new() };
        let own = self.resident(&head.name);
        if let Some(own) = own.filter(|_| matches!(head.wish, Wish::Reload | Wish::Unload)) {
            return vec![&own.name];
        }
        if own.is_some() || head.wish == Wish::Unload {
            return Vec::new();
        }
        let mut by_use: Vec<&Resident> = self.residents.iter().collect();
        by_use.sort_by_key(|resident| (resident.under_way > 0, resident.used));
        let count = (self.residents.len() + 1).saturating_sub(self.models_max);
        by_use.into_iter().take(count).map(|resident| resident.name.as_str()).collect()
    }

    fn resident(&self, name: &str) -> Option<&Resident> {
        self.residents.iter().find(|resident| resident.name == name)
    }

    fn resident_mut(&mut self, name: &str) -> Option<&mut Resident> {
        self.residents.iter_mut().find(|resident| resident.name == name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(models_max: usize, loaded: &[&str]) -> Line {
        let mut line = Line::new(models_max);
        line.see(&loaded.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        line
    }

    fn step(unload: &[&str], load: &str, ticket: Ticket) -> Option<Step> {
        let unload = unload.iter().map(|name| name.to_string()).collect();
        Some(Step { unload, load: Some((load.to_owned(), ticket)) })
    }

    #[test]
    fn what_is_loaded_is_granted_at_once() {
        let mut line = line(1, &["a"]);
        assert_eq!((line.ask("a", Wish::Use), line.ask("a", Wish::Load)), (None, None));
        assert_eq!(line.step(), None);
    }

    #[test]
    fn a_model_goes_only_when_its_last_request_has_ended() {
        let mut line = line(1, &["a"]);
        line.ask("a", Wish::Use);
        line.ask("a", Wish::Use);
        let b = line.ask("b", Wish::Use).unwrap();
        assert_eq!(line.step(), None);
        line.release("a");
        assert_eq!(line.step(), None);
        line.release("a");
        let switch = line.step();
        assert_eq!(switch, step(&["a"], "b", b));
        assert_eq!(line.step(), None, "one at a time");
        assert!(line.finish(&switch.unwrap(), true).is_empty());
        assert_eq!(line.granted(), [b]);
    }

    #[test]
    fn whoever_comes_while_a_switch_waits_stands_behind_it_and_rounds_are_served_together() {
        let mut line = line(1, &["a"]);
        line.ask("a", Wish::Use);
        let b = line.ask("b", Wish::Use).unwrap();
        let again = line.ask("a", Wish::Use).unwrap();
        let later = line.ask("b", Wish::Use).unwrap();
        line.release("a");
        let switch = line.step().unwrap();
        line.finish(&switch, true);
        assert_eq!(line.granted(), [b, later]);
        // The next for b stands behind the one who waits for a.
        let last = line.ask("b", Wish::Use).unwrap();
        line.release("b");
        assert_eq!(line.step(), None);
        line.release("b");
        let back = line.step().unwrap();
        assert_eq!(Some(back.clone()), step(&["b"], "a", again));
        line.finish(&back, true);
        assert_eq!(line.granted(), [again]);
        line.release("a");
        assert_eq!(line.step(), step(&["a"], "b", last));
    }

    #[test]
    fn the_least_recently_used_goes_and_idle_ones_before_busy_ones() {
        let mut line = line(2, &["a", "b"]);
        line.ask("a", Wish::Use);
        line.release("a");
        let c = line.ask("c", Wish::Use).unwrap();
        // b was used longer ago, so a still takes requests meanwhile.
        assert!(line.stays("a") && !line.stays("b"));
        assert_eq!(line.ask("a", Wish::Use), None);
        let switch = line.step().unwrap();
        assert_eq!(Some(switch.clone()), step(&["b"], "c", c));
        line.finish(&switch, true);
        // Now a is the older one, but busy.
        line.release("c");
        let d = line.ask("d", Wish::Use).unwrap();
        assert_eq!(line.step(), step(&["c"], "d", d));
    }

    #[test]
    fn a_failed_load_is_told_to_all_who_wait_for_it_and_the_line_goes_on() {
        let mut line = line(1, &["a"]);
        let b = line.ask("b", Wish::Use).unwrap();
        let a = line.ask("a", Wish::Use).unwrap();
        let other = line.ask("b", Wish::Load).unwrap();
        let switch = line.step().unwrap();
        assert_eq!(line.finish(&switch, false), [b, other]);
        assert_eq!(line.step(), step(&[], "a", a));
    }

    #[test]
    fn who_goes_away_is_not_loaded_for() {
        let mut line = line(1, &["a"]);
        line.ask("a", Wish::Use);
        let b = line.ask("b", Wish::Use).unwrap();
        let a = line.ask("a", Wish::Use).unwrap();
        line.leave(b);
        assert_eq!(line.step(), None);
        assert_eq!(line.granted(), [a]);
    }

    #[test]
    fn unloading_and_loading_anew_wait_for_their_turn() {
        let mut line = line(1, &["a"]);
        line.ask("a", Wish::Use);
        let reload = line.ask("a", Wish::Reload).unwrap();
        let unload = line.ask("a", Wish::Unload).unwrap();
        assert_eq!(line.step(), None);
        line.release("a");
        let first = line.step().unwrap();
        assert_eq!(Some(first.clone()), step(&["a"], "a", reload));
        line.finish(&first, true);
        assert_eq!(line.granted(), [reload]);
        let second = line.step().unwrap();
        assert_eq!(second, Step { unload: vec!["a".into()], load: None });
        line.finish(&second, true);
        assert_eq!(line.step(), None);
        assert_eq!(line.granted(), [unload]);
        assert_eq!(line.ask("a", Wish::Unload), None);
    }

    #[test]
    fn who_has_no_wish_goes_where_the_others_go() {
        let mut line = line(1, &[]);
        assert_eq!(line.gathering("a"), None);
        line.see(&["a".into(), "b".into()]);
        assert_eq!((line.gathering("a"), line.gathering("c")), (Some("a"), Some("b")));
        line.ask("a", Wish::Use);
        line.ask("c", Wish::Use);
        assert_eq!(line.gathering("a"), Some("c"));
    }

    #[test]
    fn what_others_loaded_or_unloaded_is_seen() {
        let mut line = line(1, &["a"]);
        line.see(&["b".into()]);
        assert!(line.stays("b") && !line.stays("a"));
    }
}
