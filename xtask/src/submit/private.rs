//! Free texts of documents, reduced to what may be known to all.
//!
//! A command line keeps the words that this program gives a meaning, and `…` in place of each
//! other: folders, files, arguments for VMM and guest. In every text the names of host and user
//! and their folders become `…` as well.

use std::env;
use std::path::PathBuf;

use apf_report::document::Setting;
use nix::unistd::{User, geteuid, gethostname};

use super::machine::Machine;

/// In place of what is left out.
const LEFT_OUT: &str = "…";
/// Options without a value.
const FLAGS: [&str; 3] = ["--quick", "--exact", "--console"];
/// Options whose values name nothing of the user's, but for `replay:FILE`.
const OPTIONS: [&str; 14] = [
    "--repetitions",
    "--at",
    "--modes",
    "--page-latency",
    "--evict",
    "--vmm",
    "--smp",
    "--memory",
    "--seed",
    "--host",
    "--log",
    "--tasks",
    "--pages",
    "--region-mib",
];

/// Words and folders that say whose machine this is.
#[derive(Clone, Debug, Default)]
pub struct Private {
    words: Vec<String>,
    folders: Vec<String>,
}

impl Private {
    /// Those of this process.
    pub fn here() -> Self {
        let variable = |name| env::var(name).ok();
        let host = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        let user = User::from_uid(geteuid()).ok().flatten();
        let home = user.as_ref().map(|user| user.dir.clone());
        let mut words: Vec<_> = ["USER", "LOGNAME", "SUDO_USER"].into_iter().filter_map(variable).collect();
        words.extend(user.map(|user| user.name));
        words.extend(host.split('.').map(str::to_owned));
        words.push(host);
        words.retain(|word| !word.is_empty());
        let folders = [home, variable("HOME").map(PathBuf::from), env::current_dir().ok()];
        let folders = folders.into_iter().flatten().map(|folder| folder.to_string_lossy().into_owned());
        // Longest first: one may begin with another.
        let mut folders: Vec<_> = folders.chain([crate::dirs::root().to_string_lossy().into()]).collect();
        folders.retain(|folder| folder.len() > 1);
        for list in [&mut words, &mut folders] {
            list.sort_by_key(|text| std::cmp::Reverse(text.len()));
        }
        Self { words, folders }
    }

    /// Names of host and user, for tests.
    #[cfg(test)]
    pub fn example(&self) -> (String, String) {
        let user = User::from_uid(geteuid()).unwrap().expect("a user").name;
        let host = gethostname().unwrap().into_string().expect("UTF-8");
        assert!(self.words.contains(&user) && self.words.contains(&host));
        (host, user)
    }

    /// Reduces the free texts of a document's setting.
    pub fn reduce(&self, setting: &mut Setting, experiment: &str) {
        setting.command = command(&setting.command, experiment);
        for text in [&mut setting.page_latency, &mut setting.evict] {
            *text = value(text);
        }
        for text in [
            &mut setting.processor,
            &mut setting.host_kernel,
            &mut setting.vmm_version,
            &mut setting.guest_kernel,
            &mut setting.page_latency,
            &mut setting.evict,
            &mut setting.command,
        ] {
            *text = self.without(text);
        }
    }

    /// Reduces a machine's description.
    pub fn reduce_machine(&self, machine: &mut Machine) {
        let Machine { processor, kernel, settings, mitigations, .. } = machine;
        for text in
            [processor, kernel].into_iter().chain(settings.values_mut()).chain(mitigations.values_mut())
        {
            *text = self.without(text);
        }
    }

    /// The text without private folders and words.
    fn without(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for folder in &self.folders {
            text = text.replace(folder, LEFT_OUT);
        }
        for word in &self.words {
            let mut reduced = String::new();
            let mut rest = text.as_str();
            while let Some(at) = rest.find(word.as_str()) {
                let (before, found) = rest.split_at(at);
                let (found, after) = found.split_at(word.len());
                let is_part =
                    before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
                reduced += before;
                reduced += if is_part { found } else { LEFT_OUT };
                rest = after;
            }
            text = reduced + rest;
        }
        text
    }
}

/// Keeps the words of a command line that have a meaning for this program.
fn command(text: &str, experiment: &str) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut push = |word: String| {
        if word != LEFT_OUT || kept.last().is_none_or(|last| last != LEFT_OUT) {
            kept.push(word);
        }
    };
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let (name, given) = word.split_once('=').map_or((word, None), |(name, given)| (name, Some(given)));
        if word == "--" {
            push(LEFT_OUT.into());
            break;
        } else if FLAGS.contains(&word)
            || ["cargo", "xtask", "experiment", "run", "all", experiment].contains(&word)
        {
            push(word.into());
        } else if OPTIONS.contains(&name) {
            let given = given.or_else(|| words.next()).unwrap_or_default();
            push(format!("{name} {}", value(given)));
        } else {
            push(LEFT_OUT.into());
            // Its value, which must not be taken for a word of this program's.
            if word.starts_with("--") && given.is_none() {
                words.next();
            }
        }
    }
    kept.join(" ")
}

/// A value of an option that is no file: numbers with units, names, lists of them.
fn value(text: &str) -> String {
    if let Some((kind, _)) = text.split_once("replay:") {
        return format!("{kind}replay:{LEFT_OUT}");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " .,:=%_-".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { LEFT_OUT.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private() -> Private {
        let [words, folders] = [&["ada", "difference"][..], &["/home/ada/apf", "/home/ada"]]
            .map(|texts| texts.iter().map(|&text| text.to_owned()).collect());
        Private { words, folders }
    }

    #[test]
    fn a_command_line_keeps_what_this_program_means_by_it() {
        let cases = [
            ("cargo xtask experiment run overlap --quick", "cargo xtask experiment run overlap --quick"),
            (
                "cargo xtask experiment all --at tasks=1,64 --modes=async,blocked --out /home/ada/x --seed 7",
                "cargo xtask experiment all --at tasks=1,64 --modes async,blocked … --seed 7",
            ),
            (
                "cargo xtask run --page-latency replay:/home/ada/times --vmm-arg=-name --submit run --exact",
                "cargo xtask run --page-latency replay:… … --exact",
            ),
            ("cargo xtask run --out with spaces in it -- --secret run", "cargo xtask run …"),
            ("cargo xtask run --memory ~/x --at", "cargo xtask run --memory … --at "),
        ];
        for (given, expected) in cases {
            assert_eq!(command(given, "overlap"), expected);
        }
    }

    #[test]
    fn names_of_host_and_user_are_left_out_of_every_text() {
        let mut setting = Setting {
            host_kernel: "Linux 6.12.9-ada".into(),
            vmm_version: "QEMU 10 (built in /home/ada/apf/qemu by ada@difference)".into(),
            guest_kernel: "Hermit 0.11.0".into(),
            page_latency: "replay:/home/ada/times".into(),
            evict: "periodic:500ms,0.25".into(),
            processor: "Canada 9000".into(),
            command: "cargo xtask run --log ada".into(),
            ..Setting::default()
        };
        private().reduce(&mut setting, "run");
        assert_eq!(setting.host_kernel, "Linux 6.12.9-…");
        assert_eq!(setting.vmm_version, "QEMU 10 (built in …/qemu by …@…)");
        assert_eq!(setting.page_latency, "replay:…");
        assert_eq!((&*setting.evict, &*setting.processor), ("periodic:500ms,0.25", "Canada 9000"));
        assert_eq!(setting.command, "cargo xtask run --log …");
        let mut machine = Machine { kernel: "Linux 6.1-ada".into(), ..Machine::default() };
        private().reduce_machine(&mut machine);
        assert_eq!(machine.kernel, "Linux 6.1-…");
    }
}
