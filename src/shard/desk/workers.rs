//! From the gateway to workers: to all subscribers, and to one member of each queue group.

use std::rc::Rc;

use crate::hub::{Member, Recipients, Seat};
use crate::mesh::{Audience, Delivery, Mail, Publish, ReportTo};
use crate::proto::event::Event;

use super::Desk;

impl Desk {
    /// Gives a message to the workers that were found.
    pub(crate) fn hand_to_workers(&mut self, publish: &Publish, workers: &Recipients) {
        let (own, is_only) = (self.place, workers.is_one());
        for place in workers.places.iter().filter(|place| *place != own) {
            self.send_on(publish.from, place, Mail::Deliver(Box::new(publish.to_workers(is_only))));
        }
        for seat in workers.seats.iter().filter(|seat| seat.member.place != own) {
            let delivery = Box::new(publish.to_workers(is_only));
            let mail = Mail::Direct { seat: seat.clone(), delivery, is_second_choice: false };
            self.send_on(publish.from, seat.member.place, mail);
        }
        let event = Rc::new(Event::new(publish.message.clone(), None));
        for seat in workers.seats.iter().filter(|seat| seat.member.place == own) {
            // The member may have left while the message waited in a line.
            if !direct(self, &seat.member, &event) {
                self.seated(seat.clone(), publish.to_workers(is_only), false);
            }
        }
        if workers.places.contains(own) && self.fan_out(&event, Audience::Workers, publish.except()) == 0 && is_only {
            self.tell_nobody_there(publish);
        }
    }

    /// A message for one member of a queue group, which may have left while the message was on its way.
    pub(crate) fn seated(&mut self, seat: Seat, delivery: Delivery, is_second_choice: bool) {
        let is_there = self.subscribers.subscriber(seat.member.sub).is_some();
        let seat = match is_there {
            true => Some(seat),
            false if is_second_choice => None,
            false => self.directory.replace(delivery.message.subject.as_str(), &seat.queue, delivery.except),
        };
        match (seat, delivery.asker, &delivery.message.reply) {
            (Some(seat), ..) if seat.member.place == self.place => {
                direct(self, &seat.member, &Rc::new(Event::new(delivery.message, None)));
            }
            (Some(seat), ..) => {
                let (to, origin) = (seat.member.place, delivery.origin);
                self.trail.sent_on_again(origin, to);
                self.send(to, Mail::Direct { seat, delivery: Box::new(delivery), is_second_choice: true });
            }
            (None, Some(ReportTo::IfNone(asker)), Some(reply)) => self.tell_no_responders(asker, reply),
            (None, ..) => {}
        }
    }
}

/// Gives a message to one member of a queue group; false if the member has left.
fn direct(desk: &mut Desk, member: &Member, event: &Rc<Event>) -> bool {
    let Some(subscriber) = desk.subscribers.subscriber(member.sub) else { return false };
    desk.push_to(subscriber.key, subscriber.tag, event);
    true
}
