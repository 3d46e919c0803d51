//! The kinds of faults.

use std::time::Duration;

use clap::ValueEnum;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL to the node that owns the most, and its restart
    Kill,
    /// SIGSTOP for 20 s, then SIGCONT
    Zombie,
    /// The way from one node to another is cut, then the way back
    OneWay,
    /// One node is cut from the others, in both directions; all keep the database
    Partition,
    /// One node's way to the database is cut
    StoreCut,
    /// The database is restarted
    DatabaseRestart,
    /// The database is stopped for three lease terms
    DatabaseAway,
    /// One node after the other is ended by SIGTERM and started again
    Rolling,
    /// A node is drained through another one
    Drain,
    /// The wall clock of one node jumps by hours
    Clock,
}

impl Fault {
    /// What it is called on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// About how long its round takes.
    pub(crate) fn time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Kill | Self::DatabaseRestart | Self::Drain => 14,
            Self::Zombie | Self::OneWay | Self::Clock => 32,
            Self::Partition | Self::StoreCut | Self::DatabaseAway | Self::Rolling => 22,
        })
    }

    /// Whether clients are to see nothing of it: each call is answered by the first node that takes
    /// its connection, and only a node that leaves may send it on or refuse connections.
    pub(crate) fn is_planned(self) -> bool {
        matches!(self, Self::Rolling | Self::Drain)
    }
}
