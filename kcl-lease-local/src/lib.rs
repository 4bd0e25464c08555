//! A lease table in memory: also the reference of what a lease table means.
