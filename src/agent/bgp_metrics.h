// BGP for Prometheus: sessions by state, and routes by peer.
#pragma once

#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <map>
#include <utility>

#include "agent/bgp_report.h"

namespace ocicat::agent {

// For one thread, that which reads the registry's text aside. An agent that keeps no BIRD shows none of it.
class BgpMetrics {
 public:
  explicit BgpMetrics(prometheus::Registry& registry);

  // Everything is as the report says; what it says nothing of is shown no more. Of peers at most
  // kMaxSessions.
  void show(const BgpReport& report);

 private:
  using Gauges = prometheus::Family<prometheus::Gauge>;
  using Place = std::pair<Gauges*, prometheus::Labels>;

  Gauges& running_;
  Gauges& left_out_;
  Gauges& sessions_;
  Gauges& imported_;
  Gauges& exported_;
  std::map<Place, prometheus::Gauge*> shown_;
};

}  // namespace ocicat::agent
