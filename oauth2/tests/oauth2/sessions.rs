//! Users: signing in and out.

mod legacy;
mod logout;
mod sign_in;
