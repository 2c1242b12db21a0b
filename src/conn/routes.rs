//! All routes of a process: those of the current configuration, and older ones that existing connections still have.
//!
//! ```text
//!  configuration 1:  /a  /b         all: /a /b            order: 0 1
//!  configuration 2:  /c  /b  /a'    all: /a /b /c /a'     order: 2 1 3      a connection that came in by /a keeps route 0
//! ```
//!
//! A route that is unchanged in the next configuration keeps its [`RouteId`]; a changed one gets another, so a
//! connection keeps the route that it came in by until it ends. No id is given twice.

use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use super::route::Route;
use crate::base::RouteId;

#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// By id. Routes are never removed.
    all: Vec<Arc<Route>>,
    /// The routes of the configuration, in its order: the first that matches a request wins.
    order: Vec<RouteId>,
}

/// There are more routes than ids: the process must be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRoutes;

impl fmt::Display for TooManyRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a process can have 65,536 different routes in all, and this configuration has more that are new: start it again",
        )
    }
}

impl Routes {
    /// The routes of the first configuration.
    pub fn new(routes: Vec<Route>) -> Result<Routes, TooManyRoutes> {
        Routes::default().succeeded_by(routes)
    }

    /// The routes of the next configuration, together with the earlier ones that connections may still have.
    pub fn succeeded_by(&self, routes: Vec<Route>) -> Result<Routes, TooManyRoutes> {
        let mut next = Routes { all: self.all.clone(), order: Vec::with_capacity(routes.len()) };
        for route in routes {
            let same = self.order.iter().copied().find(|id| self[*id] == route && !next.order.contains(id));
            let id = match same {
                Some(id) => id,
                None => next.add(route)?,
            };
            next.order.push(id);
        }
        Ok(next)
    }

    /// These routes, followed by more of the same configuration.
    pub fn followed_by(&self, more: Vec<Route>) -> Result<Routes, TooManyRoutes> {
        let mut all = self.clone();
        for route in more {
            let id = all.add(route)?;
            all.order.push(id);
        }
        Ok(all)
    }

    fn add(&mut self, route: Route) -> Result<RouteId, TooManyRoutes> {
        let id = RouteId::new(self.all.len()).ok_or(TooManyRoutes)?;
        self.all.push(Arc::new(route));
        Ok(id)
    }

    /// The routes of the configuration, in its order.
    pub fn iter(&self) -> impl Iterator<Item = (RouteId, &Route)> {
        self.order.iter().map(|id| (*id, &self[*id]))
    }
}

impl Index<RouteId> for Routes {
    type Output = Route;

    /// Every id comes from these routes or from earlier ones of the process, and routes are never removed.
    fn index(&self, id: RouteId) -> &Route {
        &self.all[id.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::route::RouteTarget;

    fn page(path: &str, body: &'static [u8]) -> Route {
        Route::new(path, RouteTarget::page("text/plain", body)).unwrap()
    }

    fn paths(routes: &Routes) -> Vec<(usize, &str)> {
        routes.iter().map(|(id, route)| (id.index(), &*route.template)).collect()
    }

    #[test]
    fn a_route_keeps_its_id_wherever_it_stands_until_it_changes() {
        let first = Routes::new(vec![page("/a", b"1"), page("/b", b"1")]).unwrap();
        assert_eq!(paths(&first), [(0, "/a"), (1, "/b")]);
        let second = first.succeeded_by(vec![page("/c", b"1"), page("/b", b"1"), page("/a", b"2")]).unwrap();
        assert_eq!(paths(&second), [(2, "/c"), (1, "/b"), (3, "/a")]);
        let third = second.succeeded_by(vec![page("/a", b"1")]).unwrap();
        assert_eq!(paths(&third), [(4, "/a")], "an id is not given again, not even for the same words");
    }

    #[test]
    fn what_a_connection_came_in_by_is_there_after_it_was_removed() {
        let first = Routes::new(vec![page("/a", b"1")]).unwrap();
        let (id, _) = first.iter().next().unwrap();
        let second = first.succeeded_by(Vec::new()).unwrap();
        assert_eq!(paths(&second), []);
        assert_eq!(&*second[id].template, "/a");
    }

    #[test]
    fn two_routes_in_the_same_words_are_two() {
        let twice = || vec![page("/a", b"1"), page("/a", b"1")];
        let first = Routes::new(twice()).unwrap();
        assert_eq!(paths(&first), [(0, "/a"), (1, "/a")]);
        assert_eq!(paths(&first.succeeded_by(twice()).unwrap()), [(0, "/a"), (1, "/a")]);
    }

    #[test]
    fn more_routes_than_ids_are_refused() {
        let many = Routes::new((0..=u16::MAX).map(|_| page("/a", b"1")).collect()).unwrap();
        assert_eq!(many.succeeded_by(vec![page("/a", b"2")]).unwrap_err(), TooManyRoutes);
    }
}
