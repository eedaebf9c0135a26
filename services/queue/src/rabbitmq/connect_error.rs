//! Why a broker is not to be had, where somebody has to change something: in one line that says what.

use std::io;

use lapin::{ErrorKind, protocol::AMQPError};

use crate::rabbitmq::{
    address::Address,
    topology::{ACCESS_REFUSED, NOT_ALLOWED},
};

/// What to change; `None` where it may pass by itself.
pub(super) fn advice(error: &lapin::Error, address: &Address) -> Option<String> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => closed(error, address),
        ErrorKind::IOError(error) => unread(error, address),
        _ => None,
    }
}

/// The broker said why it does not want us.
fn closed(error: &AMQPError, address: &Address) -> Option<String> {
    let (user, vhost) = (address.user(), address.vhost());
    match error.get_id() {
        ACCESS_REFUSED => {
            Some(format!("the broker refuses the login of user `{user}`: correct the user or the password in its URL"))
        }
        NOT_ALLOWED => Some(format!(
            "user `{user}` may not use virtual host `{vhost}`, or there is none: correct the path of the broker's URL, \
             or create the virtual host and give the user permissions"
        )),
        _ => None,
    }
}

/// Something else speaks there, or it is somebody else.
fn unread(error: &io::Error, address: &Address) -> Option<String> {
    let text = error.to_string();
    let host = address.host();
    if text.contains("UnknownIssuer") || text.contains("BadSignature") {
        Some(format!(
            "the certificate of {host} is of an authority that is not trusted here: name the file of its certificate \
             in SSL_CERT_FILE"
        ))
    } else if text.contains("NotValidForName") || text.contains("certificate not valid for name") {
        Some(format!("the certificate of the broker is not for {host}: use the name that it is for in its URL"))
    } else if text.contains("Expired") || text.contains("expired") {
        Some(format!("the certificate of {host} has expired: renew it at the broker"))
    } else if address.is_tls() && text.contains("InvalidContentType") {
        Some(format!("{host} does not speak TLS at this port: use amqp://, or the port for TLS, which is mostly 5671"))
    } else {
        None
    }
}
