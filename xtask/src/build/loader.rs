//! The loader, which QEMU starts with `-kernel`, and GRUB with `multiboot2`.

use std::path::PathBuf;

use anyhow::Result;

use super::guest::Program;
use crate::setup::Tools;

const LOADER: Program<'_> = Program {
    what: "the loader",
    binary: "apf-loader",
    source: "images/loader",
    folder: "loader",
    target: "x86_64-unknown-none",
    std: "core,alloc",
    profile: "loader",
    features: "boot",
};

/// Builds the loader.
pub fn build(tools: &Tools) -> Result<PathBuf> {
    LOADER.build(tools, &[])
}
