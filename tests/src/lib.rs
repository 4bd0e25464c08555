//! Every plug-in against its conformance suite, scenarios and drills.
