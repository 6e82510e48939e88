//! The loader with the application inside: one ELF file that boots alone.
//!
//! The application becomes one more segment of the loader's file, so that whoever
//! loads the loader loads both.

use anyhow::{Context, Result};
use apf_loader::memory::LARGE_PAGE;
use object::build::elf::{Builder, SectionData};
use object::elf;

use super::app::App;

/// Section with start and size of the bundled file, for the loader
/// (`images/loader/src/boot/place.rs`).
const LABEL: &[u8] = b".bundle";
/// The added section.
const SECTION: &[u8] = b".image";
const PAGE: u64 = 4 << 10;

/// Puts `app` into the file of the `loader`.
pub fn bundle(loader: &[u8], app: &App) -> Result<Vec<u8>> {
    let mut file = Builder::read(loader).context("the loader's file")?;
    let at = place(app).context("the application is larger than any memory")?;
    let size = app.bytes.len() as u64;

    let label = file.sections.iter_mut().find(|section| section.name.as_slice() == LABEL);
    let label = label.context("the loader has no place for the bundled file's address")?;
    label.data =
        SectionData::Data([at, size].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>().into());

    let section = file.sections.add();
    section.name = SECTION.into();
    section.sh_type = elf::SHT_PROGBITS;
    section.sh_flags = elf::SHF_ALLOC;
    section.sh_addralign = PAGE;
    section.sh_size = size;
    section.data = SectionData::Data(app.bytes.as_slice().into());

    let segment = file.segments.add_load_segment(elf::PF_R, PAGE);
    (segment.p_vaddr, segment.p_paddr) = (at, at);
    segment.append_section(section);

    let mut bytes = Vec::new();
    file.write(&mut bytes).context("the loader's file with the application")?;
    Ok(bytes)
}

/// The lowest place that is not in the way of the image itself, which the loader puts
/// right above itself, or where it was linked to be: the kernel takes all memory
/// below its end as occupied.
fn place(app: &App) -> Option<u64> {
    let start = app.linked_at.unwrap_or(LARGE_PAGE).max(LARGE_PAGE);
    start.checked_add(app.memory)?.checked_next_multiple_of(LARGE_PAGE)
}
