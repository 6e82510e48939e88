//! `cargo xtask test`: lints, host tests and whole-system tests in real VMs, counted together.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::dirs;
use crate::process::{self, Cmd};
use crate::setup::program::MUTANTS;

/// Limit for the slowest stage on two cores, with everything to be compiled.
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// The crates that programs and kernels depend on, each after those that it needs itself. The
/// workspace's other crates are not published.
pub const PUBLISHED: [&str; 3] = ["apf-core", "apf-kernel", "apf-service"];

/// `cargo xtask test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Skip the tests that boot VMs
    #[arg(long)]
    no_vm: bool,
    /// Succeed although a test was skipped, because this machine lacks what it needs
    #[arg(long)]
    allow_skipped: bool,
    /// Test the tests instead: change the service's logic in small ways, one at a time, and name the
    /// changes that no test notices; about 15 minutes
    #[arg(long, conflicts_with_all = ["no_vm", "allow_skipped", "filter"])]
    mutants: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

/// Results of the stages.
#[derive(Default)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
    /// Names of failed tests and stages.
    failures: Vec<String>,
    /// Names read so far from a harness's list of failures, inside that list.
    listed: Option<Vec<String>>,
    /// Name and start of each stage; one lasts until the next one starts.
    stages: Vec<(String, Instant)>,
}

/// Everything there is, with the features that no program here asks for.
const ALL: &[&str] = &["--workspace", "--features", "apf-service/openmetrics"];

/// Runs all stages, also after a failure, and prints the counts; exit code 1 if anything
/// failed, or was skipped without leave.
///
/// # Errors
/// cargo cannot be started, or no test's name contains the filter.
pub fn run(args: &TestArgs) -> Result<u8> {
    if args.mutants {
        return mutants();
    }
    let mut count = Count::default();
    if args.filter.is_none() {
        check("format", &["fmt", "--check"], "rustfmt", &mut count)?;
        let clippy = [&["clippy", "--locked"], ALL, &["--all-targets", "--", "-Dwarnings"]].concat();
        check("lints", &clippy, "cargo-clippy", &mut count)?;
        published(&mut count)?;
    }
    let filter = args.filter.as_slice();
    let host_tests = [&["--profile", "host-tests"], ALL, &["--exclude", "tests"]].concat();
    tests("host tests", &host_tests, filter, &mut count)?;
    // `--cfg loom` replaces the atomics, so everything is compiled again, in its own folder.
    let loom = ["--release", "--package", "apf-core", "--test", "loom", "--target-dir", "target/apf/loom"];
    tests_with("loom models", cargo().env("RUSTFLAGS", "--cfg loom"), &loom, filter, &mut count)?;
    if args.filter.is_none() {
        fuzz(&mut count)?;
    }
    if !args.no_vm {
        // One after the other, because they measure time.
        let options = ["--package", "tests"];
        let serial = ["--test-threads=1".to_owned(), "--nocapture".to_owned()];
        tests("whole-system tests", &options, &[filter, &serial].concat(), &mut count)?;
    }
    println!("\n{}", durations(&count.stages, Instant::now()));
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    for name in &count.failures {
        println!("failed: {name}");
    }
    if let Some(filter) = &args.filter {
        let ran = count.passed + count.failed + count.skipped;
        ensure!(ran > 0, "no test ran: none has `{filter}` in its name");
    }
    if count.skipped > 0 && !args.allow_skipped {
        println!("a skipped test is a failure: install what it names, or pass --allow-skipped");
    }
    Ok(u8::from(count.is_failure(args.allow_skipped)))
}

fn cargo() -> Cmd {
    process::cargo().cwd(dirs::root())
}

/// Runs cargo-mutants, whose settings and known survivors are in `.cargo/mutants.toml`; exit code 1 if
/// another change survives.
fn mutants() -> Result<u8> {
    // The fake host mostly notices a change after a few schedules.
    const SCHEDULES: &str = "2000";
    /// Exit codes of cargo-mutants: all noticed, one missed, one noticed by its time limit only.
    const ENDED: [Option<i32>; 3] = [Some(0), Some(2), Some(3)];
    let out = dirs::sub("mutants")?;
    let mutants = Cmd::new(MUTANTS.ensure()?)
        .cwd(dirs::root())
        .args(["mutants", "--workspace", "--no-shuffle", "--jobs=1", "--output"])
        .arg(&out)
        // A change then compiles in a second.
        .env("CARGO_INCREMENTAL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("APF_SCHEDULES", SCHEDULES);
    let status = mutants.spawn()?.finish(None)?;
    ensure!(ENDED.contains(&status.code()), "cargo-mutants did not reach its end ({status})");
    let missed = out.join("mutants.out/missed.txt");
    let missed = std::fs::read_to_string(&missed)
        .with_context(|| format!("cannot read the survivors in {}", missed.display()))?;
    println!("\n{} changes that no test notices", missed.lines().count());
    Ok(u8::from(!missed.is_empty()))
}

/// Runs a stage that passes or fails as a whole.
fn check(name: &str, args: &[&str], program: &str, count: &mut Count) -> Result<()> {
    count.start(name);
    if which::which(program).is_err() {
        println!("SKIPPED: {program} is not installed (`rustup component add` installs it)");
        count.skipped += 1;
        return Ok(());
    }
    count.stage(name, stream(cargo().args(args), |_| ())?);
    Ok(())
}

/// Packs the published crates, builds each from its archive alone and the ones before it, and
/// makes their documentation, whose links must lead somewhere.
fn published(count: &mut Count) -> Result<()> {
    count.start("packages and documentation");
    let packages = PUBLISHED.into_iter().flat_map(|name| ["--package", name]);
    // Cargo makes a registry in this folder, and keeps what it has unpacked from a registry of the same
    // path, whatever is in it now: a folder used before would test the crates of then.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let folder = dirs::scratch(&format!("packages-{now}"))?;
    let package = cargo().args(["package", "--locked", "--allow-dirty", "--target-dir"]).arg(folder.path());
    count.stage("packages", stream(package.args(packages.clone()), |_| ())?);
    let doc = cargo().args(["doc", "--locked", "--no-deps"]).args(packages).env("RUSTDOCFLAGS", "-Dwarnings");
    count.stage("documentation", stream(doc, |_| ())?);
    Ok(())
}

/// Runs libFuzzer briefly, starting from the kept corpus. The coverage options are those of
/// cargo-fuzz; a stable compiler accepts them, so no other compiler is needed.
fn fuzz(count: &mut Count) -> Result<()> {
    const COVERAGE: &str = "-Cpasses=sancov-module -Ccodegen-units=1 -Cllvm-args=-sanitizer-coverage-level=4 \
                            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                            -Cllvm-args=-sanitizer-coverage-pc-table \
                            -Cllvm-args=-sanitizer-coverage-trace-compares";
    // A fixed number of runs and a seed, so that the result is the same everywhere.
    const RUNS: u32 = 100_000;
    // Named although it is the host's: RUSTFLAGS then do not apply to build scripts.
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    count.start(&format!("fuzzing, {RUNS} runs"));
    let folder = dirs::sub("fuzz")?;
    let build = cargo()
        .args(["build", "--locked", "--profile", "fuzz", "--target", TARGET])
        .args(["--package", "apf-core-fuzz", "--features", "libfuzzer", "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE);
    let found = folder.join("found");
    std::fs::create_dir_all(&found).with_context(|| format!("cannot make the folder {}", found.display()))?;
    let run = Cmd::new(folder.join(TARGET).join("fuzz/events"))
        .args([&format!("-runs={RUNS}"), "-seed=1", "-max_len=1028", "-verbosity=0", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", found.display()))
        // New inputs are written to the first folder, which git ignores.
        .arg(&found)
        .arg("apf-service/core/fuzz/corpus/events")
        .cwd(dirs::root());
    count.stage("fuzzing", stream(build, |_| ())? && stream(run, |_| ())?);
    Ok(())
}

/// Runs a stage of `cargo test`, counted by the harness's result lines.
fn tests(name: &str, options: &[&str], harness: &[String], count: &mut Count) -> Result<()> {
    tests_with(name, cargo(), options, harness, count)
}

/// [`tests`] with a prepared cargo.
fn tests_with(name: &str, cargo: Cmd, options: &[&str], harness: &[String], count: &mut Count) -> Result<()> {
    count.start(name);
    let mut seen = Count::default();
    let program = env::current_exe().context("cannot find this program's own file")?;
    let cmd = cargo
        .args(["test", "--locked", "--no-fail-fast"])
        .args(options)
        .arg("--")
        .args(harness)
        .env("APF_XTASK", program);
    let succeeded = stream(cmd, |line| seen.add(line))?;
    // The harness counts a test that prints SKIPPED as passed.
    seen.passed = seen.passed.saturating_sub(seen.skipped);
    if !succeeded && seen.failed == 0 {
        println!("{name}: cargo failed before it ran the tests");
        seen.stage(name, false);
    }
    count.passed += seen.passed;
    count.failed += seen.failed;
    count.skipped += seen.skipped;
    count.failures.append(&mut seen.failures);
    Ok(())
}

impl Count {
    const fn is_failure(&self, skips_allowed: bool) -> bool {
        self.failed > 0 || (self.skipped > 0 && !skips_allowed)
    }

    /// Starts a stage, with its name as a heading.
    fn start(&mut self, name: &str) {
        println!("\n== {name}");
        self.stages.push((name.to_owned(), Instant::now()));
    }

    /// Counts a stage as one test.
    fn stage(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(name.to_owned());
        }
    }

    /// Counts one line of the harness: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    /// The names of failed tests precede it, after the last line `failures:`.
    fn add(&mut self, line: &str) {
        if line == "failures:" {
            self.listed = Some(vec![]);
        } else if let (Some(listed), Some(name)) = (&mut self.listed, line.strip_prefix("    ")) {
            listed.push(name.to_owned());
        }
        if line.contains("SKIPPED: ") {
            self.skipped += 1;
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let number = |name: &str| -> u32 {
            let before = result.split(name).next().filter(|before| before.len() < result.len());
            before.and_then(|before| before.split_whitespace().next_back()?.parse().ok()).unwrap_or(0)
        };
        self.failures.extend(self.listed.take().unwrap_or_default());
        self.passed += number(" passed");
        self.failed += number(" failed");
        self.skipped += number(" ignored");
    }
}

/// Table of how long each stage took, and all of them, in minutes and seconds.
fn durations(stages: &[(String, Instant)], end: Instant) -> String {
    let line = |took: Duration, name: &str| {
        let seconds = took.as_secs();
        format!("{:>4}:{:02}  {name}\n", seconds / 60, seconds % 60)
    };
    let ends = stages.iter().skip(1).map(|(_, start)| *start).chain([end]);
    let lines = stages.iter().zip(ends).map(|((name, start), end)| line(end - *start, name));
    let all = stages.first().map(|(_, start)| line(end - *start, "in all"));
    lines.chain(all).collect()
}

/// Runs `cmd`, prints its output, and passes each line to `on_line`; returns whether it
/// succeeded.
fn stream(mut cmd: Cmd, mut on_line: impl FnMut(&str)) -> Result<bool> {
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    cmd.std().stderr(writer.try_clone()?).stdout(writer).stdin(Stdio::null());
    let running = cmd.spawn()?;
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("cannot read the tests' output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        on_line(&line);
    }
    Ok(running.finish(Some(LIMIT))?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_lasts_until_the_next_one_or_the_end() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let stages = [("lints".to_owned(), begin), ("host tests".to_owned(), after(59))];
        assert_eq!(durations(&stages, after(661)), "   0:59  lints\n  10:02  host tests\n  11:01  in all\n");
        assert_eq!(durations(&[], begin), "");
    }

    #[test]
    fn the_count_sums_up_the_harness_lines() {
        let mut count = Count::default();
        for line in [
            "test a ... ok",
            "test result: ok. 13 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "SKIPPED: no userfaultfd here",
            "failures:",
            "---- b stdout ----",
            "    what it said",
            "",
            "failures:",
            "    b",
            "    c",
            "    d",
            "",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.01s",
        ] {
            count.add(line);
        }
        assert_eq!((count.passed, count.failed, count.skipped), (15, 3, 2));
        assert!(count.is_failure(true) && !Count::default().is_failure(false));
        let skipped = Count { skipped: 1, ..Count::default() };
        assert!(skipped.is_failure(false) && !skipped.is_failure(true));
        assert_eq!(count.failures, ["b", "c", "d"]);
    }
}
