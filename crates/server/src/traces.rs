//! Spans for an OpenTelemetry collector: one a management request, and one of a sample of the denials. A span holds the
//! route's id, the method, the status and the request's id; nothing else of a request gets near it.

use crate::config::Collector;
use crate::error::Failure;
use crate::metrics::{Route, Via, name};
use crate::verify::Verdict;
use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::time::{Duration, SystemTime};
use stead_api::id::RequestId;
use stead_api::time::Timestamp;

/// How long the end of the server waits for the collector.
const PATIENCE: Duration = Duration::from_secs(5);

/// What makes spans. They are sent from a thread of their own; what the collector doesn't take in time is lost.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    denials: u8,
}

/// The span of a request under way.
pub struct Span(opentelemetry_sdk::trace::Span);

/// The caller's place in a trace, and nothing else: `tracestate` is free text, which would go to the collector.
struct TraceParent<'a>(Option<&'a str>);

impl Extractor for TraceParent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.filter(|_| key == "traceparent")
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

impl Traces {
    /// Begins to send spans. Whether the collector is there shows only then.
    pub fn start(collector: &Collector) -> Result<Self, Failure> {
        let exporter = SpanExporter::builder().with_http().with_endpoint(&collector.traces).build();
        let exporter = exporter.map_err(|_| Failure::Defect("no spans can be sent to otlp-endpoint".into()))?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name("stead").with_attribute(version).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Self { tracer: provider.tracer("stead"), provider, denials: collector.denials })
    }

    /// Begins the span of a management request, below the caller's own if it names one (W3C `traceparent`).
    pub fn begin(&self, route: &Route, id: &RequestId, headers: &HeaderMap, at: Timestamp) -> Span {
        let mut parents = headers.get_all("traceparent").iter();
        let parent = match (parents.next(), parents.next()) {
            (Some(parent), None) => parent.to_str().ok(),
            _ => None,
        };
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &TraceParent(parent));
        let attributes = [
            KeyValue::new("stead.route", route.id),
            KeyValue::new("stead.request_id", id.as_str().to_owned()),
            KeyValue::new("http.request.method", route.method),
        ];
        let span = self.tracer.span_builder(route.id).with_kind(SpanKind::Server);
        let span = span.with_start_time(instant(at)).with_attributes(attributes);
        Span(span.start_with_context(&self.tracer, &parent))
    }

    /// Tells of a denial, if it is one of the sample.
    pub fn denied(&self, via: Via, verdict: &Verdict) {
        if verdict.decision % 100 >= u128::from(self.denials) {
            return;
        }
        let attributes = [KeyValue::new("stead.via", via.as_str()), KeyValue::new("stead.code", name(verdict.code))];
        let span = self.tracer.span_builder("denied").with_start_time(instant(verdict.at)).with_attributes(attributes);
        span.start_with_context(&self.tracer, &Context::new()).end();
    }

    /// Sends what waits, and no more after it. Blocks.
    pub fn end(&self) {
        if self.provider.shutdown_with_timeout(PATIENCE).is_err() {
            tracing::warn!("the last spans could not be sent");
        }
    }
}

impl Span {
    /// Ends it.
    pub fn end(mut self, status: u16, at: Timestamp) {
        self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            self.0.set_status(Status::error(""));
        }
        self.0.end_with_timestamp(instant(at));
    }
}

fn instant(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(at.0.max(0).unsigned_abs())
}
