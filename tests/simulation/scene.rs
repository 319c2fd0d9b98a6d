//! A world with clients, and the model and the accounts that judge what happens in it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use alarmcast::io::sim::Faults;
use alarmcast::shard::StreamHandler;

use crate::account::Account;
use crate::client::Client;
use crate::model::{Model, Watched};
use crate::planted::{Planted, Planting};
use crate::world::{Plan, World};

/// Planted faults are either where the model does not see them, or where it does.
type Handled = Planted<Watched<Planted<StreamHandler>>>;

/// The number of a client is its place.
pub struct Scene {
    pub world: World<Handled>,
    pub clients: Vec<Client>,
    accounts: Vec<Account>,
    model: Rc<RefCell<Model>>,
    planting: Planting,
}

impl Scene {
    pub fn new(plan: Plan, planting: Planting) -> Self {
        let model = Rc::new(RefCell::new(Model::default()));
        let shared = Rc::clone(&model);
        let world = plan.build_with(|stream, clock, stats| {
            let inner = Planted::inner(StreamHandler::new(stream, clock, stats), planting.clone());
            Planted::outer(Watched::new(inner, shared), planting.clone())
        });
        Self { world, clients: Vec::new(), accounts: Vec::new(), model, planting }
    }

    /// A connection on which nothing was said yet; its number.
    pub fn connect(&mut self) -> usize {
        self.clients.push(self.world.connect());
        self.accounts.push(Account::default());
        self.clients.len() - 1
    }

    pub fn pump(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let before = client.received.len();
        client.pump();
        self.planting.on_the_wire(&mut client.received, before);
    }

    /// What must be true at any time.
    pub fn check(&mut self) {
        let model = self.model.borrow();
        for (number, client) in self.clients.iter().enumerate() {
            let expected = model.clients.get(&number);
            // Who asked in words of its own has not said its number.
            if expected.is_some() || !client.is_raw {
                self.accounts[number].update(client, expected);
            }
        }
    }

    /// The network behaves, everyone reads: whoever is still there has, or was told, everything.
    pub fn settle(&mut self) {
        self.world.net.set_faults(Faults::none());
        for client in &mut self.clients {
            client.read_bytes = usize::MAX;
        }
        self.unpause();
        // What was delayed arrives, then what waited goes out, one send a turn in some worlds.
        self.pass(Duration::from_millis(200));
        self.drain_backlogs();
        // What waited for more to come has waited long enough.
        self.pass(Duration::from_secs(1));
        self.drain_backlogs();
        self.pass(Duration::from_secs(4));
        self.check();
        let model = self.model.borrow();
        for (&number, expected) in model.clients.iter().filter(|(_, expected)| expected.is_open) {
            let Some(client) = self.clients.get(number) else { continue };
            let is_over = client.is_gone() || client.end.is_some();
            assert!(!is_over || !self.world.is_running, "client {number} has left unnoticed");
            // What says bytes of its own may have said half of a message before.
            let is_stuck = expected.is_paused && client.is_raw;
            // A drain that took too long cuts off what still waits.
            if !is_over && !is_stuck && self.world.is_running {
                assert!(!expected.is_paused, "client {number} was told to go on");
                self.accounts[number].settle(expected);
            }
        }
        assert_eq!(self.world.stats.connections_active.get(), model.slots.len() as u64);
    }

    fn drain_backlogs(&mut self) {
        for _ in 0..50 {
            for _ in 0..12 {
                self.turn();
            }
            let stats = &self.world.stats;
            let waiting = self.world.handle.inbox_usage().0 as u64 + stats.outbox_bytes.get();
            // One that reads from history has nothing waiting between two events of it.
            if waiting + stats.overflows_active.get() == 0 {
                break;
            }
        }
    }

    /// Those who may be paused when all that they said has arrived go on.
    fn unpause(&mut self) {
        for client in self.clients.iter_mut().filter(|client| client.has_paused) {
            client.pause(false);
        }
    }

    /// Silent ones are told to leave, and left when they do not. Nothing is left of anyone.
    pub fn end(&mut self) {
        self.pass(Duration::from_secs(1));
        self.check();
        if self.world.is_running {
            let clients = &mut self.clients.iter_mut().collect::<Vec<_>>();
            self.world.end(Duration::from_secs(400), clients);
            assert!(self.model.borrow().slots.is_empty());
        }
    }

    /// Lets so much time pass, in steps, while the clients do their part.
    fn pass(&mut self, time: Duration) {
        const STEP: Duration = Duration::from_millis(50);
        let until = self.world.now() + time;
        while self.world.now() < until {
            self.world.net.clock().advance(STEP.min(until.since(self.world.now())));
            self.turn();
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.world.turn();
        (0..self.clients.len()).for_each(|number| self.pump(number));
    }
}
