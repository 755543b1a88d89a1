//! What every reactor does, as functions that the tests of each implementation call.
