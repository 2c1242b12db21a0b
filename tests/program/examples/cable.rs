//! A cable between clients and the gateway, which can be pulled and plugged in again.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Cable {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

enum State {
    /// Both ends of what goes through it.
    PluggedIn(Vec<TcpStream>),
    Pulled,
    /// The test is over.
    Gone,
}

impl Cable {
    pub fn to(gateway: &str) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::PluggedIn(Vec::new())));
        let cable = Cable { address, state: state.clone() };
        let gateway = gateway.to_owned();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                match &mut *state.lock().expect("nobody panics with it") {
                    // Dropped, which closes it.
                    State::Pulled => {}
                    State::Gone => return,
                    State::PluggedIn(ends) => {
                        let Ok(far) = TcpStream::connect(&gateway) else { continue };
                        ends.extend([&near, &far].map(|end| end.try_clone().expect("a descriptor")));
                        carry(&near, &far);
                        carry(&far, &near);
                    }
                }
            }
        });
        cable
    }

    pub fn pull(&self) {
        self.change(State::Pulled);
    }

    pub fn plug_in(&self) {
        self.change(State::PluggedIn(Vec::new()));
    }

    fn change(&self, state: State) {
        let before = std::mem::replace(&mut *self.state.lock().expect("nobody panics with it"), state);
        if let State::PluggedIn(ends) = before {
            // Fails for those that have ended by themselves.
            ends.iter().for_each(|end| _ = end.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.change(State::Gone);
        // Somebody has to come for the listener to see that.
        let _ = TcpStream::connect(self.address);
    }
}

/// Until either end has ended; then neither goes on.
fn carry(from: &TcpStream, to: &TcpStream) {
    let [mut from, mut to] = [from, to].map(|end| end.try_clone().expect("a descriptor"));
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
