//! What all three commands share: connect, look whether there is a stream, publish, close, report.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context;
use odin_publisher::telemetry::Sender;
use odin_publisher::telemetry::traces::{Counts, Service, Tracer};
use odin_publisher::{ConnectError, Options, Publisher, StreamError, Subject, Traces};
use rand::RngExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::args::{NatsArgs, PublishArgs, ReportArgs, TraceArgs};
use crate::outcome::{NO_STREAM_HINT, Outcomes};
use crate::report::{End, Progress, Report};

/// How long a run's end waits for the collector.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// A run in the middle of its life.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) publisher: Publisher,
    pub(crate) outcomes: Outcomes,
    pub(crate) progress: Progress,
    /// A signal came.
    pub(crate) stop: CancellationToken,
}

/// What a run needs to know.
pub(crate) struct Setup<'a> {
    pub(crate) command: &'static str,
    pub(crate) nats: &'a NatsArgs,
    pub(crate) publish: &'a PublishArgs,
    pub(crate) trace: &'a TraceArgs,
    pub(crate) report: &'a ReportArgs,
    /// A subject like those to come, if one is known.
    pub(crate) example: Option<Subject>,
    /// Length of the input, if it is known.
    pub(crate) total_bytes: Option<u64>,
}

/// Runs `source` between connecting and closing. It gives why it ended and how many lines it did not understand.
pub(crate) async fn run<F>(setup: Setup<'_>, stop: CancellationToken, source: F) -> anyhow::Result<Report>
where
    F: AsyncFnOnce(&Session) -> anyhow::Result<(End, u64)>,
{
    let traces = start_traces(setup.trace)?;
    let options = Options { traces: traces.clone(), ..setup.nats.options(setup.publish) };
    let Some(publisher) = stop.run_until_cancelled(connect(&options, setup.nats.wait)).await else {
        anyhow::bail!("stopped before there was a connection");
    };
    let publisher = publisher?;
    if let Some(example) = &setup.example {
        check_stream(&publisher, example, &options).await?;
    }
    let began = Instant::now();
    let progress = Progress::start(&publisher, setup.report, setup.total_bytes);
    let session = Session { publisher, outcomes: Outcomes::start(), progress, stop };
    let result = source(&session).await;
    let stats = session.publisher.close(setup.publish.grace).await;
    let elapsed = began.elapsed();
    session.outcomes.finish().await;
    if let Some(traces) = traces {
        end_traces(&traces).await;
    }
    session.progress.finish();
    let (ended, bad_lines) = result?;
    Ok(Report::new(setup.command, ended, bad_lines, elapsed, &stats))
}

/// Gets ready to tell a collector, if that is wanted. Whether one is there is not asked: publishing does not depend on it.
fn start_traces(args: &TraceArgs) -> anyhow::Result<Option<Traces>> {
    let Some((endpoint, ratio)) = args.endpoint()? else {
        return Ok(None);
    };
    tracing::info!(endpoint = %endpoint.base(), "telling a collector about publications");
    let instance = odin_publisher::new_message_id();
    let service = Service { name: "odin-publisher", version: env!("CARGO_PKG_VERSION"), instance: &instance };
    let tracer = Tracer::start(service, Sender::new(endpoint)?, Handle::current())?;
    Ok(Some(Traces { tracer, ratio }))
}

/// Sends what is left, for a moment, and says what got lost.
async fn end_traces(traces: &Traces) {
    let in_time = traces.tracer.shutdown(FLUSH_LIMIT).await;
    let Counts { exported, dropped, failed } = traces.tracer.counts();
    if !in_time || dropped + failed > 0 {
        tracing::warn!(exported, dropped, failed, "not all spans were sent");
    }
}

/// Connects, and goes on trying for `wait` while nobody answers.
fn connect(options: &Options, wait: Duration) -> impl Future<Output = anyhow::Result<Publisher>> {
    let began = Instant::now();
    async move {
        loop {
            match Publisher::connect(options.clone()).await {
                Err(error @ ConnectError::Nats { .. }) if began.elapsed() < wait => {
                    tracing::warn!(error = %format!("{:#}", anyhow::Error::from(error)), "waiting for NATS");
                    let pause = rand::rng().random_range(250..1_000);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                result => return Ok(result?),
            }
        }
    }
}

/// Ends here when there is no stream; says so when it forgets ids too early.
async fn check_stream(publisher: &Publisher, example: &Subject, options: &Options) -> anyhow::Result<()> {
    match publisher.check_stream(example).await {
        Ok(stream) if stream.duplicate_window < options.retry_window + options.ack_timeout => {
            tracing::warn!(
                stream = stream.name,
                duplicate_window = ?stream.duplicate_window,
                retry_window = ?options.retry_window,
                ack_timeout = ?options.ack_timeout,
                "the stream forgets ids before the last retry: a late one could be stored twice"
            );
        }
        Ok(stream) => tracing::info!(stream = stream.name, "publishing"),
        Err(error @ StreamError::NoStream { .. }) => return Err(error).context(NO_STREAM_HINT),
        // it may be forbidden to ask: publishing will show
        Err(error) => tracing::debug!(%error, "stream not checked"),
    }
    Ok(())
}
