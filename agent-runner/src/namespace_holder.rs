//! `mgx-agent-runner hold`: in a container of the platform's own, moves into a new and empty network namespace whenever
//! the platform asks for one, so that a job's container can join it. Runs no job; ends with the connection.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use rustix::thread::UnshareFlags;

use crate::link::socket;

/// A request to bring interface 1 up, which is the loopback in a new namespace, and to acknowledge it: `RTM_NEWLINK`
/// of netlink(7) and rtnetlink(7), for a little-endian machine.
const LOOPBACK_UP: [u32; 8] = [32, NEWLINK | (REQUEST_AND_ACK << 16), 1, 0, 0, 1, IFF_UP, IFF_UP];

const NEWLINK: u32 = 16;
const REQUEST_AND_ACK: u32 = 1 | 4;
const IFF_UP: u32 = 1;

/// The length of the kernel's answer, in bytes: a header of 16 and the error, 0 if there is none.
const ANSWER_BYTES: usize = 36;

/// Makes a namespace, tells the platform its inode number (namespaces(7)), and waits for the request for the next.
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
    #[expect(deprecated, reason = "its successor is unsafe because of CLONE_FILES, which is not used here")]
    rustix::thread::unshare(UnshareFlags::NEWNET)?;
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let message: Vec<u8> = LOOPBACK_UP.iter().flat_map(|word| word.to_ne_bytes()).collect();
    sendto(&kernel, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; ANSWER_BYTES];
    recv(&kernel, &mut answer, RecvFlags::empty())?;
    match answer[16..20].try_into().map(i32::from_ne_bytes) {
        Ok(0) => Ok(()),
        Ok(error) => Err(io::Error::from_raw_os_error(-error)),
        Err(error) => Err(io::Error::other(error)),
    }
}
