//! The arbiters before and after the one that is tried: when they serve, when they go, and whether they obey.
//!
//! Nothing is judged here: what may come of them is in [`law`](super::super::law).

use super::super::super::*;
use super::super::{Dice, Tally, require};
use super::World;

/// The arbiters that there are beside this one.
pub(super) struct OtherArbiters {
    /// When the one that has started this one goes, if it is there.
    predecessor: Option<MonoTime>,
    successor: Option<Successor>,
}

/// The arbiter that follows.
struct Successor {
    pid: i32,
    /// When it will say that it serves.
    boots: Option<MonoTime>,
    dies: Option<(MonoTime, Exit)>,
    /// Whether it will say why it dies.
    speaks: bool,
}

impl OtherArbiters {
    /// What there is when an arbiter starts.
    pub(super) fn new(now: MonoTime, dice: &mut Dice, tally: &mut Tally) -> Self {
        let predecessor = dice.percent(30).then(|| {
            if dice.percent(50) {
                tally.count("a predecessor that stays");
                now + Duration::from_secs(86_400)
            } else {
                now + dice.up_to(Duration::from_secs(5))
            }
        });
        Self {
            predecessor,
            successor: None,
        }
    }

    pub(super) fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// A process id that no worker can have.
    pub(super) fn pid(&self) -> Option<i32> {
        self.successor.as_ref().map(|successor| successor.pid)
    }

    /// When something happens.
    pub(super) fn events(&self) -> impl Iterator<Item = MonoTime> {
        let successor = self.successor.iter();
        let successor =
            successor.flat_map(|successor| [successor.boots, successor.dies.map(|(at, _)| at)]);
        successor.chain([self.predecessor]).flatten()
    }

    /// What the shell sees of them. An exit hides a readiness that came with it.
    pub(super) fn what_has_happened(&mut self, now: MonoTime, inputs: &mut Vec<Input>) {
        let has_come = |at: Option<MonoTime>| at.is_some_and(|at| at <= now);
        let dies = |successor: &Successor| successor.dies.map(|(at, _)| at);
        if let Some(successor) = self
            .successor
            .take_if(|successor| has_come(dies(successor)))
        {
            let words = successor.speaks.then(|| LastWords {
                app: true,
                sentence: format!("{} has no application", successor.pid),
            });
            let exit = successor.dies.map_or(Exit::Unknown, |(_, exit)| exit);
            inputs.push(Input::SuccessorGone { exit, words });
        }
        if let Some(successor) = self
            .successor
            .as_mut()
            .filter(|successor| has_come(successor.boots))
        {
            successor.boots = None;
            inputs.push(Input::SuccessorReady);
        }
        if self.predecessor.take_if(|goes| *goes <= now).is_some() {
            inputs.push(Input::PredecessorGone);
        }
    }

    /// The machine is out of something: the new arbiter may be what it takes.
    pub(super) fn sicken(&mut self, now: MonoTime, dice: &mut Dice) {
        if let Some(successor) = self.successor.as_mut().filter(|_| dice.percent(15)) {
            successor.dies = Some((now, Exit::Signal(Signal::SIGKILL)));
        }
    }

    /// The machine stood still, and the new arbiter with it.
    pub(super) fn stand_still(&mut self, pause: Duration) {
        if let Some(successor) = &mut self.successor {
            successor.boots = successor.boots.map(|at| at + pause);
            successor.dies = successor.dies.map(|(at, exit)| (at + pause, exit));
        }
    }

    /// The other arbiters that were there go.
    pub(super) fn recover(&mut self, now: MonoTime) {
        self.predecessor = self.predecessor.map(|_| now);
        if let Some(successor) = &mut self.successor {
            successor.dies = Some((now, Exit::Signal(Signal::SIGKILL)));
        }
    }
}

impl World<'_> {
    /// The program is started anew, and comes as far as it comes.
    pub(super) fn reexec(&mut self) -> Input {
        require(
            self.upgrade.successor.is_none(),
            "there are two arbiters at most",
        );
        let pid = self.unused_pid();
        let now = self.law.now;
        let (dice, tally) = (&mut self.dice, &mut *self.tally);
        if !self.calm && dice.percent(15) {
            tally.count("a program that cannot be executed");
            let reason = "no such file".into();
            return Input::ReexecFailed { reason };
        }
        let boots = now + dice.up_to(Duration::from_secs(1));
        let mut successor = Successor {
            pid,
            boots: Some(boots),
            dies: None,
            speaks: dice.percent(50),
        };
        if !self.calm {
            let exit = dice.pick(&[Exit::Code(3), Exit::Signal(Signal::SIGKILL), Exit::Unknown]);
            match dice.roll() % 13 {
                0..6 => {
                    tally.count("a successor that is never ready");
                    successor.boots = None;
                    successor.dies = Some((now + dice.up_to(Duration::from_secs(60)), exit));
                }
                6..8 => {
                    tally.count("a slow successor");
                    successor.boots = Some(now + dice.up_to(Duration::from_secs(10)));
                }
                8..10 => {
                    tally.count("a successor that fails");
                    successor.dies = Some((now + dice.up_to(Duration::from_secs(1)), exit));
                }
                10..12 => {
                    tally.count("a successor that dies");
                    successor.dies = Some((boots + dice.up_to(Duration::from_secs(5)), exit));
                }
                _ => {}
            }
        }
        self.upgrade.successor = Some(successor);
        Input::Reexecuted { pid }
    }

    /// The new arbiter is told to go.
    pub(super) fn stop_successor(&mut self, order: WorkerSignal) {
        let now = self.law.now;
        let (dice, tally) = (&mut self.dice, &mut *self.tally);
        let Some(successor) = &mut self.upgrade.successor else {
            return;
        };
        let within = match order {
            WorkerSignal::Kill if !self.calm && dice.percent(90) => {
                tally.count("a successor that cannot be killed soon");
                Duration::from_secs(20)
            }
            WorkerSignal::Kill => Duration::from_millis(50),
            _ if self.calm || dice.percent(10) => LAST_GRACE * 2,
            _ => {
                tally.count("a successor that ignores its dismissal");
                if dice.percent(60) {
                    tally.count("a successor that is ready too late");
                    successor.boots = Some(now + dice.up_to(LAST_GRACE * 2));
                }
                return;
            }
        };
        let dies = now + dice.up_to(within);
        if successor.dies.is_none_or(|(before, _)| before > dies) {
            successor.dies = Some((dies, Exit::Code(0)));
        }
    }
}
