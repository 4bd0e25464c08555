//! A model of the coordination protocol, explored exhaustively within bounds.
//!
//! These decisions are kcl-protocol's own: heartbeats and validity ([`kcl_protocol::Liveness`]),
//! watching and fencing ([`kcl_protocol::Watch`]), what is held ([`kcl_protocol::Holdings`]), the
//! ownership writes ([`kcl_protocol::moves`], [`kcl_protocol::force`]), acks, checkpoints and
//! effects ([`kcl_protocol::acks`], [`kcl_protocol::gate`]), and how a write applies
//! ([`kcl_protocol::ConditionalWrite::apply`]).
//!
//! Five that kcl-core takes around them the model takes in a simpler way of its own: when a worker
//! reads a row and what it remembers of it, that an asker looks for its revocation in the row, to
//! whom a worker that is asked yields, what it does with an answer, and that a lease is handed over
//! once its consumer has let go.
//!
//! The model adds what surrounds all this: clocks that drift, requests that apply late or twice,
//! answers that are lost, processes that die, rows that somebody deletes. A pause is a worker that
//! takes no step. `docs/model.md` has the bounds.

mod action;
mod answer;
mod case;
pub mod cases;
pub mod checks;
mod data;
pub mod latest;
mod moving;
pub mod outage;
pub mod shared;
mod step;
pub mod world;

use stateright::{Model, Property};

pub use action::Action;
pub use case::{Case, Start};
use checks::{Flaw, has_one_owner};
pub use data::{Run, Work};
use world::World;

impl Model for Case {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.first()]
    }

    fn actions(&self, world: &World, out: &mut Vec<Action>) {
        self.steps(world, out);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.step(world, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn clean(world: &World, promise: &str) -> bool {
            world.seen.flaws.iter().all(|flaw: &Flaw| flaw.promise() != promise)
        }
        let mut properties = vec![
            Property::always(checks::P2, |_, world| clean(world, checks::P2)),
            Property::always(checks::P3, |case: &Case, world| has_one_owner(world, &case.keys)),
            Property::always(checks::P4, |_, world| clean(world, checks::P4)),
            Property::always(checks::P5, |_, world| clean(world, checks::P5)),
            Property::always(checks::P7, |_, world| clean(world, checks::P7)),
            Property::always(checks::P8, |_, world| clean(world, checks::P8)),
            Property::sometimes(checks::MOVES, Case::has_moved),
            Property::always(checks::SPENT, |_, world| clean(world, checks::SPENT)),
        ];
        if self.budget.drops > 0 {
            properties.push(Property::sometimes(checks::DROPPED, Case::has_passed_dropped));
        }
        properties
    }
}
