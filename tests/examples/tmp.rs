use kcl_testkit::model::outage::Fleet;
use stateright::{Checker, HasDiscoveries, Model};
fn main() {
    let a: Vec<u64> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let f = if a[2] == 0 {
        Fleet::unheard(a[0] as usize, a[1] as u32)
    } else {
        Fleet::outage(a[0] as usize, a[1] as u32, a[2], a[3])
    };
    let t = std::time::Instant::now();
    let d = f.checker().threads(2).finish_when(HasDiscoveries::Any).spawn_dfs().join();
    println!("{a:?} {} {:?}", d.unique_state_count(), t.elapsed());
    for (p, path) in d.discoveries() {
        println!("{p}: {:?}", path.into_actions());
    }
}
