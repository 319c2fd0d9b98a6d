use std::collections::HashMap;

use alarmcast::io::{DriverConfig, Op, Outcome, Socket, Token};

use crate::harness::{Client, Harness, RoughSim, SEED};
use crate::world::{World, errno, pattern, read_some, tiny, write_some};

crate::on_every_driver!(
    two_hundred_connections_play_ping_pong_on_tiny_rings,
    more_operations_than_the_queue_holds_all_complete,
    a_flood_of_receives_on_one_socket_does_not_starve_the_others,
);

/// The same on a network where nothing is easy.
#[test]
fn two_hundred_connections_play_ping_pong_on_rough_networks() {
    for seed in 0..2 {
        SEED.set(seed);
        two_hundred_connections_play_ping_pong_on_tiny_rings::<RoughSim>();
    }
}

/// One client's share of a game of ping-pong.
struct Player<C> {
    client: C,
    /// Echoes so far, and bytes of the one awaited.
    rounds: usize,
    ball: Vec<u8>,
    written: usize,
    returned: Vec<u8>,
}

impl<C: Client> Player<C> {
    fn new(client: C, number: usize) -> Self {
        let ball = pattern(700 + number);
        Self { client, rounds: 0, ball, written: 0, returned: Vec::new() }
    }

    fn play(&mut self) {
        self.written += write_some(&mut self.client, &self.ball[self.written..]);
        let wanted = self.ball.len() - self.returned.len();
        self.returned.extend(read_some(&mut self.client, wanted).expect("not ended"));
        if self.returned.len() == self.ball.len() {
            assert!(self.returned == self.ball, "round {}", self.rounds);
            (self.written, self.rounds) = (0, self.rounds + 1);
            self.returned.clear();
        }
    }
}

/// The driver's end of a connection: echoes, one send in flight, the rest waits.
#[derive(Default)]
struct Echo {
    waiting: Vec<u8>,
    sending: bool,
}

struct Table {
    echoes: HashMap<Socket, Echo>,
    owners: HashMap<Token, Socket>,
}

impl Table {
    fn receive<H: Harness>(&mut self, world: &mut World<H>, socket: Socket) {
        let token = world.push(Op::Recv(socket));
        self.owners.insert(token, socket);
    }

    fn flush<H: Harness>(&mut self, world: &mut World<H>, socket: Socket) {
        let echo = self.echoes.get_mut(&socket).unwrap();
        if !echo.sending && !echo.waiting.is_empty() {
            echo.sending = true;
            let token = world.send(socket, std::mem::take(&mut echo.waiting));
            self.owners.insert(token, socket);
        }
    }

    fn handle<H: Harness>(&mut self, world: &mut World<H>, token: Token, outcome: Outcome) {
        let socket = self.owners[&token];
        let echo = self.echoes.get_mut(&socket).unwrap();
        match outcome {
            Outcome::Received { bytes, more } => {
                echo.waiting.extend_from_slice(&bytes);
                drop(bytes);
                if !more {
                    self.receive(world, socket);
                }
            }
            Outcome::Sent { buf, .. } => {
                echo.sending = false;
                let rest = buf.remaining().to_vec();
                echo.waiting.splice(0..0, rest);
            }
            other => {
                assert_eq!(errno(&other), Some(libc::ENOBUFS), "{other:?}");
                self.receive(world, socket);
            }
        }
        self.flush(world, socket);
    }
}

fn two_hundred_connections_play_ping_pong_on_tiny_rings<H: Harness>() {
    const ROUNDS: usize = 5;
    let mut world = World::<H>::new(tiny());
    let mut table = Table { echoes: HashMap::new(), owners: HashMap::new() };
    let mut players = Vec::new();
    for number in 0..200 {
        let (socket, client) = world.connection();
        table.echoes.insert(socket, Echo::default());
        players.push(Player::new(client, number));
    }
    let sockets: Vec<Socket> = table.echoes.keys().copied().collect();
    for socket in sockets {
        table.receive(&mut world, socket);
    }
    let mut idle_turns = 0;
    loop {
        players.iter_mut().filter(|player| player.rounds < ROUNDS).for_each(Player::play);
        if players.iter().all(|player| player.rounds == ROUNDS) {
            break;
        }
        idle_turns = if world.turn() == 0 { idle_turns + 1 } else { 0 };
        assert!(idle_turns < 1_000, "stalled");
        for completion in world.drain() {
            table.handle(&mut world, completion.token, completion.outcome);
        }
    }
}

fn more_operations_than_the_queue_holds_all_complete<H: Harness>() {
    let mut world = World::<H>::new(DriverConfig { accepts: 200, ..tiny() });
    let accepts: Vec<Token> = (0..200).map(|_| world.push(Op::Accept)).collect();
    let mut clients: Vec<_> = (0..200).map(|_| world.harness.connect()).collect();
    let sockets: Vec<Socket> = accepts.into_iter().map(|accept| world.accepted(accept).0).collect();
    let sends: Vec<Token> =
        sockets.iter().map(|socket| world.send(*socket, b"all of you".to_vec())).collect();
    for send in sends {
        assert!(matches!(world.outcome(send), Outcome::Sent { .. }));
    }
    for client in &mut clients {
        while read_some(client, 100).expect("not ended").is_empty() {
            world.turn();
        }
    }
}

fn a_flood_of_receives_on_one_socket_does_not_starve_the_others<H: Harness>() {
    let config = DriverConfig { recv_buffers: 64, recv_buffer_bytes: 64, ..tiny() };
    let mut world = World::<H>::new(config);
    let (loud, mut flooding) = world.connection();
    let (quiet, mut whispering) = world.connection();
    let whisper = world.push(Op::Recv(quiet));
    let mut flood = world.push(Op::Recv(loud));
    let noise = pattern(1_000_000);
    let mut written = write_some(&mut flooding, &noise);
    world.turn();
    whispering.write(b"psst").unwrap();
    let mut turns = 0;
    while turns < 2_000 {
        turns += 1;
        written += write_some(&mut flooding, &noise[written..]);
        world.turn();
        for completion in world.drain() {
            if completion.token == whisper {
                return;
            }
            if !world.is_in_flight(flood) {
                drop(completion);
                flood = world.push(Op::Recv(loud));
            }
        }
    }
    panic!("never heard");
}
