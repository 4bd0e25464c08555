//! The promises of docs/protocol.md, each told as a story: on a paused clock, but where a file
//! takes real time.

mod bad_rows;
mod broken;
mod broken_liveness;
mod budget;
mod data;
mod deleted;
mod doors;
mod dropped;
mod effects;
mod file_table;
mod fleet;
mod giving_up;
mod judged;
mod lag;
mod latest;
mod liveness;
mod moving;
mod overruns;
mod own_row;
mod resetting;
mod restored;
mod rows;
mod scribbled;
mod several;
mod starting;
mod status;
mod streams;
mod syncing;
mod threads;
mod unanswered;
mod unpacked;
mod unreadable;
