//! blkif
