//! Protocols between frontends and backends: `xen/include/public/io/`.

pub mod blkif;
pub mod ring;
pub mod xenbus;
pub mod xs_wire;
