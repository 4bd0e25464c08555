//! Programs that show the framework at work.
