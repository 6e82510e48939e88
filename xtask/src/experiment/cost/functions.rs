//! Instructions of each of the guest's functions.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSymbol, SymbolKind};

/// Instructions by function; all those outside the image are the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    pub guest: BTreeMap<String, i64>,
    pub host: i64,
}

impl Instructions {
    /// Difference between `more` and this; negative where this has more.
    pub fn until(&self, more: &Self) -> Self {
        let mut guest = more.guest.clone();
        for (name, count) in &self.guest {
            *guest.entry(name.clone()).or_default() -= count;
        }
        guest.retain(|_, count| *count != 0);
        Self { guest, host: more.host - self.host }
    }

    /// Of all of the guest's functions.
    pub fn guest_total(&self) -> i64 {
        self.guest.values().sum()
    }
}

/// The functions of an image, where the guest had them.
#[derive(Debug)]
pub struct Functions {
    /// First address and name, up to the next one.
    starts: BTreeMap<u64, String>,
}

impl Functions {
    /// Those of the ELF file `image`, whose entry point was at `entry`.
    pub fn read(image: &Path, entry: u64) -> Result<Self> {
        let data = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
        let file = object::File::parse(&*data).with_context(|| format!("{} is no ELF", image.display()))?;
        let moved = entry.wrapping_sub(file.entry());
        let code = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
        let mut starts = BTreeMap::new();
        let mut end = 0;
        for symbol in code {
            let name = symbol.name().unwrap_or("?");
            starts.insert(
                symbol.address().wrapping_add(moved),
                format!("{:#}", rustc_demangle::demangle(name)),
            );
            end = end.max(symbol.address().wrapping_add(moved) + symbol.size());
        }
        ensure!(!starts.is_empty(), "{} has no symbols", image.display());
        // Nothing of the guest's is behind the last one.
        starts.insert(end, String::new());
        Ok(Self { starts })
    }

    /// These, and all code of `range` under one name.
    pub fn with(mut self, range: &Range<u64>, name: &str) -> Self {
        self.starts.insert(range.start, name.to_owned());
        self.starts.insert(range.end, String::new());
        self
    }

    fn at(&self, address: u64) -> Option<&str> {
        let (_, name) = self.starts.range(..=address).next_back()?;
        (!name.is_empty()).then_some(name)
    }

    /// Counts what QEMU's plugin hotblocks lists: lines `0xADDRESS, translations,
    /// instructions, executions`.
    pub fn count(&self, profile: &str) -> Result<Instructions> {
        let mut counted = Instructions::default();
        let lines = profile.lines().filter(|line| line.starts_with("0x"));
        for line in lines {
            let (address, count) =
                block(line).with_context(|| format!("the profile's line `{line}` is not a block"))?;
            match self.at(address) {
                Some(name) => *counted.guest.entry(name.to_owned()).or_default() += count,
                None => counted.host += count,
            }
        }
        ensure!(counted.host > 0, "the profile is empty");
        Ok(counted)
    }
}

/// A block's address, and the instructions that ran in it.
fn block(line: &str) -> Option<(u64, i64)> {
    let mut fields = line.split(", ");
    let address = u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok()?;
    let instructions: i64 = fields.nth(1)?.parse().ok()?;
    let executions: i64 = fields.next()?.trim().parse().ok()?;
    Some((address, instructions * executions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions() -> Functions {
        let starts = [(0x1000, "a"), (0x1100, "b"), (0x1200, "")];
        Functions { starts: starts.map(|(address, name)| (address, name.to_owned())).into() }
    }

    const PROFILE: &str = "collected 4 entries in the hash table\npc, tcount, icount, ecount\n\
        0x0000000000001000, 1, 5, 10\n0x0000000000001010, 2, 3, 1\n0x00000000000011ff, 1, 1, 7\n\
        0xffffffff81000000, 1, 2, 100\n";

    #[test]
    fn blocks_belong_to_functions_or_to_the_host() {
        let counted = functions().count(PROFILE).unwrap();
        assert_eq!(counted.guest, BTreeMap::from([("a".into(), 53), ("b".into(), 7)]));
        assert_eq!((counted.host, counted.guest_total()), (200, 60));
        let range = 0x3000..0x4000;
        let counted = functions().with(&range, "kernel").count(&PROFILE.replace("11ff", "3fff")).unwrap();
        assert_eq!((counted.guest["kernel"], counted.host), (7, 200));
    }

    #[test]
    fn a_difference_has_only_what_is_new() {
        let one = functions().count(PROFILE).unwrap();
        let more = functions().count(&PROFILE.replace("5, 10", "5, 30")).unwrap();
        let new = one.until(&more);
        assert_eq!((new.guest, new.host), (BTreeMap::from([("a".into(), 100)]), 0));
        assert_eq!(more.until(&one).guest, BTreeMap::from([("a".into(), -100)]));
    }

    #[test]
    fn what_is_not_a_profile_is_refused() {
        assert!(functions().count("").unwrap_err().to_string().contains("empty"));
        assert!(functions().count("0x12, x\n").unwrap_err().to_string().contains("0x12, x"));
    }
}
