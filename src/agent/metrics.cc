#include "agent/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <mutex>

#include "agent/apply_clock.h"
#include "agent/bgp_metrics.h"

namespace ocicat::agent {
namespace {

prometheus::Gauge& gauge(prometheus::Registry& registry, const std::string& name, const std::string& help,
                         const prometheus::Labels& labels = {}) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
}

prometheus::Counter& counter(prometheus::Registry& registry, const std::string& name,
                             const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Histogram& latency(prometheus::Registry& registry) {
  const prometheus::Histogram::BucketBoundaries bounds{
      0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  return prometheus::BuildHistogram()
      .Name("ocicat_apply_seconds")
      .Help("From a computed change to its being in the kernel")
      .Register(registry)
      .Add({}, bounds);
}

// A counter that follows a total counted elsewhere.
void follow(prometheus::Counter& counter, std::uint64_t total) {
  const double behind = static_cast<double>(total) - counter.Value();
  if (behind > 0) counter.Increment(behind);
}

void set(prometheus::Gauge& gauge, std::size_t value) {
  gauge.Set(static_cast<double>(value));
}

}  // namespace

struct Metrics::State {
  prometheus::Registry registry;
  prometheus::Gauge& hosts = gauge(registry, "ocicat_hosts", "Hosts of the cluster known");
  prometheus::Gauge& endpoints = gauge(registry, "ocicat_endpoints", "Workload endpoints known");
  prometheus::Gauge& local_endpoints =
      gauge(registry, "ocicat_endpoints_local", "Workload endpoints of this host");
  prometheus::Gauge& wanted =
      gauge(registry, "ocicat_endpoints_wanted", "Endpoints that the dataplane should serve");
  prometheus::Gauge& ready =
      gauge(registry, "ocicat_endpoints_ready", "Endpoints with interface, policy and routes in place");
  prometheus::Gauge& policies = gauge(registry, "ocicat_policies", "Policies known");
  prometheus::Gauge& active =
      gauge(registry, "ocicat_policies_active", "Policies that select an endpoint of this host");
  prometheus::Gauge& sets = gauge(registry, "ocicat_sets", "Sets of addresses that active rules speak of");
  prometheus::Gauge& classes = gauge(registry, "ocicat_classes", "Classes of addresses");
  prometheus::Gauge& programs = gauge(registry, "ocicat_programs", "Compiled programs");
  prometheus::Gauge& tables = gauge(registry, "ocicat_tables", "Decision tables");
  prometheus::Gauge& outcomes = gauge(registry, "ocicat_outcomes", "Outcomes that tables lead to");
  prometheus::Gauge& entries =
      gauge(registry, "ocicat_policy_entries", "Entries of tables that policy takes on this host");
  prometheus::Gauge& denied = gauge(registry, "ocicat_endpoints_denied",
                                    "Endpoints denied all, as policy would take too many entries");
  prometheus::Gauge& refused =
      gauge(registry, "ocicat_refused_objects", "Objects that cannot be read or compiled");
  prometheus::Gauge& connected =
      gauge(registry, "ocicat_server_connected", "1 while connected to the server");
  prometheus::Gauge& failing =
      gauge(registry, "ocicat_dataplane_failing", "1 while the kernel is not as wanted");
  prometheus::Counter& writes =
      counter(registry, "ocicat_kernel_writes_total", "Messages that changed the kernel");
  prometheus::Counter& repairs =
      counter(registry, "ocicat_repairs_total", "Changes by somebody else that were mended");
  prometheus::Counter& revoked = counter(registry, "ocicat_connections_revoked_total",
                                         "Open connections that policy came to deny (nftables)");
  prometheus::Counter& failures = counter(registry, "ocicat_status_write_failures_total",
                                          "Writes of the status that the server did not take");
  prometheus::Histogram& apply_seconds = latency(registry);
  BgpMetrics bgp{registry};
  std::mutex mutex;  // of the clock alone
  ApplyClock clock;
  std::atomic<bool> applied_once = false;

  State() {
    gauge(registry, "ocicat_build_info", "Always 1; the version is its label", {{"version", OCICAT_VERSION}})
        .Set(1);
  }
};

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

void Metrics::sent(const Revisions& revisions) {
  const std::scoped_lock lock(state_->mutex);
  state_->clock.sent(revisions, std::chrono::steady_clock::now());
}

void Metrics::reported(const dataplane::Report& report) {
  set(state_->wanted, report.endpoints);
  set(state_->ready, report.endpoints_ready);
  state_->failing.Set(report.error.empty() ? 0 : 1);
  follow(state_->writes, report.kernel_writes);
  follow(state_->repairs, report.repairs);
  follow(state_->revoked, report.revoked);
  const std::scoped_lock lock(state_->mutex);
  for (const auto seconds : state_->clock.applied(report.revisions, std::chrono::steady_clock::now())) {
    state_->apply_seconds.Observe(seconds.count());
  }
  if (!report.revisions.empty()) state_->applied_once = true;
}

void Metrics::observe(const News& news, const AgentStatus& status) {
  set(state_->refused, status.refused().size());
  if (news.bgp) state_->bgp.show(*news.bgp);
  if (!news.counters) return;
  set(state_->hosts, news.counters->hosts);
  set(state_->endpoints, news.counters->endpoints);
  set(state_->local_endpoints, news.counters->local_endpoints);
  set(state_->policies, news.counters->policies);
  set(state_->active, news.counters->active_policies);
  set(state_->sets, news.counters->sets);
  set(state_->classes, news.counters->classes);
  set(state_->programs, news.counters->programs);
  set(state_->tables, news.counters->tables);
  set(state_->outcomes, news.counters->outcomes);
  set(state_->entries, news.counters->entries);
  set(state_->denied, news.counters->denied_endpoints);
}

void Metrics::status_written(bool ok) {
  if (!ok) state_->failures.Increment();
}

void Metrics::server_connected(bool connected) {
  state_->connected.Set(connected ? 1 : 0);
}
bool Metrics::applied_once() const {
  return state_->applied_once;
}

std::string Metrics::text() const {
  return prometheus::TextSerializer().Serialize(state_->registry.Collect());
}

}  // namespace ocicat::agent
