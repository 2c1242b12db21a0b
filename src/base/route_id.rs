//! The name of a route.

/// Names a route for as long as the process lives: a later configuration gives it to no other route (`conn::routes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(u16);

impl RouteId {
    /// The id of the route at `index` of all routes that the process has had; `None` beyond the 65,536th.
    pub fn new(index: usize) -> Option<RouteId> {
        u16::try_from(index).ok().map(RouteId)
    }

    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
