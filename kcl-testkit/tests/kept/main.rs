//! Tests as `sim` prints them for a seed that fails, of seeds that do not: so they compile, and
//! run. What it prints is held against these files in `src/bin/sim/tests.rs`.

mod other_fleet;
mod usual_fleet;
