//! Plan of one experiment's samples, as the options change it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use apf_report::document::Mode;
use apf_vocabulary::grid::{self, Axis};
use apf_vocabulary::page::PAGES_PER_MIB;

use super::boots::{self, Boot};
use super::definition::{Definition, Effort, LATENCY, PAGES_TO_READ, PagedBy};
use super::options::Options;
use crate::drive::latency::PageLatency;
use crate::drive::spec::{Spec, System, Vmm, Way};
use crate::guest_memory;
use crate::options::MOST_MIB;
use crate::place::Place;

/// The least that Debian's kernel needs for everything.
const LINUX_MIB: u32 = 128;

/// Samples that one experiment is going to measure.
pub struct Plan {
    pub definition: &'static Definition,
    pub vmm: Vmm,
    pub cores: u32,
    pub memory_mib: u32,
    region_mib: u32,
    pub axes: Vec<Axis>,
    /// Of the definition's, in its order.
    pub modes: Vec<Mode>,
    pub repetitions: u32,
    pub boots: Vec<Boot>,
    sample: Duration,
    /// For page-ins that no parameter says the latency of.
    page_latency: PageLatency,
    /// True if the user's latency takes the place of the parameter's.
    latency_is_given: bool,
}

impl Plan {
    /// The plan of `definition` as the options change it.
    ///
    /// # Errors
    /// An option does not fit the experiment.
    pub fn new(definition: &'static Definition, options: &Options) -> Result<Self> {
        let vmm = vmm(definition, options)?;
        let cores = options.guest.cores(1, options.host.exact).context(definition.name)?;
        ensure!(
            options.host.exact || !definition.profiled,
            "{} counts instructions: it takes --exact",
            definition.name
        );
        let (effort, sample_ms, repetitions) =
            if options.quick { (Effort::Quick, 700, 2) } else { (Effort::Full, 2000, 5) };
        let mut axes = definition.axes(effort);
        for given in &options.at {
            let known: Vec<_> = axes.iter().map(|axis| axis.name.clone()).collect();
            let axis = axes.iter_mut().find(|axis| axis.name == given.name).with_context(|| {
                format!("--at {given}: {} has no such parameter, but {}", definition.name, known.join(", "))
            })?;
            axis.clone_from(given);
        }
        fits(definition, options)?;
        can_move(definition, options, vmm)?;
        let given = &options.paging.latency.page_latency;
        if let (Some(latency), Some(axis)) = (given, axes.iter_mut().find(|axis| axis.name == LATENCY)) {
            axis.values = vec![latency.mean().as_secs_f64() * 1000.0];
        }
        let longest_ms = most(&axes, LATENCY);
        ensure!(longest_ms <= 10_000.0, "--at {LATENCY}: above 10s is not an experiment");
        let longest = match definition.paged_by {
            PagedBy::Pager => Duration::from_secs_f64(longest_ms / 1000.0),
            PagedBy::Swap => SWAP_LATENCY,
        };
        let page_latency = given.clone().unwrap_or_else(|| PageLatency::constant(longest));
        options.paging.evict.leaves_time_for(page_latency.mean(), definition.evicts)?;
        let region_mib = options.region_mib.map_or(definition.region_mib, u32::from);
        let repetitions = options.repetitions.unwrap_or(repetitions);
        let modes = modes(definition, options)?;
        Ok(Self {
            definition,
            vmm,
            cores,
            memory_mib: memory_mib(definition, options, region_mib, most(&axes, "tasks"))?,
            region_mib,
            axes,
            boots: boots::plan(&modes, repetitions),
            modes,
            repetitions,
            sample: Duration::from_millis(sample_ms),
            page_latency,
            latency_is_given: given.is_some(),
        })
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        grid::points(&self.axes).len() * self.modes.len() * self.repetitions as usize
    }

    /// Text of the latency: a value, or the parameter that varies it.
    pub fn page_latency_text(&self) -> String {
        let varied = !self.latency_is_given && self.axes.iter().any(|axis| axis.name == LATENCY);
        if varied { format!("the parameter {LATENCY}") } else { self.page_latency.to_string() }
    }

    /// The VM of a boot that does this work.
    pub fn spec(&self, place: &Place, options: &Options, boot: &Boot, work: &Work<'_>) -> Result<Spec> {
        // Where guests take turns, each repetition has contents and an order of its own.
        let seed = options.guest.seed.wrapping_add(boot.repetitions.start.into());
        let loads: Vec<String> = work.loads.iter().map(f64::to_string).collect();
        let mut words = vec![
            ("experiment", work.experiment.to_owned()),
            ("modes", boot.mode_names()),
            ("repetitions", boot.count().to_string()),
            ("sample-ms", self.sample.as_millis().to_string()),
            ("region-mib", self.region_mib.to_string()),
            ("seed", seed.to_string()),
            ("log", options.guest.log.as_deref().unwrap_or("warn").to_owned()),
        ];
        // Linux records none, and each boot has a first repetition; and recording is no part of
        // the cost of a fault.
        let unrecorded = self.definition.has_linux() || self.definition.profiled;
        // A serial port takes a minute for two thousand faults.
        let recorded = if self.vmm == Vmm::Qemu { 128 } else { 1024 };
        words.push(("record", if unrecorded { 0 } else { recorded }.to_string()));
        words.extend((!loads.is_empty()).then(|| ("loads", loads.join(","))));
        words.extend(work.axes.iter().map(|axis| ("at", axis.to_string())));
        // Linux takes no more than 32 words for its first process.
        let mut guest_args: Vec<String> =
            words.into_iter().map(|(name, value)| format!("--{name}={value}")).collect();
        guest_args.extend(self.latency_is_given.then(|| "--latency-is-given".to_owned()));
        guest_args.extend(options.guest.guest_args.iter().cloned());
        // Several times the duration of a sample on an idle machine, making tasks included.
        let mut each = self.sample * 5 + self.page_latency.mean() * 60 + Duration::from_secs(10);
        let pages = most(&self.axes, PAGES_TO_READ) as u32;
        if pages > 0 {
            // It has parts that end when all is read or served, however long that takes.
            each += self.sample * 20 + (self.page_latency.mean() + Duration::from_millis(5)) * pages * 4;
        }
        let samples = grid::points(&self.axes).len() * boot.modes.len() * boot.count() as usize;
        let (image, loader, kernel_args) = match (boot.system, &place.linux) {
            (System::Linux, Some((program, kernel))) => {
                (&program.initramfs, kernel, linux_words(&boot.modes))
            }
            (System::Linux, None) => bail!("internal: Linux is booted but was not prepared"),
            (System::Hermit, _) => (&place.built.image, &place.built.loader, vec![]),
        };
        let machine = (self.memory_mib, self.cores);
        Ok(Spec {
            exact: options.host.exact,
            profile: self.definition.profiled,
            system: boot.system,
            image: image.clone(),
            loader: loader.clone(),
            evict: options.paging.evict.clone(),
            moves: options.paging.moves(),
            swap: self.definition.paged_by == PagedBy::Swap,
            work: each * samples as u32,
            region_pages: self.region_mib * PAGES_PER_MIB,
            kernel_args,
            guest_args,
            ..place.spec(self.vmm, &options.guest, machine, self.page_latency.clone())?
        })
    }
}

/// The largest value of the parameters whose name contains this; 0 without.
fn most(axes: &[Axis], name: &str) -> f64 {
    axes.iter()
        .filter(|axis| axis.name.contains(name))
        .flat_map(|axis| &axis.values)
        .fold(0.0, |a, b| a.max(*b))
}

/// Chooses the VMM for the guests of `definition`.
pub fn vmm(definition: &Definition, options: &Options) -> Result<Vmm> {
    match (definition.has_linux(), options.guest.vmm) {
        (true, Some(Vmm::Uhyve)) => {
            bail!("{}: --vmm uhyve cannot boot Linux: both guests run under QEMU", definition.name)
        }
        (true, _) => Ok(Vmm::Qemu),
        (false, vmm) => Ok(vmm.unwrap_or(Vmm::Uhyve)),
    }
}

/// The words for Linux's kernel: the serial port for the program alone, an end instead of
/// a halt after a panic, and async page faults or none. All else is as Debian has it.
fn linux_words(modes: &[Mode]) -> Vec<String> {
    let off = (!modes.contains(&Mode::LinuxAsync)).then_some("no-kvmapf");
    let words = ["console=ttyS0", "quiet", "loglevel=1", "panic=-1"].into_iter().chain(off);
    words.map(str::to_owned).collect()
}

/// Work of the guests of one boot.
pub struct Work<'a> {
    /// The experiment by the guest's name for it.
    pub experiment: &'a str,
    pub axes: &'a [Axis],
    /// Requests in a second at each point, where that is no parameter.
    pub loads: &'a [f64],
}

/// Latency of swap's disk, unless an option says otherwise.
const SWAP_LATENCY: Duration = Duration::from_millis(5);

/// Checks that options for the pager are given only where there is one.
pub fn fits(definition: &Definition, options: &Options) -> Result<()> {
    if definition.paged_by == PagedBy::Pager {
        return Ok(());
    }
    if let Some(latency) = &options.paging.latency.page_latency {
        ensure!(latency.is_constant(), "--page-latency {latency}: swap's disk has one latency for all pages");
    }
    let evict = &options.paging.evict;
    ensure!(evict.is_all(), "--evict {evict}: swap evicts all memory; leave the option out");
    ensure!(!options.host.exact, "--exact: time would not wait for swap's disk");
    Ok(())
}

/// Checks that a guest that is to move to other VMMs can.
fn can_move(definition: &Definition, options: &Options, vmm: Vmm) -> Result<()> {
    let moves = options.paging.moves();
    if moves.number == 0 {
        return Ok(());
    }
    let option = if moves.way == Way::Snapshot { "--restores" } else { "--migrations" };
    ensure!(vmm == Vmm::Qemu, "{option}: {} lets no guest go; add --vmm qemu", vmm.name());
    ensure!(!options.host.exact, "{option}: --exact has no files for another QEMU; leave one out");
    ensure!(
        definition.paged_by == PagedBy::Pager && !definition.profiled && !definition.has_linux(),
        "{option}: {} is not an experiment with a Hermit guest and the pager",
        definition.name
    );
    Ok(())
}

fn modes(definition: &Definition, options: &Options) -> Result<Vec<Mode>> {
    let name = |mode: &Mode| mode.name();
    for given in &options.modes {
        let known: Vec<_> = definition.modes.iter().map(name).collect();
        ensure!(
            known.contains(&given.as_str()),
            "--modes {given}: {} has no such mode, but {}",
            definition.name,
            known.join(", ")
        );
    }
    let is_asked = |mode: &&Mode| options.modes.is_empty() || options.modes.iter().any(|it| it == name(mode));
    Ok(definition.modes.iter().filter(is_asked).copied().collect())
}

fn memory_mib(definition: &Definition, options: &Options, region_mib: u32, tasks: f64) -> Result<u32> {
    let name = definition.name;
    let room = guest_memory::room(MOST_MIB);
    ensure!(
        tasks <= room,
        "{name}: {tasks} tasks are more than the largest guest, of {MOST_MIB} MiB, has room for: at most {room:.0}"
    );
    let least = guest_memory::least(region_mib, tasks);
    let least = if definition.has_linux() { least.max(LINUX_MIB) } else { least };
    ensure!(
        least <= MOST_MIB,
        "{name}: {region_mib} MiB (--region-mib of `run`) take a guest of {least} MiB, and the largest has {MOST_MIB}"
    );
    let default = definition.memory_mib.max(least.next_multiple_of(64)).min(MOST_MIB);
    let needs = format!("{name}, which fills {region_mib} MiB (--region-mib of `run`) and has {tasks} tasks");
    options.guest.memory_mib(default, least, &needs)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;

    fn plan(args: &[&str]) -> Result<Plan> {
        plan_of("overlap", args)
    }

    fn plan_of(name: &str, args: &[&str]) -> Result<Plan> {
        #[derive(Debug, clap::Parser)]
        struct Cli {
            #[command(flatten)]
            options: Options,
        }
        let cli = <Cli as clap::Parser>::try_parse_from([&["x"], args].concat())?;
        Plan::new(catalogue::find(name)?, &cli.options)
    }

    #[test]
    fn guests_are_moved_where_they_can_be() {
        let text = |args: &[&str]| plan(args).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(text(&["--vmm", "qemu", "--restores", "2"]), Ok(()));
        assert_eq!(text(&["--vmm", "qemu", "--migrations", "2"]), Ok(()));
        let error = text(&["--vmm", "qemu", "--migrations", "2", "--restores", "2"]).unwrap_err();
        assert!(error.contains("cannot be used with"), "{error}");
        let error = text(&["--vmm", "qemu", "--restores", "2", "--exact"]).unwrap_err();
        assert!(error.contains("--exact has no files"), "{error}");
        for name in ["peer", "swap"] {
            let error = plan_of(name, &["--vmm", "qemu", "--restores", "2"]).err().unwrap().to_string();
            assert!(error.contains(&format!("{name} is not an experiment with")), "{error}");
        }
    }

    #[test]
    fn options_change_the_plan() {
        let plan =
            plan(&["--quick", "--at", "tasks=1,16", "--at", "page_latency_ms=5", "--repetitions", "3"]);
        let plan = plan.unwrap();
        assert_eq!((plan.samples(), plan.repetitions), (2 * 3 * 3, 3));
        assert_eq!(plan.page_latency_text(), "the parameter page_latency_ms");
    }

    #[test]
    fn modes_are_those_asked_for_in_the_experiments_order() {
        let plan = plan_of("cost", &["--exact", "--modes", "async,blocked"]).unwrap();
        assert_eq!(plan.modes, [Mode::Blocked, Mode::Async]);
        assert_eq!(plan.samples(), plan.boots[0].modes.len() * 2 * plan.repetitions as usize);
    }

    #[test]
    fn peer_boots_both_guests_under_qemu() {
        let plan = plan_of("peer", &["--repetitions", "3", "--at", "tasks=8"]).unwrap();
        assert_eq!((plan.vmm, plan.samples(), plan.boots.len()), (Vmm::Qemu, 3 * 4, 3 * 3));
        assert!(!linux_words(&[Mode::LinuxAsync]).contains(&"no-kvmapf".to_owned()));
        assert!(linux_words(&[Mode::LinuxBlocked]).contains(&"no-kvmapf".to_owned()));
        let error = plan_of("peer", &["--vmm", "uhyve"]).err().unwrap();
        assert!(error.to_string().contains("both guests run under QEMU"), "{error}");
        assert_eq!(plan_of("overlap", &[]).unwrap().vmm, Vmm::Uhyve);
    }

    #[test]
    fn a_given_latency_takes_the_place_of_the_parameter() {
        let plan = plan(&["--quick", "--page-latency", "uniform:1ms..5ms"]).unwrap();
        assert_eq!(plan.axes[0].to_string(), "page_latency_ms=3");
        assert_eq!(plan.page_latency_text(), "uniform:1ms..5ms");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_named() {
        for (args, named) in [
            (["--at", "task=1"], "no such parameter, but page_latency_ms, tasks"),
            (["--at", "tasks=9999"], "has room for: at most 1607"),
            (["--memory", "3GiB"], "2GiB"),
            (["--modes", "async,linux"], "--modes linux: overlap has no such mode, but blocked, halt, async"),
            (["--at", "page_latency_ms=20000"], "10s"),
            (["--at", "tasks=x"], "`x`"),
            (["--page-latency", "uniform:5ms"], "uniform:1ms..5ms"),
            (["--evict", "fraction:2"], "at most 1"),
            (["--evict", "periodic:400ms"], "10 page-ins of 50ms"),
            (["--restores", "2"], "add --vmm qemu"),
        ] {
            let error = format!("{:#}", plan(&args).err().unwrap());
            assert!(error.contains(named), "{error}");
        }
        for args in [&["--page-latency", "uniform:1ms..5ms"][..], &["--evict", "lru:0.5"], &["--exact"]] {
            let error = plan_of("swap", args).err().unwrap().to_string();
            assert!(error.contains(args[0]) && error.contains("swap"), "{error}");
        }
        let error = format!("{:#}", plan(&["--exact", "--smp", "2"]).err().unwrap());
        assert!(error.contains("one core"), "{error}");
    }
}
