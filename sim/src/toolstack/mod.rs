//! What libxl writes to xenstore for a domain and its disks, and what it waits for.
//!
//! [`domain`] and [`disk`] make batches, for whoever has a store client of its own; [`wait`] runs
//! them on a blocking connection and waits for the backend, as `xl` does. It opens no image and
//! starts no process, and it knows nothing of who serves the disk.
//!
//! Invariant: nodes and permissions are those of libxl 4.19 and later, as far as a backend or a
//! frontend of a simulated guest can see them.

use xenstore::{Access, BadPath, Batch, Path, Perm, Step};

pub mod disk;
pub mod domain;
pub mod wait;

pub use disk::Disk;
pub use domain::Domain;
pub use wait::{Error, detach, plug, unplug};

/// A transaction in the making.
#[derive(Debug, Default)]
struct Steps {
    steps: Vec<Step>,
}

impl Steps {
    /// A fresh directory: whatever was there is gone, and children inherit its permissions.
    fn directory(&mut self, path: &str, perms: Vec<Perm>) -> Result<(), BadPath> {
        let path = Path::new(path)?;
        // Made first, for its parents' sake: what has no parent cannot be removed, and a transaction
        // with a step that fails does not happen.
        self.steps.push(Step::Mkdir(path.clone()));
        self.steps.push(Step::Remove(path.clone()));
        self.steps.push(Step::Mkdir(path.clone()));
        self.steps.push(Step::SetPerms(path, perms));
        Ok(())
    }

    /// A node with permissions of its own.
    fn node(&mut self, path: &str, value: &str, perms: Vec<Perm>) -> Result<(), BadPath> {
        self.write(path, value)?;
        self.steps.push(Step::SetPerms(Path::new(path)?, perms));
        Ok(())
    }

    /// A node with the permissions of its directory.
    fn write(&mut self, path: &str, value: &str) -> Result<(), BadPath> {
        self.steps.push(Step::Write(Path::new(path)?, value.into()));
        Ok(())
    }

    /// Nodes of one directory.
    fn write_all(&mut self, base: &str, nodes: &[(&str, &str)]) -> Result<(), BadPath> {
        nodes
            .iter()
            .try_for_each(|(name, value)| self.write(&format!("{base}/{name}"), value))
    }

    fn remove(&mut self, path: &str) -> Result<(), BadPath> {
        self.steps.push(Step::Remove(Path::new(path)?));
        Ok(())
    }

    fn separate(self) -> Batch {
        Batch::new(self.steps)
    }

    fn transaction(self) -> Batch {
        Batch::transaction(self.steps)
    }
}

/// `n<owner>`: nobody else.
fn private(owner: abi::DomId) -> Vec<Perm> {
    vec![Perm::new(owner, Access::None)]
}

/// `n<owner>,r<reader>`.
fn readable(owner: abi::DomId, reader: abi::DomId) -> Vec<Perm> {
    vec![
        Perm::new(owner, Access::None),
        Perm::new(reader, Access::Read),
    ]
}

#[cfg(test)]
mod tests;
