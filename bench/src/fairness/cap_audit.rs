//! Whether more jobs ran at a time than the caps allow.

use mgx_scheduler::{Caps, Kind};

use super::workload::SimulatedJob;

/// Samples of what ran at a time, and how many of them exceeded a cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CapAudit {
    pub(super) samples: u64,
    pub(super) violations: u64,
    pub(super) peak: Peak,
}

/// The most that ran at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peak {
    pub(super) running: usize,
    pub(super) of_one_user: usize,
    pub(super) dev: usize,
    pub(super) build: usize,
    pub(super) memory_bytes: u64,
}

impl CapAudit {
    /// Adds a sample of what runs at a time.
    pub(super) fn add_sample<'a>(&mut self, running: impl Iterator<Item = &'a SimulatedJob>, caps: &Caps) {
        let running: Vec<_> = running.collect();
        let of_user = |job: &&SimulatedJob| running.iter().filter(|other| other.user == job.user).count();
        let of_kind = |kind| running.iter().filter(|job| job.kind == kind).count();
        let peak = Peak {
            running: running.len(),
            of_one_user: running.iter().map(of_user).max().unwrap_or(0),
            dev: of_kind(Kind::Dev),
            build: of_kind(Kind::Build),
            memory_bytes: running.iter().map(|job| job.memory_bytes).sum(),
        };
        let cap_of = |kind| caps.per_kind.get(&kind).copied().unwrap_or(usize::MAX);
        let within = peak.running <= caps.running
            && peak.of_one_user <= caps.per_user
            && peak.dev <= cap_of(Kind::Dev)
            && peak.build <= cap_of(Kind::Build)
            && peak.memory_bytes <= caps.host.memory_bytes;
        self.add(&Self { samples: 1, violations: u64::from(!within), peak });
    }

    /// Adds the samples of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.violations += other.violations;
        let (mine, theirs) = (self.peak, other.peak);
        self.peak = Peak {
            running: mine.running.max(theirs.running),
            of_one_user: mine.of_one_user.max(theirs.of_one_user),
            dev: mine.dev.max(theirs.dev),
            build: mine.build.max(theirs.build),
            memory_bytes: mine.memory_bytes.max(theirs.memory_bytes),
        };
    }
}
