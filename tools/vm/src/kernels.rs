// SPDX-License-Identifier: GPL-2.0
//! In what the kernels differ that the tests run on.

use anyhow::{Result, ensure};

use crate::session::Places;

/// What a kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86, which the host is.
    X86,
    /// 64-bit ARM, which is emulated.
    Arm64,
}

impl Architecture {
    /// What boots, below the kernel's build directory.
    pub fn image(self) -> &'static str {
        match self {
            Self::X86 => "arch/x86/boot/bzImage",
            Self::Arm64 => "arch/arm64/boot/Image",
        }
    }

    /// What virtme-ng is told, if it is not the host's.
    pub fn foreign(self) -> Option<&'static str> {
        match self {
            Self::X86 => None,
            Self::Arm64 => Some("arm64"),
        }
    }
}

/// What the kernel has to have for the tests to mean something.
const NEEDS: &[&str] = &[
    "KUNIT",
    "KUNIT_DEBUGFS",
    "VIRTIO_FS",
    "DEBUG_FS",
    "CGROUPS",
    "PROVE_LOCKING",
    "KASAN",
];

/// The same of one of Debian's own kernels, which is no debug kernel: that the VM boots with it,
/// and what the tests themselves look at.
const NEEDS_OF_STOCK: &[&str] = &["VIRTIO_FS", "OVERLAY_FS", "DEBUG_FS", "CGROUPS", "RUST"];

/// What a module lacks that was built for such a kernel: it is one as a user has it.
const LAB: &str = "lab";

/// What a kernel lacks that has all of these options: each spinlock is a mutex there, and each mutex
/// takes its slow path.
const FAST_LOCKS: &str = "fast-locks";
const SLOW_LOCKS: &[&str] = &["PREEMPT_RT", "DEBUG_RT_MUTEXES"];

/// What a kernel may lack that some tests use, by the name that the selftests have for it
/// (`harness/lacks.rs`): the option by which a kernel has it, and which kernels need not
/// have it. Any other that has not is refused.
const FEATURES: &[Feature] = &[
    Feature {
        name: "thp",
        option: "TRANSPARENT_HUGEPAGE",
        excluded: Excluded::By("PREEMPT_RT"),
    },
    Feature {
        name: "fault-injection",
        option: "FAULT_INJECTION",
        excluded: Excluded::FromStock,
    },
    Feature {
        name: "sssw",
        option: "RV_MON_SSSW",
        excluded: Excluded::FromStock,
    },
];

struct Feature {
    name: &'static str,
    option: &'static str,
    excluded: Excluded,
}

/// Which kernels need not have a feature.
enum Excluded {
    /// Those with this option.
    By(&'static str),
    /// Debian's own.
    FromStock,
}

/// What the kernel runs on.
pub fn architecture(places: &Places) -> Result<Architecture> {
    Ok(if places.built_in()?.contains("ARM64") {
        Architecture::Arm64
    } else {
        Architecture::X86
    })
}

/// What this kernel is told, beside what all of them are.
///
/// One of the kernel's own tests of locks in Rust, which run while it boots, wants interrupts to be
/// off under such a lock. With PREEMPT_RT they are not, and the test warns. So the kernel's own
/// tests do not run there. Those of the module do: the guest sets the filter anew before it loads it.
///
/// Debian's kernels clear each page that is allocated. For one to which compaction moves another,
/// this is in vain, and where a processor is emulated it may take a millisecond: minutes for all.
pub fn command_line(places: &Places) -> Result<Vec<String>> {
    let built_in = places.built_in()?;
    let told = [
        ("PREEMPT_RT", "kunit.filter_glob=none"),
        ("INIT_ON_ALLOC_DEFAULT_ON", "init_on_alloc=0"),
    ];
    let told = told.iter().filter(|(option, _)| built_in.contains(*option));
    Ok(told.map(|(_, word)| (*word).to_owned()).collect())
}

/// Refuses a kernel in which the tests could not run or would see nothing.
pub fn good_for_tests(places: &Places) -> Result<()> {
    let (built, needs) = match places.stock {
        Some(_) => (places.built()?, NEEDS_OF_STOCK),
        None => (places.built_in()?, NEEDS),
    };
    let could_have = FEATURES
        .iter()
        .filter(|feature| match feature.excluded {
            Excluded::By(option) => !built.contains(option),
            Excluded::FromStock => places.stock.is_none(),
        })
        .map(|feature| feature.option);
    let lacks: Vec<_> = needs
        .iter()
        .copied()
        .chain(could_have)
        .filter(|&option| !built.contains(option))
        .collect();
    let remedy = match places.stock {
        Some(_) => "",
        None => ": the tests need a debug kernel (without KDIR= one is built)",
    };
    ensure!(
        lacks.is_empty(),
        "the kernel in {} lacks {}{remedy}",
        places.kdir.display(),
        lacks.join(", ")
    );
    Ok(())
}

/// Whether the kernel patches its own code while it runs.
pub fn patches_itself(places: &Places) -> Result<bool> {
    Ok(places.built_in()?.contains("JUMP_LABEL"))
}

/// What the kernel, or the module for it, lacks that some tests use: those are skipped.
pub fn lacks(places: &Places) -> Result<Vec<String>> {
    let built = places.built()?;
    let lacking = FEATURES
        .iter()
        .filter(|feature| !built.contains(feature.option))
        .map(|feature| feature.name);
    let lab = places.stock.is_some().then_some(LAB);
    let slow = SLOW_LOCKS.iter().all(|&option| built.contains(option));
    let locks = slow.then_some(FAST_LOCKS);
    Ok(lacking.chain(lab).chain(locks).map(str::to_owned).collect())
}
