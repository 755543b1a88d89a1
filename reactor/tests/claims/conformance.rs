//! The claims of `reactor::conformance`, made of a world and of the live reactor on each sort of
//! image.

use crate::uring_subject::Live;
use crate::world_subject::Simulated;
use reactor::conformance::CLAIMS;

macro_rules! conforms {
    ($name:ident, $subject:expr) => {
        #[test]
        fn $name() {
            for (claim, check) in CLAIMS {
                println!("{claim}");
                check(&mut $subject);
            }
        }
    };
}

conforms!(a_world_conforms, Simulated::new());
conforms!(the_live_reactor_conforms_on_direct_images, Live::direct());
conforms!(the_live_reactor_conforms_on_cached_images, Live::cached());
conforms!(
    the_live_reactor_conforms_on_images_in_memory,
    Live::memory()
);
conforms!(
    the_live_reactor_conforms_with_the_smallest_rings,
    Live::tiny()
);
