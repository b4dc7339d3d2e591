//! The processes of the simulated world: what becomes of a fork, and of a signal.

use super::super::super::*;
use super::super::require;
use super::World;

impl World<'_> {
    pub(super) fn fork(&mut self, id: u64, generation: u64) -> Input {
        let settings = self.generations.get(&generation).copied();
        require(
            settings.is_some(),
            "a worker is forked of a generation that is kept",
        );
        let Some(settings) = settings else {
            return Input::LoadFailed;
        };
        let now = self.law.now;
        let good = settings.good && self.sick <= now;
        let dice = &mut self.dice;
        if !self.calm && dice.percent(3) {
            let reason = "no more processes".into();
            self.tally.count("a fork that fails");
            return Input::ForkFailed { id, reason };
        }
        let pid = self.unused_pid();
        let dice = &mut self.dice;
        let process = self.law.born(id, pid);
        require(
            process.policy == settings.policy,
            "a worker is forked with the settings that it is held to",
        );
        process.boots = Some(now + dice.up_to(Duration::from_secs(1)));
        let exit = dice.pick(&[
            Exit::Code(0),
            Exit::Code(3),
            Exit::Code(4),
            Exit::Signal(Signal::SIGKILL),
            Exit::Signal(Signal::SIGSEGV),
            Exit::Unknown,
        ]);
        if !good {
            self.tally.count("a boot that fails");
            process.boots = None;
            process.dies = Some((now + dice.up_to(Duration::from_millis(20)), exit));
        } else if !self.calm {
            match dice.roll() % 12 {
                0 => {
                    self.tally.count("an early death");
                    process.dies = Some((now + dice.up_to(Duration::from_secs(2)), exit));
                }
                1 => {
                    self.tally.count("a slow boot");
                    process.boots = Some(now + dice.up_to(Duration::from_secs(300)));
                }
                2..5 => {
                    self.tally.count("a hang");
                    process.hangs = Some(now + dice.up_to(Duration::from_secs(2)));
                }
                5..7 => {
                    self.tally.count("a death");
                    process.dies = Some((now + dice.up_to(Duration::from_secs(60)), exit));
                }
                _ => {}
            }
            process.unkillable = dice.percent(1);
        }
        Input::Forked { id, pid }
    }

    /// Process ids come again.
    pub(super) fn unused_pid(&mut self) -> i32 {
        loop {
            self.last_pid = self.last_pid % 20 + 1;
            let pid = self.last_pid;
            let mut workers = self.law.processes.iter();
            if self.upgrade.pid() != Some(pid) && workers.all(|other| other.pid != pid) {
                return pid;
            }
        }
    }

    /// What a process does when it is sent a signal.
    pub(super) fn signal(&mut self, pid: i32, order: WorkerSignal) {
        let now = self.law.now;
        let (dice, tally) = (&mut self.dice, &mut *self.tally);
        let mut processes = self.law.processes.iter_mut();
        let Some(process) = processes.find(|process| process.pid == pid && !process.gone) else {
            return;
        };
        let obeys = self.calm || dice.percent(80);
        let (within, exit) = match order {
            WorkerSignal::Stacks if dice.percent(33) => {
                tally.count("a worker that comes back");
                process.hangs = None;
                process.beats = process.beats.map(|_| now + dice.up_to(EXAMINE_GRACE));
                process.boots = process.boots.map(|_| now + dice.up_to(EXAMINE_GRACE));
                return;
            }
            WorkerSignal::Stacks
            | WorkerSignal::Reopen
            | WorkerSignal::ParentDeath
            | WorkerSignal::ExitDeadline
            | WorkerSignal::Repeat
            | WorkerSignal::Uncork => {
                return;
            }
            WorkerSignal::Expire => {
                process.call = process.call.filter(|_| dice.percent(50));
                return;
            }
            WorkerSignal::Abort => (Duration::from_millis(50), Exit::Signal(Signal::SIGABRT)),
            WorkerSignal::Kill => (Duration::from_millis(50), Exit::Signal(Signal::SIGKILL)),
            WorkerSignal::Leave | WorkerSignal::Quit => {
                let grace = process.policy.graceful_timeout + Duration::from_secs(1);
                (grace, Exit::Code(0))
            }
        };
        let obeys = if order == WorkerSignal::Kill {
            !process.unkillable
        } else {
            obeys
        };
        let dies = now + dice.up_to(within);
        if !obeys {
            tally.count("a signal that is ignored");
        } else if process.dies.is_none_or(|(before, _)| before > dies) {
            process.dies = Some((dies, exit));
        }
    }
}
