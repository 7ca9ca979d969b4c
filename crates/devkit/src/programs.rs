//! odin's other programs, which cargo puts into the folder of this one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    gateway: PathBuf,
    folders: Vec<PathBuf>,
}

impl Programs {
    /// `gateway`, if one was named, is the program of the gateways, and others may lie beside it.
    pub(crate) fn find(gateway: Option<&Path>) -> anyhow::Result<Programs> {
        let us = std::env::current_exe().context("cannot find the path of this program")?;
        let mut folders = vec![us.parent().context("a program is in a folder")?.to_owned()];
        folders.extend(gateway.and_then(Path::parent).map(Path::to_owned));
        let mut programs = Programs { gateway: PathBuf::new(), folders };
        programs.gateway = match gateway {
            Some(path) => path.to_owned(),
            None => programs.other("ws-gateway")?,
        };
        Ok(programs)
    }

    /// `ws-gateway`.
    pub(crate) fn gateway(&self) -> &Path {
        &self.gateway
    }

    /// Another one.
    pub(crate) fn other(&self, name: &str) -> anyhow::Result<PathBuf> {
        let paths = self.folders.iter().map(|folder| folder.join(name));
        match paths.into_iter().find(|path| path.is_file()) {
            Some(path) => Ok(path),
            None => bail!("{name} is not in {}: `make build` builds all of them", self.folders[0].display()),
        }
    }
}
