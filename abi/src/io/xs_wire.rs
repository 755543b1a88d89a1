//! xs_wire
