//! Traffic that this process makes itself: frames as Java's client writes them with JSON headers, and a server that answers
//! each. What was sent is known to the byte, and the sockets are this process's own.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread::{self, JoinHandle},
};

use testbed::frames::json;

/// A message id of its own for each number: 32 hex digits.
pub(super) fn message_id(run: u32, number: u32) -> String {
    format!("7F000001{run:08X}18B4AAC2{number:08X}")
}

/// `SEND_MESSAGE` with a body of `body` bytes; one-way where nobody answers.
pub(super) fn send(topic: &str, message: &str, opaque: u32, body: usize, one_way: bool) -> Vec<u8> {
    let flag = if one_way { 2 } else { 0 };
    let header = format!(
        "{{\"code\":10,\"extFields\":{{\"producerGroup\":\"chaos\",\"topic\":\"{topic}\",\"defaultTopic\":\"TBW102\",\
         \"defaultTopicQueueNums\":\"4\",\"queueId\":\"1\",\"sysFlag\":\"0\",\"bornTimestamp\":\"1758272400000\",\
         \"flag\":\"0\",\"properties\":\"UNIQ_KEY\\u0001{message}\\u0002\",\"reconsumeTimes\":\"0\",\"unitMode\":\"false\",\
         \"batch\":\"false\",\"maxReconsumeTimes\":\"0\"}},\"flag\":{flag},\"language\":\"JAVA\",\"opaque\":{opaque},\
         \"serializeTypeCurrentRPC\":\"JSON\",\"version\":515}}"
    );
    json(&header, body)
}

/// The answer that it was stored.
fn stored(opaque: u32) -> Vec<u8> {
    let header = format!(
        "{{\"code\":0,\"extFields\":{{\"msgId\":\"7F00000100002A9F0000000000000001\",\"queueId\":\"1\",\"queueOffset\":\"{opaque}\"}},\
         \"flag\":1,\"language\":\"JAVA\",\"opaque\":{opaque},\"serializeTypeCurrentRPC\":\"JSON\",\"version\":515}}"
    );
    json(&header, 0)
}

/// A server: answers each request that wants an answer, until it is dropped.
pub(super) struct Broker {
    pub(super) address: SocketAddr,
    listener: TcpListener,
    accepting: Option<JoinHandle<()>>,
}

impl Broker {
    /// Listens at an address; port 0 is any.
    pub(super) fn start(at: SocketAddr) -> Result<Broker> {
        let listener = TcpListener::bind(at)?;
        let address = listener.local_addr()?;
        let accepted = listener.try_clone()?;
        let accepting = thread::spawn(move || {
            while let Ok((stream, _)) = accepted.accept() {
                thread::spawn(move || serve(stream));
            }
        });
        Ok(Broker {
            address,
            listener,
            accepting: Some(accepting),
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // SAFETY: takes no pointer; wakes the thread that accepts.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Until the client has gone.
fn serve(mut stream: TcpStream) {
    while let Ok(frame) = read_frame(&mut stream) {
        if let Some(opaque) = wants_answer(&frame)
            && stream.write_all(&stored(opaque)).is_err()
        {
            return;
        }
    }
}

/// The number of a request that is not one-way.
fn wants_answer(frame: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(frame);
    let (_, number) = text.split_once("\"opaque\":")?;
    let number = number.split(',').next()?.parse().ok()?;
    (!text.contains("\"flag\":2,\"language\"")).then_some(number)
}

/// Everything behind a frame's length.
pub(super) fn read_frame(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// A client's connection, with a local port of choice (0 is any).
pub(super) fn connect(port: u16, to: SocketAddr) -> Result<TcpStream> {
    // SAFETY: takes no pointer; a new descriptor that nobody else has.
    let socket = unsafe {
        let socket = check(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            0,
        ))?;
        OwnedFd::from_raw_fd(socket)
    };
    let on: libc::c_int = 1;
    // SAFETY: the value lives on, and has the length that is said.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_REUSEADDR,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    })?;
    let stream = TcpStream::from(socket);
    let local = native(SocketAddr::from(([127, 0, 0, 1], port)))?;
    // SAFETY: the address lives on, and has the length that is said.
    check(unsafe { libc::bind(stream.as_raw_fd(), (&raw const local).cast(), length_of(&local)) })?;
    reconnect(&stream, to)?;
    Ok(stream)
}

/// Connects a socket, which is not connected, or was before.
pub(super) fn reconnect(stream: &TcpStream, to: SocketAddr) -> Result<()> {
    let to = native(to)?;
    // SAFETY: the address lives on, and has the length that is said.
    check(unsafe { libc::connect(stream.as_raw_fd(), (&raw const to).cast(), length_of(&to)) })?;
    stream.set_nodelay(true)
}

/// Cuts a connection off; the socket can be connected anew.
pub(super) fn disconnect(stream: &TcpStream) -> Result<()> {
    // SAFETY: all zeros is an address of no family, which asks for this.
    let nowhere: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    // SAFETY: the address lives on, and has the length that is said.
    check(unsafe {
        libc::connect(
            stream.as_raw_fd(),
            (&raw const nowhere).cast(),
            length_of(&nowhere),
        )
    })
    .map(drop)
}

/// Ends a connection when the server has read everything.
pub(super) fn finish(mut stream: TcpStream) -> Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

/// Closes a connection by a reset, so that its port is free at once.
pub(super) fn reset(stream: TcpStream) -> Result<()> {
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the value lives on, and has the length that is said.
    check(unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const at_once).cast(),
            size_of_val(&at_once) as libc::socklen_t,
        )
    })
    .map(|_| drop(stream))
}

/// Moves the calling thread to a network namespace of its own, with nothing but loopback.
pub(super) fn isolate() -> Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    // SAFETY: takes no pointer; a new descriptor that nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0))?) };
    // SAFETY: all zeros is a request without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives on, and has a name that ends with a zero.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }).map(drop)
}

fn native(address: SocketAddr) -> Result<libc::sockaddr_in> {
    let SocketAddr::V4(address) = address else {
        return Err(ErrorKind::Unsupported.into());
    };
    // SAFETY: all zeros is an address of no family.
    let mut native: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    native.sin_family = libc::AF_INET as libc::sa_family_t;
    native.sin_port = address.port().to_be();
    native.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
    Ok(native)
}

fn length_of<T>(_: &T) -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn check(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}
