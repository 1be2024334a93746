//! Users: signing in and out.

mod legacy;
mod logout;
mod password;
mod sign_in;
