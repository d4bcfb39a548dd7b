//! Graphs of what was used, as pictures.

use chrono::{DateTime, Utc};
use skerry_stanzas::{
    command::{
        host,
        machine::{self, Span, Used},
    },
    refusal::{Reason, Refusal},
    reply::ScreenPicture,
};

use super::Handle;
use crate::{
    agent::Agent,
    dispatch::Job,
    numbers::{
        graph::{Graph, Look, Series, Unit},
        history::Quantity,
    },
    pictures::Subject,
    reference,
    store::samples::{self, HOST, Ring},
};

impl Handle<machine::Graph> for Agent {
    async fn handle(&self, job: &Job, command: machine::Graph) -> Result<ScreenPicture, Refusal> {
        let machine = job.machine()?;
        let record = machine.record();
        if machine.card.driver.numbers().is_none() {
            let text = format!("The driver {} cannot say what {} uses.", record.driver, record.name);
            return Err(Refusal::new(Reason::NotSupported, text));
        }
        let asked = Wanted::new(record.name.to_string(), command.of, command.last);
        let lines = lines_of_machine(command.of);
        let graph = self.graph(&record.id.to_string(), asked, lines).await?;
        self.show_graph(
            graph,
            record.name.to_string(),
            Subject::Graph(Some(record.id)),
            command.dark,
            command.inline,
        )
        .await
    }
}

impl Handle<host::Graph> for Agent {
    async fn handle(&self, _job: &Job, command: host::Graph) -> Result<ScreenPicture, Refusal> {
        let name = self.config().name.clone();
        let asked = Wanted::new(name.clone(), command.of, command.last);
        let graph = self.graph(HOST, asked, lines_of_host(command.of)).await?;
        self.show_graph(graph, name, Subject::Graph(None), command.dark, command.inline).await
    }
}

/// What somebody wants to see.
struct Wanted {
    title: String,
    unit: Unit,
    span: Span,
    to: DateTime<Utc>,
}

impl Wanted {
    fn new(name: String, of: Used, span: Span) -> Self {
        let (what, unit) = match of {
            Used::Cpu => ("processors", Unit::Percent),
            Used::Memory => ("memory", Unit::Bytes),
            Used::Disk => ("disks", Unit::Rate),
            Used::Net => ("networks", Unit::Rate),
            Used::Waits => ("waiting", Unit::Percent),
        };
        let time = match span {
            Span::Hour => "hour",
            Span::Week => "week",
        };
        Self { title: format!("{name}: {what}, the last {time}"), unit, span, to: Utc::now() }
    }
}

/// Names and quantities of the lines of a graph.
type Lines = [Option<(&'static str, Quantity)>; 2];

fn lines_of_machine(of: Used) -> Lines {
    match of {
        Used::Cpu => [Some(("busy", Quantity::Cpu)), Some(("waiting for the host", Quantity::Steal))],
        Used::Memory => [Some(("held", Quantity::Memory)), Some(("used inside", Quantity::Inside))],
        Used::Waits => {
            [Some(("for a processor", Quantity::CpuWait)), Some(("for a disk", Quantity::DiskWait))]
        }
        Used::Disk | Used::Net => lines_of_traffic(of),
    }
}

fn lines_of_host(of: Used) -> Lines {
    match of {
        Used::Cpu => [Some(("busy", Quantity::Cpu)), Some(("taken from it", Quantity::Steal))],
        Used::Memory => [Some(("used", Quantity::Memory)), None],
        Used::Waits => {
            [Some(("for a processor", Quantity::CpuWait)), Some(("for a disk", Quantity::DiskWait))]
        }
        Used::Disk | Used::Net => lines_of_traffic(of),
    }
}

fn lines_of_traffic(of: Used) -> Lines {
    match of {
        Used::Net => [Some(("in", Quantity::Received)), Some(("out", Quantity::Sent))],
        _ => [Some(("read", Quantity::Read)), Some(("written", Quantity::Written))],
    }
}

impl Agent {
    async fn graph(&self, of: &str, asked: Wanted, lines: Lines) -> Result<Graph, Refusal> {
        if !self.config().metrics.history {
            let text = "What is used is not remembered on this host.";
            return Err(Refusal::new(Reason::Unavailable, text)
                .hint("Its administrator can change that: [metrics] history = true."));
        }
        let Wanted { title, unit, span, to } = asked;
        let ring = match span {
            Span::Hour => Ring::Minutes,
            Span::Week => Ring::Hours,
        };
        let known: Vec<(&'static str, Quantity)> = lines.into_iter().flatten().collect();
        let quantities: Vec<Quantity> = known.iter().map(|(_, quantity)| *quantity).collect();
        let (of, end) = (of.to_owned(), to.timestamp());
        let look = move |connection: &_| samples::of(connection, ring, &of, &quantities, end);
        let rows = self.inner.store.run(look).await?;
        let series = known.iter().enumerate().map(|(column, (name, _))| Series {
            name,
            points: rows
                .iter()
                .filter_map(|(at, numbers)| {
                    Some((DateTime::from_timestamp(*at, 0)?, numbers.get(column).copied().flatten()))
                })
                .collect(),
        });
        // A line of which nothing is known, as of the memory of a guest that says nothing, is no line.
        let is_known = |series: &Series| series.points.iter().any(|(_, number)| number.is_some());
        let mut series: Vec<Series> = series.collect();
        if series.iter().any(is_known) {
            series.retain(is_known);
        }
        let step = chrono::Duration::seconds(ring.period());
        Ok(Graph {
            title,
            unit,
            series,
            from: to - step * i32::try_from(ring.kept()).unwrap_or(60),
            to,
            step,
        })
    }

    async fn show_graph(
        &self,
        graph: Graph,
        name: String,
        of: Subject,
        dark: bool,
        inline: bool,
    ) -> Result<ScreenPicture, Refusal> {
        let title = graph.title.clone();
        let look = if dark { Look::DARK } else { Look::LIGHT };
        let drawn = tokio::task::spawn_blocking(move || graph.draw(look)).await;
        let picture = drawn
            .map_err(|error| reference::internal("The graph could not be drawn", &error))?
            .ok_or_else(|| Refusal::new(Reason::Internal, "The graph could not be drawn."))?;
        self.show_picture(picture, of, name, Some(title), inline).await
    }
}
