//! grant_table
