//! One guest, one device, one store, stepped by hand in one thread.
//!
//! Invariant: [`Host::pump`] returns only when nothing is left to do, so that a test sees every
//! consequence of what it did and no other.

pub(crate) mod disk;
pub(crate) mod guest;
pub(crate) mod log;
pub(crate) mod machine;

use ::disk::Disk as _;
use abi::io::blkif::{Operation, RawRequest, Response, Status};
use abi::{DomId, GrantRef};
use blkback::request::answered_as;
use blkback::{Ask, Context, Device, DeviceId, LockBy, Medium, Refusal, Turn};
use reactor::world::World;
use reactor::{Reactor, Sleep};
use xen::Platform;
use xenstore::server::ConnId;
use xenstore::{Batch, BatchId, Client, Event, Path, Reply, Server, Step, StoreError};

use self::disk::Control;
use self::guest::{Buffer, Guest, PORT, request};
use self::machine::Machine;

/// The guest.
pub(crate) const DOMID: DomId = DomId(7);
/// The device's number in tokens.
pub(crate) const OWNER: u16 = 16;
/// The backend's directory.
pub(crate) const BACKEND: &str = "/local/domain/0/backend/vbd3/7/51712";
/// The frontend's directory.
pub(crate) const FRONTEND: &str = "/local/domain/7/device/vbd/51712";
/// Where the operator is told.
pub(crate) const ERROR: &str = "/local/domain/0/error/backend/vbd3/7/51712/error";

/// More rounds than any exchange takes: beyond this, something chases itself.
const ROUNDS_MAX: usize = 200;

/// A connection to the store.
struct Link {
    client: Client,
    conn: ConnId,
}

impl Link {
    fn new(server: &mut Server) -> Self {
        Self {
            client: Client::new(),
            conn: server.connect(DomId::DOM0),
        }
    }

    /// Moves bytes both ways; whether there were any.
    fn exchange(&mut self, server: &mut Server) -> bool {
        let request = self.client.outgoing().to_vec();
        self.client.sent(request.len());
        server.input(self.conn, &request);
        let reply = server.output(self.conn);
        self.client.incoming(&reply).expect("a sane server");
        !(request.is_empty() && reply.is_empty())
    }
}

pub(crate) struct Host {
    pub(crate) machine: Machine,
    pub(crate) disk: Control,
    pub(crate) guest: Guest,
    pub(crate) device: Device,
    pub(crate) world: World,
    /// What opening the image says, if not the disk.
    pub(crate) refuse_image: Option<Refusal>,
    /// Withhold the answer to the device's wish for an image.
    pub(crate) delay_image: bool,
    /// The image's lock is another domain's until it is waited for.
    pub(crate) promise_image: bool,
    /// So many batches are answered with ENOMEM.
    pub(crate) store_fails: usize,
    /// What watches are answered with.
    pub(crate) watch_error: Option<StoreError>,
    /// Everything the device asked for.
    pub(crate) asks: Vec<Ask>,
    /// Batches that the device submitted and got answers to.
    pub(crate) batches: usize,
    platform: Platform,
    server: Server,
    backend: Link,
    toolstack: Link,
}

impl Host {
    /// A device as libxl describes it, before anybody has looked at it.
    pub(crate) fn new() -> Self {
        let guest = Guest::new();
        let machine = guest.machine();
        let mut server = Server::new();
        let (backend, toolstack) = (Link::new(&mut server), Link::new(&mut server));
        let id = DeviceId {
            kind: "vbd3".into(),
            domid: DOMID,
            devid: 51712,
        };
        let stats = telemetry::Page::anonymous(1)
            .expect("memory")
            .block("vbd3/7/51712");
        let stats = stats.expect("a free block");
        let mut host = Self {
            platform: machine.platform(),
            machine,
            disk: Control::new(),
            guest,
            device: Device::new(id, DomId::DOM0, OWNER, stats).expect("a short path"),
            world: World::new(),
            refuse_image: None,
            delay_image: false,
            promise_image: false,
            store_fails: 0,
            watch_error: None,
            asks: Vec::new(),
            batches: 0,
            server,
            backend,
            toolstack,
        };
        host.describe();
        host
    }

    /// What the toolstack writes, all over again.
    pub(crate) fn describe(&mut self) {
        let described = [
            ("frontend", FRONTEND),
            ("frontend-id", "7"),
            ("online", "1"),
            ("params", "raw:/images/a.img"),
            ("mode", "w"),
            ("device-type", "disk"),
            ("removable", "0"),
            ("state", "1"),
        ];
        described
            .iter()
            .for_each(|(key, value)| self.set_backend(key, value));
        self.set_frontend("state", "1");
    }

    /// A device that waits for its frontend.
    pub(crate) fn waiting() -> Self {
        let mut host = Self::new();
        host.start();
        host
    }

    /// A device that serves.
    pub(crate) fn connected() -> Self {
        let mut host = Self::waiting();
        host.connect();
        host
    }

    pub(crate) fn start(&mut self) {
        self.with(|device, cx| device.poke(cx));
        self.pump();
    }

    /// The frontend offers a ring and goes to Connected when the backend has.
    pub(crate) fn connect(&mut self) {
        let gref = self.guest.make_ring();
        self.offer(gref);
        self.set_frontend("state", "3");
        self.pump();
        self.set_frontend("state", "4");
        self.pump();
    }

    /// Writes the frontend's keys, all but the state.
    pub(crate) fn offer(&mut self, gref: GrantRef) {
        self.set_frontend("ring-ref", &gref.to_string());
        self.set_frontend("event-channel", &PORT.to_string());
        let protocol = self.guest.protocol.name();
        self.set_frontend("protocol", protocol);
    }

    pub(crate) fn set_backend(&mut self, key: &str, value: &str) {
        self.write(&format!("{BACKEND}/{key}"), value);
    }

    pub(crate) fn set_frontend(&mut self, key: &str, value: &str) {
        self.write(&format!("{FRONTEND}/{key}"), value);
    }

    pub(crate) fn backend(&mut self, key: &str) -> Option<String> {
        self.read(&format!("{BACKEND}/{key}"))
    }

    pub(crate) fn write(&mut self, path: &str, value: &str) {
        let path = Path::new(path).expect("a path");
        self.run(Step::Write(path, value.into())).expect("written");
    }

    pub(crate) fn remove(&mut self, path: &str) {
        let path = Path::new(path).expect("a path");
        self.run(Step::Remove(path)).expect("removed");
    }

    pub(crate) fn read(&mut self, path: &str) -> Option<String> {
        let reply = self
            .run(Step::Read(Path::new(path).expect("a path")))
            .ok()?;
        let value = reply.value().expect("a value").to_vec();
        Some(String::from_utf8(value).expect("text"))
    }

    /// Names of the nodes in a directory; none if there is no such directory.
    pub(crate) fn list(&mut self, path: &str) -> Vec<String> {
        match self.run(Step::Directory(Path::new(path).expect("a path"))) {
            Ok(Reply::Names(names)) => names,
            _ => Vec::new(),
        }
    }

    fn run(&mut self, step: Step) -> Result<Reply, StoreError> {
        self.toolstack.client.submit(Batch::new(vec![step]));
        while self.toolstack.exchange(&mut self.server) {}
        match self.toolstack.client.next_event() {
            Some(Event::Replies { mut replies, .. }) => replies.remove(0),
            other => panic!("instead of a reply: {other:?}"),
        }
    }

    /// Calls the device with all that it may use.
    pub(crate) fn with<T>(&mut self, call: impl FnOnce(&mut Device, &mut Context<'_>) -> T) -> T {
        let mut cx = Context {
            platform: &mut self.platform,
            reactor: &mut self.world,
            store: &mut self.backend.client,
        };
        call(&mut self.device, &mut cx)
    }

    /// Does what the loop of a VM process does, until nothing is left.
    pub(crate) fn pump(&mut self) {
        let rounds = (0..ROUNDS_MAX).take_while(|_| self.round()).count();
        assert!(rounds < ROUNDS_MAX, "the device chases itself");
    }

    /// Stops somewhere in the middle of what follows.
    pub(crate) fn rounds(&mut self, count: usize) {
        (0..count).for_each(|_| {
            self.round();
        });
    }

    fn round(&mut self) -> bool {
        let mut busy = self.backend.exchange(&mut self.server);
        while let Some(event) = self.backend.client.next_event() {
            busy = true;
            self.store_event(event);
        }
        let delivered = std::mem::take(&mut self.machine.books().delivered);
        for port in delivered {
            busy = true;
            let ours = self.device.port() == Some(port);
            ours.then(|| self.device.kicked());
        }
        let mut ended = Vec::new();
        self.world.wait(Sleep::No, &mut ended);
        for completion in ended {
            busy = true;
            self.with(|device, cx| device.completion(cx, completion));
        }
        busy |= self.with(|device, cx| device.turn(cx)) == Turn::Again;
        busy |= self.open_image();
        // A turn may have something to say to the store.
        busy | !self.backend.client.outgoing().is_empty()
    }

    fn store_event(&mut self, event: Event) {
        match event {
            Event::Replies { batch, replies } => self.replies(batch, &replies),
            Event::Watch { token, .. } => {
                assert_eq!(token, OWNER.to_string());
                self.with(|device, cx| device.poke(cx));
            }
        }
    }

    fn replies(&mut self, batch: BatchId, replies: &[Result<Reply, StoreError>]) {
        assert!(self.device.awaits(batch));
        self.batches += 1;
        let fails = (self.store_fails > 0).then_some(StoreError::Other(12));
        self.store_fails = self.store_fails.saturating_sub(1);
        let watches = |reply| matches!(reply, &Ok(Reply::Done) | &Err(StoreError::Exists));
        let refused = self.watch_error.filter(|_| replies.iter().all(watches));
        let failed = fails.or(refused).map(|why| vec![Err(why); replies.len()]);
        let replies = failed.as_deref().unwrap_or(replies);
        self.with(|device, cx| device.replies(cx, batch, replies));
    }

    fn open_image(&mut self) -> bool {
        let Some(ask) = self.device.ask() else {
            return false;
        };
        let Ask::OpenImage { lock_by, .. } = &ask;
        let lock_by = *lock_by;
        self.asks.push(ask);
        if self.promise_image && lock_by == LockBy::Connect {
            let promised = Medium::Promised(self.disk.geometry());
            self.with(|device, cx| device.opened(cx, Ok(promised)));
        } else if !self.delay_image {
            self.image_opens();
        }
        true
    }

    /// The answer to the device's wish.
    pub(crate) fn image_opens(&mut self) {
        let image = self
            .refuse_image
            .clone()
            .map_or_else(|| Ok(Medium::Disk(self.disk.open())), Err);
        self.with(|device, cx| device.opened(cx, image));
    }

    /// Puts requests, kicks, and returns what was answered.
    pub(crate) fn serve(&mut self, requests: &[RawRequest]) -> Vec<Response> {
        requests.iter().for_each(|request| self.guest.put(request));
        self.guest.publish(&self.machine);
        self.pump();
        self.guest.take()
    }

    /// The answer to one request.
    pub(crate) fn status(&mut self, request: &RawRequest) -> Status {
        let responses = self.serve(std::slice::from_ref(request));
        assert_eq!(responses.len(), 1);
        assert_eq!(
            (responses[0].id, responses[0].operation),
            (request.id, answered_as(request))
        );
        responses[0].status
    }

    /// A read of one page.
    pub(crate) fn read_request(&mut self, id: u64, sector: u64) -> (RawRequest, Buffer) {
        let buffer = self.guest.lend_filled(0xee);
        (request(Operation::READ, id, sector, &[buffer]), buffer)
    }

    /// A write of one page.
    pub(crate) fn write_request(&mut self, id: u64, sector: u64, byte: u8) -> RawRequest {
        let buffer = self.guest.lend_filled(byte);
        request(Operation::WRITE, id, sector, &[buffer])
    }

    /// Whether the device still serves: a read of one page brings the disk's bytes.
    pub(crate) fn serves(&mut self) -> bool {
        let (request, buffer) = self.read_request(4242, 8);
        let okay = self.status(&request) == Status::OKAY;
        okay && self.guest.content(buffer) == self.disk.state().bytes[4096..8192]
    }

    /// Lets all operations out of the disk.
    pub(crate) fn land_all(&mut self) {
        self.disk.held().into_iter().for_each(|id| self.lands(id));
        self.pump();
    }

    /// Lets one operation out of the disk.
    pub(crate) fn lands(&mut self, id: u32) {
        let completion = Control::completion(OWNER, id);
        self.with(|device, cx| device.completion(cx, completion));
    }

    /// Virtual time passes, with all that falls due on the way.
    pub(crate) fn sleep(&mut self, ns: u64) {
        let until = self.world.now() + ns;
        while let Some(due) = self.world.next_deadline().filter(|due| *due <= until) {
            self.world.advance_to(due);
            self.pump();
        }
        self.world.advance_to(until);
        self.pump();
    }

    /// The frontend closes, as Linux's does when its device goes away.
    pub(crate) fn frontend_closes(&mut self) {
        self.set_frontend("state", "5");
        self.pump();
        self.set_frontend("state", "6");
        self.pump();
    }

    /// The toolstack withdraws the device.
    pub(crate) fn withdraw(&mut self) {
        self.set_backend("online", "0");
        self.set_backend("state", "5");
        self.pump();
    }

    /// Ends the device as a toolstack does, and checks that nothing of it is left.
    pub(crate) fn end(mut self) {
        self.withdraw();
        self.frontend_closes();
        assert_eq!(self.backend("state").as_deref(), Some("6"));
        self.is_clean();
    }

    /// Nothing is mapped, bound, pending or due.
    pub(crate) fn is_clean(&mut self) {
        self.is_detached();
        assert!(self.device.is_finished());
        assert!(!self.disk.state().open, "the disk is still open");
    }

    /// Nothing of the guest is in use.
    pub(crate) fn is_detached(&mut self) {
        assert_eq!(self.machine.books().mapped, 0, "pages still mapped");
        assert_eq!(self.machine.books().ports.len(), 0, "ports still bound");
        assert_eq!(self.device.in_disk(), 0, "requests still pending");
        assert_eq!(self.world.next_deadline(), None, "a deadline still set");
        assert_eq!(self.guest.take_pages_back(), 0, "grants still in use");
    }
}
