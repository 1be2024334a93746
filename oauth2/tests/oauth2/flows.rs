//! Authorization: codes, devices, clients in their own name.

mod authorize;
mod clients;
mod code;
mod device;
mod redirects;
mod scope;
mod single_page;
