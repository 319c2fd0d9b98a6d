//! One list of the driver contract's points, held against io_uring, epoll and the simulator.
//!
//! A machine without io_uring fails the io_uring part; `ALARMCAST_TEST_NO_URING=1` says that
//! this is known.

mod accepts;
mod harness;
mod interruptions;
mod limits;
mod receives;
mod refusals;
mod sends;
mod simulation;
mod submitting;
mod waits;
mod world;

/// Runs each test of the contract on every driver.
#[macro_export]
macro_rules! on_every_driver {
    ($($test:ident),+ $(,)?) => {
        $crate::on_real_drivers!($($test),+);
        mod sim {
            $(
                #[test]
                fn $test() {
                    super::$test::<$crate::harness::Sim>();
                }
            )+
        }
    };
}

/// Runs each test on io_uring and epoll only.
#[macro_export]
macro_rules! on_real_drivers {
    ($($test:ident),+ $(,)?) => {
        mod uring {
            $(
                #[test]
                fn $test() {
                    if $crate::harness::has_uring() {
                        super::$test::<$crate::harness::Uring>();
                    }
                }
            )+
        }
        mod epoll {
            $(
                #[test]
                fn $test() {
                    super::$test::<$crate::harness::Epoll>();
                }
            )+
        }
    };
}
