//! Keeps network namespaces ready: in a container of the platform's own, `mgx-agent-runner hold` stands in a new and
//! empty one whenever it is asked to. It runs no job and ends with the connection to the platform.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use rustix::thread::UnshareFlags;

use crate::link::socket;

/// "Bring the interface with number 1 up, and say whether that is done": a `RTM_NEWLINK` of netlink(7) and
/// rtnetlink(7), on a machine that has the low bytes first. In a new namespace, that interface is the loopback.
const LOOPBACK_UP: [u32; 8] = [32, NEWLINK | (REQUEST_AND_ACK << 16), 1, 0, 0, 1, IFF_UP, IFF_UP];

const NEWLINK: u32 = 16;
const REQUEST_AND_ACK: u32 = 1 | 4;
const IFF_UP: u32 = 1;

/// What the kernel answers: a header of 16 bytes and the error, 0 if there is none.
const ANSWER: usize = 36;

/// Tells the platform each time by which number the namespace is known (namespaces(7)), and waits to be asked for
/// the next.
///
/// # Errors
/// The platform cannot be reached, or this container may not make namespaces.
pub(crate) fn hold() -> io::Result<()> {
    let mut platform = UnixStream::connect(socket())?;
    loop {
        renew()?;
        let number = fs::metadata("/proc/self/ns/net")?.ino();
        platform.write_all(&number.to_be_bytes())?;
        if platform.read(&mut [0])? == 0 {
            return Ok(());
        }
    }
}

fn renew() -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "what its successor is unsafe for, shared file descriptors, is not asked for"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET)?;
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let message: Vec<u8> = LOOPBACK_UP.iter().flat_map(|word| word.to_ne_bytes()).collect();
    sendto(&kernel, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; ANSWER];
    recv(&kernel, &mut answer, RecvFlags::empty())?;
    match answer[16..20].try_into().map(i32::from_ne_bytes) {
        Ok(0) => Ok(()),
        Ok(error) => Err(io::Error::from_raw_os_error(-error)),
        Err(error) => Err(io::Error::other(error)),
    }
}
